//! Who is declared dead, who is not, and what becomes of who was.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::{ActorId, Incarnation};
use kelpie_core::membership::{Grounds, Suspicion};
use kelpie_core::ownership::{Own, Why};
use kelpie_core::session::{Beat, SessionState};
use kelpie_core::{record, row};
use kelpie_registry::{Claimed, Declared, Head, Health, JoinError, Membership, Nodes, Ownership, Settled};

use crate::shared::{World, n1, node};

/// A term, the margin, a poll at both ends, and what the store takes.
const DETECTION_MAX: Duration = Duration::from_millis(3_500 + 2 * 125 + 150);

fn actor() -> ActorId {
    ActorId::new("default", "counter", "a").unwrap()
}

fn owned(claimed: Claimed) -> (Own, Head) {
    match claimed {
        Claimed::Owned { own, head } => (own, head),
        Claimed::Elsewhere(_) | Claimed::NotActive => panic!("{claimed:?}"),
    }
}

/// Until a node's session is no longer live.
async fn until_dead(world: &World, name: &str) -> Duration {
    let began = world.now();
    while world.session_of(name).await.is_live() {
        world.sleep(Duration::from_millis(10)).await;
    }
    world.now() - began
}

#[test]
fn sim_a_node_whose_process_is_gone_is_dead_within_the_term_and_the_margin() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            world.sleep(Duration::from_millis(37 * seed)).await;
            cluster[0].0.kill();
            let took = until_dead(&world, "n1").await;
            assert!(took > Duration::from_secs(2) && took < DETECTION_MAX, "seed {seed}: {took:?}");
            assert_eq!(world.session().await.state, SessionState::Dead);
            world.sleep(Duration::from_secs(1)).await;
            for (_, member) in &cluster[1..] {
                let live: Vec<String> =
                    member.members().live().map(|member| member.node.to_string()).collect();
                assert_eq!(live, ["n2", "n3"], "seed {seed}");
                assert_eq!(member.health(), Health::Ready);
            }
        });
    }
}

#[test]
fn sim_watchers_that_panicked_watch_again_and_declare_who_is_dead() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            // The next reading of each watcher, wherever they are in their pauses.
            world.faults.scans_panic.store(3, Ordering::Relaxed);
            world.sleep(Duration::from_millis(500 + 37 * seed)).await;
            let panicked: Vec<_> = world.sim.take_panics();
            assert_eq!(panicked.len(), 3, "{panicked:?}");
            assert!(panicked.iter().all(|panic| panic.task == "members"), "{panicked:?}");
            cluster[0].0.kill();
            // They rest for a second, and begin to watch the beat anew.
            world.sleep(DETECTION_MAX + Duration::from_secs(1)).await;
            assert_eq!(world.session().await.state, SessionState::Dead, "seed {seed}");
            for (_, member) in &cluster[1..] {
                let live: Vec<String> =
                    member.members().live().map(|member| member.node.to_string()).collect();
                assert_eq!(live, ["n2", "n3"], "seed {seed}");
            }
        });
    }
}

/// Nobody is dead after this happened to the store, and all are well.
fn nobody_dies_of(what: impl AsyncFn(&World)) {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            world.sleep(Duration::from_millis(53 * seed)).await;
            what(&world).await;
            world.sleep(Duration::from_secs(10)).await;
            for name in ["n1", "n2", "n3"] {
                let session = world.session_of(name).await;
                assert_eq!((session.state, session.incarnation), (SessionState::Active, Incarnation(1)));
            }
            for (_, member) in &cluster {
                assert_eq!(member.health(), Health::Ready, "seed {seed}");
            }
        });
    }
}

#[test]
fn sim_a_store_that_was_away_for_three_terms_kills_nobody() {
    nobody_dies_of(async |world| {
        world.faults.away.store(true, Ordering::Relaxed);
        world.sleep(Duration::from_secs(9)).await;
        world.faults.away.store(false, Ordering::Relaxed);
    });
}

#[test]
fn sim_a_store_that_stood_still_for_three_terms_kills_nobody() {
    nobody_dies_of(async |world| {
        world.stand_still(9_000);
        world.sleep(Duration::from_secs(9)).await;
    });
}

#[test]
fn sim_a_store_that_is_slow_kills_nobody() {
    nobody_dies_of(async |world| {
        world.faults.begin_ms.store(700, Ordering::Relaxed);
        world.sleep(Duration::from_secs(30)).await;
        world.faults.begin_ms.store(0, Ordering::Relaxed);
    });
}

/// All machines stand still together, as when their host is suspended.
fn a_pause_of_all_machines_together_kills_nobody() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            world.faults.commit_ms.store(150, Ordering::Relaxed);
            world.sleep(Duration::from_millis(53 * seed)).await;
            cluster.iter().for_each(|(machine, _)| machine.pause());
            world.sleep(Duration::from_secs(20)).await;
            cluster.iter().for_each(|(machine, _)| machine.resume());
            world.sleep(Duration::from_secs(10)).await;
            for name in ["n1", "n2", "n3"] {
                assert_eq!(world.session_of(name).await.incarnation, Incarnation(1), "seed {seed}");
            }
        });
    }
}

#[test]
fn sim_a_pause_of_all_machines_together_kills_nobody() {
    a_pause_of_all_machines_together_kills_nobody();
}

/// Wall clocks jump, by hours and to and fro; nobody notices.
fn wall_clocks_that_jump_change_nothing() {
    nobody_dies_of(async |world| {
        for (n, by_ms) in [3_600_000, -7_200_000, 2_000, 4_000, -4_000].into_iter().enumerate() {
            world.node.jump_wall(by_ms);
            world.sleep(Duration::from_millis(1_000 + 300 * n as u64)).await;
        }
    });
    let world = World::new(1);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        for by_ms in [3_600_000, -3_600_000, 60_000] {
            world.node.jump_wall(by_ms);
            world.sleep(Duration::from_millis(100)).await;
            assert_eq!(cluster[0].1.health(), Health::Ready, "after {by_ms} ms");
        }
    });
}

#[test]
fn sim_wall_clocks_that_jump_change_nothing() {
    wall_clocks_that_jump_change_nothing();
}

#[test]
fn sim_clocks_that_run_apart_by_a_twentieth_kill_nobody() {
    use kelpie_env::sim::Drift;
    nobody_dies_of(async |world| {
        world.node.set_drift(Drift { monotonic_ppm: -50_000, wall_ppm: 50_000 });
        world.sleep(Duration::from_secs(60)).await;
        world.node.set_drift(Drift { monotonic_ppm: 50_000, wall_ppm: -50_000 });
        world.sleep(Duration::from_secs(60)).await;
    });
}

/// A zombie: its process stands still for long, its actor goes to another node, and it comes back.
#[test]
fn sim_a_paused_process_cannot_commit_and_goes_on_as_its_next_incarnation() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let cluster = world.cluster(&["n1", "n2", "n3"]).await;
            let (before, heir) = (cluster[0].1.myself(), &cluster[1].1);
            let ownership = Ownership::new(world.store(&cluster[1].0.env()));
            let (own, _) = owned(ownership.claim(&actor(), &before, &Why::Called).await.unwrap());
            world.node.pause();
            world.sleep(Duration::from_millis(20_000 + 31 * seed)).await;
            let (next, _) = owned(ownership.claim(&actor(), &heir.myself(), &Why::Called).await.unwrap());
            assert_eq!(next.epoch, own.epoch.next());
            world.node.resume();
            world.sleep(Duration::from_secs(2)).await;
            let now = cluster[0].1.myself();
            assert_eq!((now.incarnation, now.boot), (Incarnation(2), before.boot), "seed {seed}");
            assert_eq!(cluster[0].1.health(), Health::Ready);
            // What it held is no longer its own, under its former life and under this one.
            assert_eq!(ownership.settle(&actor(), &own).await.unwrap(), Settled::Elsewhere);
            for me in [&before, &now] {
                let claimed = ownership.claim(&actor(), me, &Why::Called).await.unwrap();
                assert!(matches!(claimed, Claimed::Elsewhere(_) | Claimed::NotActive), "{claimed:?}");
            }
            let own: Own = record::decode(&world.stored(&row::own(&actor())).await.unwrap()).unwrap();
            assert_eq!(own, next);
            world.sleep(Duration::from_secs(10)).await;
            let session = world.session().await;
            assert_eq!((session.state, session.incarnation), (SessionState::Active, Incarnation(2)));
        });
    }
}

#[test]
fn sim_a_node_that_drained_before_it_was_declared_dead_goes_on_draining() {
    let world = World::new(3);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        cluster[0].1.drain().await.unwrap();
        world.node.pause();
        assert!(until_dead(&world, "n1").await > Duration::from_secs(2));
        world.node.resume();
        world.sleep(Duration::from_secs(2)).await;
        let session = world.session().await;
        assert_eq!((session.state, session.incarnation), (SessionState::Draining, Incarnation(2)));
        cluster[0].1.leave().await.unwrap();
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(world.session().await.state, SessionState::Left, "it does not come back");
    });
}

/// A renewal and a declaration of the same beat are on their way at once.
fn one_wins(seed: u64) -> Declared {
    let world = World::new(seed);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1"]).await;
        world.faults.commit_ms.store(150, Ordering::Relaxed);
        // Somewhere around a beat.
        world.sleep(Duration::from_millis(700 + 5 * seed)).await;
        let watched = Beat::of(&world.session().await, Some(&world.lease().await));
        let suspicion = Suspicion { node: n1(), watched, grounds: Grounds::Silent };
        let operator = world.sim.node("operator").env();
        let declared = Nodes::new(world.store(&operator)).declare_dead(&suspicion).await.unwrap();
        let (session, lease) = (world.session().await, world.lease().await);
        match declared {
            Declared::Dead => {
                assert_eq!(session.state, SessionState::Dead, "seed {seed}");
                assert_eq!(Beat::of(&session, Some(&lease)), watched, "seed {seed}: it has renewed");
            }
            Declared::Renewed => assert_eq!(session.state, SessionState::Active, "seed {seed}"),
            Declared::Over => panic!("seed {seed}: nobody else declares"),
        }
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(cluster[0].1.health(), Health::Ready, "seed {seed}");
        let lives = if declared == Declared::Dead { 2 } else { 1 };
        assert_eq!(world.session().await.incarnation, Incarnation(lives), "seed {seed}");
        declared
    })
}

fn of_a_renewal_and_a_declaration_one_wins() {
    let outcomes: Vec<Declared> = (0..150).map(one_wins).collect();
    let dead = outcomes.iter().filter(|declared| **declared == Declared::Dead).count();
    assert!(dead > 20 && dead < 150, "both happen: {dead} of 150 were declared dead");
}

#[test]
fn sim_of_a_renewal_and_a_declaration_one_wins() {
    of_a_renewal_and_a_declaration_one_wins();
}

#[test]
fn sim_of_two_joins_of_one_name_one_wins() {
    for seed in 0..50 {
        let world = World::new(seed);
        world.sim.block_on(async {
            world.faults.commit_ms.store(100, Ordering::Relaxed);
            let (one, other) = (world.node.env(), world.sim.node("other").env());
            let (a, b) = futures::join!(world.join(&one), world.join(&other));
            let (winner, loser): (Membership, _) = match (a, b) {
                (Ok(winner), Err(loser)) | (Err(loser), Ok(winner)) => (winner, loser),
                both => panic!("seed {seed}: {both:?}"),
            };
            assert!(matches!(loser, JoinError::Refused(_)), "seed {seed}: {loser:?}");
            world.sleep(Duration::from_secs(10)).await;
            assert_eq!(winner.health(), Health::Ready);
            let session = world.session().await;
            assert_eq!((session.incarnation, session.boot), (Incarnation(1), winner.myself().boot));
        });
    }
}

/// Looks at the rows of a node all the time, while it joins, is declared dead, and goes on.
fn a_life_begins_with_session_and_lease_together() {
    for seed in 0..5 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let lives = async {
                let cluster = world.cluster(&["n1", "n2"]).await;
                world.node.pause();
                until_dead(&world, "n1").await;
                world.node.resume();
                world.sleep(Duration::from_secs(2)).await;
                cluster[0].1.myself().incarnation
            };
            let looks = async {
                loop {
                    if world.stored(&row::session(&n1())).await.is_some() {
                        let (session, lease) = (world.session().await, world.lease().await);
                        assert!(!session.is_live() || lease.incarnation == session.incarnation, "{lease:?}");
                    }
                    world.sleep(Duration::from_millis(1)).await;
                }
            };
            futures::select_biased! {
                () = looks.fuse() => unreachable!("it looks for ever"),
                incarnation = lives.fuse() => assert_eq!(incarnation, Incarnation(2), "seed {seed}"),
            }
        });
    }
}

#[test]
fn sim_a_life_begins_with_session_and_lease_together() {
    a_life_begins_with_session_and_lease_together();
}

/// How long a killed node lives on in the store when these report refused connections to it,
/// every 100 ms.
fn lives_on(seed: u64, reporters: &[&str]) -> Duration {
    let world = World::new(seed);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2", "n3"]).await;
        let boot = cluster[0].1.myself().boot;
        cluster[0].0.kill();
        let dead = until_dead(&world, "n1");
        let reports = async {
            loop {
                for reporter in reporters {
                    cluster[1].1.refused(node(reporter), n1(), boot);
                }
                world.sleep(Duration::from_millis(100)).await;
            }
        };
        futures::select_biased! {
            took = dead.fuse() => took,
            () = reports.fuse() => unreachable!("it reports for ever"),
        }
    })
}

#[test]
fn sim_two_nodes_whose_connections_are_refused_have_a_process_declared_dead_at_once() {
    for seed in 0..20 {
        let took = lives_on(seed, &["n2", "n3"]);
        assert!(took < Duration::from_millis(600), "seed {seed}: {took:?}");
        for too_few in [&["n2"][..], &["n3"], &["n2", "n1"]] {
            assert!(lives_on(seed, too_few) > Duration::from_secs(2), "seed {seed}: {too_few:?}");
        }
    }
}

#[test]
fn sim_a_change_of_the_cluster_wakes_who_waits_for_one() {
    let world = World::new(4);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        let known = cluster[0].1.members().version();
        let waits = cluster[0].1.changed(known);
        let leaves = async {
            world.sleep(Duration::from_secs(2)).await;
            cluster[1].1.leave().await.unwrap();
            world.now()
        };
        let (members, left) = futures::join!(waits, leaves);
        assert!(world.now() - left < Duration::from_millis(200));
        assert_eq!(members.get(&node("n2")).unwrap().session.state, SessionState::Left);
    });
}

#[test]
fn sim_a_load_is_published_with_the_beat() {
    let world = World::new(5);
    world.sim.block_on(async {
        let cluster = world.cluster(&["n1", "n2"]).await;
        cluster[0].1.publish_load(42);
        world.sleep(Duration::from_millis(1_300)).await;
        assert_eq!(cluster[1].1.members().get(&n1()).unwrap().load(), Some(42));
    });
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::panic::{UnwindSafe, catch_unwind};

    fn is_caught(mutant: &'static str, test: impl FnOnce() + UnwindSafe) {
        let _armed = kelpie_core::mutant::arm(mutant);
        catch_unwind(test).expect_err(mutant);
    }

    #[test]
    fn sim_mutant_wall_clock_lease() {
        is_caught("wall_clock_lease", super::wall_clocks_that_jump_change_nothing);
    }

    #[test]
    fn sim_mutant_join_in_two() {
        is_caught("join_in_two", super::a_life_begins_with_session_and_lease_together);
    }

    #[test]
    fn sim_mutant_watcher_counts_its_own_pause() {
        is_caught("watcher_counts_its_own_pause", super::a_pause_of_all_machines_together_kills_nobody);
    }

    #[test]
    fn sim_mutant_declare_unvalidated() {
        is_caught("declare_unvalidated", super::of_a_renewal_and_a_declaration_one_wins);
    }

    #[test]
    fn sim_mutant_late_beat_revives() {
        is_caught("late_beat_revives", super::of_a_renewal_and_a_declaration_one_wins);
    }
}
