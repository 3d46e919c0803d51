//! Steps are recorded once; a turn goes on where it stood.

use std::sync::Arc;
use std::time::Duration;

use kelpie_runtime::{Call, CallError};

use crate::actors::{Counter, Outside};
use crate::world::{World, actor, bytes, call, call_with_key, caller, key};

/// Kills the node `after` the call began, starts it again, and lets the turn end by itself.
/// Returns the total, the steps that ran, and how many of them ran twice.
fn kill_between_steps(seed: u64, operation: &'static str, after: Duration) -> (u64, usize, u64) {
    let outside = Arc::new(Outside::default());
    let world = World::new(seed);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::with(&env, &outside)).await;
        let a = actor("counter", "a");
        call(&runtime, &a, "add", bytes(1)).await.unwrap();
        let caller = runtime.clone();
        let called = a.clone();
        env.spawn("caller", async move {
            drop(call_with_key(&caller, &called, operation, bytes(10), "k").await);
        });
        env.sleep(after).await;
        let runtime = world.restart(|env| Counter::with(env, &outside)).await;
        // Nobody calls again with the key: what was begun ends by itself.
        runtime.env().sleep(Duration::from_secs(10)).await;
        let total = call(&runtime, &a, "get", "").await.unwrap();
        let effects = outside.effects.lock().unwrap().clone();
        (total, effects.len(), effects.values().filter(|&&times| times > 1).count() as u64)
    })
}

#[test]
fn a_turn_resumes_at_its_step_and_its_state_leaves_at_its_end() {
    let mut resumed = 0;
    for seed in 0..60 {
        let (total, steps, twice) = kill_between_steps(seed, "steps", Duration::from_millis(seed % 75));
        // Killed before the first record nothing has begun; else all of it happens.
        let first_record = steps > 0 && total == 11;
        assert!(first_record || total == 1, "seed {seed}: total {total} after {steps} steps");
        assert!(total == 1 || steps == 3, "seed {seed}: {steps} steps");
        assert!(twice <= 1, "seed {seed}: only the step under way may run again");
        resumed += u64::from(total == 11 && twice > 0);
    }
    assert!(resumed > 0, "no kill hit a step");
}

#[test]
fn reads_between_two_recorded_steps_see_what_was_before_the_turn_and_wait_for_nothing() {
    for single_process in [true, false] {
        let (world, _) = World::counted(1, single_process);
        world.sim.block_on(async {
            let env = world.node.env();
            let runtime = world.start(Counter::all(&env)).await;
            let a = actor("counter", "a");
            call(&runtime, &a, "add", bytes(1)).await.unwrap();
            let turn = async { (call(&runtime, &a, "steps", bytes(10)).await.unwrap(), env.now()) };
            let reads = async {
                let mut seen = Vec::new();
                // In each of the three steps, with none, one and two of them recorded.
                for _ in 0..6 {
                    env.sleep(Duration::from_millis(9)).await;
                    let (asked, unfinished) = (env.now(), runtime.inspect(&a).await.unwrap().unfinished);
                    let total = call(&runtime, &a, "get", "").await.unwrap();
                    assert!(env.now() - asked < Duration::from_millis(1), "it waited for the turn");
                    seen.push((total, unfinished.map_or(0, |(_, steps)| steps.len())));
                }
                (seen, env.now())
            };
            let ((total, ended), (seen, read)) = futures::join!(turn, reads);
            assert_eq!(seen, [(1, 0), (1, 0), (1, 1), (1, 1), (1, 2), (1, 2)], "alone: {single_process}");
            assert!(read < ended);
            assert_eq!((total, call(&runtime, &a, "get", "").await.unwrap()), (11, 11));
        });
    }
}

#[test]
fn steps_side_by_side_are_each_recorded_and_see_the_same_time_and_chance_when_they_run_again() {
    let mut resumed = 0;
    for seed in 0..60 {
        let after = Duration::from_micros(seed * 700);
        let (total, steps, _) = kill_between_steps(seed, "steps side by side", after);
        // A step whose input differed from what was recorded would have failed the turn.
        assert!(total == 1 || (total == 11 && steps == 5), "seed {seed}: {total} after {steps} steps");
        resumed += u64::from(total == 11 && after < Duration::from_millis(29));
    }
    assert!(resumed > 0, "no kill hit a turn that had recorded something");
}

#[test]
fn steps_that_end_together_share_a_commit() {
    let mut ended = 0;
    for seed in 0..20 {
        let world = World::slow(seed);
        world.sim.block_on(async {
            let runtime = world.start(Counter::all(&world.node.env())).await;
            let a = actor("counter", "a");
            if call(&runtime, &a, "steps side by side", bytes(1)).await.is_ok() {
                let head = world.store().begin().get(&kelpie_core::row::head(&a)).await.unwrap().unwrap();
                let head: kelpie_registry::Head = kelpie_core::record::decode(&head).unwrap();
                // When it began, the first step, the second, the three that waited for it, the turn.
                assert_eq!(head.seq.0, 5, "seed {seed}");
                ended += 1;
            }
        });
    }
    assert!(ended > 0, "no turn ended");
}

/// Kills the node within such a step and asks again. Returns the effects, the total and the
/// second answer.
fn kill_in_a_step_that_runs_once() -> (u64, u64, Result<u64, CallError>) {
    let outside = Arc::new(Outside::default());
    let world = World::new(1);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::with(&env, &outside)).await;
        let a = actor("counter", "a");
        let (caller, called) = (runtime.clone(), a.clone());
        env.spawn("caller", async move {
            drop(call_with_key(&caller, &called, "once", bytes(10), "k").await);
        });
        env.sleep(Duration::from_millis(30)).await;
        let runtime = world.restart(|env| Counter::with(env, &outside)).await;
        let again = call_with_key(&runtime, &a, "once", bytes(10), "k").await;
        (outside.total(), call(&runtime, &a, "get", "").await.unwrap(), again)
    })
}

#[test]
fn a_step_that_must_not_run_twice_is_unknown_after_a_crash() {
    let (effects, total, again) = kill_in_a_step_that_runs_once();
    assert!(matches!(&again, Err(CallError::App { code, .. }) if code == "step.unknown"), "{again:?}");
    assert_eq!((effects, total), (1, 0));
}

#[test]
fn a_call_that_is_not_known_to_have_ended_keeps_the_steps_before_it() {
    let outside = Arc::new(Outside::default());
    let world = World::new(4);
    world.sim.block_on(async {
        let runtime = world.start(Counter::with(&world.node.env(), &outside)).await;
        let ask = |deadline| {
            let call = Call::new(actor("counter", "a"), "steps, then ask", bytes(1));
            runtime.call(call.key(key("k")).caller(caller()).deadline(deadline))
        };
        // Three steps of 20 ms, and the one who is asked takes 50 ms.
        let first = ask(Duration::from_millis(80)).await;
        assert!(first.is_err(), "{first:?}");
        let again = ask(Duration::from_secs(5)).await;
        assert_eq!(outside.total(), 3, "{again:?}");
    });
}

/// Kills the node after a turn has told another actor its time, and asks again. Returns the answer and
/// what the other one was told.
fn kill_after_a_turn_said_when() -> (Result<u64, CallError>, u64) {
    let world = World::new(2);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Counter::all(&env)).await;
        let a = actor("counter", "a");
        let (caller, called) = (runtime.clone(), a.clone());
        env.spawn("caller", async move {
            drop(call_with_key(&caller, &called, "say when", "", "k").await);
        });
        env.sleep(Duration::from_millis(30)).await;
        let told = call(&runtime, &actor("counter", "clock"), "get", "").await.unwrap();
        assert!(told > 0, "the call was on its way after 30 ms");
        let runtime = world.restart(Counter::all).await;
        let again = call_with_key(&runtime, &a, "say when", "", "k").await;
        (again, call(&runtime, &actor("counter", "clock"), "get", "").await.unwrap())
    })
}

#[test]
fn a_turn_that_runs_again_calls_with_the_time_that_it_said_before() {
    let (again, told) = kill_after_a_turn_said_when();
    assert_eq!(again.unwrap(), told);
}

#[cfg(feature = "mutants")]
#[test]
fn a_turn_whose_beginning_is_not_recorded_is_caught() {
    let _armed = kelpie_core::mutant::arm("beginning_not_recorded");
    let (again, _) = kill_after_a_turn_said_when();
    assert!(again.is_err(), "the key of its call belongs to another time: {again:?}");
}

#[test]
fn two_steps_of_one_name_are_an_error() {
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let a = actor("counter", "a");
        let error = call(&runtime, &a, "same step twice", "").await.unwrap_err();
        assert!(
            matches!(&error, CallError::App { code, message, .. } if code == "turn.failed" && message.contains("`s`")),
            "{error:?}"
        );
        assert_eq!(call(&runtime, &a, "add", bytes(1)).await.unwrap(), 1);
    });
}

#[cfg(feature = "mutants")]
#[test]
fn a_step_that_commits_state_is_caught() {
    let _armed = kelpie_core::mutant::arm("step_commits_state");
    let wrong = (0..60).any(|seed| {
        let (total, _, _) = kill_between_steps(seed, "steps", Duration::from_millis(seed % 75));
        total != 1 && total != 11
    });
    assert!(wrong, "the addition was never doubled");
}

#[cfg(feature = "mutants")]
#[test]
fn a_step_result_that_is_lost_is_caught() {
    let _armed = kelpie_core::mutant::arm("step_result_lost");
    let twice = |seed| kill_between_steps(seed, "steps", Duration::from_millis(seed % 75)).2;
    assert!((0..60).any(|seed| twice(seed) > 1), "no recorded step ran again");
}

#[cfg(feature = "mutants")]
#[test]
fn a_step_that_runs_before_its_intent_is_caught() {
    let _armed = kelpie_core::mutant::arm("step_once_without_intent");
    let (effects, _, _) = kill_in_a_step_that_runs_once();
    assert_eq!(effects, 2, "the seeded bug runs it again");
}
