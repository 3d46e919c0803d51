//! Who may take a node's name, and what becomes of who had it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie_core::id::Incarnation;
use kelpie_core::record;
use kelpie_core::row;
use kelpie_core::session::{Session, SessionState};
use kelpie_registry::{Health, JoinError, Membership, Settings};
use kelpie_storage::{EmbeddedOptions, Store, StoreConfig};

use crate::shared::{World, n1};

#[test]
fn sim_a_join_whose_answer_is_lost_is_one_join() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            world.faults.lose_answer.store(true, Ordering::Relaxed);
            let node = world.join(&world.node.env()).await.unwrap();
            assert!(!world.faults.lose_answer.load(Ordering::Relaxed), "an answer was lost");
            assert_eq!(node.myself().incarnation, Incarnation(1), "seed {seed}");
            world.node.env().sleep(Duration::from_secs(10)).await;
            assert_eq!(node.health(), Health::Ready);
        });
    }
}

fn a_name_is_free_at_once_and_its_heir_keeps_it() {
    for state in [SessionState::Left, SessionState::Dead] {
        let world = World::new(1);
        world.sim.block_on(async {
            let env = world.node.env();
            let before = world.join(&env).await.unwrap();
            // Their beats are apart.
            env.sleep(Duration::from_millis(350)).await;
            let session = Session { state, ..world.session().await };
            world.set(row::session(&n1()), record::encode(&session)).await;
            let asked = env.now();
            let after = world.join(&env).await.unwrap();
            assert!(env.now() - asked < Duration::from_secs(1), "{state:?}");
            assert_eq!(after.myself().incarnation, Incarnation(2));
            for _ in 0..100 {
                env.sleep(Duration::from_millis(100)).await;
                assert_eq!(world.lease().await.incarnation, Incarnation(2), "its heir's lease stays");
            }
            // The one before finds another boot: it stops and never comes back.
            assert_eq!((before.health(), after.health()), (Health::Superseded, Health::Ready));
            before.drain().await.unwrap();
            before.leave().await.unwrap();
            assert_eq!(world.session().await.state, SessionState::Active, "its heir's session stays");
        });
    }
}

#[test]
fn sim_a_name_is_free_at_once_when_its_node_has_left_or_was_declared_dead() {
    a_name_is_free_at_once_and_its_heir_keeps_it();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutants_that_write_into_an_heir_s_session_are_caught() {
    for mutant in ["release_without_owner_check", "renewal_overwrites_a_new_owner"] {
        let _armed = kelpie_core::mutant::arm(mutant);
        std::panic::catch_unwind(a_name_is_free_at_once_and_its_heir_keeps_it).expect_err(mutant);
    }
}

/// A process of `n1` lives, and a second one asks for its name while the store does `trouble`
/// to both. Nobody may take it for dead.
fn refused_in_spite_of(trouble: impl AsyncFn(&World)) {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let node = world.join(&world.node.env()).await.unwrap();
            let other = world.sim.node("other").env();
            let asked = other.now();
            let asking = world.join(&other);
            let (refused, ()) = futures::join!(asking, trouble(&world));
            assert!(matches!(refused, Err(JoinError::Refused(_))), "seed {seed}: {refused:?}");
            assert!(other.now() - asked < Duration::from_secs(60), "seed {seed}");
            other.sleep(Duration::from_secs(10)).await;
            assert_eq!(node.health(), Health::Ready, "seed {seed}");
        });
    }
}

#[test]
fn sim_a_name_whose_process_lives_is_refused() {
    refused_in_spite_of(async |_| {});
}

fn a_store_that_stood_still_makes_nobody_dead() {
    for for_ms in [4_000, 4_200, 4_400, 4_600, 4_800] {
        refused_in_spite_of(async |world| {
            // After the first reading, so that the next one lasts until the store goes on.
            world.node.env().sleep(Duration::from_millis(100)).await;
            world.stand_still(for_ms);
        });
    }
}

#[test]
fn sim_a_store_that_stood_still_for_everybody_makes_nobody_dead() {
    a_store_that_stood_still_makes_nobody_dead();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_watcher_counts_gaps() {
    let _armed = kelpie_core::mutant::arm("watcher_counts_gaps");
    std::panic::catch_unwind(a_store_that_stood_still_makes_nobody_dead).unwrap_err();
}

#[test]
fn sim_a_process_that_was_paused_is_superseded_or_keeps_its_name_and_never_both() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..60 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let node = world.join(&world.node.env()).await.unwrap();
            let other = world.sim.node("other").env();
            let paused = async {
                other.sleep(Duration::from_millis(100)).await;
                world.node.pause();
                other.sleep(Duration::from_millis(3_000 + 25 * seed)).await;
                world.node.resume();
            };
            let (asked, ()) = futures::join!(world.join(&other), paused);
            other.sleep(Duration::from_secs(10)).await;
            match asked {
                Ok(heir) => {
                    lost += 1;
                    assert_eq!(
                        (node.health(), heir.health()),
                        (Health::Superseded, Health::Ready),
                        "seed {seed}"
                    );
                    assert_eq!(heir.myself().incarnation, Incarnation(2));
                }
                Err(_) => {
                    kept += 1;
                    assert_eq!(node.health(), Health::Ready, "seed {seed}");
                }
            }
        });
    }
    assert!(kept > 3 && lost > 3, "both happen: {kept} kept their name, {lost} lost it");
}

#[test]
fn sim_who_holds_the_directory_joins_at_once() {
    let world = World::new(5);
    world.sim.block_on(async {
        let options =
            EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
        let config = StoreConfig::Embedded { dir: "/data".into(), options };
        let mut env = world.node.env();
        for life in 1..4 {
            let store = Store::open(&config, &env).await.unwrap();
            let asked = env.now();
            let node = Membership::join(env.clone(), store, Settings::alone(n1())).await.unwrap();
            assert!(env.now() - asked < Duration::from_secs(1), "life {life}");
            assert_eq!(node.myself().incarnation, Incarnation(life));
            world.node.kill();
            env = world.node.restart();
        }
    });
}

#[test]
fn sim_a_lease_is_kept_for_one_to_sixty_seconds() {
    let world = World::new(6);
    world.sim.block_on(async {
        for (millis, taken) in [(0, false), (999, false), (1_000, true), (60_000, true), (60_001, false)] {
            let env = world.node.env();
            let settings = Settings { lease_term: Duration::from_millis(millis), ..Settings::alone(n1()) };
            let joined = Membership::join(env.clone(), world.store(&env), settings).await;
            match joined {
                Ok(node) => {
                    assert!(taken, "{millis} ms");
                    node.leave().await.unwrap();
                }
                Err(error) => {
                    assert!(
                        !taken && error.to_string().contains("between 1s and 60s"),
                        "{millis} ms: {error}"
                    );
                }
            }
        }
    });
}
