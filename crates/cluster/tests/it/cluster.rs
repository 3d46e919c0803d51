//! Three nodes over one store.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use kelpie_core::advice::Advice;
use kelpie_core::id::NodeId;
use kelpie_env::sim::{Options, Sim, same_twice};
use kelpie_runtime::{Call, CallError, MigrateError};

use crate::counter::{actor, number};
use crate::world::{World, name};

const SECOND: Duration = Duration::from_secs(1);
/// What it takes to read who owns an actor, to ask there, and to have the turn committed.
const ROUND_TRIPS: Duration = Duration::from_millis(60);
/// How often a node reads the sessions of the others.
const READING: Duration = Duration::from_millis(125);

pub(crate) fn run<T>(seed: u64, test: impl AsyncFnOnce(World<'_>) -> T) -> T {
    let sim = Sim::new(seed);
    sim.block_on(async { Box::pin(test(Box::pin(World::new(&sim, 3)).await)).await })
}

#[test]
fn an_actor_is_called_through_any_node_and_lives_on_one() {
    for seed in 0..10 {
        run(seed, async |world| {
            let mut owners = BTreeSet::new();
            for number in 0..12 {
                let actor = actor(format!("c{number}"));
                for round in 0..9 {
                    let total = world.call(round % 3, &actor, "add", "").await.unwrap();
                    assert_eq!(total, round as u64 + 1, "seed {seed}");
                }
                for through in 0..3 {
                    assert_eq!(world.call(through, &actor, "get", "").await.unwrap(), 9);
                }
                let in_memory = world.owner(0, &actor).await.unwrap();
                owners.insert(in_memory);
            }
            let activations: usize = (0..3).map(|node| world.node(node).runtime().activations()).sum();
            assert_eq!(activations, 12, "seed {seed}: each is in one node's memory");
            assert!(owners.len() > 1, "seed {seed}: placement spreads them");
        });
    }
}

#[test]
fn side_by_side_callers_of_all_nodes_race_for_a_new_actor_and_all_get_answers() {
    for seed in 0..10 {
        run(seed, async |world| {
            let actor = actor("new");
            let calls = (0..30).map(|number| world.call(number % 3, &actor, "add", ""));
            let mut totals: Vec<u64> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
            totals.sort_unstable();
            assert!(totals.into_iter().eq(1..=30), "seed {seed}");
        });
    }
}

#[test]
fn errors_of_an_actor_elsewhere_are_those_of_an_actor_here() {
    run(1, async |world| {
        let actor = world.actor_of(0, "c").await;
        let mut said = Vec::new();
        for through in 0..3 {
            let error = world.call(through, &actor, "refuse", "no").await.unwrap_err();
            assert!(matches!(&error, CallError::App { code, .. } if code == "counter.refused"), "{error:?}");
            world.call_with_key(through, &actor, "add", "the key").await.unwrap();
            let reused = world.call_with_key(through, &actor, "refuse", "the key").await.unwrap_err();
            assert_eq!(reused.advice(), Advice::Fix);
            said.push(format!("{error} {reused}"));
        }
        assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 1, "{said:?}");
        assert_eq!(world.call(0, &actor, "get", "").await.unwrap(), 2, "one addition for the key");
    });
}

#[test]
fn callers_of_a_killed_owner_get_their_answers_and_nothing_is_doubled() {
    for seed in 0..20 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(1, &actor, "get", "").await.unwrap();
            let calls: Vec<_> = (0..12)
                .map(|number| {
                    let (actor, runtime) = (actor.clone(), world.node(1 + number % 2).runtime().clone());
                    async move {
                        let call = kelpie_runtime::Call::new(actor, "add slowly", "");
                        runtime.call(call).await.map(|reply| crate::counter::number(&reply))
                    }
                })
                .collect();
            // Some have their answers, one runs, the others wait.
            let kill = async {
                world.sleep(Duration::from_millis(700)).await;
                world.kill(0);
                world.now()
            };
            let (killed, totals) = futures::join!(kill, join_all(calls));
            let mut totals: Vec<u64> = totals.into_iter().map(Result::unwrap).collect();
            totals.sort_unstable();
            assert!(
                totals.into_iter().eq(before + 1..=before + 12),
                "seed {seed}: each addition counts once"
            );
            let took = world.now() - killed;
            // The turns themselves take 2.4 s.
            assert!(took < 2 * SECOND + 3 * SECOND, "seed {seed}: {took:?}");
            assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before + 12);
        });
    }
}

#[test]
fn an_answer_that_is_lost_on_the_way_is_given_again_and_the_effect_is_not() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            world.call(1, &actor, "add", "").await.unwrap();
            let before = world.call(2, &actor, "get", "").await.unwrap();
            let cut = async {
                world.sleep(Duration::from_millis(100)).await;
                world.sim.partition_one_way(&world.machines[0], &world.machines[1]);
                world.sleep(Duration::from_millis(400)).await;
                assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before + 1, "it has counted");
            };
            // No key of the caller's: the one that was drawn for it stays on all of its ways.
            let ((), total) = futures::join!(cut, world.call(1, &actor, "add slowly", ""));
            assert_eq!(total.unwrap(), before + 1, "seed {seed}");
            assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before + 1, "seed {seed}");
        });
    }
}

#[test]
fn a_process_whose_port_refuses_is_replaced_in_about_a_second() {
    for seed in 0..10 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(1, &actor, "get", "").await.unwrap();
            world.kill(0);
            let killed = world.now();
            assert_eq!(world.call(1, &actor, "add", "").await.unwrap(), before + 1);
            let took = world.now() - killed;
            assert!(took < Duration::from_millis(1_500), "seed {seed}: {took:?}");
        });
    }
}

#[test]
fn an_owner_that_lives_and_cannot_be_reached_is_claimed_over() {
    for seed in 0..5 {
        for both in [true, false] {
            run(seed, async |world| {
                let actor = world.actor_of(0, "c").await;
                world.call(1, &actor, "add", "").await.unwrap();
                let before = world.call(2, &actor, "get", "").await.unwrap();
                world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
                if both {
                    world.sim.partition_one_way(&world.machines[0], &world.machines[1]);
                }
                let cut = world.now();
                assert_eq!(world.call(1, &actor, "add", "").await.unwrap(), before + 1, "seed {seed}");
                let took = world.now() - cut;
                // When nothing has come for a term, counted from the last sign of life.
                assert!(took > 2 * SECOND && took <= 4 * SECOND, "seed {seed}: {took:?}");
                assert_eq!(world.owner(1, &actor).await, Some(1));
                // The owner of before follows; those that reach both never noticed.
                assert_eq!(world.call(2, &actor, "add", "").await.unwrap(), before + 2);
                world.sim.heal_all();
                assert_eq!(world.call(0, &actor, "add", "").await.unwrap(), before + 3);
            });
        }
    }
}

#[test]
fn callers_with_less_patience_than_a_term_get_through_to_an_owner_out_of_reach() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(2, &actor, "get", "").await.unwrap();
            world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
            let cut = world.now();
            // Each gives up long before a term is over, and the next one comes long after.
            let answered = loop {
                let call = Call::new(actor.clone(), "add", "").deadline(SECOND);
                if let Ok(reply) = world.node(1).runtime().call(call).await {
                    break number(&reply);
                }
                assert!(world.now() - cut < 10 * SECOND, "seed {seed}: nobody gets through");
                world.sleep(2 * SECOND).await;
            };
            assert_eq!(answered, before + 1, "seed {seed}: the owner was never reached");
            assert_eq!(world.owner(1, &actor).await, Some(1));
        });
    }
}

#[test]
fn a_new_actor_is_not_placed_where_its_caller_reaches_nobody() {
    for seed in 0..5 {
        run(seed, async |world| {
            world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
            // Nobody had it, and the one node that it wishes for is out of reach.
            let wish = actor("c on rack-n1");
            let cut = world.now();
            assert_eq!(world.call(1, &wish, "add", "").await.unwrap(), 1, "seed {seed}");
            let took = world.now() - cut;
            assert!(took <= 5 * SECOND, "seed {seed}: {took:?}");
            // The next one waits for nothing.
            let next = actor("d on rack-n1");
            let began = world.now();
            assert_eq!(world.call(1, &next, "add", "").await.unwrap(), 1, "seed {seed}");
            assert!(world.now() - began < SECOND, "seed {seed}");
            world.sim.heal_all();
            world.sleep(2 * SECOND).await;
            let later = actor("e on rack-n1");
            assert_eq!(world.call(1, &later, "add", "").await.unwrap(), 1, "seed {seed}");
            assert_eq!(world.owner(1, &later).await, Some(0), "seed {seed}: it is reached again");
        });
    }
}

#[test]
fn a_call_that_waits_at_an_owner_who_lost_its_actor_asks_the_next_one_at_once() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(2, &actor, "get", "").await.unwrap();
            world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
            let begun = world.begun();
            let long = world.call(0, &actor, "add for seconds", "8");
            let waits = async {
                world.sleep(SECOND).await;
                (world.call(2, &actor, "add", "").await.unwrap(), world.now())
            };
            // From the other side of the way: the owner lives, and is out of reach.
            let takes = async {
                world.sleep(2 * SECOND).await;
                assert_eq!(world.begun() - begun, 1, "seed {seed}: it runs");
                (world.call(1, &actor, "add", "").await.unwrap(), world.now())
            };
            let (long, (waited, answered), (took, taken)) = futures::join!(long, waits, takes);
            assert_eq!([long.unwrap(), waited.max(took), waited.min(took)], [3, 2, 1].map(|n| before + n));
            let after = answered.saturating_sub(taken);
            assert!(after < ROUND_TRIPS, "seed {seed}: {after:?}");
            assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before + 3, "seed {seed}");
        });
    }
}

#[test]
fn a_call_that_waits_at_a_node_that_is_declared_dead_asks_the_next_one_at_once() {
    for seed in 0..10 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(2, &actor, "get", "").await.unwrap();
            let long = world.call(0, &actor, "add for seconds", "20");
            let waits = async {
                world.sleep(SECOND).await;
                (world.call(2, &actor, "add", "").await.unwrap(), world.now())
            };
            // It cannot renew its lease, and is there all the same.
            let cut_off = async {
                world.sleep(2 * SECOND).await;
                world.sim.partition(&world.machines[0], world.service.node());
                while world.lives(0).await {
                    world.sleep(Duration::from_millis(1)).await;
                }
                let dead = world.now();
                world.sleep(10 * SECOND).await;
                world.sim.heal_all();
                dead
            };
            let (long, (waited, answered), dead) = futures::join!(long, waits, cut_off);
            assert_eq!([waited, long.unwrap()], [before + 1, before + 2], "seed {seed}");
            let after = answered - dead;
            assert!(after < READING + ROUND_TRIPS, "seed {seed}: {after:?}");
        });
    }
}

#[test]
fn a_drained_node_hands_over_and_no_call_fails() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actors: Vec<_> = (0..20).map(|number| actor(format!("c{number}"))).collect();
            let mut owned = 0;
            for (number, actor) in actors.iter().enumerate() {
                world.call(number % 3, actor, "add", "").await.unwrap();
                owned += usize::from(world.owner(0, actor).await == Some(0));
            }
            assert!(owned > 0);
            let (drained, callers) = {
                let world = &world;
                let stop = world.now() + 4 * SECOND;
                let callers = (0..9).map(|caller| {
                    let actors = &actors;
                    async move {
                        let mut done = 0_u64;
                        // Callers of the node that drains go to another in time, as a load balancer has it.
                        while world.now() < stop {
                            let through =
                                if world.now() + 3 * SECOND < stop { caller % 3 } else { 1 + caller % 2 };
                            let number = (caller * 7 + usize::try_from(done).unwrap()) % 20;
                            let operation = if done.is_multiple_of(5) { "add slowly" } else { "add" };
                            world.call(through, &actors[number], operation, "").await.unwrap();
                            done += 1;
                        }
                        done
                    }
                });
                let drain = async {
                    world.sleep(2 * SECOND).await;
                    let began = world.now();
                    let drained = world.node(0).drain(10 * SECOND).await;
                    assert_eq!(world.node(0).runtime().in_flight(), 0, "seed {seed}");
                    (drained, world.now() - began)
                };
                futures::join!(drain, join_all(callers))
            };
            let (drained, took) = drained;
            assert_eq!(drained.cut_off, 0, "seed {seed}");
            // It waits for the turns that run, and not for those who come after.
            assert!(took < SECOND, "seed {seed}: {took:?}");
            drained.left.unwrap();
            let added: u64 = callers.iter().sum();
            assert!(added > 100);
            let totals = join_all(actors.iter().map(|actor| world.call(1, actor, "get", ""))).await;
            let total: u64 = totals.into_iter().map(Result::unwrap).sum();
            assert_eq!(total, added + 20, "seed {seed}");
            for actor in &actors {
                world.call(2, actor, "add", "").await.unwrap();
                assert_ne!(world.owner(1, actor).await, Some(0), "seed {seed}");
            }
            assert_eq!(world.node(0).runtime().activations(), 0);
        });
    }
}

#[test]
fn actors_that_are_new_find_a_node_while_another_begins_to_drain() {
    for seed in 0..10 {
        run(seed, async |world| {
            let mine = world.actor_of(0, "c").await;
            let calls = (0..60).map(|number| {
                let world = &world;
                async move {
                    world.sleep(Duration::from_millis(10 * number)).await;
                    // While the turn below runs, the node that drains takes calls of its clients.
                    let through = if number < 25 { 0 } else { 1 + usize::try_from(number).unwrap() % 2 };
                    world.call(through, &actor(format!("new{number}")), "add", "").await.unwrap()
                }
            });
            let long = async {
                world.sleep(Duration::from_millis(90)).await;
                // Through the node itself: it runs when the drain begins, however slow the network is.
                world.call(0, &mine, "add slowly", "").await.unwrap()
            };
            let drain = async {
                world.sleep(Duration::from_millis(100)).await;
                world.node(0).drain(10 * SECOND).await
            };
            let (totals, _, drained) = futures::join!(join_all(calls), long, drain);
            assert!(totals.into_iter().all(|total| total == 1), "seed {seed}");
            assert_eq!(drained.cut_off, 0, "seed {seed}");
        });
    }
}

#[test]
fn an_actor_that_is_moved_under_load_is_followed_and_no_call_fails() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(1, &actor, "get", "").await.unwrap();
            let begun = world.begun();
            let calls = (0..12).map(|number| {
                let (world, actor) = (&world, &actor);
                async move {
                    world.sleep(Duration::from_millis(150 * number)).await;
                    let through = usize::try_from(number).unwrap() % 3;
                    world.call(through, actor, "add slowly", "").await.unwrap()
                }
            });
            let moves = async {
                for (asked, to) in [(0, 1), (0, 2), (2, 0)] {
                    world.sleep(Duration::from_millis(500)).await;
                    let to = NodeId::new(&name(to)).unwrap();
                    let moved = world.node(asked).runtime().migrate(&actor, &to, SECOND).await.unwrap();
                    assert_eq!((moved.own.node, moved.was_elsewhere), (to, true), "seed {seed}");
                }
            };
            let (totals, ()) = futures::join!(join_all(calls), moves);
            assert_eq!(totals.len(), 12);
            assert_eq!(world.begun() - begun, 12, "seed {seed}: no turn begins while its actor moves");
            assert_eq!(world.call(1, &actor, "get", "").await.unwrap(), before + 12, "seed {seed}");
            assert_eq!(world.owner(1, &actor).await, Some(0), "seed {seed}");
            let nobody = NodeId::new("n9").unwrap();
            let refused = world.node(1).runtime().migrate(&actor, &nobody, SECOND).await;
            assert_eq!(refused, Err(MigrateError::NoSuchNode { node: nobody }));
            let never_called = crate::counter::actor("never called");
            let there = NodeId::new(&name(0)).unwrap();
            let refused = world.node(1).runtime().migrate(&never_called, &there, SECOND).await;
            assert_eq!(refused, Err(MigrateError::NeverCalled));
            let there = world.node(2).runtime().migrate(&actor, &there, SECOND).await.unwrap();
            assert!(!there.was_elsewhere, "seed {seed}: it is there already");
        });
    }
}

#[test]
fn one_node_after_the_other_is_replaced_and_no_call_fails() {
    run(5, async |world| {
        let actors: Vec<_> = (0..6).map(|number| actor(format!("c{number}"))).collect();
        let mut added = 0;
        for round in 0..3 {
            for (number, actor) in actors.iter().enumerate() {
                world.call(number % 3, actor, "add", "").await.unwrap();
                added += 1;
            }
            world.node(round).drain(5 * SECOND).await.left.unwrap();
            for actor in &actors {
                world.call((round + 1) % 3, actor, "add", "").await.unwrap();
                added += 1;
            }
            world.kill(round);
            world.restart(round).await.unwrap();
            world.sleep(SECOND).await;
        }
        let mut total = 0;
        for actor in &actors {
            total += world.call(2, actor, "get", "").await.unwrap();
        }
        assert_eq!(total, added);
    });
}

#[test]
fn messages_and_wakes_reach_their_actors_wherever_they_are() {
    for seed in 0..5 {
        run(seed, async |world| {
            let (sender, receiver) = (world.actor_of(0, "s").await, world.actor_of(1, "r").await);
            let had = world.call(2, &receiver, "get", "").await.unwrap();
            for through in 0..3 {
                world.call(through, &sender, "send", receiver.key().to_owned()).await.unwrap();
            }
            world.sleep(SECOND).await;
            assert_eq!(world.call(2, &receiver, "get", "").await.unwrap(), had + 3, "seed {seed}");
            // What a node owes that is gone, the others wake.
            let had = world.call(2, &sender, "remind", "").await.unwrap();
            world.kill(0);
            world.sleep(15 * SECOND).await;
            assert_eq!(world.call(2, &sender, "get", "").await.unwrap(), had + 100, "seed {seed}");
        });
    }
}

#[test]
fn turns_of_different_nodes_that_wait_for_each_other_are_found() {
    for seed in 0..10 {
        run(seed, async |world| {
            let mut circle = Vec::new();
            for owner in 0..3 {
                circle.push(world.actor_of(owner, &format!("o{owner}-")).await);
            }
            let walks = (0..3).map(|first| {
                let path = circle[(first + 1) % 3].key().to_owned();
                let (world, actor) = (&world, &circle[first]);
                async move { world.call((first + 2) % 3, actor, "walk", path).await }
            });
            let began = world.now();
            let replies = join_all(walks).await;
            let took = world.now() - began;
            let refused: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).collect();
            assert_eq!(refused.len(), 1, "seed {seed}: {replies:?}");
            let said = refused[0].to_string();
            let (_, gave_way) = said.split_once("gave way: ").expect("a circle");
            let names: Vec<&str> = gave_way.split(" -> ").collect();
            let begins = circle.iter().position(|actor| actor.to_string() == names[0]).expect(&said);
            let all: Vec<String> = (0..=3).map(|next| circle[(begins + next) % 3].to_string()).collect();
            assert_eq!(names, all, "seed {seed}");
            assert_eq!(refused[0].advice(), Advice::NotRun);
            assert!(took < 2 * SECOND, "seed {seed}: {took:?}");
        });
    }
}

#[test]
fn a_cluster_repeats_itself() {
    let work = |sim: &Sim| {
        sim.block_on(async {
            let world = Box::pin(World::new(sim, 3)).await;
            let actor = world.actor_of(0, "c").await;
            let mut totals = Vec::new();
            for round in 0..10 {
                if round == 5 {
                    world.kill(0);
                }
                totals.push(world.call(1 + round % 2, &actor, "add", "").await.unwrap());
            }
            totals
        })
    };
    for seed in 0..3 {
        same_twice(&Options::new(seed), work);
    }
}

#[cfg(feature = "mutants")]
pub(crate) mod mutants {
    use std::panic::{UnwindSafe, catch_unwind};

    pub(crate) fn is_caught(mutant: &'static str, test: impl FnOnce() + UnwindSafe) {
        let _armed = kelpie_core::mutant::arm(mutant);
        catch_unwind(test).expect_err(mutant);
    }

    #[test]
    fn sim_mutant_forward_without_key() {
        is_caught(
            "forward_without_key",
            super::an_answer_that_is_lost_on_the_way_is_given_again_and_the_effect_is_not,
        );
    }

    #[test]
    fn sim_mutant_lost_counts_as_not_sent() {
        is_caught(
            "lost_counts_as_not_sent",
            super::an_answer_that_is_lost_on_the_way_is_given_again_and_the_effect_is_not,
        );
    }

    #[test]
    fn sim_mutant_silence_does_not_count() {
        let test = super::an_owner_that_lives_and_cannot_be_reached_is_claimed_over;
        is_caught("silence_does_not_count", test);
    }

    #[test]
    fn sim_mutant_placed_out_of_reach() {
        let test = super::a_new_actor_is_not_placed_where_its_caller_reaches_nobody;
        is_caught("placed_out_of_reach", test);
    }

    #[test]
    fn sim_mutant_nobody_goes_on_trying() {
        let test = super::callers_with_less_patience_than_a_term_get_through_to_an_owner_out_of_reach;
        is_caught("nobody_goes_on_trying", test);
    }

    #[test]
    fn sim_mutant_pings_into_the_void() {
        let test = super::an_owner_that_lives_and_cannot_be_reached_is_claimed_over;
        is_caught("pings_into_the_void", test);
    }

    #[test]
    fn sim_mutant_news_of_an_owner_is_ignored() {
        let test = super::a_call_that_waits_at_an_owner_who_lost_its_actor_asks_the_next_one_at_once;
        is_caught("news_of_an_owner_is_ignored", test);
    }

    #[test]
    fn sim_mutant_ended_owner_is_waited_for() {
        let test = super::a_call_that_waits_at_a_node_that_is_declared_dead_asks_the_next_one_at_once;
        is_caught("ended_owner_is_waited_for", test);
    }

    #[test]
    fn sim_mutant_migration_activates_before_commit() {
        let test = super::an_actor_that_is_moved_under_load_is_followed_and_no_call_fails;
        is_caught("migration_activates_before_commit", test);
    }

    #[test]
    fn sim_mutant_drain_keeps_its_actors() {
        is_caught("drain_keeps_its_actors", super::a_drained_node_hands_over_and_no_call_fails);
    }

    #[test]
    fn sim_mutant_probes_stay_home() {
        is_caught("probes_stay_home", super::turns_of_different_nodes_that_wait_for_each_other_are_found);
    }

    #[test]
    fn sim_mutant_refusals_say_nothing() {
        is_caught("refusals_say_nothing", super::a_process_whose_port_refuses_is_replaced_in_about_a_second);
    }
}
