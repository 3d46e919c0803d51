//! Clusters whose machines place actors in other ways, or are not all of one build.

use std::collections::BTreeSet;

use kelpie_core::placement::Strategy;
use kelpie_dst::run::{Verdict, draw, run};
use kelpie_dst::schedule::{Fault, Peers, Placing, Schedule, What, Wishes};
use kelpie_dst::workload;

/// A run of `scenario` in which machines are set up like this and nothing goes wrong.
fn undisturbed(scenario: &str, seed: u64, nodes: u32, placing: Placing) -> Schedule {
    let drawn = draw(workload::by_name(scenario).unwrap(), seed);
    Schedule {
        nodes,
        peers: Peers::Secret,
        capacity: None,
        balanced: true,
        embedded: false,
        placing,
        old_builds: BTreeSet::new(),
        faults: Vec::new(),
        ..drawn
    }
}

fn clean(schedule: &Schedule) -> Verdict {
    let verdict = run(schedule).unwrap();
    assert_eq!(verdict.violations, [], "{schedule:?}");
    assert!(verdict.history.orderly);
    verdict
}

const PLACED: [(Strategy, &str); 3] = [
    (Strategy::LeastLoaded, "placed-least-loaded"),
    (Strategy::Random, "placed-at-random"),
    (Strategy::RoundRobin, "placed-in-turn"),
];

#[test]
fn sim_actors_are_placed_as_their_operator_says() {
    for (strategy, mark) in PLACED {
        let verdict = clean(&undisturbed("counters", 1, 3, Placing { strategy, ..Placing::default() }));
        for (_, other) in PLACED {
            assert_eq!(verdict.fired[other] > 0, other == mark, "{strategy:?}: {other}");
        }
    }
}

/// How often actors were placed as they wish: by a label, with another actor; and how often not.
fn wished(wishes: Wishes) -> [u64; 3] {
    let placing = Placing { wishes, ..Placing::default() };
    let marks = ["placed-by-label", "placed-in-company", "placed-against-wish"];
    let mut met = [0; 3];
    for seed in 0..6 {
        // With fewer machines than racks that some wish.
        let verdict = clean(&undisturbed("bank", seed, 2, placing));
        for (met, mark) in met.iter_mut().zip(marks) {
            *met += verdict.fired[mark];
        }
    }
    met
}

#[test]
fn sim_wishes_of_actors_are_followed_where_they_can_be() {
    assert_eq!(wished(Wishes::None), [0; 3]);
    let [by_label, in_company, against] = wished(Wishes::Mixed);
    assert!(by_label > 0 && in_company > 0 && against > 0, "{by_label}, {in_company}, {against}");
}

#[test]
fn sim_a_machine_that_holds_much_more_gives_some_away_and_no_call_fails() {
    let workload = workload::by_name("counters").unwrap();
    let crowds =
        (0..200).map(|seed| draw(workload, seed)).filter(|drawn| drawn.placing.rebalance_ms.is_some());
    let mut given_away = 0;
    for drawn in crowds.take(3) {
        given_away += clean(&undisturbed("counters", drawn.seed, 3, drawn.placing)).fired["given-away"];
    }
    assert!(given_away > 0);
}

/// Machines of two builds, which are all restarted while clients call.
fn upgrade(old_builds: &[u32]) -> Schedule {
    let restart = Fault { at_ms: 500, for_ms: 20_000, what: What::RollingRestart };
    let schedule = undisturbed("counters", 3, 3, Placing::default());
    Schedule { old_builds: old_builds.iter().copied().collect(), faults: vec![restart], ..schedule }
}

#[test]
fn sim_a_rolling_upgrade_fails_no_call() {
    for old in [&[0][..], &[1, 2], &[0, 1, 2]] {
        let verdict = clean(&upgrade(old));
        assert_eq!(verdict.fired["node-upgrade"], old.len() as u64, "{old:?}");
        assert!(verdict.fired["mixed-versions"] > 0, "{old:?}");
    }
    let verdict = clean(&upgrade(&[]));
    assert_eq!([verdict.fired["node-upgrade"], verdict.fired["mixed-versions"]], [0, 0]);
}

#[test]
fn seeds_draw_every_way_of_placing_and_machines_of_two_builds() {
    for workload in workload::ALL {
        let drawn: Vec<Schedule> = (0..200).map(|seed| draw(workload, seed)).collect();
        let count = |is: &dyn Fn(&Schedule) -> bool| drawn.iter().filter(|schedule| is(schedule)).count();
        for (strategy, _) in PLACED {
            assert!(count(&|drawn| drawn.placing.strategy == strategy) > 40, "{}", workload.name);
        }
        assert!(count(&|drawn| drawn.placing.wishes == Wishes::Mixed) > 40, "{}", workload.name);
        let crowds = count(&|drawn| drawn.placing.rebalance_ms.is_some());
        assert_eq!(crowds > 5, !workload.has_agents(), "{}: {crowds}", workload.name);
        let old = count(&|drawn| !drawn.old_builds.is_empty());
        assert!((20..80).contains(&old), "{}: {old}", workload.name);
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    #[test]
    fn sim_mutant_wish_not_asked() {
        let _armed = kelpie_core::mutant::arm("wish_not_asked");
        assert_eq!(wished(Wishes::Mixed), [0; 3]);
    }

    #[test]
    fn sim_mutant_speaks_its_newest() {
        let _armed = kelpie_core::mutant::arm("speaks_its_newest");
        let fails = |seed| {
            let schedules = [&[0][..], &[1, 2]].map(|old| Schedule { seed, ..upgrade(old) });
            schedules.iter().any(|schedule| !run(schedule).unwrap().violations.is_empty())
        };
        assert!((0..20).any(fails), "nodes that do not understand each other fail calls");
    }
}
