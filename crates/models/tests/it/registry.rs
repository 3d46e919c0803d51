//! `specs/KelpieRegistry.tla`.

use kelpie_models::explore;
use kelpie_models::registry::Registry;

use crate::recorded;

/// The bounds of `KelpieRegistry.cfg`: two nodes and an actor, one crash or lost answer.
fn bounds() -> Registry {
    Registry { names: vec![0, 1], beats_max: 1, epoch_max: 2, faults_max: 1, mutant: None }
}

#[test]
fn sessions_and_owners_hold_and_the_states_are_those_of_the_specification() {
    let explored = explore(bounds());
    assert_eq!(explored.violated, None);
    assert_eq!(explored.states, recorded(include_str!("../../../../specs/KelpieRegistry.cfg")));
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_sessions_and_owners_are_caught() {
    let bugs = [
        ("late_beat_revives", "HeartbeatStatusSync"),
        ("declare_unvalidated", "OneWins"),
        ("claim_keeps_epoch", "LeaseExclusivity"),
        ("claim_without_own_session", "PlacementConsistency"),
        ("migrates_to_whoever", "NoStillbornClaim"),
    ];
    crate::caught(&bugs, |mutant| Registry { mutant: Some(mutant), ..bounds() });
}

/// Two processes under one name.
#[cfg(feature = "mutants")]
#[test]
fn mutants_of_one_name_are_caught() {
    let bugs = [
        ("release_without_owner_check", "OwnSessionOnly"),
        ("renewal_overwrites_a_new_owner", "HeartbeatStatusSync"),
        ("join_without_boot", "UniqueIncarnation"),
    ];
    crate::caught(&bugs, |mutant| Registry { names: vec![0, 0], mutant: Some(mutant), ..bounds() });
    // With a third one, lives go on until the first comes back.
    let bugs = [("superseded_rejoins", "NoDuel")];
    crate::caught(&bugs, |mutant| Registry { names: vec![0, 0, 1], mutant: Some(mutant), ..bounds() });
}
