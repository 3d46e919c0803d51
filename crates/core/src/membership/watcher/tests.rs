use super::super::tests::{member, node};
use super::*;
use crate::session::SessionState;

const TERM: Duration = Duration::from_secs(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn watcher() -> Watcher {
    Watcher::new(node("me"), TERM)
}

/// A reading of 10 ms that shows this beat of `b`, right after a renewal of the watcher's own.
fn read(watcher: &mut Watcher, began: u64, beat: u64) -> Vec<Suspicion> {
    watcher.step(Input::Renewed { began: ms(began) });
    read_only(watcher, began, beat)
}

fn read_only(watcher: &mut Watcher, began: u64, beat: u64) -> Vec<Suspicion> {
    let members = vec![
        member("b", 1, beat, SessionState::Active),
        member("c", 1, began, SessionState::Active),
        member("me", 1, 7, SessionState::Active),
    ];
    declared(watcher.step(Input::Read { began: ms(began), returned: ms(began + 10), members }))
}

fn declared(effects: Vec<Effect>) -> Vec<Suspicion> {
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Declare(suspicion) => Some(suspicion),
            Effect::Changed(_) => None,
        })
        .collect()
}

fn refused(watcher: &mut Watcher, by: &str, at: u64) {
    let boot = Boot(u128::from(b'b'));
    assert_eq!(watcher.step(Input::Refused { by: node(by), node: node("b"), boot, at: ms(at) }), []);
}

#[test]
fn a_beat_that_stands_still_is_declared_with_the_beat_that_was_watched_and_nobody_else() {
    let mut watcher = watcher();
    let mut found = Vec::new();
    for n in 0..40 {
        found.extend(read(&mut watcher, n * 100, 5));
    }
    let first = found.first().unwrap();
    let watched = member("b", 1, 5, SessionState::Active).beat();
    assert_eq!(first, &Suspicion { node: node("b"), watched, grounds: Grounds::Silent });
    assert_eq!(found.len(), 4, "from 3.6 s to 3.9 s, each time it is read: {found:?}");
}

/// When a node is first declared whose lease has this term, by a watcher with that one.
fn declared_at(its: u64, mine: u64) -> u64 {
    let mut watcher = Watcher::new(node("me"), ms(mine));
    let mut of = |at, term| {
        let mut still = member("b", 1, 5, SessionState::Active);
        still.session.lease_ms = term;
        watcher.step(Input::Renewed { began: ms(at) });
        let read = Input::Read { began: ms(at), returned: ms(at + 10), members: vec![still] };
        !declared(watcher.step(read)).is_empty()
    };
    let every = mine / 24;
    (0..2_000).map(|n| n * every).find(|at| of(*at, its)).expect("it is declared")
}

#[test]
fn of_two_terms_the_longer_counts() {
    assert_eq!(declared_at(3_000, 3_000), 3_625);
    assert_eq!(declared_at(12_000, 3_000), 14_125, "by its own term, which is longer");
    assert_eq!(declared_at(3_000, 12_000), 14_500, "by the watcher's, who reads no more often");
    // One that comes back under the same name with a longer term is watched anew.
    let mut watcher = watcher();
    let mut found = 0;
    for n in 0..80 {
        let mut still = member("b", 1, 5, SessionState::Active);
        still.session.lease_ms = if n < 30 { 3_000 } else { 60_000 };
        watcher.step(Input::Renewed { began: ms(n * 100) });
        let read = Input::Read { began: ms(n * 100), returned: ms(n * 100 + 10), members: vec![still] };
        found += declared(watcher.step(read)).len();
    }
    assert_eq!(found, 0);
}

#[test]
fn a_node_that_renews_is_never_declared() {
    let mut watcher = watcher();
    for n in 0..400 {
        assert_eq!(read(&mut watcher, n * 100, n / 33), [], "every 3.3 s, which is within the margin");
    }
}

#[test]
fn a_gap_in_the_readings_starts_anew() {
    let mut watcher = watcher();
    for n in 0..30 {
        assert_eq!(read(&mut watcher, n * 100, 5), []);
    }
    // The store was away for everybody.
    assert_eq!(read(&mut watcher, 12_000, 5), []);
    for n in 0..=34 {
        assert_eq!(read(&mut watcher, 12_100 + n * 100, 5), []);
    }
    assert_eq!(read(&mut watcher, 15_600, 5).len(), 1);
}

#[test]
fn a_reading_that_lasts_is_a_gap() {
    let mut watcher = watcher();
    let members = || vec![member("b", 1, 5, SessionState::Active)];
    let long = |watcher: &mut Watcher, began, returned| {
        watcher.step(Input::Renewed { began: ms(began) });
        declared(watcher.step(Input::Read { began: ms(began), returned: ms(returned), members: members() }))
    };
    assert_eq!(long(&mut watcher, 0, 10), []);
    assert_eq!(long(&mut watcher, 100, 9_000), []);
    assert_eq!(long(&mut watcher, 9_100, 9_110), []);
    assert_eq!(long(&mut watcher, 12_000, 12_010), []);
}

#[test]
fn what_long_readings_took_at_both_ends_does_not_count() {
    let mut watcher = watcher();
    for n in 0..=5 {
        let (began, members) = (n * 950, vec![member("b", 1, 5, SessionState::Active)]);
        watcher.step(Input::Renewed { began: ms(began) });
        let input = Input::Read { began: ms(began), returned: ms(began + 700), members };
        let found = declared(watcher.step(input));
        assert_eq!(found.len(), usize::from(n == 5), "from 0.7 s to {began} ms");
    }
}

#[test]
fn who_does_not_renew_himself_declares_nobody() {
    let mut watcher = watcher();
    watcher.step(Input::Renewed { began: ms(0) });
    for n in 0..200 {
        assert_eq!(read_only(&mut watcher, n * 100, 5), [], "the store takes no writes of anybody, maybe");
    }
    let mut failing = Watcher::new(node("me"), TERM);
    for n in 0..200 {
        assert_eq!(read(&mut failing, n * 100, 5), []);
        if n % 10 == 0 {
            failing.step(Input::NotRenewed);
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_watcher_are_caught() {
    use std::panic::catch_unwind;
    let tests: [(&'static str, fn()); 2] = [
        ("watcher_counts_gaps", a_gap_in_the_readings_starts_anew),
        ("watches_without_renewing", who_does_not_renew_himself_declares_nobody),
    ];
    for (mutant, test) in tests {
        let _armed = crate::mutant::arm(mutant);
        catch_unwind(test).expect_err(mutant);
    }
}

#[test]
fn two_nodes_that_are_refused_twice_each_have_it_declared_at_the_next_reading() {
    let mut watcher = watcher();
    assert_eq!(read(&mut watcher, 0, 5), []);
    for at in [100, 150, 160] {
        refused(&mut watcher, "me", at);
    }
    assert_eq!(read(&mut watcher, 200, 5), [], "one node's word is not enough");
    refused(&mut watcher, "c", 250);
    assert_eq!(read(&mut watcher, 300, 5), [], "and twice each");
    refused(&mut watcher, "c", 350);
    let watched = member("b", 1, 5, SessionState::Active).beat();
    let found = Suspicion { node: node("b"), watched, grounds: Grounds::Refused };
    assert_eq!(read(&mut watcher, 400, 5), [found]);
    assert_eq!(read(&mut watcher, 500, 6), [], "it lives after all");
}

/// What is declared after these refused connections, each by whom and when, and a beat.
fn declared_after(refusals: &[(&str, u64)], beat: u64) -> usize {
    let mut watcher = watcher();
    let mut last = 0;
    read(&mut watcher, 0, 5);
    for (by, at) in refusals {
        while last + 500 < *at {
            last += 500;
            read(&mut watcher, last, 5);
        }
        refused(&mut watcher, by, *at);
        last = *at;
    }
    read(&mut watcher, last + 100, beat).len()
}

#[test]
fn refusals_before_a_beat_or_long_ago_or_of_the_suspect_say_nothing() {
    let twice = [("me", 100), ("me", 150), ("c", 160), ("c", 170)];
    assert_eq!(declared_after(&twice, 5), 1);
    assert_eq!(declared_after(&twice, 6), 0, "it has renewed since: it lives");
    assert_eq!(declared_after(&[("me", 100), ("me", 150), ("b", 160), ("b", 170)], 5), 0);
    assert_eq!(declared_after(&[("me", 100), ("me", 150), ("c", 3_160), ("c", 3_170)], 5), 0);
    assert_eq!(declared_after(&[("me", 100), ("me", 150), ("c", 100), ("c", 3_170)], 5), 0);
}

#[test]
fn refusals_of_another_process_say_nothing() {
    let mut watcher = watcher();
    read(&mut watcher, 0, 5);
    for by in ["me", "c", "me", "c"] {
        let boot = Boot(99);
        watcher.step(Input::Refused { by: node(by), node: node("b"), boot, at: ms(100) });
    }
    assert_eq!(read(&mut watcher, 200, 5), []);
}
