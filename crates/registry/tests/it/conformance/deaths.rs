//! Who is declared dead, and by whom.

use futures::future::join_all;
use kelpie_core::id::Epoch;
use kelpie_core::membership::{Grounds, Suspicion};
use kelpie_core::ownership::Why;
use kelpie_core::session::{Beat, Lease, SessionState};
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Declared, Health, Nodes};

use super::claims::owned;
use super::world::{World, actor, node};

/// Writes a beat of a node's first life, and gives the suspicion of who has watched it.
async fn beats(world: &World<'_>, name: &str, beat: u64) -> Suspicion {
    let session = world.session_of(name).await;
    let lease = Lease { incarnation: session.incarnation, beat, load: 0 };
    world.set(row::lease(&node(name)), record::encode(&lease)).await;
    let watched = Beat::of(&session, Some(&lease));
    Suspicion { node: node(name), watched, grounds: Grounds::Silent }
}

pub(super) async fn only_the_beat_that_was_watched_is_declared_dead(world: &World<'_>) {
    world.stands("n1", SessionState::Active).await;
    let before = beats(world, "n1", 4).await;
    let now = beats(world, "n1", 5).await;
    let nodes = world.nodes();
    assert_eq!(nodes.declare_dead(&before).await.unwrap(), Declared::Renewed, "it has renewed since");
    let nobody = Suspicion { node: node("n9"), ..now.clone() };
    assert_eq!(nodes.declare_dead(&nobody).await.unwrap(), Declared::Over, "nobody had that name");
    // The same beat of another life, and of another process.
    world.stands("n2", SessionState::Active).await;
    let other = Suspicion { node: node("n1"), ..beats(world, "n2", 5).await };
    assert_eq!(nodes.declare_dead(&other).await.unwrap(), Declared::Over);
    assert_eq!(world.session_of("n1").await.state, SessionState::Active);
    assert_eq!(nodes.declare_dead(&now).await.unwrap(), Declared::Dead);
    assert_eq!(world.session_of("n1").await.state, SessionState::Dead);
    for ended in [SessionState::Dead, SessionState::Left, SessionState::Evicted] {
        world.stands("n1", ended).await;
        assert_eq!(nodes.declare_dead(&now).await.unwrap(), Declared::Over, "{ended:?}");
        assert_eq!(world.session_of("n1").await.state, ended, "it stays as it ended");
    }
}

pub(super) async fn of_many_that_declare_a_node_dead_one_does(world: &World<'_>) {
    let machines = world.machines(&["n2", "n3", "n4"]).await;
    for round in 0..10 {
        world.stands("n1", SessionState::Active).await;
        let suspicion = beats(world, "n1", round).await;
        let declarations: Vec<_> = machines
            .iter()
            .map(|machine| {
                let (nodes, suspicion) = (Nodes::new(machine.store.clone()), suspicion.clone());
                machine.begin(async move { nodes.declare_dead(&suspicion).await.unwrap() })
            })
            .collect();
        let declared = join_all(declarations).await;
        assert_eq!(
            declared.iter().filter(|declared| **declared == Declared::Dead).count(),
            1,
            "{declared:?}"
        );
        assert_eq!(
            declared.iter().filter(|declared| **declared == Declared::Over).count(),
            2,
            "{declared:?}"
        );
    }
}

pub(super) async fn a_node_that_was_killed_is_declared_dead_and_its_actors_are_free(world: &World<'_>) {
    let mut machines = world.machines(&["n1", "n2"]).await;
    let (one, two) = (machines[0].join("n1").await.unwrap(), machines[1].join("n2").await.unwrap());
    let ownership = machines[1].ownership();
    let (own, _) = owned(ownership.claim(&actor(1), &one.myself(), &Why::Called).await.unwrap());
    let followed = ownership.claim(&actor(1), &two.myself(), &Why::Called).await.unwrap();
    assert_eq!(followed, Claimed::Elsewhere(own));
    machines.remove(0).kill();
    world.until(async || world.session_of("n1").await.state == SessionState::Dead).await;
    let (own, _) = owned(ownership.claim(&actor(1), &two.myself(), &Why::Called).await.unwrap());
    assert_eq!((own.epoch, own.node.as_str()), (Epoch(2), "n2"));
    world.until(async || two.members().live().count() == 1).await;
    assert_eq!(two.health(), Health::Ready);
}
