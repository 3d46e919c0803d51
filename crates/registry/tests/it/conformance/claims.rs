//! Who gets an actor.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kelpie_core::capacity::Capacity;
use kelpie_core::id::{Boot, Epoch, Incarnation, Seq};
use kelpie_core::ownership::{Entry, Myself, Own, Why};
use kelpie_core::session::SessionState;
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Head, Settled};
use parking_lot::Mutex;

use super::world::{World, actor, node};

pub(super) fn owned(claimed: Claimed) -> (Own, Head) {
    match claimed {
        Claimed::Owned { own, head } => (own, head),
        Claimed::Elsewhere(_) | Claimed::NotActive => panic!("{claimed:?}"),
    }
}

pub(super) async fn a_claim_is_written_once(world: &World<'_>) {
    let (me, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let (own, head) = owned(ownership.claim(&actor(1), &me, &Why::Called).await.unwrap());
    let expected = Own { node: me.node.clone(), incarnation: me.incarnation, boot: me.boot, epoch: Epoch(1) };
    assert_eq!((&own, head), (&expected, Head::default()));
    assert_eq!(world.own(&actor(1)).await, Some(expected));
    let why = Why::Migrated { from: node("n9"), by: kelpie_core::ownership::Mover::Drain };
    let again = owned(ownership.claim(&actor(1), &me, &why).await.unwrap());
    assert_eq!(again.0, own, "of the same epoch");
    let entry = ownership.inspect(&actor(1)).await.unwrap().unwrap().entry;
    assert_eq!(entry, Some(Entry { epoch: Epoch(1), why: Why::Called }), "and nothing was written");
}

pub(super) async fn a_live_owner_is_followed_and_an_ended_one_succeeded(world: &World<'_>) {
    let (holder, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let me = world.stands("n2", SessionState::Active).await;
    let (first, _) = owned(ownership.claim(&actor(1), &holder, &Why::Called).await.unwrap());
    let head = Head { seq: Seq(7), ..Head::default() };
    world.set(row::head(&actor(1)), record::encode(&head)).await;
    for live in [SessionState::Active, SessionState::Draining] {
        world.stands("n1", live).await;
        let claimed = ownership.claim(&actor(1), &me, &Why::Called).await.unwrap();
        assert_eq!(claimed, Claimed::Elsewhere(first.clone()), "{live:?}");
    }
    let mut takers = [("n1", me.clone()), ("n2", holder.clone())].into_iter().cycle();
    let mut epoch = first.epoch.0;
    for ended in [SessionState::Left, SessionState::Dead, SessionState::Evicted] {
        let (gone, taker) = takers.next().unwrap();
        world.stands(taker.node.as_str(), SessionState::Active).await;
        world.stands(gone, ended).await;
        let (own, kept) = owned(ownership.claim(&actor(1), &taker, &Why::Called).await.unwrap());
        epoch += 1;
        assert_eq!((own.epoch, &own.node), (Epoch(epoch), &taker.node), "{ended:?}");
        assert_eq!(kept, head, "commits go on where the former owner has stopped");
    }
}

pub(super) async fn who_may_not_claim_claims_nothing(world: &World<'_>) {
    let ownership = world.ownership();
    for state in [SessionState::Draining, SessionState::Left, SessionState::Dead, SessionState::Evicted] {
        let me = world.stands("n1", state).await;
        let claimed = ownership.claim(&actor(1), &me, &Why::Called).await.unwrap();
        assert_eq!(claimed, Claimed::NotActive, "{state:?}");
    }
    let me = world.stands("n1", SessionState::Active).await;
    let others = [
        Myself { incarnation: Incarnation(0), ..me.clone() },
        Myself { incarnation: Incarnation(2), ..me.clone() },
        Myself { boot: Boot(9), ..me.clone() },
        Myself { node: node("n2"), ..me },
    ];
    for other in others {
        let claimed = ownership.claim(&actor(1), &other, &Why::Called).await.unwrap();
        assert_eq!(claimed, Claimed::NotActive, "{other:?} has no session");
    }
    assert_eq!(world.own(&actor(1)).await, None);
}

pub(super) async fn of_two_nodes_that_claim_one_actor_at_once_one_wins(world: &World<'_>) {
    let names = ["n1", "n2"];
    let machines = world.machines(&names).await;
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(world.stands(name, SessionState::Active).await);
    }
    for round in 0..20 {
        let claims: Vec<_> = (0..6)
            .map(|n| {
                let (machine, me) = (&machines[n % 2], nodes[n % 2].clone());
                let ownership = machine.ownership();
                machine.begin(async move { ownership.claim(&actor(round), &me, &Why::Called).await.unwrap() })
            })
            .collect();
        let claims = join_all(claims).await;
        let own = world.own(&actor(round)).await.unwrap();
        assert_eq!(own.epoch, Epoch(1), "it was claimed once");
        for (n, claimed) in claims.into_iter().enumerate() {
            let wins = own.node == nodes[n % 2].node;
            match claimed {
                Claimed::Owned { own: mine, .. } => assert!(wins && mine == own, "round {round}: {mine:?}"),
                Claimed::Elsewhere(other) => assert!(!wins && other == own, "round {round}: {other:?}"),
                Claimed::NotActive => panic!("both are active"),
            }
        }
    }
}

pub(super) async fn an_owner_out_of_reach_is_claimed_over_as_it_was_known(world: &World<'_>) {
    let (holder, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let me = world.stands("n2", SessionState::Active).await;
    let (own, _) = owned(ownership.claim(&actor(1), &holder, &Why::Called).await.unwrap());
    let over = async |known: &Own| {
        ownership.claim_over(&actor(1), &me, known, Duration::from_secs(3)).await.unwrap()
    };
    let others = [Own { epoch: Epoch(7), ..own.clone() }, Own { incarnation: Incarnation(2), ..own.clone() }];
    for other in others {
        assert_eq!(over(&other).await, Claimed::Elsewhere(own.clone()), "not whom it had tried: {other:?}");
    }
    world.stands("n2", SessionState::Draining).await;
    assert_eq!(over(&own).await, Claimed::NotActive);
    world.stands("n2", SessionState::Active).await;
    let (taken, _) = owned(over(&own).await);
    assert_eq!((taken.node.as_str(), taken.epoch), ("n2", Epoch(2)));
    let former = ownership.claim(&actor(1), &holder, &Why::Called).await.unwrap();
    assert_eq!(former, Claimed::Elsewhere(taken), "it finds out and follows");
}

pub(super) async fn an_unknown_outcome_is_settled_by_the_owner_alone(world: &World<'_>) {
    let (holder, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let (first, _) = owned(ownership.claim(&actor(1), &holder, &Why::Called).await.unwrap());
    let settled = ownership.settle(&actor(1), &first).await.unwrap();
    let Settled::Ours { own: second, .. } = settled else { panic!("it owns the actor") };
    assert_eq!(second, Own { epoch: Epoch(2), ..first.clone() });
    assert_eq!(
        world.own(&actor(1)).await.unwrap(),
        second,
        "written, so that a lost commit finds it changed"
    );
    let others = [
        Own { node: node("n2"), ..first.clone() },
        Own { incarnation: Incarnation(2), ..first.clone() },
        Own { boot: Boot(9), ..first.clone() },
    ];
    for other in others {
        world.set(row::own(&actor(1)), record::encode(&other)).await;
        assert_eq!(ownership.settle(&actor(1), &first).await.unwrap(), Settled::Elsewhere, "{other:?}");
        assert_eq!(world.own(&actor(1)).await.unwrap(), other);
    }
}

/// A node counts an actor before it claims it, as the runtime does.
pub(super) async fn a_node_claims_as_many_as_it_has_room_for(world: &World<'_>) {
    const ROOM: u64 = 3;
    const ACTORS: usize = 8;
    let names = ["n1", "n2"];
    let machines = world.machines(&names).await;
    let mut claims = Vec::new();
    for (machine, name) in machines.iter().zip(names) {
        let me = world.stands(name, SessionState::Active).await;
        let room = Arc::new(Mutex::new(Capacity::new(Some(ROOM))));
        for number in 0..ACTORS {
            let (me, ownership, room) = (me.clone(), machine.ownership(), room.clone());
            claims.push(machine.begin(async move {
                let counted = room.lock().enter();
                counted.ok()?;
                let claimed = ownership.claim(&actor(number), &me, &Why::Called).await.unwrap();
                let own = matches!(claimed, Claimed::Owned { .. });
                if !own {
                    room.lock().leave();
                }
                own.then_some(())
            }));
        }
    }
    let won = join_all(claims).await.into_iter().flatten().count();
    let mut listed = 0;
    for name in names {
        let page = world.ownership().owned_by(&node(name), None, ACTORS).await.unwrap();
        assert!(page.owned.len() <= usize::try_from(ROOM).unwrap(), "{name}: {:?}", page.owned);
        listed += page.owned.len();
    }
    assert_eq!(listed, won, "each claim that was won is listed, and no other");
    assert!(won >= usize::try_from(ROOM).unwrap(), "{won}");
}
