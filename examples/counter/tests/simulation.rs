//! The counter on simulated machines that crash, over a network that loses and doubles.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use counter::Counter;
use kelpie::Error;
use kelpie_dst::run::Verdict;
use kelpie_dst::schedule::{Fault, MachineFault, What};

/// Three clients add four times each. In the end every addition that was acknowledged counts,
/// once, and of the others none that was refused.
fn additions(seed: u64) -> Verdict {
    let acknowledged = Arc::new(AtomicI64::new(0));
    let unknown = Arc::new(AtomicI64::new(0));
    let mut cluster = kelpie_dst::cluster(seed, 3).embedded().actor::<Counter>().swarm(5_000);
    for _ in 0..3 {
        let (acknowledged, unknown) = (acknowledged.clone(), unknown.clone());
        cluster = cluster.client(|client| async move {
            let counter = client.actor::<Counter>("a");
            for _ in 0..4 {
                match counter.add(1).await {
                    Ok(_) => acknowledged.fetch_add(1, Relaxed),
                    Err(Error::Unknown(_)) => unknown.fetch_add(1, Relaxed),
                    Err(Error::NotRun(_)) => 0,
                    Err(wrong) => panic!("{wrong}"),
                };
            }
        });
    }
    cluster
        .last(move |client| async move {
            let total = client.actor::<Counter>("a").get().await.expect("the faults are over");
            let (acknowledged, unknown) = (acknowledged.load(Relaxed), unknown.load(Relaxed));
            assert!((acknowledged..=acknowledged + unknown).contains(&total), "{total} of {acknowledged}");
        })
        .run()
}

#[test]
fn sim_no_addition_is_lost_or_doubled() {
    for seed in 0..seeds() {
        assert_eq!(additions(seed).violations, [], "seed {seed}");
    }
}

/// Two clients add to counters of their own on one machine, while some of the calls panic there. Who
/// is told so asks again until the addition is done.
fn panics(seed: u64) -> Verdict {
    let ppm = 300_000;
    let panicking = What::Machine { node: 0, fault: MachineFault::Panics { ppm } };
    let mut cluster = kelpie_dst::cluster(seed, 1).embedded().actor::<Counter>().faults(vec![Fault {
        at_ms: 0,
        for_ms: 4_000,
        what: panicking,
    }]);
    for name in ["a", "b"] {
        cluster = cluster.client(move |client| async move {
            let counter = client.actor::<Counter>(name);
            for total in 1..=8 {
                loop {
                    match counter.add(1).await {
                        Ok(reply) => break assert_eq!(reply, total, "{name}"),
                        Err(Error::App(refusal)) => assert_eq!(refusal.code, "call.panicked"),
                        // Nothing is lost on the way, so there is nothing else to be told.
                        Err(wrong) => panic!("{wrong}"),
                    }
                }
            }
        });
    }
    cluster.run()
}

#[test]
fn sim_a_handler_that_panics_harms_nobody_else() {
    let (seeds, mut panicked) = (seeds().min(200), 0);
    for seed in 0..seeds {
        let verdict = panics(seed);
        assert_eq!(verdict.violations, [], "seed {seed}");
        panicked += verdict.fired["panic-in-a-handler"];
    }
    assert!(panicked > seeds, "{panicked} handlers have panicked");
}

/// Bugs of the runtime that lose or double additions.
#[cfg(feature = "mutants")]
#[test]
fn sim_seeded_bugs_are_caught() {
    let seen = [
        "CommitTransaction_StateOnly",
        "dedup_outside_commit",
        "dedup_not_recorded",
        "reply_before_commit",
        "panic_poisons_neighbours",
    ];
    for bug in seen {
        let run = if bug == "panic_poisons_neighbours" { panics } else { additions };
        let _armed = kelpie_core::mutant::arm(bug);
        let caught = (0..200).find(|seed| !run(*seed).violations.is_empty());
        println!("{bug}: {caught:?}");
        assert!(caught.is_some(), "{bug} was not caught");
    }
}

#[test]
fn sim_one_seed_is_one_run() {
    let (first, second) = (additions(7), additions(7));
    assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events));
}

/// Few, and many where the whole suite runs.
fn seeds() -> u64 {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 2_000 } else { 8 }
}
