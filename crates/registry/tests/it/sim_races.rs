//! Many that want the same thing at once: one gets it, and the others learn who.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use kelpie_core::id::{ActorId, Epoch, Incarnation};
use kelpie_core::ownership::{Own, Why};
use kelpie_core::session::SessionState;
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Health, Holding, JoinError, Ownership};

use crate::shared::{World, node};

fn actor(number: usize) -> ActorId {
    ActorId::new("default", "counter", &number.to_string()).unwrap()
}

/// Four nodes, each of them four times, claim one actor at once.
fn dual_activation(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2", "n3", "n4"]).await;
        world.faults.commit_ms.store(100, Ordering::Relaxed);
        let claims = (0..16).map(|n| {
            let (machine, member) = &cluster[n % 4];
            let (env, me) = (machine.env(), member.myself());
            let ownership = Ownership::new(world.store(&env));
            async move {
                env.sleep(Duration::from_millis(env.random_u64() % 30)).await;
                ownership.claim(&actor(0), &me, &Why::Called).await.unwrap()
            }
        });
        let claims = join_all(claims).await;
        let own: Own = record::decode(&world.stored(&row::own(&actor(0))).await.unwrap()).unwrap();
        assert_eq!(own.epoch, Epoch(1), "seed {seed}: it was claimed once");
        for (n, claimed) in claims.into_iter().enumerate() {
            let is_winner = own.node == node(["n1", "n2", "n3", "n4"][n % 4]);
            match claimed {
                Claimed::Owned { own: mine, .. } => {
                    assert!(is_winner && mine == own, "seed {seed}: {mine:?}")
                }
                Claimed::Elsewhere(other) => assert!(!is_winner && other == own, "seed {seed}: {other:?}"),
                Claimed::NotActive => panic!("seed {seed}: all are active"),
            }
        }
    });
}

#[test]
fn test_toctou_race_dual_activation() {
    (0..50).for_each(dual_activation);
}

#[cfg(feature = "mutants")]
#[test]
fn mutant_try_claim_actor_racy() {
    let _armed = kelpie_core::mutant::arm("TryClaimActor_Racy");
    std::panic::catch_unwind(test_toctou_race_dual_activation).unwrap_err();
}

/// Nine processes want three names at once.
#[test]
fn test_concurrent_registration_race() {
    for seed in 0..30 {
        let world = World::new(seed);
        world.sim.block_on(async {
            world.faults.commit_ms.store(100, Ordering::Relaxed);
            let machines: Vec<_> = (0..9).map(|n| world.sim.node(&format!("machine {n}"))).collect();
            let joins = machines.iter().enumerate().map(|(n, machine)| {
                let env = machine.env();
                let world = &world;
                async move { world.join_as(&env, ["n1", "n2", "n3"][n % 3]).await }
            });
            let joined = join_all(joins).await;
            world.sleep(Duration::from_secs(10)).await;
            for (n, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
                let of_name = joined.iter().skip(n).step_by(3);
                let members: Vec<_> = of_name.clone().filter_map(|join| join.as_ref().ok()).collect();
                assert_eq!(members.len(), 1, "seed {seed}: one process is {name}");
                assert_eq!(members[0].health(), Health::Ready);
                let session = world.session_of(name).await;
                assert_eq!((session.incarnation, session.boot), (Incarnation(1), members[0].myself().boot));
                assert_eq!(world.lease_of(name).await.incarnation, Incarnation(1));
                let refused = |join: &Result<_, _>| matches!(join, Err(JoinError::Refused(_)));
                assert_eq!(of_name.filter(|join| refused(join)).count(), 2, "seed {seed}");
            }
            let members: Vec<_> = joined.into_iter().flatten().collect();
            for member in &members {
                let live: Vec<String> =
                    member.members().live().map(|member| member.node.to_string()).collect();
                assert_eq!(live, ["n1", "n2", "n3"], "seed {seed}: all see the same cluster");
            }
        });
    }
}

/// What a crashed node had is valid no longer than its life, and nobody sweeps it.
#[test]
fn test_heartbeat_status_sync() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            let gone = cluster[0].1.myself();
            let ownership = Ownership::new(world.store(&cluster[1].0.env()));
            for number in 0..20 {
                ownership.claim(&actor(number), &gone, &Why::Called).await.unwrap();
            }
            cluster[0].0.kill();
            world.sleep(Duration::from_secs(5)).await;
            assert_eq!(world.session_of("n1").await.state, SessionState::Dead);
            let beat = world.lease_of("n1").await;
            // Its own next life owns nothing of it until it claims.
            let heir = world.join_as(&cluster[0].0.restart(), "n1").await.unwrap().myself();
            assert_eq!(heir.incarnation, Incarnation(2));
            for number in 0..20 {
                let holding = ownership.find(&actor(number)).await.unwrap();
                assert!(matches!(holding, Holding::Ended(own) if own.incarnation == Incarnation(1)));
                let me = if number % 2 == 0 { &heir } else { &cluster[1].1.myself() };
                let claimed = ownership.claim(&actor(number), me, &Why::Called).await.unwrap();
                let Claimed::Owned { own, .. } = claimed else { panic!("seed {seed}: {claimed:?}") };
                assert_eq!(own.epoch, Epoch(2));
            }
            assert_eq!(world.lease_of("n1").await.incarnation, Incarnation(2), "after {beat:?}");
            let listed = ownership.owned_by(&node("n1"), None, 1_000).await.unwrap();
            assert_eq!(listed.owned.len(), 10, "of all that n1 ever claimed, what it owns");
            assert!(listed.owned.iter().all(|owned| owned.own.incarnation == Incarnation(2)));
        });
    }
}
