//! A store that loses answers: each key still has its effect once.

use futures::future::join_all;
use kelpie_core::advice::Advice;
use kelpie_runtime::Runtime;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, call_with_key};

/// Adds one with each of twenty keys, again until the store has taken it. Returns the total.
fn add_over_a_lossy_store(seed: u64) -> u64 {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let all = (0..20).map(|i| add_until_taken(&runtime, i));
        let mut replies = join_all(all).await;
        replies.sort_unstable();
        replies.dedup();
        if replies.len() != 20 {
            return 0;
        }
        // Whatever was in flight has landed by now, or never will.
        runtime.env().sleep(std::time::Duration::from_secs(1)).await;
        let total = loop {
            if let Ok(total) = call(&runtime, &a, "get", "").await {
                break total;
            }
        };
        let stored = runtime.view(&a).get(b"total").await.unwrap().unwrap();
        assert_eq!(crate::world::number(&stored), total, "seed {seed}: a read differs from the store");
        total
    })
}

async fn add_until_taken(runtime: &Runtime, i: u64) -> u64 {
    let a = actor("counter", "a");
    loop {
        match call_with_key(runtime, &a, "add", bytes(1), &format!("k{i}")).await {
            Ok(reply) => return reply,
            Err(error) => assert!(matches!(error.advice(), Advice::NotRun | Advice::Unknown), "{error}"),
        }
    }
}

#[test]
fn lost_answers_are_settled_by_a_write() {
    for seed in 0..100 {
        assert_eq!(add_over_a_lossy_store(seed), 20, "seed {seed}");
    }
}

/// Adds one with each of twenty keys, each just once. Returns how many were told that it
/// happened, and how often it did.
fn believe_every_answer(seed: u64) -> (u64, u64) {
    let world = World::lossy(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let all = (0..20).map(|i| {
            let (runtime, a) = (&runtime, &a);
            async move { call_with_key(runtime, a, "add", bytes(1), &format!("k{i}")).await }
        });
        let replies = join_all(all).await;
        let definite = |reply: &Result<_, kelpie_runtime::CallError>| match reply {
            Ok(_) => true,
            Err(error) => error.advice() == Advice::NotRun,
        };
        assert!(replies.iter().all(definite), "seed {seed}: {replies:?}");
        runtime.env().sleep(std::time::Duration::from_secs(1)).await;
        let total = runtime.view(&a).get(b"total").await.unwrap().unwrap_or_default();
        (replies.iter().filter(|reply| reply.is_ok()).count() as u64, crate::world::number(&total))
    })
}

#[test]
fn what_was_told_not_to_have_happened_never_happens() {
    for seed in 0..1_000 {
        let (told, happened) = believe_every_answer(seed);
        assert_eq!(told, happened, "seed {seed}");
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::{add_over_a_lossy_store, believe_every_answer};

    fn caught(name: &'static str) -> bool {
        let _armed = kelpie_core::mutant::arm(name);
        (0..3000).any(|seed| {
            let found = std::panic::catch_unwind(|| {
                let (told, happened) = believe_every_answer(seed);
                told == happened && add_over_a_lossy_store(seed) == 20
            });
            !found.unwrap_or(false)
        })
    }

    #[test]
    fn settling_by_a_look_is_caught() {
        assert!(caught("settle_by_look"));
    }

    #[test]
    fn an_activation_dropped_with_its_commit_in_flight_needs_the_sequence() {
        assert!(caught("drop_in_flight_without_seq_check"));
    }

    #[test]
    fn a_reply_before_its_commit_is_caught() {
        assert!(caught("reply_before_commit"));
    }

    #[test]
    fn a_reply_recorded_outside_the_commit_is_caught() {
        assert!(caught("CommitTransaction_StateOnly"));
    }
}
