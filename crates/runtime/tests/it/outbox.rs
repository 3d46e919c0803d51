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

#[cfg(feature = "mutants")]
#[test]
fn a_wake_entry_cleared_too_early_is_caught() {
    let _armed = kelpie_core::mutant::arm("wake_cleared_early");
    assert!((0..40).any(|seed| send_and_kill(seed) != (4, 4, 0, 4)));
}
