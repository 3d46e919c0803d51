//! What an inspection says went wrong last, also when the activation went with it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie_core::id::ActorId;
use kelpie_runtime::{CallError, Runtime};

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, call_with_key, caller, key};

async fn sleep(runtime: &Runtime, ms: u64) {
    runtime.env().sleep(Duration::from_millis(ms)).await;
}

async fn last_error(runtime: &Runtime, actor: &ActorId) -> String {
    runtime.inspect(actor).await.unwrap().last_error.map(|(_, error)| error).unwrap_or_default()
}

#[test]
fn a_panic_is_the_last_error_until_the_next_one() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        assert_eq!(last_error(&runtime, &a).await, "");
        sleep(&runtime, 100).await;
        let panicked_ms = runtime.env().wall_ms();
        call(&runtime, &a, "panic", bytes(1)).await.unwrap_err();
        let panicked = Some((panicked_ms, "its handler `panic` panicked: as asked".to_owned()));
        assert_eq!(runtime.inspect(&a).await.unwrap().last_error, panicked);
        // Neither a turn that ends well nor leaving memory makes it another one.
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        sleep(&runtime, 30_000).await;
        let seen = runtime.inspect(&a).await.unwrap();
        assert_eq!((seen.turns, seen.last_error), (None, panicked));
        call(&runtime, &a, "refuse", bytes(1)).await.unwrap_err();
        assert_eq!(last_error(&runtime, &a).await, "counter.refused: not today");
        assert_eq!(last_error(&runtime, &actor("counter", "b")).await, "");
    });
}

#[test]
fn a_turn_that_has_to_be_begun_again_says_why_meanwhile() {
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let panics = call_with_key(&runtime, &a, "step, then panic", bytes(1), "k");
        let look = async {
            sleep(&runtime, 1_000).await;
            let seen = runtime.inspect(&a).await.unwrap();
            (seen.unfinished.unwrap().0.attempts, seen.last_error.unwrap().1)
        };
        let (_, (attempts, error)) = futures::join!(panics, look);
        assert!((2..10).contains(&attempts), "{attempts}");
        assert_eq!(error, "its handler `step, then panic` panicked: at its step");

        // Three steps of 20 ms, and the one who is asked takes 50 ms.
        let asks = kelpie_runtime::Call::new(a.clone(), "steps, then ask", bytes(1));
        let asks = asks.key(key("ask")).caller(caller()).deadline(Duration::from_millis(80));
        let look = async {
            sleep(&runtime, 100).await;
            last_error(&runtime, &a).await
        };
        let (asked, error) = futures::join!(runtime.call(asks), look);
        assert!(matches!(asked, Err(CallError::Unknown)), "{asked:?}");
        assert_eq!(
            error,
            "a call failed: the deadline passed while the call ran: ask again with the same key"
        );
    });
}

#[test]
fn a_refused_commit_is_the_last_error() {
    let world = World::new(3);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        for (number, operation) in ["too much", "step, then too much"].into_iter().enumerate() {
            let a = actor("counter", &number.to_string());
            let refused = call(&runtime, &a, operation, bytes(1)).await;
            assert!(matches!(refused, Err(CallError::TooLarge { .. })), "{operation}: {refused:?}");
            let error = last_error(&runtime, &a).await;
            assert!(error.starts_with("what the turn leaves has "), "{operation}: {error}");
        }
    });
}

#[test]
fn a_commit_that_was_lost_is_the_last_error() {
    let mut lost = 0;
    for seed in 0..200 {
        let world = World::lossy(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            let Err(error) = call_with_key(&runtime, &a, "add", bytes(1), "k").await else { return };
            assert_eq!(last_error(&runtime, &a).await, error.to_string(), "seed {seed}");
            lost += u32::from(error.to_string() == "nothing happened: the commit was lost");
        });
    }
    assert!(lost > 0, "every commit has landed");
}

#[test]
fn a_store_that_is_away_is_the_last_error_wherever_it_stopped_the_call() {
    let mut refused = 0;
    for seed in 0..60 {
        let world = World::slow(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            world.away.store(true, Ordering::Relaxed);
            let steps = call_with_key(&runtime, &a, "steps", bytes(1), "k").await;
            world.away.store(false, Ordering::Relaxed);
            let error = last_error(&runtime, &a).await;
            if steps.is_err() {
                assert!(error.contains("it is away"), "seed {seed}: {steps:?} {error:?}");
                refused += 1;
            }
        });
    }
    assert!(refused > 5, "{refused} calls were refused");
}
