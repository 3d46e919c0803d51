//! Seeded bugs of the log and the checkpoint: each must be caught, by the violation that it
//! deserves.

use kelpie_core::mutant;

use super::{End, Violation, every_operation, explore};

/// Runs until `name` leads to the violation that it deserves; the harm may show otherwise
/// before.
fn caught(
    name: &'static str,
    runs: impl IntoIterator<Item = (u64, End)>,
    deserved: impl Fn(&Violation) -> bool,
) {
    let _armed = mutant::arm(name);
    let mut others = Vec::new();
    for (count, (seed, end)) in runs.into_iter().enumerate() {
        match explore(seed, end) {
            Err(violation) if deserved(&violation) => {
                println!(
                    "{name}: run {count}, seed {seed}, {end:?}, after {} others: {violation:?}",
                    others.len()
                );
                return;
            }
            Err(violation) => others.push(violation),
            Ok(_) => {}
        }
    }
    others.sort();
    panic!("{name} lives; {} other violations, {:?} … {:?}", others.len(), others.first(), others.last());
}

/// Crash points of `seeds`, every `step`th; counted without the mutant, whose own runs may
/// fail.
fn crash_points(seeds: std::ops::Range<u64>, step: usize) -> Vec<(u64, End)> {
    every_operation(seeds, step).collect()
}

fn on_the_way(seeds: std::ops::Range<u64>, end: impl Fn(u64) -> End) -> Vec<(u64, End)> {
    let whole = explore(0, End::Whole).expect("a run without a fault").operations;
    seeds
        .flat_map(|seed| (1..whole).step_by(3).map(move |at| (seed, at)))
        .map(|(seed, at)| (seed, end(at)))
        .collect()
}

#[test]
fn sim_mutant_wal_ack_before_fsync() {
    caught("wal_ack_before_fsync", crash_points(0..5, 1), |found| {
        matches!(found, Violation::AcknowledgedLost(_))
    });
}

#[test]
fn sim_mutant_version_published_before_fsync() {
    caught("version_published_before_fsync", on_the_way(0..20, |at| End::SyncFails { at }), |found| {
        matches!(found, Violation::SeenLost(_))
    });
}

#[test]
fn sim_mutant_wal_skip_checksum() {
    caught("wal_skip_checksum", crash_points(0..20, 1), |found| {
        matches!(found, Violation::WrongState(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_replay_past_torn() {
    caught("wal_replay_past_torn", crash_points(0..20, 1), |found| matches!(found, Violation::NotAPrefix(_)));
}

#[test]
fn sim_mutant_wal_cut_before_checkpoint_durable() {
    caught("wal_cut_before_checkpoint_durable", crash_points(0..20, 1), |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_position_in_second_commit() {
    caught("wal_position_in_second_commit", crash_points(0..20, 1), |found| {
        matches!(found, Violation::AcknowledgedLost(_))
    });
}

#[test]
fn sim_mutant_wal_reused_lsn() {
    caught("wal_reused_lsn", crash_points(0..20, 1), |found| matches!(found, Violation::NumberReused(_)));
}

#[test]
fn sim_mutant_poison_ignored() {
    // What came later says that it had been durable: the start is refused.
    caught("poison_ignored", on_the_way(0..20, |at| End::SyncFails { at }), |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_recovery_trusts_the_page_cache() {
    caught(
        "recovery_trusts_the_page_cache",
        on_the_way(0..20, |at| End::SyncFailsAndRestart { at }),
        |found| matches!(found, Violation::SeenLost(_) | Violation::Refused(_)),
    );
}
