//! A node's name over a store that other processes write too: taken from the dead, never
//! from the living.

use std::time::Duration;

use kelpie_runtime::{Options, Runtime, StartError};

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call};

#[test]
fn sim_a_killed_node_comes_back_once_its_beat_has_stood_still() {
    for seed in 0..20 {
        let world = World::lossy(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            let mut count = 0;
            while count == 0 {
                count = call(&runtime, &a, "add", bytes(1)).await.unwrap_or(0);
            }
            world.node.kill();
            let env = world.node.restart();
            let killed = env.now();
            let runtime = world.start(Counter::all(&env)).await;
            let waited = env.now() - killed;
            let bounds = Duration::from_millis(3_500)..Duration::from_secs(8);
            assert!(bounds.contains(&waited), "seed {seed}: it came back after {waited:?}");
            let mut kept = None;
            while kept.is_none() {
                kept = call(&runtime, &a, "get", "").await.ok();
            }
            assert_eq!(kept, Some(count), "seed {seed}");
        });
    }
}

#[test]
fn sim_a_name_whose_node_lives_is_refused() {
    for seed in 0..20 {
        let world = World::lossy(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let other = world.sim.node("n2").env();
            let started = Runtime::start(
                Options::alone("n1").unwrap(),
                other.clone(),
                world.store(),
                Counter::all(&other),
            );
            let refused = started.await.map(drop);
            assert!(matches!(refused, Err(StartError::Join(_))), "seed {seed}: {refused:?}");
            assert!(refused.unwrap_err().to_string().contains("choose another --node"), "seed {seed}");
            let mut served = call(&runtime, &actor("counter", "a"), "add", bytes(1)).await;
            while served.is_err() {
                served = call(&runtime, &actor("counter", "a"), "add", bytes(1)).await;
            }
        });
    }
}
