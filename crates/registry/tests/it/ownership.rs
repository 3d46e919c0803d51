//! Claims, and outcomes made final.

use kelpie_core::id::{ActorId, Boot, Epoch, Incarnation, NodeId, Seq};
use kelpie_core::ownership::{Entry, Myself, Own, Why};
use kelpie_core::session::{Protocols, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Head, Ownership, Settled};

use crate::shared::World;

fn actor() -> ActorId {
    ActorId::new("default", "counter", "a").unwrap()
}

/// A node with a session in this state.
pub(crate) async fn joined(world: &World, name: &str, boot: u128, state: SessionState) -> Myself {
    let (node, boot, incarnation) = (NodeId::new(name).unwrap(), Boot(boot), Incarnation(1));
    let session = Session {
        incarnation,
        boot,
        state,
        address: String::new(),
        version: "0".into(),
        labels: std::collections::BTreeSet::new(),
        capacity: None,
        protocols: Protocols::default(),
        lease_ms: 3_000,
    };
    world.set(row::session(&node), record::encode(&session)).await;
    Myself { node, incarnation, boot }
}

fn with_ownership(test: impl AsyncFn(&World, &Ownership)) {
    let world = World::new(1);
    let ownership = Ownership::new(world.store(&world.node.env()));
    world.sim.block_on(test(&world, &ownership));
}

async fn own(world: &World) -> Own {
    record::decode(&world.stored(&row::own(&actor())).await.unwrap()).unwrap()
}

pub(crate) fn owned(claimed: Claimed) -> (Own, Head) {
    match claimed {
        Claimed::Owned { own, head } => (own, head),
        Claimed::Elsewhere(_) | Claimed::NotActive => panic!("{claimed:?}"),
    }
}

#[test]
fn sim_a_claim_is_recorded_and_the_next_one_of_the_same_node_writes_nothing() {
    with_ownership(async |world, ownership| {
        let me = joined(world, "n1", 1, SessionState::Active).await;
        let (first, head) = owned(ownership.claim(&actor(), &me, &Why::Called).await.unwrap());
        assert_eq!((first.epoch, head), (Epoch(1), Head::default()));
        assert_eq!(own(world).await, first);
        let listed = world.stored(&row::by_node(&me.node, me.incarnation, &actor())).await;
        let listed: Entry = record::decode(&listed.unwrap()).unwrap();
        assert_eq!(listed, Entry { epoch: Epoch(1), why: Why::Called });
        assert_eq!(owned(ownership.claim(&actor(), &me, &Why::Called).await.unwrap()).0, first);
        assert_eq!(own(world).await, first);
    });
}

#[test]
fn sim_a_live_owner_is_named_and_a_gone_one_succeeded() {
    with_ownership(async |world, ownership| {
        let holder = joined(world, "n1", 1, SessionState::Active).await;
        let me = joined(world, "n2", 2, SessionState::Active).await;
        let (first, _) = owned(ownership.claim(&actor(), &holder, &Why::Called).await.unwrap());
        let head = Head { seq: Seq(7), ..Head::default() };
        world.set(row::head(&actor()), record::encode(&head)).await;
        for live in [SessionState::Active, SessionState::Draining] {
            joined(world, "n1", 1, live).await;
            let claimed = ownership.claim(&actor(), &me, &Why::Called).await.unwrap();
            assert_eq!(claimed, Claimed::Elsewhere(first.clone()), "{live:?}");
        }
        joined(world, "n1", 1, SessionState::Dead).await;
        let (next, kept) = owned(ownership.claim(&actor(), &me, &Why::Called).await.unwrap());
        assert_eq!((next.epoch, &next.node), (Epoch(2), &me.node));
        assert_eq!(kept, head, "commits go on where the former owner has stopped");
    });
}

#[test]
fn sim_a_node_that_is_not_active_claims_nothing() {
    with_ownership(async |world, ownership| {
        for state in [SessionState::Draining, SessionState::Left, SessionState::Dead] {
            let me = joined(world, "n1", 1, state).await;
            assert_eq!(
                ownership.claim(&actor(), &me, &Why::Called).await.unwrap(),
                Claimed::NotActive,
                "{state:?}"
            );
        }
        let me = joined(world, "n1", 1, SessionState::Active).await;
        let former = Myself { boot: Boot(9), ..me };
        assert_eq!(ownership.claim(&actor(), &former, &Why::Called).await.unwrap(), Claimed::NotActive);
        assert_eq!(world.stored(&row::own(&actor())).await, None);
    });
}

#[test]
fn sim_an_outcome_is_settled_by_the_owner_alone_and_by_a_write() {
    with_ownership(async |world, ownership| {
        let holder = joined(world, "n1", 1, SessionState::Active).await;
        let (first, _) = owned(ownership.claim(&actor(), &holder, &Why::Called).await.unwrap());
        let Settled::Ours { own: second, .. } = ownership.settle(&actor(), &first).await.unwrap() else {
            panic!("it owns the actor");
        };
        assert_eq!(second, Own { epoch: Epoch(2), ..first.clone() });
        assert_eq!(own(world).await, second, "written, so that the lost commit finds it changed");
        let others = [
            Own { node: NodeId::new("n2").unwrap(), ..first.clone() },
            Own { incarnation: Incarnation(2), ..first.clone() },
            Own { boot: Boot(9), ..first.clone() },
        ];
        for other in others {
            world.set(row::own(&actor()), record::encode(&other)).await;
            assert_eq!(ownership.settle(&actor(), &first).await.unwrap(), Settled::Elsewhere, "{other:?}");
            assert_eq!(own(world).await, other);
        }
    });
}
