//! What a node does to stay alive: the same, whatever it owns.

use std::sync::Arc;
use std::time::Duration;

use kelpie_cluster::{Options, Protocols, start};
use kelpie_env::sim::Sim;
use kelpie_runtime::Call;
use kelpie_storage::{Memory, Store};

use crate::counter::{Counter, actor};
use crate::peers::secret;
use crate::shared::Shared;
use crate::world::SECRET;

/// Transactions begun and commits asked for in a minute by a node that owns so many actors, all in
/// its memory, and is not called.
fn spent_in_an_idle_minute(owned: u64) -> (u64, u64) {
    let sim = Sim::new(1);
    let machine = sim.node("n1");
    sim.block_on(async {
        let env = machine.env();
        let backend = Arc::new(Shared::new(Memory::new(env.clone())));
        let mut runtime = kelpie_runtime::Options::alone("n1").unwrap();
        runtime.idle_after = Duration::from_mins(10);
        let listen = (machine.ip(), 7000).into();
        let (security, protocols) = (secret(SECRET), Protocols::default());
        let options = Options { runtime, listen, advertise: None, security, protocols };
        let store = Store::from_backend(backend.clone(), env.clone());
        let node = Box::pin(start(options, env.clone(), store, Counter::all(&env))).await.unwrap();
        for number in 0..owned {
            node.runtime().call(Call::new(actor(format!("c{number}")), "add", "")).await.unwrap();
        }
        assert_eq!(node.runtime().activations() as u64, owned);
        // Not a multiple of the time between two scans of the wake index, which read a row of each of its
        // buckets: one more of them should not begin with the minute.
        env.sleep(Duration::from_millis(7_500)).await;
        let before = backend.counted();
        env.sleep(Duration::from_mins(1)).await;
        let after = backend.counted();
        (after.0 - before.0, after.1 - before.1)
    })
}

#[test]
fn staying_alive_costs_the_same_however_many_actors_a_node_owns() {
    let (few, many) = (spent_in_an_idle_minute(3), spent_in_an_idle_minute(3_000));
    // A beat or a scan more may fall into a minute that begins at another instant.
    assert!(few.0.abs_diff(many.0) <= 3 && few.1.abs_diff(many.1) <= 1, "{few:?}, {many:?}");
    assert!(few.1 >= 20, "it beats: {few:?}");
}
