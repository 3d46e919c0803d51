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
    /// So many seeds a search for it may take.
    pub seeds_max: u64,
}

const fn common(name: &'static str, scenario: &'static str) -> Mutant {
    Mutant { name, scenario, seeds_max: 500 }
}

/// One that shows only where several rare things come together.
const fn rare(name: &'static str, scenario: &'static str) -> Mutant {
    Mutant { name, scenario, seeds_max: 3_000 }
}

/// All that simulation of whole clusters has to find. Others need a fault at one place, where the
/// tests of their crates put it.
pub const ALL: &[Mutant] = &[
    common("CommitTransaction_StateOnly", "bank"),
    common("dedup_outside_commit", "counters"),
    common("dedup_not_recorded", "counters"),
    common("reply_before_commit", "counters"),
    common("step_commits_state", "orders"),
    common("resumed_turn_begins_anew", "orders"),
    common("beginning_not_recorded", "couriers"),
    common("wake_cleared_early", "bank"),
    common("TryClaimActor_Racy", "counters"),
    common("refused_after_step", "orders"),
    common("begun_forgotten", "orders"),
    rare("LeaseExpires_Racy", "counters"),
    common("claim_keeps_epoch", "counters"),
    common("failed_renewal_counts", "counters"),
    rare("found_life_counts_as_renewed", "reminders"),
    rare("claim_without_own_session", "counters"),
    common("late_beat_revives", "counters"),
    common("renewal_overwrites_a_new_owner", "counters"),
    common("forward_without_key", "couriers"),
    common("dedup_not_looked_up", "counters"),
    common("outbox_key_forgotten", "bank"),
    common("wal_ack_before_fsync", "counters"),
    common("CompleteRecovery_Partial", "counters"),
    common("Complete_Premature", "counters"),
    common("memtable_forgotten_before_fold", "counters"),
    common("wal_cut_before_checkpoint_durable", "counters"),
    common("wal_position_in_second_commit", "counters"),
    common("Append_DuplicateIdempotency", "counters"),
    common("unknown_taken_for_done", "counters"),
    common("panic_poisons_neighbours", "counters"),
    common("drain_that_drops", "orders"),
    common("step_result_lost", "orders"),
    common("reminder_fired_twice", "reminders"),
    common("run_effect_before_record", "agents"),
    common("run_orphan_call_at_cancel", "agents"),
    common("run_approval_lost", "agents"),
    common("run_next_not_begun", "agents"),
    common("run_pause_forgotten", "agents"),
    common("schedule_stays_when_it_has_come", "agents"),
    common("prompt_cut_in_an_exchange", "agents"),
    common("block_edit_not_seen_by_the_next", "agents"),
    common("passage_position_not_counted", "agents"),
    common("passage_without_its_row", "agents"),
    common("range_of_every_actor", "agents"),
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
