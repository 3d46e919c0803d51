//! Reads that may be stale: from what the node knows, and nothing is activated for them.

use bytes::Bytes;
use kelpie_runtime::Call;

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call, number};

#[test]
fn a_read_that_may_be_stale_activates_nothing() {
    let world = World::new(1);
    world.sim.block_on(async {
        let a = actor("counter", "a");
        let runtime = world.start(Counter::all(&world.node.env())).await;
        call(&runtime, &a, "add", bytes(3)).await.unwrap();
        let stale = || Call::new(a.clone(), "get", Bytes::new()).stale_ok();
        assert_eq!(number(&runtime.call(stale()).await.unwrap()), 3);

        let runtime = world.restart(Counter::all).await;
        assert_eq!(number(&runtime.call(stale()).await.unwrap()), 3);
        assert_eq!(runtime.activations(), 0);
        assert_eq!(call(&runtime, &a, "get", "").await.unwrap(), 3);
        assert_eq!(runtime.activations(), 1);
    });
}

#[test]
fn a_change_is_never_served_as_a_stale_read() {
    let world = World::new(2);
    world.sim.block_on(async {
        let a = actor("counter", "a");
        let runtime = world.start(Counter::all(&world.node.env())).await;
        for expected in 1..=2 {
            let add = Call::new(a.clone(), "add", bytes(1)).stale_ok();
            assert_eq!(number(&runtime.call(add).await.unwrap()), expected);
        }
    });
}
