//! Single faults, each in a cluster that meets nothing else.

use kelpie_dst::history::Ended;
use kelpie_dst::run::{Verdict, draw, run, watched};
use kelpie_dst::schedule::{CLIENTS, Fault, MachineFault, Peers, STORE, Schedule, What};
use kelpie_dst::workload;

/// A run of `scenario` with one fault, from early on and for 4 s.
fn schedule(scenario: &str, seed: u64, nodes: u32, what: What) -> Schedule {
    let faults = vec![Fault { at_ms: 100, for_ms: 4_000, what }];
    let drawn = draw(workload::by_name(scenario).unwrap(), seed);
    let peers = Peers::Secret;
    Schedule { nodes, peers, capacity: None, balanced: false, embedded: false, faults, ..drawn }
}

fn clean(schedule: &Schedule) -> Verdict {
    let verdict = run(schedule).unwrap();
    assert_eq!(verdict.violations, [], "{schedule:?}");
    verdict
}

#[test]
fn sim_a_call_whose_handler_panics_is_refused_once_and_leaves_nothing() {
    let mut panicked = 0;
    for (scenario, seed) in [("counters", 1), ("logs", 2), ("bank", 3), ("orders", 4), ("reminders", 5)] {
        let what = What::Machine { node: 0, fault: MachineFault::Panics { ppm: 400_000 } };
        // What a panicked call had done would show in what the judges know of its actor.
        let verdict = clean(&schedule(scenario, seed, 2, what));
        let refused = |ended: &Ended| *ended == Ended::App("call.panicked".to_owned());
        let calls = verdict.history.calls.iter().filter(|call| call.ended.as_ref().is_some_and(refused));
        let told = u64::try_from(calls.count()).unwrap();
        let happened = verdict.fired["panic-in-a-handler"];
        assert!(told <= happened, "{scenario}: {told} told of {happened}");
        panicked += told;
    }
    assert!(panicked > 5, "{panicked}");
}

#[test]
fn sim_a_machine_that_is_cut_off_for_good_is_done_without() {
    let schedule = schedule("counters", 7, 3, What::CutOff { node: 1 });
    let verdict = clean(&schedule);
    assert_eq!(verdict.fired["permanent-partition"], 1);
    let (_, timeline) = watched(&schedule).unwrap();
    let lane = u32::try_from(timeline.lanes.iter().position(|lane| lane == "n1").unwrap()).unwrap();
    let since = timeline.began + 100_000;
    let of_it = timeline.messages.iter().filter(|message| message.from == lane && message.sent > since);
    assert!(of_it.clone().any(|message| message.sent > timeline.healed), "it goes on asking");
    assert!(of_it.clone().all(|message| message.arrived.is_empty()), "and nobody hears it, to the end");
    assert!(verdict.history.calls.iter().filter(|call| call.probe).all(|call| call.reply().is_some()));
}

#[test]
fn sim_the_last_machine_is_never_given_up() {
    for (nodes, faults) in [(1, vec![0]), (2, vec![0, 1]), (2, vec![1, 1, 5])] {
        let cut_off = |node| Fault { at_ms: 100, for_ms: 1_000, what: What::CutOff { node } };
        let faults: Vec<Fault> = faults.into_iter().map(cut_off).collect();
        let schedule = Schedule { faults, ..schedule("counters", 8, nodes, What::StorePause) };
        let verdict = clean(&schedule);
        assert_eq!(verdict.fired["permanent-partition"], u64::from(nodes) - 1);
    }
}

#[test]
fn sim_swizzled_ways_open_in_another_order_and_deliver_what_they_held() {
    let ways = vec![(0, STORE), (CLIENTS, 0), (STORE, 0)];
    let swizzle = |order| schedule("counters", 9, 1, What::Swizzle { ways: ways.clone(), order });
    assert_eq!(clean(&swizzle(vec![0, 1, 2])).fired["swizzle-clog"], 0, "in the same order");
    let schedule = swizzle(vec![2, 0, 1]);
    let verdict = clean(&schedule);
    assert_eq!(verdict.fired["swizzle-clog"], 1, "the third opens before the first");
    assert!(verdict.fired["clog"] > 0);
    // Six steps in 4 s: the first way is clogged for 4 of them.
    let (_, timeline) = watched(&schedule).unwrap();
    let opened = timeline.began + 100_000 + 4_000_000 / 6 * 4 - 1_000;
    let lane = |name| u32::try_from(timeline.lanes.iter().position(|lane| lane == name).unwrap()).unwrap();
    let (n0, store) = (lane("n0"), lane("store"));
    let held = timeline.began + 102_000..opened;
    let late: Vec<_> = timeline
        .messages
        .iter()
        .filter(|message| (message.from, message.to) == (n0, store) && held.contains(&message.sent))
        .collect();
    assert!(!late.is_empty());
    assert!(late.iter().all(|message| message.arrived.iter().all(|at| *at >= opened)), "{late:?}");
}

#[test]
fn sim_a_machine_that_two_people_drain_is_not_ended_while_it_serves() {
    let drain =
        |at_ms, for_ms| Fault { at_ms, for_ms, what: What::Machine { node: 0, fault: MachineFault::Drain } };
    // It is started again after the second one, and serves when the first one is over.
    let faults = vec![drain(100, 6_000), drain(200, 3_000)];
    let drawn = schedule("counters", 10, 3, What::StorePause);
    let verdict = clean(&Schedule { balanced: true, faults, ..drawn });
    assert!(verdict.history.orderly);
    assert_eq!(verdict.fired["process-kill"], 1, "that of the process which had left");
}
