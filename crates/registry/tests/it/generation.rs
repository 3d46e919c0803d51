//! Which life of the store a node has joined, and that it outlives none.

use std::time::Duration;

use bytes::Bytes;
use kelpie_core::row;
use kelpie_core::session::SessionState;
use kelpie_registry::{Health, JoinError, RegistryError};

use crate::shared::World;

async fn generation(world: &World) -> Option<u128> {
    row::parse_generation(&world.stored(&row::generation()).await?)
}

#[test]
fn sim_the_first_join_gives_the_store_its_generation_and_later_ones_keep_it() {
    let world = World::new(1);
    world.sim.block_on(async {
        assert_eq!(generation(&world).await, None);
        let first = world.join(&world.node.env()).await.unwrap();
        let given = generation(&world).await;
        assert!(given.is_some());
        first.leave().await.unwrap();
        let second = world.join(&world.node.env()).await.unwrap();
        assert_ne!(first.myself().boot, second.myself().boot);
        assert_eq!(generation(&world).await, given);
        world.node.env().sleep(Duration::from_secs(20)).await;
        assert_eq!(second.health(), Health::Ready, "it renews in the store that it has joined");
    });
}

/// What a node does whose store gets another generation while all other rows stay: those of a
/// backup that was made while it ran.
fn restored_under_a_node(seed: u64, restored: Option<u128>) -> Result<(), String> {
    let world = World::new(seed);
    world.sim.block_on(async {
        let env = world.node.env();
        let node = world.join(&env).await.unwrap();
        env.sleep(Duration::from_millis(env.random_u64() % 5_000)).await;
        match restored {
            Some(number) => world.set(row::generation(), row::generation_value(number)).await,
            None => {
                let mut tx = world.store(&env).begin();
                tx.clear(row::generation());
                tx.commit().await.unwrap();
            }
        }
        let beat = world.lease().await;
        // A beat, and what it takes to carry it out.
        env.sleep(Duration::from_millis(1_100)).await;
        if node.health() != Health::Restored || !node.health().is_over() {
            return Err(format!("it is {:?}", node.health()));
        }
        node.drain().await.unwrap();
        node.leave().await.unwrap();
        env.sleep(Duration::from_secs(10)).await;
        assert_eq!(node.health(), Health::Restored, "for ever");
        let untouched = world.lease().await == beat && world.session().await.state == SessionState::Active;
        if untouched { Ok(()) } else { Err("it wrote into the other store".to_owned()) }
    })
}

#[test]
fn sim_a_store_restored_under_a_node_stops_it() {
    for seed in 0..50 {
        for restored in [Some(u128::from(seed)), None] {
            assert_eq!(restored_under_a_node(seed, restored), Ok(()), "seed {seed}, {restored:?}");
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_generation_ignored() {
    let _armed = kelpie_core::mutant::arm("generation_ignored");
    restored_under_a_node(1, Some(7)).unwrap_err();
}

#[test]
fn sim_a_stopped_node_joins_the_restored_store_anew() {
    let world = World::new(3);
    world.sim.block_on(async {
        let env = world.node.env();
        let before = world.join(&env).await.unwrap();
        world.set(row::generation(), row::generation_value(9)).await;
        env.sleep(Duration::from_secs(2)).await;
        assert_eq!(before.health(), Health::Restored);
        let after = world.join(&env).await.unwrap();
        assert_eq!(after.myself().incarnation, before.myself().incarnation.next());
        env.sleep(Duration::from_secs(10)).await;
        assert_eq!((after.health(), generation(&world).await), (Health::Ready, Some(9)));
    });
}

#[test]
fn sim_a_generation_that_cannot_be_read_is_told_and_nothing_is_written() {
    let world = World::new(4);
    world.sim.block_on(async {
        world.set(row::generation(), Bytes::from_static(b"\x02newer")).await;
        let refused = world.join(&world.node.env()).await;
        assert!(matches!(refused, Err(JoinError::Registry(RegistryError::Generation))), "{refused:?}");
        assert_eq!(world.stored(&row::session(&crate::shared::n1())).await, None);
    });
}
