//! What an operator does to nodes.

use std::time::Duration;

use kelpie_core::id::Incarnation;
use kelpie_core::session::SessionState;
use kelpie_registry::{Claimed, Health, Nodes, Ownership, Told};

use crate::shared::{World, n1, node};

#[test]
fn sim_an_evicted_process_stops_and_its_name_and_actors_are_free() {
    let world = World::new(1);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        let actor = kelpie_core::id::ActorId::new("default", "counter", "a").unwrap();
        let ownership = Ownership::new(world.store(&cluster[1].0.env()));
        let why = kelpie_core::ownership::Why::Called;
        ownership.claim(&actor, &cluster[0].1.myself(), &why).await.unwrap();
        let nodes = Nodes::new(world.store(&cluster[1].0.env()));
        assert!(matches!(nodes.evict(&n1()).await.unwrap(), Told::Done(_)));
        assert!(matches!(nodes.evict(&n1()).await.unwrap(), Told::Already(_)));
        let taken = ownership.claim(&actor, &cluster[1].1.myself(), &why).await.unwrap();
        assert!(matches!(taken, Claimed::Owned { .. }), "{taken:?}");
        world.sleep(Duration::from_secs(2)).await;
        assert_eq!(cluster[0].1.health(), Health::Evicted);
        assert!(cluster[0].1.health().is_over());
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(world.session().await.state, SessionState::Evicted, "it does not come back by itself");
        let again = world.join(&world.sim.node("other").env()).await.unwrap();
        assert_eq!(again.myself().incarnation, Incarnation(2));
    });
}

#[test]
fn sim_a_node_that_is_told_to_drain_knows_it_with_its_next_beat() {
    let world = World::new(2);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        let nodes = Nodes::new(world.store(&cluster[1].0.env()));
        assert!(!cluster[0].1.is_draining());
        assert!(matches!(nodes.drain(&n1()).await.unwrap(), Told::Done(_)));
        world.sleep(Duration::from_millis(1_300)).await;
        assert!(cluster[0].1.is_draining() && !cluster[1].1.is_draining());
        assert_eq!(cluster[0].1.health(), Health::Ready, "it serves what it owns");
        assert_eq!(nodes.drain(&node("n9")).await.unwrap(), Told::NoSuchNode);
        cluster[0].1.leave().await.unwrap();
        assert!(matches!(nodes.drain(&n1()).await.unwrap(), Told::Already(_)));
    });
}

#[test]
fn sim_all_nodes_are_listed_with_their_last_beat() {
    let world = World::new(3);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2", "n10"]).await;
        cluster[1].1.leave().await.unwrap();
        let listed = Nodes::new(world.store(&cluster[0].0.env())).list().await.unwrap();
        let shown: Vec<String> = listed
            .iter()
            .map(|member| format!("{} {:?} {}", member.node, member.session.state, member.session.address))
            .collect();
        assert_eq!(shown, ["n1 Active n1:7000", "n10 Active n10:7000", "n2 Left n2:7000"]);
        assert!(listed.iter().all(|member| member.load() == Some(0)), "{listed:?}");
        assert_eq!(listed[0].lease, Some(world.lease().await));
    });
}
