//! A drain lets in nothing new and ends what it let in.

use std::time::Duration;

use futures::future::join_all;
use kelpie_runtime::CallError;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call};

#[test]
fn test_shutdown_race_atomicity() {
    for seed in 0..100 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let env = world.node.env();
            let runtime = world.start(Counter::all(&env)).await;
            let a = actor("counter", "a");
            let calls = (0..20).map(|i| {
                let (runtime, a, env) = (&runtime, &a, &env);
                async move {
                    env.sleep(Duration::from_millis(i * 5)).await;
                    call(runtime, a, "add slowly", bytes(1)).await
                }
            });
            let drain = async {
                env.sleep(Duration::from_micros(seed * 700)).await;
                runtime.drain(Duration::from_secs(60)).await
            };
            let (replies, drained) = futures::join!(join_all(calls), drain);
            assert_eq!(drained.cut_off, 0);
            drained.left.unwrap();
            let served = replies.iter().filter(|reply| reply.is_ok()).count() as u64;
            let refused =
                replies.iter().filter(|reply| matches!(reply, Err(CallError::ShuttingDown))).count();
            assert_eq!(served + refused as u64, 20, "seed {seed}: {replies:?}");
            let runtime = world.restart(Counter::all).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), served, "seed {seed}");
        });
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
