//! The counter on simulated machines that crash, over a network that loses and doubles.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use counter::Counter;
use kelpie::Error;
use kelpie_dst::run::Verdict;

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

#[test]
fn sim_one_seed_is_one_run() {
    let (first, second) = (additions(7), additions(7));
    assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events));
}

/// Few, and many where the whole suite runs.
fn seeds() -> u64 {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 2_000 } else { 8 }
}
