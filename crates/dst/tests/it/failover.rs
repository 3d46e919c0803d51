//! What clients see of a node that dies, stands still, or cannot be reached from one side.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_core::limits::LEASE_TERM;
use kelpie_dst::history::Call;
use kelpie_dst::run::{Verdict, draw, run, watched};
use kelpie_dst::schedule::{Fault, MachineFault, Operation, Peers, Placing, STORE, Schedule, What};
use kelpie_dst::timeline::CommitMark;
use kelpie_dst::workload;

const ACTORS: u32 = 3;

/// Three clients for each of three counters, which add and read all the time for `span_ms`.
fn busy(seed: u64, nodes: u32, span_ms: u64, faults: Vec<Fault>) -> Schedule {
    let pause = 150;
    let calls = span_ms / pause;
    let operations = (0..3 * ACTORS).flat_map(|client| {
        (0..calls).map(move |call| Operation {
            client,
            after_ms: if call == 0 { u64::from(client) * 17 } else { pause },
            actor: ("counter".to_owned(), format!("a{}", client % ACTORS)),
            operation: if call % 3 == 2 { "get" } else { "add" }.to_owned(),
            payload: if call % 3 == 2 { String::new() } else { "1".to_owned() },
        })
    });
    Schedule {
        nodes,
        peers: Peers::Secret,
        capacity: None,
        balanced: true,
        placing: Placing::default(),
        old_builds: BTreeSet::new(),
        embedded: false,
        operations: operations.collect(),
        faults,
        ..draw(workload::by_name("counters").unwrap(), seed)
    }
}

fn clean(schedule: &Schedule) -> Verdict {
    let verdict = run(schedule).unwrap();
    assert_eq!(verdict.violations, [], "seed {}: {:?}", schedule.seed, schedule.faults);
    verdict
}

fn machine(node: u32, at_ms: u64, for_ms: u64, fault: MachineFault) -> Fault {
    Fault { at_ms, for_ms, what: What::Machine { node, fault } }
}

/// A process stands still for more than ten terms while others take its actors, with clocks that are
/// wrong and ways that lead in one direction only; then it goes on with what it had in hand.
fn zombie(seed: u64) -> Schedule {
    let node = u32::try_from(seed % 3).unwrap();
    let (next, last) = ((node + 1) % 3, (node + 2) % 3);
    let pause_ms = 11 * u64::try_from(LEASE_TERM.as_millis()).unwrap();
    let block = What::Block { from: last, to: STORE, both: false, every_ms: 0 };
    let faults = vec![
        machine(next, 100, 40_000, MachineFault::Drift { ppm: 40_000 }),
        machine(node, 1_000 + 37 * seed, pause_ms, MachineFault::Pause),
        machine(last, 6_000, 20_000, MachineFault::WallJump { by_ms: -3_600_000 }),
        machine(next, 8_000, 20_000, MachineFault::WallJump { by_ms: 3_600_000 }),
        Fault { at_ms: 15_000, for_ms: 9_000, what: block },
        // Once more, for less than a term and for a little more.
        machine(next, 36_000, 2_500, MachineFault::Pause),
        machine(last, 37_000, 4_000, MachineFault::Pause),
    ];
    busy(seed, 3, 42_000, faults)
}

/// The same with orders, whose turns are for the most part waiting for what is outside, in steps.
fn ordering(schedule: Schedule) -> Schedule {
    let order = |(number, operation): (usize, &Operation)| {
        let reads = operation.operation == "get";
        let (name, payload) =
            if reads { ("orders", String::new()) } else { ("order", format!("thing{number}")) };
        let actor = ("shop".to_owned(), operation.actor.1.clone());
        Operation { actor, operation: name.to_owned(), payload, ..operation.clone() }
    };
    let operations = schedule.operations.iter().enumerate().map(order).collect();
    Schedule { scenario: "orders".to_owned(), operations, ..schedule }
}

#[test]
fn test_zombie_actor_reclaim_race() {
    let mut reclaimed = 0;
    for seed in 0..9 {
        let schedule = if seed < 6 { zombie(seed) } else { ordering(zombie(seed)) };
        let (verdict, timeline) = watched(&schedule).unwrap();
        assert_eq!(verdict.violations, [], "seed {seed}");
        assert!(verdict.fired["process-pause"] > 0 && verdict.fired["clock-drift"] > 0);
        // Others took what the zombie had: it committed before, and they claimed meanwhile.
        let zombie = format!("n{}", seed % 3);
        let lane = timeline.lanes.iter().position(|name| *name == zombie).unwrap();
        let lane = Some(u32::try_from(lane).unwrap());
        let from = timeline.began + (1_000 + 37 * seed) * 1_000;
        let takes = |what: &str| what.contains("own/") && !what.contains("head/");
        let had = timeline.commits.iter().any(|commit| commit.by == lane && commit.at < from);
        let claimed = timeline
            .commits
            .iter()
            .filter(|commit| commit.by != lane && commit.at > from && takes(&commit.what));
        reclaimed += if had { claimed.count() } else { 0 };
    }
    assert!(reclaimed > 3, "{reclaimed} actors were taken from a process that stood still");
}

/// A commit that compares nothing: the process goes on with the turn that it had in hand. One that
/// waited for the store finds that its time is over, and settles what it asked for; one that waited for
/// something outside commits.
#[cfg(feature = "mutants")]
#[test]
fn sim_commits_of_a_zombie_violate_single_activation() {
    let _armed = kelpie_core::mutant::arm("commit_without_fence");
    let violated = |seed| {
        let verdict = run(&ordering(zombie(seed))).unwrap();
        verdict.violations.iter().any(|violation| violation.invariant == "SingleActivation")
    };
    assert!((6..40).any(violated), "whoever came back committed nothing");
}

/// Something happens to a machine that ends its process, and nobody helps: other nodes declare it dead,
/// and each key answers, within the lease and a second. How long that took at most.
fn ends_and_is_replaced(fault: &MachineFault) -> Duration {
    let limit = LEASE_TERM + Duration::from_secs(1);
    let mut longest = Duration::ZERO;
    for seed in 0..8 {
        let nodes = 3 + u32::try_from(seed % 3).unwrap();
        let (node, at_ms) = (u32::try_from(seed).unwrap() % nodes, 3_000 + 61 * seed);
        let faults = vec![machine(node, at_ms, 12_000, fault.clone())];
        let schedule = Schedule { unwatched: true, ..busy(seed, nodes, 12_000, faults) };
        let (verdict, timeline) = watched(&schedule).unwrap();
        assert_eq!(verdict.violations, [], "seed {seed}");
        let session = format!("node/n{node}\\x00session");
        let ended = timeline.began + at_ms * 1_000;
        let written = |commit: &&CommitMark| commit.at > ended && commit.what.contains(&session);
        let declared = timeline.commits.iter().find(written).expect("somebody says that it is dead");
        let by = declared.by.map(|lane| timeline.lanes[usize::try_from(lane).unwrap()].as_str());
        assert!(by.is_some_and(|by| by.starts_with('n')), "seed {seed}: a node does, not {by:?}");
        let dead = Duration::from_micros(declared.at - ended);
        assert!(dead <= limit, "seed {seed}: declared dead after {dead:?}");
        let killed = verdict.began + Duration::from_millis(at_ms);
        for actor in 0..ACTORS {
            let key = format!("a{actor}");
            let answered =
                |call: &&Call| call.actor_key == key && call.asked_at >= killed && call.reply().is_some();
            let first =
                verdict.history.calls.iter().filter(answered).map(|call| call.ended_at).min().unwrap();
            let took = first - killed;
            assert!(took <= limit, "seed {seed}, {key}: {took:?}");
            longest = longest.max(took);
        }
    }
    longest
}

fn after_a_kill_each_key_answers() {
    let longest = ends_and_is_replaced(&MachineFault::Kill);
    // Its port refuses connections, as two nodes find.
    assert!(longest <= Duration::from_millis(1_500), "{longest:?}");
}

fn after_a_power_cut_each_key_answers() {
    ends_and_is_replaced(&MachineFault::PowerCut);
}

#[test]
fn sim_after_a_kill_each_key_answers_within_the_lease_and_a_second() {
    after_a_kill_each_key_answers();
}

#[test]
fn sim_after_a_power_cut_each_key_answers_within_the_lease_and_a_second() {
    after_a_power_cut_each_key_answers();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_a_watcher_that_declares_nobody_is_caught() {
    let _armed = kelpie_core::mutant::arm("watcher_declares_nobody");
    for test in [after_a_kill_each_key_answers, after_a_power_cut_each_key_answers] {
        std::panic::catch_unwind(test).expect_err("nobody is declared dead");
    }
}

/// A way between two of the machines is cut for good.
fn cut_in_one_direction(seed: u64, nodes: u32, span_ms: u64) -> Schedule {
    let of = |seed: u64| u32::try_from(seed % u64::from(nodes)).unwrap();
    let (from, to) = (of(seed), of(seed + 1));
    let cut = Fault { at_ms: 500, for_ms: span_ms, what: What::CutWay { from, to } };
    busy(seed, nodes, span_ms, vec![cut])
}

#[test]
fn sim_a_way_that_is_cut_in_one_direction_wedges_nobody() {
    for seed in 0..6 {
        let verdict = clean(&cut_in_one_direction(seed, 3, 3_000));
        assert_eq!(verdict.fired["permanent-one-way-partition"], 1);
        // Who asks from one side takes the actor over from the other one, once in a term.
        let longest = verdict.history.calls.iter().map(|call| call.ended_at - call.asked_at).max().unwrap();
        assert!(longest < 4 * LEASE_TERM, "seed {seed}: {longest:?}");
    }
}

/// A commit that compares the state it has seen, and not whose the actor is by now, as one of a node
/// that trusts its lease. A read through one end of the way claims the actor over and commits nothing;
/// whoever adds through the other end then finds the node that has lost it.
#[cfg(feature = "mutants")]
#[test]
fn sim_commits_of_an_owner_that_was_claimed_over_violate_single_activation() {
    const SPAN_MS: u64 = 20_000;
    let schedule = |seed| {
        // Two alone: nobody tells the owner who has taken its actors.
        let mut schedule = cut_in_one_direction(seed, 2, SPAN_MS);
        for operation in &mut schedule.operations {
            let adds = operation.client < ACTORS;
            operation.after_ms *= if adds { 15 } else { 3 };
            let (name, payload) = if adds { ("add", "1") } else { ("get", "") };
            (operation.operation, operation.payload) = (name.to_owned(), payload.to_owned());
        }
        let mut times = [0; 3 * ACTORS as usize];
        schedule.operations.retain(|operation| {
            let time: &mut u64 = &mut times[operation.client as usize];
            *time += operation.after_ms;
            *time < SPAN_MS
        });
        schedule
    };
    let violated = |seed| {
        let verdict = run(&schedule(seed)).unwrap();
        verdict.violations.iter().any(|violation| violation.invariant == "SingleActivation")
    };
    assert!(!violated(0), "nothing is wrong with it");
    let _armed = kelpie_core::mutant::arm("LeaseExpires_Racy");
    assert!(
        (0..160).any(violated),
        "whoever is claimed over commits nothing, also when its commits do not look"
    );
}
