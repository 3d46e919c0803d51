//! What a node knows of its own lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie_core::limits::LEASE_TERM;
use kelpie_core::session::SessionState;
use kelpie_registry::{Health, Membership};

use crate::shared::World;

fn is_silent(node: &Membership) -> bool {
    matches!(node.health(), Health::Silent { .. })
}

#[test]
fn sim_a_node_is_silent_a_term_after_its_last_renewal_began_and_ready_with_the_next() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let env = world.node.env();
            world.faults.begin_ms.store(600, Ordering::Relaxed);
            let node = world.join(&env).await.unwrap();
            let joined = world.lease().await.beat;
            let (mut beat, mut began) = (joined, env.now());
            while beat < joined + 3 {
                env.sleep(Duration::from_millis(10)).await;
                let seen = world.lease().await.beat;
                if seen != beat {
                    beat = seen;
                    began = env.now() - Duration::from_millis(600);
                }
            }
            world.faults.away.store(true, Ordering::Relaxed);
            // Clocks of two nodes differ by a little.
            let until = began + LEASE_TERM + Duration::from_millis(100);
            env.sleep_until(began + LEASE_TERM - Duration::from_millis(100)).await;
            assert_eq!(node.health(), Health::Ready, "seed {seed}");
            env.sleep_until(until).await;
            assert!(is_silent(&node), "seed {seed}: {:?}", node.health());
            assert!(!node.health().is_over(), "it may come back");
            world.faults.away.store(false, Ordering::Relaxed);
            env.sleep(Duration::from_secs(3)).await;
            assert_eq!(node.health(), Health::Ready, "seed {seed}");
        });
    }
}

#[test]
fn sim_a_renewal_that_never_returns_is_told() {
    let world = World::new(1);
    world.sim.block_on(async {
        let env = world.node.env();
        let node = world.join(&env).await.unwrap();
        world.faults.begin_ms.store(3_600_000, Ordering::Relaxed);
        env.sleep(Duration::from_millis(3_500)).await;
        let Health::Silent { cause, .. } = node.health() else { panic!("{:?}", node.health()) };
        assert!(cause.contains("has not returned"), "{cause}");
        env.sleep(Duration::from_secs(2)).await;
        let Health::Silent { cause, for_ms } = node.health() else { panic!("{:?}", node.health()) };
        assert!(cause.contains("did not answer") && for_ms > 5_000, "{cause} {for_ms}");
        world.faults.begin_ms.store(0, Ordering::Relaxed);
        env.sleep(Duration::from_secs(5)).await;
        assert_eq!(node.health(), Health::Ready, "the next attempt was made");
    });
}

#[test]
fn sim_a_lease_task_that_panicked_renews_again_and_one_that_only_panics_leaves_the_node_silent() {
    let world = World::new(3);
    world.sim.block_on(async {
        let env = world.node.env();
        let node = world.join(&env).await.unwrap();
        let joined = world.lease().await.beat;
        world.faults.commits_panic.store(1, Ordering::Relaxed);
        env.sleep(Duration::from_secs(10)).await;
        assert_eq!(node.health(), Health::Ready);
        assert!(world.lease().await.beat > joined + 5, "it renews every second, but for the one it rested");
        let told: Vec<&str> = world.sim.take_panics().iter().map(|panic| panic.task).collect();
        assert_eq!(told, ["lease"]);

        world.faults.commits_panic.store(u64::MAX, Ordering::Relaxed);
        env.sleep(LEASE_TERM + Duration::from_secs(2)).await;
        assert!(is_silent(&node), "{:?}", node.health());
        world.faults.commits_panic.store(0, Ordering::Relaxed);
        env.sleep(Duration::from_secs(3)).await;
        assert_eq!(node.health(), Health::Ready, "nobody has declared it dead meanwhile");
        assert!(world.sim.take_panics().len() > 1);
    });
}

#[test]
fn sim_a_session_goes_from_active_to_draining_to_left_and_ends_its_beat() {
    let world = World::new(2);
    world.sim.block_on(async {
        let env = world.node.env();
        let node = world.join(&env).await.unwrap();
        assert_eq!(world.session().await.state, SessionState::Active);
        node.drain().await.unwrap();
        assert_eq!(world.session().await.state, SessionState::Draining);
        let beat = world.lease().await.beat;
        env.sleep(Duration::from_secs(3)).await;
        assert!(world.lease().await.beat >= beat + 2, "a draining node renews");
        assert_eq!(node.health(), Health::Ready);
        node.leave().await.unwrap();
        assert_eq!(world.session().await.state, SessionState::Left);
        let beat = world.lease().await;
        env.sleep(Duration::from_secs(10)).await;
        assert_eq!(world.lease().await, beat);
        assert!(!node.health().is_over(), "it went by itself: nobody has taken anything from it");
    });
}
