//! A drain lets in nothing new and ends what it let in.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::future::join_all;
use kelpie_runtime::CallError;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call};

const CALLS: u64 = 20;

/// Drains a node `after` it was first called, while calls come in, wait and run. Whoever was let in
/// has its end when the drain has: nothing runs on, and nothing of it is lost.
fn drain_while_calls_come_in(seed: u64, after: Duration) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        let (admitted, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let calls = (0..CALLS).map(|i| {
            let (runtime, a, env, admitted, ended) = (&runtime, &a, &env, &admitted, &ended);
            async move {
                env.sleep(Duration::from_millis(i * 5)).await;
                admitted.fetch_add(u64::from(!runtime.is_draining()), Relaxed);
                let reply = call(runtime, a, "add slowly", bytes(1)).await;
                ended.fetch_add(u64::from(reply.is_ok()), Relaxed);
                reply
            }
        });
        let drain = async {
            env.sleep(after).await;
            let drained = runtime.drain(Duration::from_secs(60)).await;
            assert_eq!(runtime.in_flight(), 0, "seed {seed}, {after:?}");
            (drained, ended.load(Relaxed))
        };
        let (replies, (drained, ended)) = futures::join!(join_all(calls), drain);
        assert_eq!(drained.cut_off, 0);
        drained.left.unwrap();
        let served = replies.iter().filter(|reply| reply.is_ok()).count() as u64;
        let refused = replies.iter().filter(|reply| matches!(reply, Err(CallError::ShuttingDown))).count();
        assert_eq!(served + refused as u64, CALLS, "seed {seed}, {after:?}: {replies:?}");
        assert_eq!((served, ended), (admitted.into_inner(), served), "seed {seed}, {after:?}");
        let runtime = world.restart(Counter::all).await;
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), served, "seed {seed}, {after:?}");
    });
}

/// From before the first call until all have come in, in steps that meet no period of theirs.
fn offsets() -> impl Iterator<Item = (u64, Duration)> {
    (0..400).map(|seed| (seed, Duration::from_micros(seed * 271)))
}

#[test]
fn test_shutdown_race_atomicity() {
    offsets().for_each(|(seed, after)| drain_while_calls_come_in(seed, after));
}

#[cfg(feature = "mutants")]
#[test]
fn a_drain_that_drops_what_it_let_in_is_caught() {
    let _armed = kelpie_core::mutant::arm("drain_that_drops");
    for (seed, after) in offsets().step_by(40) {
        // Whenever it begins, somebody is in it.
        std::panic::catch_unwind(|| drain_while_calls_come_in(seed, after)).unwrap_err();
    }
}

#[test]
fn a_drain_at_its_deadline_says_what_it_cut_off() {
    let world = World::new(1);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        let call = call(&runtime, &a, "add slowly", bytes(1));
        let drain = async {
            env.sleep(Duration::from_millis(20)).await;
            runtime.drain(Duration::from_millis(5)).await
        };
        let (_, drained) = futures::join!(call, drain);
        assert_eq!(drained.cut_off, 1);
    });
}
