//! What a node owns, and why an actor is where it is.

use std::time::Duration;

use kelpie_core::id::{ActorId, Epoch};
use kelpie_core::ownership::{Entry, Mover, Myself, Own, Why};
use kelpie_core::session::SessionState;
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Holding, Migrated, Ownership};

use crate::ownership::{joined, owned};
use crate::shared::{World, node};

fn actor(number: usize) -> ActorId {
    ActorId::new("default", "counter", &format!("{number:03}")).unwrap()
}

async fn all_of(ownership: &Ownership, name: &str, limit: usize) -> Vec<String> {
    let (mut from, mut found) = (None, Vec::new());
    loop {
        let page = ownership.owned_by(&node(name), from, limit).await.unwrap();
        assert!(page.owned.len() <= limit);
        found.extend(page.owned.into_iter().map(|owned| owned.actor.key().to_owned()));
        from = page.next;
        if from.is_none() {
            return found;
        }
    }
}

fn with(test: impl AsyncFn(&World, &Ownership, Myself, Myself)) {
    let world = World::new(1);
    let ownership = Ownership::new(world.store(&world.node.env()));
    world.sim.block_on(async {
        let one = joined(&world, "n1", 1, SessionState::Active).await;
        let other = joined(&world, "n2", 2, SessionState::Active).await;
        test(&world, &ownership, one, other).await;
    });
}

#[test]
fn sim_a_node_s_actors_are_listed_in_pages_without_those_that_have_moved() {
    with(async |_, ownership, one, other| {
        for number in 0..25 {
            let me = if number % 5 == 0 { &other } else { &one };
            owned(ownership.claim(&actor(number), me, &Why::Called).await.unwrap());
        }
        let (held, _) = owned(ownership.claim(&actor(1), &one, &Why::Called).await.unwrap());
        ownership.migrate(&actor(1), &held, &other, Mover::Operator).await.unwrap();
        let expected: Vec<String> =
            (2..25).filter(|number| number % 5 != 0).map(|number| format!("{number:03}")).collect();
        for limit in [1, 7, 1_000] {
            assert_eq!(all_of(ownership, "n1", limit).await, expected, "in pages of {limit}");
        }
        assert_eq!(all_of(ownership, "n2", 7).await, ["000", "001", "005", "010", "015", "020"]);
        assert_eq!(all_of(ownership, "n3", 7).await, Vec::<String>::new());
    });
}

#[test]
fn sim_an_actor_tells_where_it_is_and_why() {
    with(async |world, ownership, one, other| {
        assert_eq!(ownership.inspect(&actor(1)).await.unwrap(), None);
        assert_eq!(ownership.find(&actor(1)).await.unwrap(), Holding::Nobody);
        let why = Why::Near { actor: actor(2) };
        let (own, _) = owned(ownership.claim(&actor(1), &one, &why).await.unwrap());
        let inspected = ownership.inspect(&actor(1)).await.unwrap().unwrap();
        assert_eq!((&inspected.own, inspected.holder_lives), (&own, true));
        assert_eq!(inspected.entry, Some(Entry { epoch: Epoch(1), why }));
        assert_eq!(ownership.find(&actor(1)).await.unwrap(), Holding::Live(own.clone()));
        let Migrated::Moved(moved) = ownership.migrate(&actor(1), &own, &other, Mover::Drain).await.unwrap()
        else {
            panic!("it moves");
        };
        let entry = ownership.inspect(&actor(1)).await.unwrap().unwrap().entry.unwrap();
        assert_eq!(
            entry,
            Entry { epoch: Epoch(2), why: Why::Migrated { from: node("n1"), by: Mover::Drain } }
        );
        joined(world, "n2", 2, SessionState::Dead).await;
        assert_eq!(ownership.find(&actor(1)).await.unwrap(), Holding::Ended(moved.clone()));
        assert!(!ownership.inspect(&actor(1)).await.unwrap().unwrap().holder_lives);
        // Where it came before that was kept.
        world.set(row::by_node(&moved.node, moved.incarnation, &actor(1)), bytes::Bytes::new()).await;
        assert_eq!(ownership.inspect(&actor(1)).await.unwrap().unwrap().entry, None);
    });
}

#[test]
fn sim_an_owner_out_of_reach_is_claimed_over_as_it_was_known() {
    with(async |world, ownership, one, other| {
        let (own, _) = owned(ownership.claim(&actor(1), &one, &Why::Called).await.unwrap());
        let unreachable = Duration::from_secs(3);
        let over = |known: Own| {
            let (actor, other) = (actor(1), other.clone());
            async move { ownership.claim_over(&actor, &other, &known, unreachable).await.unwrap() }
        };
        let other_known = Own { epoch: Epoch(7), ..own.clone() };
        assert_eq!(over(other_known).await, Claimed::Elsewhere(own.clone()), "not whom it had tried");
        let (taken, _) = owned(over(own.clone()).await);
        assert_eq!((taken.node.as_str(), taken.epoch), ("n2", Epoch(2)));
        let entry = ownership.inspect(&actor(1)).await.unwrap().unwrap().entry.unwrap();
        assert_eq!(entry.why, Why::ClaimedOver { node: node("n1"), unreachable_ms: 3_000 });
        // Its former owner finds out and follows.
        let claimed = ownership.claim(&actor(1), &one, &Why::Called).await.unwrap();
        assert_eq!(claimed, Claimed::Elsewhere(taken));
        joined(world, "n2", 2, SessionState::Draining).await;
        let draining = ownership.claim_over(&actor(2), &other, &own, unreachable).await.unwrap();
        assert_eq!(draining, Claimed::NotActive);
    });
}

#[test]
fn sim_an_actor_is_given_to_an_active_node_and_to_no_other() {
    with(async |world, ownership, one, other| {
        let (own, _) = owned(ownership.claim(&actor(1), &one, &Why::Called).await.unwrap());
        for state in [SessionState::Draining, SessionState::Left, SessionState::Dead, SessionState::Evicted] {
            joined(world, "n2", 2, state).await;
            let refused = ownership.migrate(&actor(1), &own, &other, Mover::Drain).await.unwrap();
            assert_eq!(refused, Migrated::TargetNotActive, "{state:?}");
        }
        let record = || async { world.stored(&row::own(&actor(1))).await.unwrap() };
        assert_eq!(record().await, record::encode(&own), "and nothing was written");
        joined(world, "n2", 2, SessionState::Active).await;
        // A drainer gives away what it holds.
        joined(world, "n1", 1, SessionState::Draining).await;
        world.faults.lose_answer.store(true, std::sync::atomic::Ordering::Relaxed);
        let moved = ownership.migrate(&actor(1), &own, &other, Mover::Drain).await.unwrap();
        let Migrated::Moved(moved) = moved else { panic!("{moved:?}") };
        assert_eq!((moved.epoch, moved.boot), (Epoch(2), other.boot));
        assert_eq!(
            ownership.migrate(&actor(1), &own, &other, Mover::Drain).await.unwrap(),
            Migrated::Moved(moved.clone())
        );
        let again = ownership.migrate(&actor(1), &own, &one, Mover::Drain).await.unwrap();
        assert_eq!(again, Migrated::NotMine(Some(moved)), "it is not the giver's any more");
    });
}
