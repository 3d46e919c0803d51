//! Processes that become nodes, stay nodes, and go.

use std::time::Duration;

use futures::future::join_all;
use kelpie_core::id::{Boot, Incarnation};
use kelpie_core::ownership::Why;
use kelpie_core::session::{Session, SessionState};
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Health, JoinError, Told};

use super::claims::owned;
use super::world::{World, actor, node};

pub(super) async fn a_node_joins_with_a_session_and_a_lease(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let (session, lease) = (world.session_of("n1").await, world.lease_of("n1").await);
    assert_eq!((session.state, session.incarnation), (SessionState::Active, Incarnation(1)));
    assert_eq!((session.boot, session.address.as_str()), (member.myself().boot, "n1:7000"));
    assert_eq!(lease.incarnation, Incarnation(1));
    assert_eq!(member.health(), Health::Ready);
    let listed = world.nodes().list().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0].node, &listed[0].session), (&node("n1"), &session));
    let other = world.machine("n2").await.join("n2").await.unwrap();
    let known: Vec<_> = other.members().live().map(|member| member.node.clone()).collect();
    assert_eq!(known, [node("n1"), node("n2")], "who has joined knows who else there is");
}

pub(super) async fn of_many_that_want_one_name_one_has_it(world: &World<'_>) {
    let machines = world.machines(&["a", "b", "c", "d"]).await;
    let joins: Vec<_> = machines
        .iter()
        .map(|machine| {
            let (env, store) = (machine.env.clone(), machine.store.clone());
            machine.begin(async move {
                let settings = kelpie_registry::Settings::alone(node("n1"));
                kelpie_registry::Membership::join(env, store, settings).await
            })
        })
        .collect();
    let joined = join_all(joins).await;
    let members: Vec<_> = joined.iter().filter_map(|join| join.as_ref().ok()).collect();
    let refused = joined.iter().filter(|join| matches!(join, Err(JoinError::Refused(_)))).count();
    // Who holds the directory takes the name from whoever had it: then the last one has it.
    let expected = if world.is_shared() { (1, 3) } else { (4, 0) };
    assert_eq!((members.len(), refused), expected, "{joined:?}");
    let lives: std::collections::BTreeSet<_> =
        members.iter().map(|member| member.myself().incarnation).collect();
    assert_eq!(lives.len(), members.len(), "each has a life of its own");
    world
        .until(async || {
            let over = members.iter().filter(|member| member.health() == Health::Superseded).count();
            over == members.len() - 1
        })
        .await;
    let boot = world.session_of("n1").await.boot;
    let winner = members.iter().find(|member| member.health() == Health::Ready).unwrap();
    assert_eq!(winner.myself().boot, boot, "the record names who has it");
}

pub(super) async fn a_name_that_is_lived_under_is_refused_or_taken_with_its_directory(world: &World<'_>) {
    let machines = world.machines(&["a", "b"]).await;
    let first = machines[0].join("n1").await.unwrap();
    let second = machines[1].join("n1").await;
    if world.is_shared() {
        let Err(JoinError::Refused(refused)) = second else { panic!("{second:?}") };
        assert_eq!((refused.state, refused.incarnation), (SessionState::Active, Incarnation(1)));
        assert_eq!(world.session_of("n1").await.boot, first.myself().boot);
        assert_eq!(first.health(), Health::Ready);
    } else {
        assert_eq!(second.unwrap().myself().incarnation, Incarnation(2));
        world.until(async || first.health() == Health::Superseded).await;
    }
}

pub(super) async fn a_renewal_counts_on_and_says_the_load(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let session = world.session_of("n1").await;
    member.publish_load(7);
    world.until(async || world.lease_of("n1").await.load == 7).await;
    let beat = world.lease_of("n1").await.beat;
    world.until(async || world.lease_of("n1").await.beat > beat).await;
    assert_eq!(world.session_of("n1").await, session, "a renewal leaves the session alone");
}

pub(super) async fn a_process_whose_name_another_one_has_stops(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let mine = world.session_of("n1").await;
    let other = Session { boot: Boot(9), incarnation: Incarnation(2), ..mine };
    world.set(row::session(&node("n1")), record::encode(&other)).await;
    world.until(async || member.health() == Health::Superseded).await;
    let beat = world.lease_of("n1").await;
    world.env.sleep(Duration::from_secs(2)).await;
    assert_eq!(world.lease_of("n1").await, beat, "it renews nothing");
    member.leave().await.unwrap();
    assert_eq!(world.session_of("n1").await, other, "what is another one's it does not end");
}

pub(super) async fn a_process_that_was_declared_dead_goes_on_as_its_next_life(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let (former, ownership) = (member.myself(), world.ownership());
    let (own, _) = owned(ownership.claim(&actor(1), &former, &Why::Called).await.unwrap());
    let dead = Session { state: SessionState::Dead, ..world.session_of("n1").await };
    world.set(row::session(&node("n1")), record::encode(&dead)).await;
    world.until(async || member.myself().incarnation == Incarnation(2)).await;
    let session = world.session_of("n1").await;
    let expected = Session { state: SessionState::Active, incarnation: Incarnation(2), ..dead };
    assert_eq!(session, expected);
    assert_eq!(world.lease_of("n1").await.incarnation, Incarnation(2));
    let claimed = ownership.claim(&actor(1), &former, &Why::Called).await.unwrap();
    assert_eq!(claimed, Claimed::NotActive, "its former life is over");
    let (next, _) = owned(ownership.claim(&actor(1), &member.myself(), &Why::Called).await.unwrap());
    assert_eq!((next.epoch.0, next.incarnation), (own.epoch.0 + 1, Incarnation(2)));
}

pub(super) async fn what_a_node_had_that_left_is_free(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let other = world.stands("n2", SessionState::Active).await;
    let ownership = world.ownership();
    let (own, _) = owned(ownership.claim(&actor(1), &member.myself(), &Why::Called).await.unwrap());
    member.leave().await.unwrap();
    assert_eq!(world.session_of("n1").await.state, SessionState::Left);
    assert_eq!(world.own(&actor(1)).await, Some(own), "nothing has to be released");
    let mine = ownership.claim(&actor(2), &member.myself(), &Why::Called).await.unwrap();
    assert_eq!(mine, Claimed::NotActive);
    let (own, _) = owned(ownership.claim(&actor(1), &other, &Why::Called).await.unwrap());
    assert_eq!(own.epoch.0, 2);
    let again = world.machine("n1 again").await;
    assert_eq!(again.join("n1").await.unwrap().myself().incarnation, Incarnation(2));
}

pub(super) async fn an_evicted_process_stops_and_what_it_had_is_free(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let other = world.stands("n2", SessionState::Active).await;
    let (nodes, ownership) = (world.nodes(), world.ownership());
    owned(ownership.claim(&actor(1), &member.myself(), &Why::Called).await.unwrap());
    assert_eq!(nodes.evict(&node("n9")).await.unwrap(), Told::NoSuchNode);
    assert!(matches!(nodes.evict(&node("n1")).await.unwrap(), Told::Done(_)));
    assert!(matches!(nodes.evict(&node("n1")).await.unwrap(), Told::Already(_)));
    let (own, _) = owned(ownership.claim(&actor(1), &other, &Why::Called).await.unwrap());
    assert_eq!(own.epoch.0, 2);
    world.until(async || member.health() == Health::Evicted).await;
}

pub(super) async fn a_node_that_drains_keeps_what_it_has_and_claims_nothing(world: &World<'_>) {
    let machine = world.machine("n1").await;
    let member = machine.join("n1").await.unwrap();
    let (me, other) = (member.myself(), world.stands("n2", SessionState::Active).await);
    let (nodes, ownership) = (world.nodes(), world.ownership());
    let (own, _) = owned(ownership.claim(&actor(1), &me, &Why::Called).await.unwrap());
    assert_eq!(nodes.drain(&node("n9")).await.unwrap(), Told::NoSuchNode);
    assert!(matches!(nodes.drain(&node("n1")).await.unwrap(), Told::Done(_)));
    assert!(matches!(nodes.drain(&node("n1")).await.unwrap(), Told::Already(_)));
    assert_eq!(ownership.claim(&actor(2), &me, &Why::Called).await.unwrap(), Claimed::NotActive);
    let others = ownership.claim(&actor(1), &other, &Why::Called).await.unwrap();
    assert_eq!(others, Claimed::Elsewhere(own), "it serves what it has");
    world.until(async || member.is_draining()).await;
    assert_eq!(member.health(), Health::Ready);
    member.leave().await.unwrap();
    assert!(matches!(nodes.drain(&node("n1")).await.unwrap(), Told::Already(_)), "it has ended");
}
