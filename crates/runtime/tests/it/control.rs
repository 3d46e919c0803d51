//! An actor is looked at and stopped while a turn of it waits.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::call::{CallKey, TurnId};
use kelpie_runtime::{CallError, Cancelled, Runtime};

use crate::actors::{Counter, Outside};
use crate::world::{World, actor, bytes, call, call_with_key, caller, key};

const LIMIT: Duration = Duration::from_secs(10);

fn turn(name: &str) -> TurnId {
    CallKey::new(&caller(), &key(name)).turn(&actor("counter", "a"))
}

async fn sleep(runtime: &Runtime, ms: u64) {
    runtime.env().sleep(Duration::from_millis(ms)).await;
}

#[test]
fn an_actor_is_inspected_while_a_turn_of_it_waits() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let never = runtime.inspect(&a).await.unwrap();
        assert_eq!((never.owner, never.commits.0, never.turns), (None, 0, None));
        let work = async {
            let steps = call_with_key(&runtime, &a, "steps", bytes(1), "k");
            let waits = call_with_key(&runtime, &a, "call myself", bytes(1), "w");
            futures::join!(steps, waits)
        };
        let look = async {
            sleep(&runtime, 30).await;
            runtime.inspect(&a).await.unwrap()
        };
        let ((steps, refused), seen) = futures::join!(work, look);
        assert_eq!(steps.unwrap(), 1);
        refused.unwrap_err();
        assert_eq!(seen.owner.unwrap().as_str(), "n1");
        let [running, waiting] = &seen.turns.unwrap()[..] else { panic!("two turns") };
        assert_eq!((running.turn, running.operation.as_str(), running.begun), (turn("k"), "steps", true));
        assert_eq!(running.steps, ["second"]);
        let age = running.age.unwrap();
        assert!((Duration::from_millis(30)..Duration::from_millis(32)).contains(&age), "{age:?}");
        assert_eq!((waiting.turn, waiting.begun, waiting.steps.len()), (turn("w"), false, 0));
        let (unfinished, recorded) = seen.unfinished.unwrap();
        assert_eq!((unfinished.turn, unfinished.attempts), (turn("k"), 1));
        assert_eq!(recorded, ["first"]);
        let after = runtime.inspect(&a).await.unwrap();
        assert_eq!((after.unfinished, after.turns), (None, Some(vec![])));
        let (_, error) = after.last_error.unwrap();
        assert!(error.contains("would wait for itself"), "{error}");
    });
}

#[test]
fn a_turn_is_stopped_between_its_steps_and_stays_stopped() {
    let outside = Arc::new(Outside::default());
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let a = actor("counter", "a");
        let work = call_with_key(&runtime, &a, "steps", bytes(1), "k");
        let beside = async {
            sleep(&runtime, 5).await;
            call_with_key(&runtime, &a, "add", bytes(10), "beside").await
        };
        let stop = async {
            sleep(&runtime, 30).await;
            runtime.cancel(&a, turn("k"), LIMIT).await
        };
        let (stopped, beside, cancelled) = futures::join!(work, beside, stop);
        assert_eq!(cancelled.unwrap(), Cancelled::Stopped);
        let is_stopped = |reply: &Result<u64, CallError>| {
            matches!(reply, Err(CallError::App { code, .. }) if code == "turn.cancelled")
        };
        assert!(is_stopped(&stopped), "{stopped:?}");
        assert_eq!(beside.unwrap(), 10);
        assert_eq!(outside.total(), 2);
        let again = call_with_key(&runtime, &a, "steps", bytes(1), "k").await;
        assert!(is_stopped(&again), "{again:?}");
        let runtime = world.restart(|env| Counter::with(env, &outside)).await;
        sleep(&runtime, 20_000).await;
        assert_eq!((call(&runtime, &a, "get", "").await.unwrap(), outside.total()), (10, 2));
    });
}

#[test]
fn a_waiting_call_is_taken_back_and_one_that_has_ended_is_not() {
    let world = World::new(3);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        assert_eq!(runtime.cancel(&a, turn("k"), LIMIT).await.unwrap(), Cancelled::Absent);
        let slow = call_with_key(&runtime, &a, "add slowly", bytes(1), "slow");
        let waits = call_with_key(&runtime, &a, "add", bytes(10), "waits");
        let stop = async {
            sleep(&runtime, 10).await;
            let waiting = runtime.cancel(&a, turn("waits"), LIMIT).await.unwrap();
            // It takes no step and makes no call, so it ends as if nobody had asked.
            let late = runtime.cancel(&a, turn("slow"), Duration::from_millis(5)).await;
            assert!(matches!(late, Err(CallError::Unknown)), "{late:?}");
            (waiting, runtime.cancel(&a, turn("slow"), LIMIT).await.unwrap())
        };
        let (slow, waits, cancelled) = futures::join!(slow, waits, stop);
        assert_eq!(cancelled, (Cancelled::Waiting, Cancelled::Ended));
        assert!(matches!(waits, Err(CallError::App { code, .. }) if code == "turn.cancelled"));
        assert_eq!(slow.unwrap(), 1);
        assert_eq!(call_with_key(&runtime, &a, "add", bytes(10), "waits").await.unwrap(), 11);
    });
}

/// Cancels a turn with steps at any moment. Whatever the two were told is what happened.
#[test]
fn a_cancel_and_a_commit_agree_on_who_was_first() {
    let (mut stopped, mut ended) = (0, 0);
    for seed in 0..80 {
        let world = World::slow(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            let work = call_with_key(&runtime, &a, "steps", bytes(1), "k");
            let stop = async {
                let ends = 60_500 + seed * 50;
                let after = if seed % 2 == 0 { 1_000 + seed * 850 } else { ends };
                runtime.env().sleep(Duration::from_micros(after)).await;
                runtime.cancel(&a, turn("k"), LIMIT).await.unwrap()
            };
            let (reply, cancelled) = futures::join!(work, stop);
            let total = call(&runtime, &a, "get", "").await.unwrap();
            match cancelled {
                Cancelled::Stopped => assert!(reply.is_err() && total == 0, "seed {seed}"),
                Cancelled::Ended | Cancelled::Absent => assert!(reply.is_ok() && total == 1, "seed {seed}"),
                Cancelled::Waiting => panic!("seed {seed}: nothing was before it"),
            }
            stopped += u32::from(cancelled == Cancelled::Stopped);
            ended += u32::from(cancelled == Cancelled::Ended);
        });
    }
    assert!(stopped > 0 && ended > 0, "{stopped} stopped, {ended} ended");
}
