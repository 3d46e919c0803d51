//! Seeded bugs of the log and the checkpoint: each must be caught, by the violation that it
//! deserves.

use kelpie_core::mutant;

use super::sim_points::{Met, Recording, Trouble};
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
        .flat_map(|seed| (1..whole).step_by(2).map(move |at| (seed, at)))
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
    caught("wal_skip_checksum", crash_points(0..5, 1), |found| {
        matches!(found, Violation::WrongState(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_replay_past_torn() {
    caught("wal_replay_past_torn", crash_points(20..24, 1), |found| {
        matches!(found, Violation::NotAPrefix(_))
    });
}

#[test]
fn sim_mutant_wal_cut_before_checkpoint_durable() {
    caught("wal_cut_before_checkpoint_durable", crash_points(0..5, 1), |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_position_in_second_commit() {
    caught("wal_position_in_second_commit", crash_points(0..5, 1), |found| {
        matches!(found, Violation::AcknowledgedLost(_))
    });
}

#[test]
fn sim_mutant_wal_reused_lsn() {
    caught("wal_reused_lsn", crash_points(32..36, 1), |found| matches!(found, Violation::NumberReused(_)));
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

/// Records runs in which `trouble` befalls and crashes them everywhere, until `name` leads to
/// the violation that it deserves.
fn hunted(name: &'static str, trouble: Trouble, deserved: impl Fn(&Violation) -> bool) {
    let _armed = mutant::arm(name);
    let mut others = Vec::new();
    for seed in 0..10 {
        let (points, live) = match Recording::make(seed, trouble) {
            Ok(recording) => (Some(recording), None),
            Err(violation) => (None, Some(violation)),
        };
        let crashes = points.iter().flat_map(|recording| {
            let points = (0..recording.points()).step_by(3);
            points.map(move |point| recording.crash(point, &mut Met::default()).err())
        });
        for (count, found) in std::iter::once(live).chain(crashes).enumerate() {
            match found {
                Some(violation) if deserved(&violation) => {
                    println!(
                        "{name}: seed {seed}, crash {count}, after {} others: {violation:?}",
                        others.len()
                    );
                    return;
                }
                found => others.extend(found),
            }
        }
    }
    others.sort();
    panic!("{name} lives; {} other violations, {:?} … {:?}", others.len(), others.first(), others.last());
}

#[test]
fn sim_mutant_wal_fsync_skipped_one_in_50() {
    hunted("wal_fsync_skipped_one_in_50", Trouble::None, |found| {
        matches!(found, Violation::AcknowledgedLost(_))
    });
}

#[test]
fn sim_mutant_append_duplicate_idempotency() {
    // Where refused commits take numbers, a hole between two says nothing.
    hunted("Append_DuplicateIdempotency", Trouble::FailedWrite, |found| {
        matches!(found, Violation::RecordTwice(_))
    });
}

#[test]
fn sim_mutant_complete_premature() {
    hunted("Complete_Premature", Trouble::None, |found| matches!(found, Violation::AcknowledgedLost(_)));
}

#[test]
fn sim_mutant_complete_recovery_partial() {
    hunted("CompleteRecovery_Partial", Trouble::None, |found| {
        matches!(found, Violation::AcknowledgedLost(_))
    });
}

#[test]
fn sim_mutant_wal_generation_not_checked() {
    // Records of a former life of the segment count again.
    hunted("wal_generation_not_checked", Trouble::None, |found| {
        matches!(found, Violation::NotAPrefix(_) | Violation::WrongState(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_segment_name_not_synced() {
    // The newest segment is known to have been begun.
    hunted("wal_segment_name_not_synced", Trouble::None, |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_wal_spare_name_not_synced() {
    hunted("wal_spare_name_not_synced", Trouble::None, |found| matches!(found, Violation::Refused(_)));
}

#[test]
fn sim_mutant_wal_retired_segment_reused() {
    hunted("wal_retired_segment_reused", Trouble::None, |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::Refused(_))
    });
}

#[test]
fn sim_mutant_memtable_forgotten_before_fold() {
    // A reader sees that what was acknowledged is gone, before any crash.
    hunted("memtable_forgotten_before_fold", Trouble::None, |found| {
        matches!(found, Violation::AcknowledgedLost(_) | Violation::WrongState(_))
    });
}

#[test]
fn sim_mutant_refused_batch_stays() {
    hunted("refused_batch_stays", Trouble::FailedWrite, |found| matches!(found, Violation::Undead(_)));
}
