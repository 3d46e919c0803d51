//! Turns that have recorded a step and never come to their end are given up, and what they had
//! recorded goes with them.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::call::CallKey;
use kelpie_core::id::ActorId;
use kelpie_core::row;
use kelpie_runtime::{Call, CallError, Runtime};
use kelpie_storage::RangeQuery;

use crate::actors::{Counter, Outside};
use crate::world::{World, actor, bytes, call, call_with_key, caller, key};

const SECOND: Duration = Duration::from_secs(1);

/// Calls with the key `k`, and waits for no reply.
fn begin(runtime: &Runtime, to: &ActorId, operation: &str, deadline: Duration) {
    let call = Call::new(to.clone(), operation, bytes(10)).key(key("k")).caller(caller()).deadline(deadline);
    let runtime = runtime.clone();
    runtime.env().clone().spawn("caller", async move { drop(runtime.call(call).await) });
}

/// The turn under the key `k` ended with this code and these words for good, left nothing, and stands
/// in nobody's way.
async fn ended_with(world: &World, runtime: &Runtime, a: &ActorId, operation: &str, end: (&str, &str)) {
    for _ in 0..2 {
        let again = call_with_key(runtime, a, operation, bytes(10), "k").await;
        let Err(CallError::App { code, message, .. }) = &again else { panic!("{again:?}") };
        assert_eq!((code.as_str(), message.as_str()), end);
    }
    let turn = CallKey::new(&caller(), &key("k")).turn(a);
    for rows in [row::running(a), row::steps(a, turn)] {
        let left = world.store().begin().get_range(RangeQuery::prefix(&rows)).await.unwrap().rows;
        assert!(left.is_empty(), "{left:?}");
    }
    assert_eq!(runtime.inspect(a).await.unwrap().unfinished, None);
    assert_eq!(call(runtime, a, "get", "").await.unwrap(), 1, "its state is as before the turn");
    assert_eq!(call(runtime, a, "add", bytes(1)).await.unwrap(), 2);
}

#[test]
fn a_turn_that_is_killed_ten_times_is_given_up() {
    let outside = Arc::new(Outside::default());
    let world = World::new(1);
    world.sim.block_on(async {
        let mut runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        begin(&runtime, &a, "stuck", 60 * SECOND);
        for life in 1..=10 {
            runtime.env().sleep(SECOND).await;
            let (unfinished, recorded) = runtime.inspect(&a).await.unwrap().unfinished.unwrap();
            assert_eq!((u64::from(unfinished.attempts), outside.times("begun")), (life, life));
            assert_eq!(recorded, ["first"]);
            runtime = world.restart(|env| Counter::with(env, &outside)).await;
        }
        runtime.env().sleep(SECOND).await;
        let end = ("turn.given_up", "the turn was begun 10 times and never ended");
        ended_with(&world, &runtime, &a, "stuck", end).await;
        assert_eq!((outside.times("begun"), outside.times("first")), (10, 1));
    });
}

#[test]
fn a_turn_that_panics_ten_times_is_given_up_and_its_caller_is_told() {
    let outside = Arc::new(Outside::default());
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        let told = call_with_key(&runtime, &a, "step, then panic", bytes(10), "k").await;
        assert!(matches!(&told, Err(CallError::App { code, .. }) if code == "turn.given_up"), "{told:?}");
        let end = ("turn.given_up", "the turn was begun 10 times and never ended");
        ended_with(&world, &runtime, &a, "step, then panic", end).await;
        assert_eq!((outside.times("begun"), outside.times("first")), (10, 1));
    });
}

#[test]
fn a_turn_that_nobody_could_resume_before_its_deadline_is_given_up() {
    // The deadline is ten seconds after the call, and the node is killed after one.
    for (away, given_up) in [(8, false), (10, true)] {
        let outside = Arc::new(Outside::default());
        let world = World::new(3);
        world.sim.block_on(async {
            let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
            let a = actor("counter", "a");
            call(&runtime, &a, "add", bytes(1)).await.unwrap();
            begin(&runtime, &a, "stuck", 10 * SECOND);
            runtime.env().sleep(SECOND).await;
            world.node.kill();
            world.store_env().sleep(away * SECOND).await;
            let runtime = world.restart(|env| Counter::with(env, &outside)).await;
            runtime.env().sleep(SECOND / 2).await;
            let unfinished = runtime.inspect(&a).await.unwrap().unfinished;
            assert_eq!(unfinished.map(|(turn, _)| turn.attempts), (!given_up).then_some(2));
            if given_up {
                let end = ("turn.given_up", "the turn's deadline passed before it could be resumed");
                ended_with(&world, &runtime, &a, "stuck", end).await;
                assert_eq!(outside.times("begun"), 1);
            }
        });
    }
}

#[test]
fn a_recorded_step_that_is_asked_with_another_input_ends_its_turn() {
    let outside = Arc::new(Outside::default());
    let world = World::new(4);
    world.sim.block_on(async {
        let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        begin(&runtime, &a, "another input", 60 * SECOND);
        runtime.env().sleep(SECOND).await;
        let runtime = world.restart(|env| Counter::with(env, &outside)).await;
        runtime.env().sleep(SECOND).await;
        let words = "step `first` was recorded with another input: the handler does not repeat itself";
        ended_with(&world, &runtime, &a, "another input", ("turn.failed", words)).await;
        assert_eq!((outside.times("begun"), outside.times("first")), (2, 1));
    });
}
