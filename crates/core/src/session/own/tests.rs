//! What a process makes of what it hears of its session, and how well it is meanwhile.

use super::*;
use crate::id::Boot;

const TERM: Duration = Duration::from_secs(3);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn joined() -> OwnSession {
    let holder = Holder { incarnation: Incarnation(1), boot: Boot(7), generation: 9 };
    OwnSession::new(holder, Duration::ZERO, TERM)
}

fn found(found: Renewal, began: u64) -> Heard {
    Heard::Renewal { found, drains: false, began: seconds(began) }
}

fn lost(cause: &str) -> Heard {
    Heard::NotRenewed { cause: cause.to_owned() }
}

/// Which beat of which life a renewal is.
fn renews(act: &Act) -> (u64, u64) {
    let Act::Renew { holder, beat } = act else { panic!("not a renewal: {act:?}") };
    (holder.incarnation.0, *beat)
}

#[test]
fn who_renews_is_ready_and_a_term_after_the_last_attempt_that_came_through_it_is_not() {
    let mut own = joined();
    assert_eq!(renews(&own.step(Heard::BeatDue)), (1, 1));
    assert_eq!(own.step(found(Renewal::Renew, 1)), Act::Rest);
    assert_eq!(renews(&own.step(Heard::BeatDue)), (1, 2));
    let silent = |for_ms, cause: &str| Health::Silent { for_ms, cause: cause.to_owned() };
    assert_eq!(own.health(seconds(4)), Health::Ready, "it is counted from when it began");
    assert_eq!(own.health(seconds(5)), silent(4_000, "the renewal has not returned"));
    assert_eq!(own.step(lost("the store is away")), Act::Rest);
    assert_eq!(own.health(seconds(6)), silent(5_000, "the store is away"));
    own.step(Heard::BeatDue);
    assert_eq!(own.step(found(Renewal::Renew, 6)), Act::Rest);
    assert_eq!(own.health(seconds(9)), Health::Ready);
    assert_eq!(
        own.health(seconds(10)),
        silent(4_000, "the renewal has not returned"),
        "the old cause is gone"
    );
}

#[test]
fn one_that_was_declared_dead_goes_on_as_its_next_life_and_counts_its_beats_anew() {
    for drains in [false, true] {
        let mut own = joined();
        own.step(Heard::BeatDue);
        if drains {
            own.step(Heard::Renewal { found: Renewal::Renew, drains, began: seconds(1) });
        }
        assert_eq!(own.is_draining(), drains, "its operator said so");
        let state = if drains { SessionState::Draining } else { SessionState::Active };
        let asked = own.step(found(Renewal::Rejoin, 5));
        assert_eq!(asked, Act::Rejoin { holder: joined().holder(), state });
        assert!(matches!(own.health(seconds(5)), Health::Silent { .. }), "not before the store has said so");
        let heard = Heard::Rejoin { found: Rejoin::Joined(Incarnation(2)), began: seconds(5) };
        assert_eq!(renews(&own.step(heard)), (2, 1), "it was written in an attempt before this one");
        assert!(matches!(own.health(seconds(5)), Health::Silent { .. }), "and not renewed since");
        own.step(found(Renewal::Renew, 5));
        assert_eq!(own.health(seconds(8)), Health::Ready);
        assert_eq!(renews(&own.step(Heard::BeatDue)), (2, 2));
    }
}

#[test]
fn who_is_over_stops_and_is_never_ready_again() {
    for (renewal, health) in [
        (Renewal::Superseded, Health::Superseded),
        (Renewal::Evicted, Health::Evicted),
        (Renewal::Restored, Health::Restored),
    ] {
        let again = Heard::Rejoin { found: Rejoin::Over(renewal), began: seconds(1) };
        for heard in [found(renewal, 1), again] {
            let mut own = joined();
            assert_eq!(own.step(heard), Act::Stop(health.clone()));
            own.step(found(Renewal::Renew, 2));
            assert_eq!(own.health(seconds(2)), health, "for ever");
        }
    }
}

#[test]
fn who_has_left_renews_nothing_and_comes_back_as_nobody() {
    let mut own = joined();
    let holder = own.holder();
    assert_eq!(own.step(Heard::DrainAsked), Act::Write { holder, state: SessionState::Draining });
    assert!(own.is_draining());
    own.step(Heard::BeatDue);
    assert_eq!(own.step(Heard::LeaveAsked), Act::Write { holder, state: SessionState::Left });
    // Of the beat that was under way meanwhile.
    for ended in [Renewal::Rejoin, Renewal::Superseded, Renewal::Evicted] {
        assert_eq!(own.step(found(ended, 1)), Act::End, "{ended:?}");
    }
    assert_eq!(own.step(Heard::BeatDue), Act::End);
    // But for one thing that it has to tell.
    assert_eq!(own.step(found(Renewal::Restored, 1)), Act::Stop(Health::Restored));
}
