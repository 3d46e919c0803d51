//! Seeded bugs and whether simulation finds them. In builds with the feature `mutants` only.

use serde::Serialize;

use crate::run::{self, UnknownScenario};
use crate::schedule::Schedule;
use crate::workload;

/// A seeded bug, and in which scenario it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// Its name in the code.
    pub name: &'static str,
    /// Which workload meets it.
    pub scenario: &'static str,
}

/// All that simulation of whole clusters has to find. Others need a fault at one place, where the
/// tests of their crates put it.
pub const ALL: &[Mutant] = &[
    Mutant { name: "CommitTransaction_StateOnly", scenario: "bank" },
    Mutant { name: "dedup_outside_commit", scenario: "counters" },
    Mutant { name: "dedup_not_recorded", scenario: "counters" },
    Mutant { name: "reply_before_commit", scenario: "counters" },
    Mutant { name: "step_commits_state", scenario: "orders" },
    Mutant { name: "wake_cleared_early", scenario: "bank" },
    Mutant { name: "TryClaimActor_Racy", scenario: "counters" },
    Mutant { name: "refused_after_step", scenario: "orders" },
    Mutant { name: "begun_forgotten", scenario: "orders" },
    Mutant { name: "LeaseExpires_Racy", scenario: "counters" },
    Mutant { name: "claim_keeps_epoch", scenario: "counters" },
    Mutant { name: "claim_without_own_session", scenario: "counters" },
    Mutant { name: "late_beat_revives", scenario: "counters" },
    Mutant { name: "renewal_overwrites_a_new_owner", scenario: "counters" },
    Mutant { name: "forward_without_key", scenario: "couriers" },
    Mutant { name: "dedup_not_looked_up", scenario: "counters" },
    Mutant { name: "outbox_key_forgotten", scenario: "bank" },
    Mutant { name: "wal_ack_before_fsync", scenario: "counters" },
    Mutant { name: "CompleteRecovery_Partial", scenario: "counters" },
    Mutant { name: "Complete_Premature", scenario: "counters" },
    Mutant { name: "memtable_forgotten_before_fold", scenario: "counters" },
    Mutant { name: "wal_cut_before_checkpoint_durable", scenario: "counters" },
    Mutant { name: "wal_position_in_second_commit", scenario: "counters" },
    Mutant { name: "Append_DuplicateIdempotency", scenario: "counters" },
    Mutant { name: "unknown_taken_for_done", scenario: "counters" },
    Mutant { name: "panic_poisons_neighbours", scenario: "counters" },
    Mutant { name: "drain_that_drops", scenario: "orders" },
    Mutant { name: "step_result_lost", scenario: "orders" },
    Mutant { name: "reminder_fired_twice", scenario: "reminders" },
    Mutant { name: "run_effect_before_record", scenario: "agents" },
    Mutant { name: "run_orphan_call_at_cancel", scenario: "agents" },
    Mutant { name: "run_approval_lost", scenario: "agents" },
    Mutant { name: "run_next_not_begun", scenario: "agents" },
    Mutant { name: "run_pause_forgotten", scenario: "agents" },
    Mutant { name: "prompt_cut_in_an_exchange", scenario: "agents" },
    Mutant { name: "block_edit_not_seen_by_the_next", scenario: "agents" },
    Mutant { name: "passage_position_not_counted", scenario: "agents" },
    Mutant { name: "passage_without_its_row", scenario: "agents" },
    Mutant { name: "range_of_every_actor", scenario: "agents" },
];

/// What a search for a seeded bug came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hunt {
    /// Its name.
    pub mutant: &'static str,
    /// The scenario.
    pub scenario: &'static str,
    /// How many searches found it.
    pub found: u32,
    /// How many searches there were, each with seeds of its own.
    pub tries: u32,
    /// How many seeds a search took, the median; nothing if most found nothing.
    pub seeds_median: Option<u64>,
    /// What was violated, each with how often.
    pub by: std::collections::BTreeMap<&'static str, u32>,
}

/// Searches for one seeded bug `tries` times, each time with up to `seeds_max` seeds that no
/// other search has.
///
/// # Errors
/// When there is no workload of the mutant's scenario.
pub fn hunt(mutant: Mutant, tries: u32, seeds_max: u64) -> Result<Hunt, UnknownScenario> {
    let workload = workload::by_name(mutant.scenario)
        .ok_or_else(|| UnknownScenario { name: mutant.scenario.to_owned() })?;
    let _armed = kelpie_core::mutant::arm(mutant.name);
    let mut hunt = Hunt {
        mutant: mutant.name,
        scenario: mutant.scenario,
        found: 0,
        tries,
        seeds_median: None,
        by: std::collections::BTreeMap::new(),
    };
    let mut took: Vec<u64> = Vec::new();
    for attempt in 0..u64::from(tries) {
        let mut seeds = u64::MAX;
        for seed in 0..seeds_max {
            let schedule: Schedule = run::draw(workload, attempt * seeds_max + seed);
            if let Some(violation) = run::run(&schedule)?.violations.first() {
                *hunt.by.entry(violation.invariant).or_default() += 1;
                hunt.found += 1;
                seeds = seed + 1;
                break;
            }
        }
        took.push(seeds);
    }
    took.sort_unstable();
    hunt.seeds_median = took.get(took.len() / 2).copied().filter(|seeds| *seeds < u64::MAX);
    Ok(hunt)
}
