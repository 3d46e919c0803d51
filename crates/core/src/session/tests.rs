//! What each row of a session may become.

use super::*;

fn joiner(boot: u128) -> Joiner {
    Joiner {
        node: NodeId::new("n1").unwrap(),
        boot: Boot(boot),
        address: String::new(),
        version: "0".into(),
        protocols: Protocols::default(),
        lease_ms: 3_000,
        labels: BTreeSet::new(),
        capacity: None,
        holds_directory: false,
        silent: None,
    }
}

fn holder(incarnation: u64, boot: u128) -> Holder {
    Holder { incarnation: Incarnation(incarnation), boot: Boot(boot), generation: 7 }
}

fn written(join: Join) -> Session {
    match join {
        Join::Write(session) => session,
        Join::Joined(_) | Join::Refused(..) => panic!("not written: {join:?}"),
    }
}

#[test]
fn a_live_session_is_replaced_only_by_who_holds_its_directory() {
    let first = written(join(None, None, &joiner(1)));
    assert!(matches!(join(Some(&first), None, &joiner(2)), Join::Refused(..)));
    let second = written(join(Some(&first), None, &Joiner { holds_directory: true, ..joiner(2) }));
    assert_eq!(second.incarnation, Incarnation(2));
}

#[test]
fn a_beat_that_moves_before_the_join_keeps_its_session() {
    let first = written(join(None, None, &joiner(1)));
    let lease = |beat| Lease { incarnation: first.incarnation, beat, load: 0 };
    let silent = Some(Beat::of(&first, Some(&lease(7))));
    let heir = Joiner { silent, ..joiner(2) };
    assert!(matches!(join(Some(&first), Some(&lease(8)), &heir), Join::Refused(..)));
    let second = written(join(Some(&first), Some(&lease(7)), &heir));
    assert_eq!(second.incarnation, Incarnation(2));
    // The same number of another life is another beat.
    assert!(matches!(
        join(Some(&second), Some(&lease(7)), &Joiner { boot: Boot(3), ..heir }),
        Join::Refused(..)
    ));
}

#[test]
fn a_newcomer_has_a_version_in_common_with_every_live_node_that_it_has_to_talk_to() {
    let speaks = |min, max| Protocols { min, max };
    let address = || "n2:7000".to_owned();
    let (n1, n2) = (NodeId::new("n1").unwrap(), NodeId::new("n2").unwrap());
    let first = Session { address: address(), ..written(join(None, None, &joiner(1))) };
    let second = Session { protocols: speaks(2, 2), boot: Boot(2), ..first.clone() };
    let talk = |mine: &Session, node: &NodeId, theirs: &Session| {
        can_talk(Named { node: &n1, session: mine }, Named { node, session: theirs })
    };
    let refused = talk(&second, &n2, &first).unwrap_err();
    assert_eq!((refused.theirs, refused.ours), (speaks(1, 1), speaks(2, 2)));
    assert_eq!(talk(&Session { protocols: speaks(1, 2), ..second.clone() }, &n2, &first), Ok(()));
    // The name's own former life, one that has ended, and whoever serves alone.
    let dead = Session { state: SessionState::Dead, ..first.clone() };
    let alone = Session { address: String::new(), ..first.clone() };
    assert_eq!(talk(&second, &n1, &first), Ok(()));
    assert_eq!(talk(&second, &n2, &dead), Ok(()));
    assert_eq!(talk(&second, &n2, &alone), Ok(()));
    assert_eq!(talk(&Session { address: String::new(), ..second }, &n2, &first), Ok(()));
}

#[test]
fn a_session_that_does_not_say_what_it_speaks_speaks_the_first_version() {
    #[derive(Serialize)]
    struct Before<'a> {
        incarnation: Incarnation,
        boot: Boot,
        state: SessionState,
        address: &'a str,
        version: &'a str,
    }
    let (incarnation, boot, state) = (Incarnation(1), Boot(1), SessionState::Active);
    let before = crate::record::encode(&Before { incarnation, boot, state, address: "", version: "0" });
    let session: Session = crate::record::decode(&before).unwrap();
    assert_eq!(session.protocols, Protocols { min: 1, max: 1 });
}

#[test]
fn a_join_of_unknown_outcome_is_recognised_by_its_boot() {
    let session = written(join(None, None, &joiner(1)));
    assert_eq!(join(Some(&session), None, &joiner(1)), Join::Joined(session));
}

#[test]
fn the_dead_stay_dead() {
    let mut session = written(join(None, None, &joiner(1)));
    session.state = SessionState::Dead;
    assert_eq!(renew(Some(&session), Some(7), &holder(1, 1)), Renewal::Rejoin);
    assert_eq!(written(join(Some(&session), None, &joiner(1))).incarnation, Incarnation(2));
    session.boot = Boot(9);
    assert_eq!(renew(Some(&session), Some(7), &holder(1, 1)), Renewal::Superseded);
}

#[test]
fn a_session_is_renewed_by_its_own_process_in_its_own_store_alone() {
    let first = written(join(None, None, &joiner(1)));
    let draining = Session { state: SessionState::Draining, ..first.clone() };
    let left = Session { state: SessionState::Left, ..first.clone() };
    let renewed = |standing, holder| renew(standing, Some(7), &holder);
    assert_eq!(renewed(Some(&first), holder(1, 1)), Renewal::Renew);
    assert_eq!(renewed(Some(&draining), holder(1, 1)), Renewal::Renew);
    assert_eq!(renewed(Some(&left), holder(1, 1)), Renewal::Rejoin, "the end of a session is final");
    assert_eq!(renewed(Some(&first), holder(2, 1)), Renewal::Rejoin, "another life of the same process");
    assert_eq!(renewed(Some(&first), holder(1, 2)), Renewal::Superseded);
    assert_eq!(renewed(None, holder(1, 1)), Renewal::Superseded);
}

#[test]
fn a_process_that_finds_itself_dead_goes_on_as_the_next_incarnation() {
    let dead = Session { state: SessionState::Dead, ..written(join(None, None, &joiner(1))) };
    let rejoined = |standing, holder| rejoin(standing, Some(7), &holder, SessionState::Active);
    let Rejoin::Write(second) = rejoined(Some(&dead), holder(1, 1)) else { panic!("it rejoins") };
    assert_eq!((second.incarnation, second.boot), (Incarnation(2), Boot(1)));
    assert_eq!(second.state, SessionState::Active);
    // The answer was lost, and the process asks again.
    assert_eq!(rejoined(Some(&second), holder(1, 1)), Rejoin::Joined(Incarnation(2)));
    let draining = rejoin(Some(&dead), Some(7), &holder(1, 1), SessionState::Draining);
    assert!(matches!(draining, Rejoin::Write(session) if session.state == SessionState::Draining));
}

#[test]
fn who_was_replaced_evicted_or_restored_never_rejoins() {
    let dead = Session { state: SessionState::Dead, ..written(join(None, None, &joiner(1))) };
    let rejoined = |standing, generation| rejoin(standing, generation, &holder(1, 1), SessionState::Active);
    let heir = Session { boot: Boot(2), ..dead.clone() };
    assert_eq!(rejoined(Some(&heir), Some(7)), Rejoin::Over(Renewal::Superseded), "dead or not");
    assert_eq!(rejoined(None, Some(7)), Rejoin::Over(Renewal::Superseded));
    let evicted = Session { state: SessionState::Evicted, ..dead.clone() };
    assert_eq!(rejoined(Some(&evicted), Some(7)), Rejoin::Over(Renewal::Evicted));
    assert_eq!(rejoined(Some(&dead), Some(8)), Rejoin::Over(Renewal::Restored));
    // A new process may have the name of either.
    assert_eq!(written(join(Some(&evicted), None, &joiner(3))).incarnation, Incarnation(2));
}

#[test]
fn only_the_beat_that_was_watched_is_declared_dead() {
    let first = written(join(None, None, &joiner(1)));
    let lease = |beat| Lease { incarnation: first.incarnation, beat, load: 0 };
    let watched = Beat::of(&first, Some(&lease(7)));
    let dead = Session { state: SessionState::Dead, ..first.clone() };
    assert_eq!(declare_dead(Some(&first), Some(&lease(7)), &watched), Declaration::Write(dead.clone()));
    assert_eq!(declare_dead(Some(&first), Some(&lease(8)), &watched), Declaration::Renewed);
    assert_eq!(declare_dead(Some(&dead), Some(&lease(7)), &watched), Declaration::Over);
    let heir = Session { incarnation: Incarnation(2), boot: Boot(2), ..first.clone() };
    assert_eq!(declare_dead(Some(&heir), Some(&lease(7)), &watched), Declaration::Over);
    assert_eq!(declare_dead(None, None, &watched), Declaration::Over);
    let draining = Session { state: SessionState::Draining, ..first };
    assert!(matches!(declare_dead(Some(&draining), Some(&lease(7)), &watched), Declaration::Write(_)));
}

#[test]
fn an_operator_drains_what_is_active_and_evicts_what_is_live() {
    let active = written(join(None, None, &joiner(1)));
    let draining = drain(&active).unwrap();
    assert_eq!(draining.state, SessionState::Draining);
    assert_eq!(drain(&draining), None);
    for live in [active, draining] {
        let evicted = evict(&live).unwrap();
        assert_eq!(evicted.state, SessionState::Evicted);
        assert_eq!((evict(&evicted), drain(&evicted)), (None, None));
    }
}

#[test]
fn a_session_out_of_a_backup_is_not_renewed() {
    let first = written(join(None, None, &joiner(1)));
    for generation in [None, Some(8)] {
        assert_eq!(renew(Some(&first), generation, &holder(1, 1)), Renewal::Restored);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_sessions_are_caught() {
    let tests: [(&'static str, fn()); 2] = [
        ("join_without_boot", a_live_session_is_replaced_only_by_who_holds_its_directory),
        ("superseded_rejoins", who_was_replaced_evicted_or_restored_never_rejoins),
    ];
    for (mutant, test) in tests {
        let _armed = crate::mutant::arm(mutant);
        std::panic::catch_unwind(test).expect_err(mutant);
    }
}
