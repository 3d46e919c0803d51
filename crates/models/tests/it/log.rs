//! `specs/KelpieWAL.tla`.

use kelpie_models::explore;
use kelpie_models::log::{Fault, Log};

use crate::recorded;

/// The bounds of `KelpieWAL_Shared.cfg`.
fn bounds() -> Log {
    let faulty = &[Fault::Power, Fault::Kill, Fault::Sync, Fault::Write, Fault::Deadline];
    Log { keys: 2, slots: 2, files_max: 3, appends_max: 3, faults_max: 1, faulty, mutant: None }
}

#[test]
fn the_log_keeps_what_it_acknowledged_and_the_states_are_those_of_the_specification() {
    let explored = explore(bounds());
    assert_eq!(explored.violated, None);
    assert_eq!(explored.states, recorded(include_str!("../../../../specs/KelpieWAL_Shared.cfg")));
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_log_are_caught() {
    let bugs = [
        ("wal_ack_before_fsync", "WAL_Durability"),
        ("recovery_trusts_the_page_cache", "WAL_Durability"),
        ("wal_reused_lsn", "WAL_Monotonicity"),
        ("Append_DuplicateIdempotency", "WAL_IdempotencyGuarantee"),
        ("wal_replay_past_torn", "WAL_RecoveryCompleteness"),
        ("CompleteRecovery_Partial", "WAL_RecoveryCompleteness"),
    ];
    crate::caught(&bugs, |mutant| Log { mutant: Some(mutant), ..bounds() });
}

/// These take more than one fault, and less of everything else.
#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_log_that_take_several_faults_are_caught() {
    let bugs = [("refused_batch_stays", "WAL_NoZombieComplete")];
    crate::caught(&bugs, |mutant| Log {
        keys: 1,
        appends_max: 1,
        faults_max: 2,
        faulty: &[Fault::Write, Fault::Kill],
        mutant: Some(mutant),
        ..bounds()
    });
    let bugs = [("wal_cut_ignored", "WAL_NoZombieComplete")];
    crate::caught(&bugs, |mutant| Log {
        keys: 1,
        appends_max: 1,
        faults_max: 3,
        faulty: &[Fault::Power, Fault::Write, Fault::Sync],
        mutant: Some(mutant),
        ..bounds()
    });
    let bugs = [("wal_generation_not_checked", "WAL_RecoveryCompleteness")];
    crate::caught(&bugs, |mutant| Log {
        keys: 3,
        files_max: 2,
        faults_max: 3,
        faulty: &[Fault::Kill],
        mutant: Some(mutant),
        ..bounds()
    });
}
