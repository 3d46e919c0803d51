//! What is owed happens though nobody calls.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::limits::WAKE_BUCKETS;
use kelpie_core::row;

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

/// How many idle reminders there are; a million in the long variant.
fn idle_reminders() -> usize {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 1_000_000 } else { 20_000 }
}

/// Entries of the wake index that nobody of this node's life has written.
async fn leave_entries(world: &World, due_ms: impl Fn(usize) -> u64, count: usize) {
    let store = world.store();
    for first in (0..count).step_by(10_000) {
        let mut tx = store.begin();
        for number in first..count.min(first + 10_000) {
            tx.set(row::wake(&actor("counter", &format!("left {number}")), due_ms(number)), "");
        }
        tx.commit().await.unwrap();
    }
}

#[test]
fn idle_reminders_cost_a_look_at_each_bucket_and_not_at_each_reminder() {
    // Alone it looks at the start, and once a minute for good measure; beside others every 5 s.
    let buckets = u64::from(WAKE_BUCKETS);
    for (single_process, looks_max) in [(true, 11), (false, 122)] {
        let (world, counts) = World::counted(1, single_process);
        world.sim.block_on(async {
            let tomorrow = world.node.env().wall_ms() + 86_400_000;
            leave_entries(&world, |number| tomorrow + number as u64, idle_reminders()).await;
            let runtime = world.start(Counter::all(&world.node.env())).await;
            runtime.env().sleep(Duration::from_mins(10)).await;
            let (scans, rows) = counts.take();
            assert!(scans <= looks_max * buckets, "{scans} scans");
            // One row says that nothing is due.
            assert!(rows <= scans, "{rows} rows in {scans} scans");
            assert!(scans >= buckets);
        });
    }
}

#[test]
fn nobody_is_woken_late_whoever_left_the_entry_and_however_far_ahead() {
    for single_process in [true, false] {
        for seed in 0..2 {
            let (world, _) = World::counted(seed, single_process);
            world.sim.block_on(async {
                let env = world.node.env();
                // A former life has left some, for the next ten minutes.
                let runtime = world.start(Counter::all(&env)).await;
                for number in 0..20 {
                    let after = bytes(60_000 + number * 30_000 + env.random_u64() % 30_000);
                    call(&runtime, &actor("counter", &format!("old {number}")), "remind", after)
                        .await
                        .unwrap();
                }
                let runtime = world.restart(Counter::all).await;
                let env = runtime.env().clone();
                let mut due = Vec::new();
                for number in 0..60 {
                    let (a, after) = (actor("counter", &format!("new {number}")), env.random_u64() % 120_000);
                    due.push((a.clone(), env.wall_ms() + after));
                    call(&runtime, &a, "remind", bytes(after)).await.unwrap();
                    env.sleep(Duration::from_millis(env.random_u64() % 300)).await;
                }
                for number in 0..20 {
                    let a = actor("counter", &format!("old {number}"));
                    due.extend(runtime.inspect(&a).await.unwrap().wake_ms.map(|due_ms| (a, due_ms)));
                }
                due.sort_by_key(|(_, due_ms)| *due_ms);
                for (a, due_ms) in due {
                    let late = Duration::from_millis(due_ms + 100);
                    env.sleep(late.saturating_sub(Duration::from_millis(env.wall_ms()))).await;
                    // It may have been woken early as well, when this life began.
                    let owed = runtime.inspect(&a).await.unwrap();
                    assert_eq!(owed.wake_ms, None, "{a} is late, alone: {single_process}, seed {seed}");
                    assert!(call(&runtime, &a, "get", "").await.unwrap() >= 1_000);
                }
            });
        }
    }
}

#[test]
fn what_others_have_left_is_found_within_a_few_seconds() {
    let (world, _) = World::counted(3, false);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let env = runtime.env().clone();
        env.sleep(Duration::from_secs(60)).await;
        // Another node leaves something, and this one hears nothing of it.
        let mut tx = world.store().begin();
        tx.set(row::wake(&actor("counter", "others"), env.wall_ms() + 1_000), "");
        tx.commit().await.unwrap();
        assert_eq!(runtime.activations(), 0);
        env.sleep(Duration::from_secs(7)).await;
        assert_eq!(runtime.activations(), 1, "nobody looked");
    });
}
