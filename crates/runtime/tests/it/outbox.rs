//! Messages leave with their commit, and have their effect once.

use std::time::Duration;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call};

fn send_and_kill(seed: u64) -> (u64, u64, usize, usize) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let (sender, receiver) = (actor("counter", "sender"), actor("counter", "receiver"));
        for _ in 0..4 {
            call(&runtime, &sender, "send", bytes(1)).await.unwrap();
        }
        runtime.env().sleep(Duration::from_micros(seed * 100)).await;
        let runtime = world.restart(Counter::all).await;
        runtime.env().sleep(Duration::from_secs(10)).await;
        let sent = call(&runtime, &sender, "get", "").await.unwrap();
        let received = call(&runtime, &receiver, "get", "").await.unwrap();
        let rows = |prefix: &'static [u8]| {
            let store = world.store();
            async move {
                store.begin().get_range(kelpie_storage::RangeQuery::prefix(prefix)).await.unwrap().rows.len()
            }
        };
        (sent, received, rows(b"outbox/").await, rows(b"dead/").await)
    })
}

#[test]
fn every_message_has_its_effect_once_and_hopeless_ones_are_kept_apart() {
    for seed in 0..40 {
        assert_eq!(send_and_kill(seed), (4, 4, 0, 4), "seed {seed}");
    }
}

#[test]
fn records_of_messages_do_not_pile_up_and_dead_letters_say_why() {
    let world = World::slow(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let (sender, receiver) = (actor("counter", "sender"), actor("counter", "receiver"));
        for _ in 0..100 {
            call(&runtime, &sender, "send", bytes(1)).await.unwrap();
            runtime.env().sleep(Duration::from_millis(20)).await;
        }
        runtime.env().sleep(Duration::from_secs(5)).await;
        assert_eq!(call(&runtime, &receiver, "get", "").await.unwrap(), 100);
        let rows = async |prefix: bytes::Bytes| {
            let rows = kelpie_storage::RangeQuery::prefix(&prefix);
            world.store().begin().get_range(rows).await.unwrap().rows.len()
        };
        // Of two hundred messages that it had, those since the low-water mark was last noted.
        let inbox = rows(kelpie_core::row::inboxes(&receiver, &sender)).await;
        assert!((1..32).contains(&inbox), "{inbox} records");
        assert_eq!(rows(kelpie_core::row::dedups(&receiver)).await, 0);
        let dead = runtime.view(&sender).dead_letters(1_000).await.unwrap();
        assert_eq!(dead.len(), 100);
        assert_eq!((dead[7].to.actor_type(), dead[7].operation.as_str()), ("nobody", "add"));
        assert!(dead[7].reason.contains("no actor type `nobody`"), "{}", dead[7].reason);
    });
}

#[test]
fn a_receiver_that_does_not_answer_holds_up_nobody_else() {
    let world = World::new(2);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let (sender, receiver) = (actor("counter", "sender"), actor("counter", "receiver"));
        call(&runtime, &sender, "send to the slow", "").await.unwrap();
        call(&runtime, &sender, "send", bytes(1)).await.unwrap();
        runtime.env().sleep(Duration::from_millis(500)).await;
        assert_eq!(call(&runtime, &receiver, "get", "").await.unwrap(), 1);
        runtime.env().sleep(Duration::from_secs(20)).await;
        assert_eq!(call(&runtime, &actor("counter", "slow"), "get", "").await.unwrap(), 20);
    });
}

/// Kills the node at any time after a message was sent, and lets it lie for an hour. Returns
/// what the receiver has counted.
fn outage_while_a_message_is_delivered(seed: u64) -> u64 {
    let world = World::slow(seed);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        let (sender, receiver) = (actor("counter", "sender"), actor("counter", "receiver"));
        call(&runtime, &sender, "send", bytes(1)).await.unwrap();
        runtime.env().sleep(Duration::from_micros(seed * 37)).await;
        world.node.kill();
        world.store_env().sleep(Duration::from_secs(3_600)).await;
        let runtime = world.restart(Counter::all).await;
        runtime.env().sleep(Duration::from_secs(10)).await;
        call(&runtime, &receiver, "get", "").await.unwrap()
    })
}

#[test]
fn a_message_has_its_effect_once_however_long_its_sender_is_away() {
    for seed in 0..60 {
        assert_eq!(outage_while_a_message_is_delivered(seed), 1, "seed {seed}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn records_of_messages_that_expire_by_time_are_caught() {
    let _armed = kelpie_core::mutant::arm("low_water_by_time");
    assert!((0..60).any(|seed| outage_while_a_message_is_delivered(seed) != 1));
}

#[cfg(feature = "mutants")]
#[test]
fn a_wake_entry_cleared_too_early_is_caught() {
    let _armed = kelpie_core::mutant::arm("wake_cleared_early");
    assert!((0..40).any(|seed| send_and_kill(seed) != (4, 4, 0, 4)));
}
