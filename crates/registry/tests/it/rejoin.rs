//! A process that was taken for dead goes on, unless it could not talk to who came meanwhile.

use std::time::Duration;

use kelpie_core::id::{ActorId, Incarnation};
use kelpie_core::ownership::Why;
use kelpie_core::session::{Protocols, SessionState};
use kelpie_env::Env;
use kelpie_env::sim::Node;
use kelpie_registry::{Claimed, Health, Membership, Ownership, Settings};

use crate::shared::{World, node};

async fn join(world: &World, env: &Env, name: &str, spoken: (u8, u8)) -> Membership {
    let protocols = Protocols { min: spoken.0, max: spoken.1 };
    let settings = Settings { address: format!("{name}:7000"), protocols, ..Settings::alone(node(name)) };
    Membership::join(env.clone(), world.store(env), settings).await.unwrap()
}

/// `n1` stands still until `n2` has joined, which speaks that, and goes on for a while.
async fn taken_for_dead(world: &World, spoken: (u8, u8)) -> (Membership, Node, Membership) {
    let one = join(world, &world.node.env(), "n1", (1, 2)).await;
    world.node.pause();
    // It waits until the beat of `n1` has stood still, if it could not talk to it.
    let other = world.sim.node("n2");
    let two = join(world, &other.env(), "n2", spoken).await;
    world.sleep(Duration::from_secs(8)).await;
    assert_eq!(world.session_of("n1").await.state, SessionState::Dead);
    world.node.resume();
    world.sleep(Duration::from_secs(8)).await;
    (one, other, two)
}

fn a_node_that_could_not_talk_to_a_newcomer_does_not_come_back() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let (one, _, two) = taken_for_dead(&world, (3, 3)).await;
            assert_eq!(world.session_of("n1").await.state, SessionState::Dead, "seed {seed}");
            let Health::Silent { cause, .. } = one.health() else { panic!("{:?}", one.health()) };
            assert!(cause.contains("speaks versions 3 to 3") && cause.contains("stop `n2`"), "{cause}");
            let actor = ActorId::new("default", "counter", "a").unwrap();
            let ownership = Ownership::new(world.store(&world.node.env()));
            let claimed = ownership.claim(&actor, &one.myself(), &Why::Called).await.unwrap();
            assert_eq!(claimed, Claimed::NotActive);
            two.leave().await.unwrap();
            world.sleep(Duration::from_secs(2)).await;
            assert_eq!((one.health(), one.myself().incarnation), (Health::Ready, Incarnation(2)));
        });
    }
}

#[test]
fn sim_a_node_that_could_not_talk_to_a_newcomer_does_not_come_back_beside_it() {
    a_node_that_could_not_talk_to_a_newcomer_does_not_come_back();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_rejoins_whoever_is_there() {
    let _armed = kelpie_core::mutant::arm("rejoins_whoever_is_there");
    std::panic::catch_unwind(a_node_that_could_not_talk_to_a_newcomer_does_not_come_back).unwrap_err();
}

#[test]
fn sim_a_node_comes_back_beside_a_newcomer_that_speaks_one_of_its_versions() {
    let world = World::new(1);
    world.sim.block_on(async {
        let (one, _, two) = taken_for_dead(&world, (2, 3)).await;
        assert_eq!((one.health(), one.myself().incarnation), (Health::Ready, Incarnation(2)));
        assert_eq!(two.health(), Health::Ready);
    });
}

/// Nobody else is there to declare the newcomer dead.
#[test]
fn sim_a_newcomer_that_died_is_in_nobody_s_way() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.sim.block_on(async {
            let (one, other, _two) = taken_for_dead(&world, (3, 3)).await;
            other.kill();
            world.sleep(Duration::from_secs(8)).await;
            assert_eq!(
                (one.health(), one.myself().incarnation),
                (Health::Ready, Incarnation(2)),
                "seed {seed}"
            );
            world.sleep(Duration::from_secs(5)).await;
            assert_eq!(world.session_of("n2").await.state, SessionState::Dead, "seed {seed}");
        });
    }
}
