//! `specs/KelpieSingleActivation.tla`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use kelpie_models::explore;
use kelpie_models::single_activation::SingleActivation;

use crate::recorded;

/// The bounds of `KelpieSingleActivation_Shared.cfg`: two nodes, a turn and a read, one fault.
fn bounds() -> SingleActivation {
    SingleActivation {
        nodes: 2,
        keys: 1,
        epoch_max: 3,
        incarnation_max: 2,
        faults_max: 1,
        reading: true,
        mutant: None,
        seen: Arc::new(Mutex::new(HashSet::new())),
    }
}

#[test]
fn one_activation_commits_and_the_states_are_those_of_the_specification() {
    let model = bounds();
    let seen = model.seen.clone();
    let explored = explore(model);
    assert_eq!(explored.violated, None);
    let counted = seen.lock().expect("nobody panicked with the lock").len();
    assert_eq!(counted, recorded(include_str!("../../../../specs/KelpieSingleActivation_Shared.cfg")));
}

/// Two turns, and no read. With a second fault it would not hold: an activation that was dropped
/// with its commit under way, and whose successor loses an answer, leaves a head that looks like the
/// successor's own. Nothing in the runtime drops an activation like that: what waits for a commit
/// runs on a task of its own, to its end.
#[test]
fn two_turns_of_one_actor_follow_each_other() {
    let explored = explore(SingleActivation { keys: 2, reading: false, ..bounds() });
    assert_eq!(explored.violated, None);
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_one_activation_are_caught() {
    let bugs = [
        ("TryClaimActor_Racy", "SingleActivation"),
        ("claim_keeps_epoch", "SingleActivation"),
        ("claim_without_own_session", "NoStillbornClaim"),
        ("LeaseExpires_Racy", "LeaseValidityIfActive"),
        ("settle_by_look", "DenialsHold"),
        ("reply_before_commit", "AckedKept"),
        ("drop_in_flight_without_seq_check", "Chain"),
        ("read_checks_epoch_only", "ReadsOk"),
    ];
    crate::caught(&bugs, |mutant| SingleActivation { faults_max: 2, mutant: Some(mutant), ..bounds() });
}
