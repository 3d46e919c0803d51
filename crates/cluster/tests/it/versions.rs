//! Nodes of two builds, which do not speak the same versions of the protocol.

use std::time::Duration;

use kelpie_cluster::StartError;
use kelpie_core::id::NodeId;
use kelpie_env::sim::Sim;

use crate::world::{World, name};

const SECOND: Duration = Duration::from_secs(1);

/// Machines of nodes that speak these versions; none is started.
fn with_worlds(seed: u64, spoken: &[(u8, u8)], test: impl AsyncFnOnce(World<'_>)) {
    let sim = Sim::new(seed);
    sim.block_on(async {
        let world = World::of_machines(&sim, spoken.len());
        for (index, (min, max)) in spoken.iter().enumerate() {
            world.speaks(index, *min, *max);
        }
        Box::pin(test(world)).await;
    });
}

/// What a node is told that may not join.
async fn refused(world: &World<'_>, index: usize) -> String {
    let error = world.start(index).await.unwrap_err();
    assert!(matches!(&error, StartError::Runtime(_)), "{error}");
    error.to_string()
}

#[test]
fn nodes_of_two_builds_serve_move_and_fail_over_as_one_cluster() {
    for seed in 0..5 {
        with_worlds(seed, &[(1, 1), (1, 2), (1, 2)], async |world| {
            for index in 0..3 {
                world.start(index).await.unwrap();
            }
            world.sleep(SECOND / 2).await;
            let old = world.actor_of(0, "old").await;
            let new = world.actor_of(1, "new").await;
            for through in 0..3 {
                for actor in [&old, &new] {
                    let before = world.call(through, actor, "get", "").await.unwrap();
                    assert_eq!(world.call(through, actor, "add", "").await.unwrap(), before + 1);
                }
            }
            // To the other build, each.
            for (actor, asked, to) in [(&old, 0, 1), (&new, 2, 0)] {
                let there = NodeId::new(&name(to)).unwrap();
                world.node(asked).runtime().migrate(actor, &there, SECOND).await.unwrap();
                let before = world.call(2, actor, "get", "").await.unwrap();
                assert_eq!(world.call(1, actor, "add", "").await.unwrap(), before + 1, "seed {seed}");
                assert_eq!(world.owner(2, actor).await, Some(to), "seed {seed}");
            }
            let before = world.call(1, &new, "get", "").await.unwrap();
            world.kill(0);
            assert_eq!(world.call(2, &new, "add", "").await.unwrap(), before + 1, "seed {seed}");
            assert_ne!(world.owner(1, &new).await, Some(0), "seed {seed}");
        });
    }
}

#[test]
fn a_node_that_speaks_nothing_that_a_live_one_does_may_not_join_and_is_told_what_to_do() {
    for seed in 0..5 {
        with_worlds(seed, &[(1, 1), (2, 2)], async |world| {
            world.start(0).await.unwrap();
            let told = refused(&world, 1).await;
            assert_eq!(
                told,
                format!(
                    "node `n1` (Kelpie {}) speaks versions 1 to 1 of the protocol between nodes, this process \
                     speaks 2 to 2: first put a release that speaks a version of each on all nodes, or stop `n1`",
                    env!("CARGO_PKG_VERSION")
                ),
            );
            assert_eq!(world.sim.elapsed().as_secs() / 10, 0, "seed {seed}: it is told soon");
            // It has left nothing behind, and the one that is there goes on.
            let actor = world.actor_of(0, "c").await;
            assert_eq!(world.call(0, &actor, "add", "").await.unwrap(), 2);
            // As it was told: by way of a release that speaks both, one node after the other.
            world.speaks(1, 1, 2);
            world.start(1).await.unwrap();
            world.sleep(SECOND).await;
            world.node(0).drain(SECOND).await.left.unwrap();
            world.kill(0);
            world.speaks(0, 2, 2);
            world.restart(0).await.unwrap();
            assert_eq!(world.call(0, &actor, "add", "").await.unwrap(), 3, "seed {seed}");
        });
    }
}

#[test]
fn nodes_that_were_killed_keep_nobody_from_joining_for_longer_than_it_takes_to_see_it() {
    for seed in 0..5 {
        with_worlds(seed, &[(1, 1), (1, 1), (2, 2)], async |world| {
            for index in 0..2 {
                world.start(index).await.unwrap();
                world.sleep(SECOND).await;
            }
            (0..2).for_each(|index| world.kill(index));
            let began = world.now();
            world.start(2).await.unwrap();
            let took = world.now() - began;
            assert!(took < 5 * SECOND, "seed {seed}: {took:?}");
        });
    }
}

#[test]
fn of_two_that_have_nothing_in_common_and_join_at_once_one_joins() {
    for seed in 0..20 {
        with_worlds(seed, &[(1, 2), (1, 1), (2, 2)], async |world| {
            world.start(0).await.unwrap();
            let (first, second) = futures::join!(world.start(1), world.start(2));
            assert!(first.is_ok() != second.is_ok(), "seed {seed}: {first:?} {second:?}");
        });
    }
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_joins_whoever_is_there() {
    let _armed = kelpie_core::mutant::arm("joins_whoever_is_there");
    let test = a_node_that_speaks_nothing_that_a_live_one_does_may_not_join_and_is_told_what_to_do;
    std::panic::catch_unwind(test).unwrap_err();
}
