//! What an operator sees of an actor and does to it, through any node.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::ownership::{Mover, Why};
use kelpie_core::placement::Strategy;
use kelpie_core::trace::TraceContext;
use kelpie_runtime::{Call, CallError, Cancelled, MigrateError};

use crate::cluster::run;
use crate::counter::actor;
use crate::world::{World, name};

const SECOND: Duration = Duration::from_secs(1);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn node(index: usize) -> NodeId {
    NodeId::new(&name(index)).unwrap()
}

async fn why(world: &World<'_>, through: usize, actor: &ActorId) -> Why {
    world.node(through).runtime().inspect(actor).await.unwrap().placed.unwrap().why
}

#[test]
fn it_is_told_why_an_actor_is_where_it_is() {
    for seed in 0..5 {
        run(seed, async |world| {
            for number in 0..6 {
                let actor = actor(format!("c{number}"));
                world.call(number % 3, &actor, "add", "").await.unwrap();
                let Why::Chosen { strategy, loads, .. } = why(&world, 0, &actor).await else {
                    panic!("seed {seed}: it was placed")
                };
                assert_eq!((strategy, loads.len()), (Strategy::LeastLoaded, 3), "seed {seed}");
            }
            let actor = world.actor_of(0, "m").await;
            world.node(2).runtime().migrate(&actor, &node(1), SECOND).await.unwrap();
            let moved = Why::Migrated { from: node(0), by: Mover::Operator };
            assert_eq!(why(&world, 2, &actor).await, moved, "seed {seed}");
            world.node(1).drain(SECOND).await.left.unwrap();
            world.call(2, &actor, "add", "").await.unwrap();
            let drained = why(&world, 2, &actor).await;
            // Moved by the drain if it was called meanwhile, placed anew if it was not.
            assert!(matches!(drained, Why::Chosen { .. }), "seed {seed}: {drained:?}");
        });
    }
}

#[test]
fn an_actor_that_a_draining_node_gives_away_says_so() {
    for seed in 0..12 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            // Two of them: one waits while the other one's turn runs, so that there is somebody to move it for.
            let calls = async || {
                for _ in 0..10 {
                    world.call(1, &actor, "add slowly", "").await.unwrap();
                }
            };
            let drain = async {
                world.sleep(SECOND).await;
                world.node(0).drain(10 * SECOND).await
            };
            futures::join!(calls(), calls(), drain);
            let moved = Why::Migrated { from: node(0), by: Mover::Drain };
            assert_eq!(why(&world, 1, &actor).await, moved, "seed {seed}");
        });
    }
}

#[test]
fn an_actor_that_was_claimed_over_says_so() {
    run(4, async |world| {
        let actor = world.actor_of(0, "c").await;
        world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
        world.call(1, &actor, "add", "").await.unwrap();
        let Why::ClaimedOver { node: over, unreachable_ms } = why(&world, 1, &actor).await else {
            panic!("its owner lives and cannot be reached")
        };
        assert_eq!(over, node(0));
        assert!(unreachable_ms >= 3_000, "{unreachable_ms}");
    });
}

#[test]
fn wishes_are_followed_and_hold_up_no_call() {
    for seed in 0..5 {
        run(seed, async |world| {
            for index in 0..3 {
                let wish = actor(format!("a{index} on rack-{}", name(index)));
                world.call((index + 1) % 3, &wish, "add", "").await.unwrap();
                assert_eq!(world.owner(0, &wish).await, Some(index), "seed {seed}");
                assert_eq!(why(&world, 0, &wish).await.reason(), "label", "seed {seed}");
                let host = world.actor_of(index, &format!("host{index}-")).await;
                let guest = actor(format!("guest near {}", host.key()));
                world.call((index + 1) % 3, &guest, "add", "").await.unwrap();
                assert_eq!(world.owner(0, &guest).await, Some(index), "seed {seed}");
                assert_eq!(why(&world, 2, &guest).await, Why::Near { actor: host }, "seed {seed}");
            }
            for key in ["b on no rack", "b near nobody"] {
                let unmet = actor(key);
                world.call(0, &unmet, "add", "").await.unwrap();
                assert!(matches!(why(&world, 0, &unmet).await, Why::Chosen { .. }), "seed {seed}");
            }
        });
    }
}

#[test]
fn a_node_that_holds_much_more_gives_some_away_and_no_call_fails() {
    for seed in 0..2 {
        run(seed, async |world| {
            let actors: Vec<ActorId> =
                (0..120).map(|number| actor(format!("a{number} on rack-{}", name(0)))).collect();
            let begin = join_all(actors.iter().map(|actor| world.call(1, actor, "add", ""))).await;
            assert!(begin.into_iter().all(|total| total.unwrap() == 1), "seed {seed}");
            let held = |index: usize| world.node(index).runtime().activations();
            assert_eq!([held(0), held(1), held(2)], [120, 0, 0], "seed {seed}");
            for _ in 0..4 {
                world.sleep(20 * SECOND).await;
                // An actor that has moved comes into memory where it is called.
                let calls = join_all(actors.iter().map(|actor| world.call(2, actor, "add", ""))).await;
                assert!(calls.iter().all(Result::is_ok), "seed {seed}: {calls:?}");
            }
            let holds = [held(0), held(1), held(2)];
            assert_eq!(holds.iter().sum::<usize>(), 120, "seed {seed}");
            assert!(holds[0] < 80 && holds[1] > 0 && holds[2] > 0, "seed {seed}: {holds:?}");
            let mut moved = 0;
            for actor in &actors {
                assert_eq!(world.call(1, actor, "get", "").await.unwrap(), 5, "seed {seed}");
                moved += usize::from(matches!(
                    why(&world, 1, actor).await,
                    Why::Migrated { by: Mover::Balance, .. }
                ));
            }
            assert_eq!(moved, holds[1] + holds[2], "seed {seed}");
        });
    }
}

#[test]
fn a_turn_is_seen_and_stopped_through_any_node() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(1, &actor, "get", "").await.unwrap();
            for through in 0..3 {
                let stepping = world.call(1, &actor, "step by step", "");
                let stop = async {
                    world.sleep(Duration::from_millis(500)).await;
                    let runtime = world.node(through).runtime().clone();
                    let seen = runtime.inspect(&actor).await.unwrap();
                    assert_eq!((seen.owner, seen.owner_lives), (Some(node(0)), true), "seed {seed}");
                    let [turn] = &seen.turns.unwrap()[..] else { panic!("seed {seed}: one turn") };
                    assert!(turn.begun && seen.unfinished.is_some(), "seed {seed}: {turn:?}");
                    runtime.cancel(&actor, turn.turn, SECOND).await
                };
                let (stopped, cancelled) = futures::join!(stepping, stop);
                assert_eq!(cancelled.unwrap(), Cancelled::Stopped, "seed {seed}, through {through}");
                let refused = stopped.unwrap_err();
                assert!(
                    matches!(&refused, CallError::App { code, .. } if code == "turn.cancelled"),
                    "{refused:?}"
                );
                let seen = world.node(through).runtime().inspect(&actor).await.unwrap();
                assert_eq!(seen.turns, Some(vec![]), "seed {seed}: it waits for calls");
            }
            assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before, "seed {seed}");
        });
    }
}

#[test]
fn an_owner_out_of_reach_is_said_to_be_so() {
    run(6, async |world| {
        let actor = world.actor_of(0, "c").await;
        let turn = world.node(0).runtime().inspect(&actor).await.unwrap();
        assert_eq!((turn.turns, turn.not_reached), (Some(vec![]), None));
        world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
        let seen = world.node(1).runtime().inspect(&actor).await.unwrap();
        assert!(seen.turns.is_none() && seen.not_reached.is_some() && seen.owner_lives, "{seen:?}");
        world.kill(0);
        world.sleep(10 * SECOND).await;
        let seen = world.node(1).runtime().inspect(&actor).await.unwrap();
        assert_eq!((seen.owner, seen.owner_lives, seen.not_reached), (Some(node(0)), false, None));
        let unowned = world.node(1).runtime().migrate(&actor, &node(1), SECOND).await;
        assert_eq!(unowned, Err(MigrateError::NotOwned));
        let dead = world.node(1).runtime().migrate(&actor, &node(0), SECOND).await;
        assert!(dead.unwrap_err().to_string().contains("takes no actors"));
    });
}

#[test]
fn what_belongs_to_one_request_says_so_on_all_nodes() {
    run(7, async |world| {
        let (first, second) = (world.actor_of(0, "a").await, world.actor_of(1, "b").await);
        let context: TraceContext = TRACE.parse().unwrap();
        let call = Call::new(first.clone(), "trace", second.key().to_owned());
        let said = world.node(2).runtime().call(call.clone().trace(context)).await.unwrap();
        let said = String::from_utf8(said.to_vec()).unwrap();
        let traces: Vec<TraceContext> = said.split(' ').map(|trace| trace.parse().unwrap()).collect();
        assert!(traces.len() == 2 && traces.iter().all(|trace| trace.trace() == context.trace()), "{said}");
        let spans: BTreeSet<String> =
            [context, traces[0], traces[1]].iter().map(TraceContext::span).collect();
        assert_eq!(spans.len(), 3, "each turn is a part of its own: {said}");
        let untold = world.node(2).runtime().call(call).await.unwrap();
        assert_eq!(untold, "none none", "nobody has said what it belongs to");
    });
}

#[test]
fn a_deadline_is_kept_by_the_node_that_the_call_goes_to() {
    run(8, async |world| {
        let actor = world.actor_of(0, "c").await;
        for through in 0..3 {
            let began = world.now();
            let call = Call::new(actor.clone(), "step by step", "").deadline(Duration::from_millis(300));
            let late = world.node(through).runtime().call(call).await.unwrap_err();
            let took = world.now() - began;
            assert!(matches!(late, CallError::Unknown), "{late:?}");
            // What is left of it goes along, and is counted by the clock of that node.
            assert!((295..400).contains(&took.as_millis()), "through {through}: {took:?}");
            world.sleep(3 * SECOND).await;
        }
    });
}

#[cfg(feature = "mutants")]
mod mutants {
    use crate::cluster::mutants::is_caught;

    #[test]
    fn sim_mutant_cancel_stays_home() {
        is_caught("cancel_stays_home", super::a_turn_is_seen_and_stopped_through_any_node);
    }

    #[test]
    fn sim_mutant_placement_without_reason() {
        is_caught("placement_without_reason", super::it_is_told_why_an_actor_is_where_it_is);
    }

    #[test]
    fn sim_mutant_wish_not_asked() {
        is_caught("wish_not_asked", super::wishes_are_followed_and_hold_up_no_call);
    }

    #[test]
    fn sim_mutant_trace_stays_home() {
        is_caught("trace_stays_home", super::what_belongs_to_one_request_says_so_on_all_nodes);
    }
}
