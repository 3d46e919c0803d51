//! What slips past the environment: the same in each run of a seed, and told.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::{Instant, SystemTime};

use kelpie_dst::run::{draw, run};
use kelpie_dst::same::compare;
use kelpie_dst::{twice, workload};

use crate::same::{in_a_fresh_process, is_fresh_process, leaky};

/// The order in which a hash map of the standard library has its keys.
#[expect(clippy::disallowed_methods, reason = "its order is what this is about")]
fn order_of_a_map() -> u64 {
    let map: HashMap<u64, ()> = (0..9).map(|key| (key, ())).collect();
    map.keys().fold(0, |order, key| order * 10 + key)
}

/// What a crate may look at that knows nothing of an environment.
#[expect(clippy::disallowed_methods, reason = "what slips past is what this is about")]
fn everything() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let (began, mixed) = (Instant::now(), RandomState::new());
    mixed.hash_one((order_of_a_map(), bytes, wall, began.elapsed()))
}

#[test]
fn sim_a_crate_that_slips_past_its_environment_stays_the_same_and_is_told() {
    let run = |record: &Range<u64>| leaky(everything).traced(record).1;
    if is_fresh_process(run) {
        return;
    }
    // The keys of this thread are drawn: those of a run are not to depend on it.
    let outside = (0..20).map(|_| order_of_a_map()).collect::<std::collections::BTreeSet<_>>();
    assert!(outside.len() > 1, "outside of a simulation maps have orders of their own");
    let verdict = twice(|| leaky(everything));
    assert_eq!(verdict.violations, []);
    let name = "slips::sim_a_crate_that_slips_past_its_environment_stays_the_same_and_is_told";
    let (here, fresh) = (run(&(0..0)), in_a_fresh_process(name, &(0..0)).unwrap());
    let found = compare(
        [&here, &here, &fresh],
        |record| Ok::<_, String>(run(record)),
        |record| in_a_fresh_process(name, record),
    );
    assert_eq!(found.unwrap(), None);
    // A call is three turns: numbers from the crate and, once on the thread, keys of maps;
    // the clock is read three times in each.
    for (call, times) in [("clock_gettime", 9), ("getrandom", 4)] {
        let name = format!("called {call} past its Env");
        // A turn is started by the call of a client, or by that of another node.
        let told: Vec<_> = verdict.slips.iter().filter(|(slip, _)| slip.ends_with(&name)).collect();
        assert!(told.iter().all(|(slip, _)| slip.contains(": turn\"")), "{told:?}");
        assert_eq!(told.iter().map(|(_, times)| **times).sum::<u64>(), times, "{told:?}");
    }
    assert_eq!(verdict.slips.values().sum::<u64>(), 9 + 4, "{:?}", verdict.slips);
}

#[test]
fn sim_nothing_of_kelpie_slips_past() {
    for scenario in workload::ALL {
        for seed in 0..2 {
            assert_eq!(run(&draw(scenario, seed)).unwrap().slips, [].into(), "{} {seed}", scenario.name);
        }
    }
}
