//! What is owed happens though nobody calls.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::{Counter, Outside};
use crate::world::{World, actor, bytes, call};

#[test]
fn an_actor_wakes_at_its_time_also_after_a_restart() {
    for (restarts, seed) in [(false, 1), (true, 2)] {
        let world = World::new(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            call(&runtime, &a, "remind", bytes(120_000)).await.unwrap();
            let runtime = if restarts { world.restart(Counter::all).await } else { runtime };
            runtime.env().sleep(Duration::from_secs(100)).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 0);
            runtime.env().sleep(Duration::from_secs(30)).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 1_000);
            runtime.env().sleep(Duration::from_secs(300)).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 1_000);
        });
    }
}

#[test]
fn an_effect_that_a_crash_interrupted_is_done_again_at_once() {
    for seed in 0..20 {
        let outside = Arc::new(Outside::default());
        let world = World::new(seed);
        world.sim.block_on(async {
            let env = world.node.env();
            let runtime = world.start(Counter::with(&env, &outside)).await;
            let a = actor("counter", "a");
            call(&runtime, &a, "effect", bytes(7)).await.unwrap();
            env.sleep(Duration::from_millis(seed * 10)).await;
            let runtime = world.restart(|env| Counter::with(env, &outside)).await;
            runtime.env().sleep(Duration::from_secs(1)).await;
            assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 7, "seed {seed}");
            assert!((1..=2).contains(&outside.total()), "seed {seed}");
        });
    }
}
