//! Actors that are given away, and nodes that are told to give theirs away.

use futures::future::join_all;
use kelpie_core::id::{Epoch, Incarnation};
use kelpie_core::ownership::{Mover, Myself, Own, Why};
use kelpie_core::row;
use kelpie_core::session::SessionState;
use kelpie_registry::{Claimed, Migrated, Nodes, OwnedPage, Ownership, Told};
use kelpie_storage::RangeQuery;

use super::claims::owned;
use super::world::{World, actor, node};

pub(super) async fn an_actor_is_given_to_an_active_node_and_by_its_owner_alone(world: &World<'_>) {
    let (one, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let other = world.stands("n2", SessionState::Active).await;
    let (own, _) = owned(ownership.claim(&actor(1), &one, &Why::Called).await.unwrap());
    let migrate =
        async |held: &Own, to: &Myself| ownership.migrate(&actor(1), held, to, Mover::Drain).await.unwrap();
    for state in [SessionState::Draining, SessionState::Left, SessionState::Dead, SessionState::Evicted] {
        world.stands("n2", state).await;
        assert_eq!(migrate(&own, &other).await, Migrated::TargetNotActive, "{state:?}");
    }
    world.stands("n2", SessionState::Active).await;
    let later = Myself { incarnation: Incarnation(2), ..other.clone() };
    assert_eq!(migrate(&own, &later).await, Migrated::TargetNotActive, "another life of it");
    let known = Own { epoch: Epoch(7), ..own.clone() };
    assert_eq!(migrate(&known, &other).await, Migrated::NotMine(Some(own.clone())));
    assert_eq!(world.own(&actor(1)).await, Some(own.clone()), "and nothing was written");
    world.stands("n1", SessionState::Draining).await;
    let Migrated::Moved(moved) = migrate(&own, &other).await else { panic!("a drainer gives it away") };
    assert_eq!((&moved.node, moved.boot, moved.epoch), (&other.node, other.boot, Epoch(2)));
    assert_eq!(migrate(&own, &other).await, Migrated::Moved(moved.clone()), "asked again, it is settled");
    assert_eq!(migrate(&own, &one).await, Migrated::NotMine(Some(moved.clone())), "not the giver's any more");
    assert_eq!(world.own(&actor(1)).await, Some(moved));
}

pub(super) async fn of_two_that_give_one_actor_away_at_once_one_does(world: &World<'_>) {
    let machines = world.machines(&["n1", "n2"]).await;
    let one = world.stands("n1", SessionState::Active).await;
    let targets =
        [world.stands("n2", SessionState::Active).await, world.stands("n3", SessionState::Active).await];
    for round in 0..10 {
        let claimed = world.ownership().claim(&actor(round), &one, &Why::Called).await.unwrap();
        let (held, _) = owned(claimed);
        let moves: Vec<_> = machines
            .iter()
            .zip(&targets)
            .map(|(machine, target)| {
                let (ownership, held, target) = (machine.ownership(), held.clone(), target.clone());
                machine.begin(async move {
                    ownership.migrate(&actor(round), &held, &target, Mover::Operator).await.unwrap()
                })
            })
            .collect();
        let moves = join_all(moves).await;
        let own = world.own(&actor(round)).await.unwrap();
        assert_eq!(own.epoch, Epoch(2), "it moved once");
        for (target, moved) in targets.iter().zip(moves) {
            let expected = match target.node == own.node {
                true => Migrated::Moved(own.clone()),
                false => Migrated::NotMine(Some(own.clone())),
            };
            assert_eq!(moved, expected, "round {round}");
        }
    }
}

pub(super) async fn a_claim_and_the_order_to_drain_come_one_after_the_other(world: &World<'_>) {
    let machines = world.machines(&["n1", "operator"]).await;
    for round in 0..10 {
        let me = world.stands("n1", SessionState::Active).await;
        let claims: Vec<_> = (0..4)
            .map(|n| {
                let (ownership, me) = (machines[0].ownership(), me.clone());
                machines[0].begin(async move {
                    ownership.claim(&actor(10 * round + n), &me, &Why::Called).await.unwrap()
                })
            })
            .collect();
        let nodes = Nodes::new(machines[1].store.clone());
        let told = machines[1].begin(async move { nodes.drain(&node("n1")).await.unwrap() }).await;
        assert!(matches!(told, Told::Done(_)), "{told:?}");
        let after = world.ownership().claim(&actor(10 * round + 9), &me, &Why::Called).await.unwrap();
        assert_eq!(after, Claimed::NotActive, "it was told before");
        for (n, claimed) in join_all(claims).await.into_iter().enumerate() {
            let own = world.own(&actor(10 * round + n)).await;
            match claimed {
                Claimed::Owned { own: mine, .. } => assert_eq!(own, Some(mine)),
                Claimed::NotActive => assert_eq!(own, None, "it came after the order"),
                Claimed::Elsewhere(other) => panic!("{other:?}"),
            }
        }
    }
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

pub(super) async fn the_actors_of_a_node_are_listed_in_pages(world: &World<'_>) {
    let (one, ownership) = (world.stands("n1", SessionState::Active).await, world.ownership());
    let other = world.stands("n2", SessionState::Active).await;
    for number in 0..25 {
        let me = if number % 5 == 0 { &other } else { &one };
        owned(ownership.claim(&actor(number), me, &Why::Called).await.unwrap());
    }
    let (held, _) = owned(ownership.claim(&actor(1), &one, &Why::Called).await.unwrap());
    ownership.migrate(&actor(1), &held, &other, Mover::Operator).await.unwrap();
    // An entry that was left behind: the actor is another one's by its own record.
    world.set(row::by_node(&node("n1"), Incarnation(1), &actor(0)), "").await;
    let expected: Vec<String> =
        (2..25).filter(|number| number % 5 != 0).map(|number| format!("{number:03}")).collect();
    for limit in [1, 7, 1_000] {
        assert_eq!(all_of(&ownership, "n1", limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(all_of(&ownership, "n2", 7).await, ["000", "001", "005", "010", "015", "020"]);
    assert_eq!(all_of(&ownership, "n3", 7).await, Vec::<String>::new());
}

/// How many entries there are in the lists of all nodes.
async fn entries(world: &World<'_>) -> usize {
    let query = RangeQuery::prefix(b"by-node/").snapshot();
    world.store.begin().get_range(query).await.unwrap().rows.len()
}

pub(super) async fn an_actor_stands_in_the_list_of_one_life_alone(world: &World<'_>) {
    let mut machines = world.machines(&["n1", "n2"]).await;
    let (one, two) = (machines[0].join("n1").await.unwrap(), machines[1].join("n2").await.unwrap());
    let ownership = world.ownership();
    for number in 0..9 {
        owned(ownership.claim(&actor(number), &one.myself(), &Why::Called).await.unwrap());
    }
    let (held, _) = owned(ownership.claim(&actor(0), &one.myself(), &Why::Called).await.unwrap());
    ownership.migrate(&actor(0), &held, &two.myself(), Mover::Operator).await.unwrap();
    let unreachable = std::time::Duration::from_secs(3);
    let (held, _) = owned(ownership.claim(&actor(1), &one.myself(), &Why::Called).await.unwrap());
    owned(ownership.claim_over(&actor(1), &two.myself(), &held, unreachable).await.unwrap());
    assert_eq!(entries(world).await, 9);

    machines.remove(0).kill();
    world.until(async || world.session_of("n1").await.state == SessionState::Dead).await;
    assert_eq!(all_of(&ownership, "n1", 100).await.len(), 7, "what waits for an heir can be listed");
    let heir = machines[0].join("n1").await.unwrap();
    for number in 2..5 {
        owned(ownership.claim(&actor(number), &heir.myself(), &Why::Called).await.unwrap());
    }
    for number in 5..8 {
        owned(ownership.claim(&actor(number), &two.myself(), &Why::Called).await.unwrap());
    }
    let lives =
        |page: OwnedPage| page.owned.into_iter().map(|owned| owned.own.incarnation.0).collect::<Vec<_>>();
    assert_eq!(lives(ownership.owned_by(&node("n1"), None, 100).await.unwrap()), [1, 2, 2, 2]);
    assert_eq!(all_of(&ownership, "n2", 100).await, ["000", "001", "005", "006", "007"]);
    assert_eq!(entries(world).await, 9, "nothing is left behind");
}
