//! A store that keeps its answers to itself, and calls so that whatever a node makes of that is
//! seen by somebody: clients that take the first word for the last one, and that look into the
//! store beside the actor.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_dst::run::{Verdict, run};
use kelpie_dst::schedule::{Fault, Operation, Peers, Placing, Schedule, What};
use kelpie_dst::service::StoreFaults;

/// Clients with these numbers ask once, and take what they are told for the end.
const IMPATIENT: [u32; 5] = [2, 5, 8, 11, 14];
/// When the faults begin. Actors that were called before have an owner.
const BEGINS_MS: u64 = 1_000;
/// Longer than a node waits for the answer to a commit.
const LATE_MAX: Duration = Duration::from_secs(5);

/// One machine, and a store with such faults for as long as there are calls.
fn schedule(scenario: &str, seed: u64, faults: StoreFaults, operations: Vec<Operation>) -> Schedule {
    let fault = Fault { at_ms: BEGINS_MS, for_ms: 9_000, what: What::Store { faults } };
    Schedule {
        scenario: scenario.to_owned(),
        seed,
        nodes: 1,
        peers: Peers::default(),
        capacity: None,
        balanced: false,
        placing: Placing::default(),
        old_builds: BTreeSet::new(),
        unwatched: false,
        embedded: false,
        operations,
        faults: vec![fault],
        mutant: None,
    }
}

fn operation(client: u32, after_ms: u64, actor: (&str, &str), operation: &str, payload: &str) -> Operation {
    Operation {
        client,
        after_ms,
        actor: (actor.0.to_owned(), actor.1.to_owned()),
        operation: operation.to_owned(),
        payload: payload.to_owned(),
    }
}

/// Every impatient client has a counter that nobody else calls, so that nothing that was lost is
/// found by the next call.
fn late_commits(seed: u64) -> Verdict {
    let faults =
        StoreFaults { late_commit_ppm: 500_000, late_commit_max: LATE_MAX, ..StoreFaults::default() };
    let calls = IMPATIENT.map(|client| {
        let key = format!("of {client}");
        let call = |after_ms, what, payload| operation(client, after_ms, ("counter", &key), what, payload);
        [call(0, "get", ""), call(BEGINS_MS + 500, "add", "1")]
    });
    run(&schedule("counters", seed, faults, calls.concat())).unwrap()
}

/// Clients that add to one counter, one after the other, over a store that is slow besides.
fn late_and_slow_commits(seed: u64) -> Verdict {
    let faults = StoreFaults {
        late_commit_ppm: 300_000,
        late_commit_max: LATE_MAX / 2,
        slow_ppm: 1_000_000,
        slow_max: Duration::from_millis(300),
        ..StoreFaults::default()
    };
    let calls = (0..3).flat_map(|client| {
        (0..5).map(move |call| operation(client, 200 + 300 * call, ("counter", "a"), "add", "1"))
    });
    run(&schedule("counters", seed, faults, calls.collect())).unwrap()
}

/// Impatient clients order from shops of their own, whose turns have steps, while the store is away
/// now and then.
fn outages(seed: u64) -> Verdict {
    let faults = StoreFaults { unavailable_ppm: 200_000, ..StoreFaults::default() };
    let calls = IMPATIENT.map(|client| {
        let key = format!("of {client}");
        let call = |after_ms, what, payload: &str| operation(client, after_ms, ("shop", &key), what, payload);
        [
            call(0, "orders", ""),
            call(BEGINS_MS + 100, "order", &format!("w{client}.1")),
            call(400, "order", &format!("w{client}.2")),
        ]
    });
    run(&schedule("orders", seed, faults, calls.concat())).unwrap()
}

/// One client adds; another looks at the stored sum, and then asks the actor for it.
fn lost_answers(seed: u64) -> Verdict {
    let faults = StoreFaults { lost_answer_ppm: 400_000, ..StoreFaults::default() };
    let counter = ("counter", "a");
    let adds = (0..6).map(|_| operation(0, 700, counter, "add", "1"));
    let looks = (0..40).map(|look| match look % 2 {
        0 => operation(1, 150, counter, "peek", "sum"),
        _ => operation(1, 1, counter, "get", ""),
    });
    run(&schedule("counters", seed, faults, adds.chain(looks).collect())).unwrap()
}

/// A run of one seed.
type Run = fn(u64) -> Verdict;

const ALL: [(&str, Run); 4] = [
    ("late commits", late_commits),
    ("late commits of a slow store", late_and_slow_commits),
    ("outages", outages),
    ("lost answers", lost_answers),
];

#[test]
fn sim_what_a_store_keeps_to_itself_misleads_nobody() {
    for (what, run) in ALL {
        for seed in 0..4 {
            assert_eq!(run(seed).violations, [], "{what}, seed {seed}");
        }
    }
}

/// Bugs that need an answer to be lost at one place.
#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    fn seen(bug: &'static str, run: Run) {
        let _armed = kelpie_core::mutant::arm(bug);
        let by = (0..60).find_map(|seed| run(seed).violations.first().map(|found| (seed, found.invariant)));
        println!("{bug}: {by:?}");
        assert!(by.is_some(), "{bug} was not seen");
    }

    #[test]
    fn sim_settling_by_a_look_is_seen() {
        seen("settle_by_look", late_commits);
    }

    #[test]
    fn sim_an_activation_dropped_with_its_commit_in_flight_is_seen() {
        seen("drop_in_flight_without_seq_check", late_and_slow_commits);
    }

    #[test]
    fn sim_a_read_whose_check_leaves_out_the_sequence_is_seen() {
        seen("read_checks_epoch_only", lost_answers);
    }
}
