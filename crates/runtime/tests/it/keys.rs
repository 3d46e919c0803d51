//! One effect and one reply for each key.

use std::time::Duration;

use futures::future::join_all;
use kelpie_runtime::CallError;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, call_with_key};

/// Calls with each of ten keys three times, at once and after a restart. Returns the total.
fn repeat_keys(seed: u64) -> u64 {
    let world = World::new(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let all = (0..30).map(|i| {
            let (runtime, a) = (&runtime, &a);
            async move { call_with_key(runtime, a, "add", bytes(1), &format!("k{}", i % 10)).await.unwrap() }
        });
        let replies = join_all(all).await;
        let runtime = world.restart(Counter::all).await;
        for (i, first) in replies.iter().enumerate() {
            let again = call_with_key(&runtime, &a, "add", bytes(1), &format!("k{}", i % 10)).await.unwrap();
            assert_eq!(again, *first, "key k{}", i % 10);
        }
        call(&runtime, &a, "get", "").await.unwrap()
    })
}

#[test]
fn a_key_has_its_effect_once_at_once_and_after_a_restart() {
    for seed in 0..20 {
        assert_eq!(repeat_keys(seed), 10);
    }
}

#[test]
fn a_key_stays_with_its_first_request() {
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        call_with_key(&runtime, &a, "add", bytes(1), "k").await.unwrap();
        let reused = call_with_key(&runtime, &a, "add", bytes(2), "k").await;
        assert!(matches!(reused, Err(CallError::KeyReused)), "{reused:?}");
        let elsewhere = call_with_key(&runtime, &actor("counter", "b"), "add", bytes(1), "k").await;
        assert_eq!(elsewhere.unwrap(), 1);
    });
}

#[test]
fn a_refusal_is_remembered_too() {
    let world = World::new(3);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        for _ in 0..2 {
            let refused = call_with_key(&runtime, &a, "refuse", bytes(1), "k").await;
            assert!(matches!(refused, Err(CallError::App { .. })));
        }
        assert_eq!(runtime.store().stats().commits, world.store().stats().commits);
    });
}

#[test]
fn old_keys_are_swept_and_count_as_new() {
    let world = World::new(4);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        for i in 0..100 {
            call_with_key(&runtime, &a, "add", bytes(1), &format!("k{i}")).await.unwrap();
        }
        world.node.jump_wall(25 * 3_600 * 1_000);
        env.sleep(Duration::from_secs(1)).await;
        assert_eq!(call_with_key(&runtime, &a, "add", bytes(1), "k0").await.unwrap(), 101);
        for _ in 0..128 {
            call(&runtime, &a, "add", bytes(0)).await.unwrap();
        }
        let rows = kelpie_storage::RangeQuery::prefix(&kelpie_core::row::dedups(&a));
        let left = world.store().begin().get_range(rows).await.unwrap().rows.len();
        assert!(left <= 129, "{left} rows, of which 100 have expired");
    });
}
