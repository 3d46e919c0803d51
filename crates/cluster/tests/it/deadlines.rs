//! Calls that have little time, asked through a node that does not own the actor.

use std::time::Duration;

use kelpie_core::advice::Advice;
use kelpie_core::id::ActorId;
use kelpie_runtime::{Call, CallError};

use crate::cluster::run;
use crate::counter::{actor, number};
use crate::world::World;

const LIMIT: Duration = Duration::from_millis(200);
/// What an answer may take longer than its call's deadline: the way back.
const TOLERANCE: Duration = Duration::from_millis(60);

/// Calls with little time; what came of it, and whether it came in time.
async fn called(
    world: &World<'_>,
    through: usize,
    actor: &ActorId,
    operation: &str,
    payload: &str,
) -> Result<u64, CallError> {
    let call = Call::new(actor.clone(), operation, payload.to_owned()).deadline(LIMIT);
    let began = world.now();
    let outcome = world.node(through).runtime().call(call).await.map(|reply| number(&reply));
    let took = world.now() - began;
    assert!(took <= LIMIT + TOLERANCE, "{operation} took {took:?}: {outcome:?}");
    outcome
}

/// A turn of the actor that takes two seconds, and `work` while it runs.
async fn beside_a_long_turn<T>(world: &World<'_>, actor: &ActorId, work: impl Future<Output = T>) -> T {
    let work = async {
        world.sleep(Duration::from_millis(300)).await;
        work.await
    };
    let (long, out) = futures::join!(world.call(0, actor, "step by step", ""), work);
    long.unwrap();
    out
}

#[test]
fn a_call_that_waits_behind_a_turn_elsewhere_ends_in_time_and_has_not_run() {
    for seed in 0..10 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(0, &actor, "get", "").await.unwrap();
            let late = beside_a_long_turn(&world, &actor, called(&world, 1, &actor, "add", "")).await;
            assert_eq!(late.unwrap_err().advice(), Advice::NotRun, "seed {seed}");
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(world.call(0, &actor, "get", "").await.unwrap(), before + 1, "seed {seed}");
        });
    }
}

#[test]
fn a_call_whose_time_ends_while_it_runs_elsewhere_is_told_that_nobody_knows() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let late = called(&world, 1, &actor, "step by step", "").await;
            assert_eq!(late.unwrap_err().advice(), Advice::Unknown, "seed {seed}");
        });
    }
}

#[test]
fn a_call_whose_owner_cannot_be_reached_ends_in_time() {
    for seed in 0..5 {
        for connected in [false, true] {
            run(seed, async |world| {
                // Nothing but a connection that stands lets a call leave the node.
                let actor = world.actor_of(0, "c").await;
                if connected {
                    world.call(1, &actor, "get", "").await.unwrap();
                } else {
                    world.kill(1);
                    world.restart(1).await.unwrap();
                }
                world.sim.partition(&world.machines[1], &world.machines[0]);
                let late = called(&world, 1, &actor, "add", "").await.unwrap_err();
                let advice = if connected { Advice::Unknown } else { Advice::NotRun };
                assert_eq!(late.advice(), advice, "seed {seed}: {late}");
            });
        }
    }
}

#[test]
fn a_call_whose_owner_has_died_ends_in_time() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            world.call(1, &actor, "get", "").await.unwrap();
            world.sim.partition(&world.machines[0], &world.machines[1]);
            world.sim.partition(&world.machines[0], &world.machines[2]);
            world.kill(0);
            for _ in 0..3 {
                called(&world, 2, &actor, "add", "").await.unwrap_err();
            }
        });
    }
}

#[test]
fn a_call_ends_in_time_while_the_store_stands_still() {
    for seed in 0..5 {
        run(seed, async |world| {
            let owned = world.actor_of(0, "c").await;
            world.call(1, &owned, "get", "").await.unwrap();
            world.service.pause();
            for through in 0..2 {
                // Who owns an actor that nobody has called, only the store knows.
                let unknown = called(&world, through, &actor("new"), "add", "").await.unwrap_err();
                assert_eq!(unknown.advice(), Advice::NotRun, "seed {seed}: {unknown}");
                let read = called(&world, through, &owned, "get", "").await.unwrap_err();
                assert_eq!(read.advice(), Advice::NotRun, "seed {seed}: {read}");
            }
            world.service.resume();
        });
    }
}

#[test]
fn what_a_turn_calls_has_the_rest_of_its_time() {
    for seed in 0..10 {
        run(seed, async |world| {
            let busy = world.actor_of(0, "c").await;
            let caller = world.actor_of(1, "d").await;
            let before = world.call(0, &busy, "get", "").await.unwrap();
            // It waits 120 ms before it calls the other one, through a third node.
            let late = called(&world, 2, &caller, "walk", busy.key());
            let late = beside_a_long_turn(&world, &busy, late).await.unwrap_err();
            assert_ne!(late.advice(), Advice::App, "seed {seed}: {late}");
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(world.call(0, &busy, "get", "").await.unwrap(), before + 1, "seed {seed}");
        });
    }
}
