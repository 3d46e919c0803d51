//! Seeded bugs of the contract: each is caught by the property that it breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kelpie_core::mutant;

use super::world::{Target, World, simulated};
use super::{histories, isolation, model, runs, versionstamps, watches};

/// Asks `property` of `target` with the bug `name`, under one seed after the other, until it
/// fails with words that the bug deserves, and returns them; the harm may show otherwise
/// before.
fn caught(name: &'static str, target: Target, deserved: &str, property: impl AsyncFn(&World)) -> String {
    let _armed = mutant::arm(name);
    let mut others = Vec::new();
    for seed in 0..40 {
        let asked = catch_unwind(AssertUnwindSafe(|| simulated(target, seed, &property)));
        let Err(panic) = asked else { continue };
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        let said = said.expect("a panic has words");
        if said.contains(deserved) {
            println!("{name}: seed {seed}, after {} other failures: {said}", others.len());
            return said;
        }
        others.push(said);
    }
    panic!("{name} lives; {} other failures: {:?}", others.len(), others.first());
}

#[test]
fn sim_mutant_version_before_visibility() {
    let bug = "version_before_visibility";
    caught(bug, Target::SimEmbedded, "increments that were acknowledged are lost", async |world| {
        isolation::a_reader_that_starts_during_a_commit_loses_no_update(world).await;
    });
    caught(bug, Target::SimEmbedded, "has two histories", async |world| {
        histories::concurrent_histories_are_strictly_serializable(world).await;
    });
}

#[test]
fn sim_mutant_resolver_skips_range_reads() {
    let bug = "resolver_skips_range_reads";
    for target in [Target::SimMemory, Target::SimEmbedded] {
        caught(bug, target, "[Ok(Committed", isolation::phantoms_are_refused);
        let deserved = "it committed although what it has read was written";
        let said = caught(bug, target, deserved, model::random_operations_do_what_the_model_does);
        // Two transactions, a read, a write that it depends on, two commits.
        assert!(said.lines().count() < 10, "not shrunk: {said}");
        caught(bug, target, "each before the next", async |world| {
            histories::concurrent_histories_are_strictly_serializable(world).await;
        });
    }
}

#[test]
fn sim_mutant_blind_retry_of_unknown() {
    let deserved = "effects that did not happen exactly once";
    caught("blind_retry_of_unknown", Target::SimMemory, deserved, async |world| {
        runs::unknown_outcomes_are_settled_exactly_once(world).await;
    });
}

#[test]
fn sim_mutant_settle_by_look() {
    let deserved = "effects that did not happen exactly once";
    caught("settle_by_look", Target::SimMemory, deserved, async |world| {
        runs::unknown_outcomes_are_settled_exactly_once(world).await;
    });
}

#[test]
fn sim_mutant_versionstamp_drawn_early() {
    let deserved = "not in the order of their commits";
    caught("versionstamp_drawn_early", Target::SimEmbedded, deserved, async |world| {
        versionstamps::versionstamps_grow_in_the_order_of_commits(world).await;
    });
    let deserved = "the feed grew behind its reader";
    caught("versionstamp_drawn_early", Target::SimEmbedded, deserved, async |world| {
        versionstamps::a_feed_never_grows_behind_its_reader(world).await;
    });
}

#[test]
fn sim_mutant_watch_registered_after_read() {
    caught("watch_registered_after_read", Target::SimEmbedded, "a wake-up was lost", async |world| {
        watches::no_wake_up_is_lost(world).await;
    });
}
