//! What a node begins outside of its store, where no fence guards it, and its lease.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_registry::Health;
use kelpie_runtime::{Actor, Call, EffectContext, HandlerError, PendingEffect, Runtime, Turn, View};

use crate::world::{World, actor};

/// Takes its time, and then does something outside. Notes how its node stood at that moment.
#[derive(Clone, Default)]
struct Doer {
    node: Arc<OnceLock<Runtime>>,
    done: Arc<Mutex<Vec<(&'static str, Health)>>>,
}

impl Doer {
    fn does(&self, what: &'static str) {
        self.done.lock().unwrap().push((what, self.node.get().unwrap().health()));
    }
}

impl Actor for Doer {
    fn actor_type(&self) -> &str {
        "doer"
    }

    fn is_read(&self, _operation: &str) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            self.node.get().unwrap().env().sleep(Duration::from_millis(40)).await;
            let work = |what| async move {
                self.does(what);
                Ok(Bytes::new())
            };
            match operation {
                "step" => turn.step("work", b"", |_| work("step")).await,
                "step once" => turn.step_once("work", b"", |_| work("step once")).await,
                _ => {
                    turn.perform("work", "");
                    Ok(Bytes::new())
                }
            }
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        _view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(Bytes::new()) }.boxed()
    }

    fn perform(&self, _context: EffectContext, _effect: PendingEffect) -> BoxFuture<'static, ()> {
        let doer = self.clone();
        async move { doer.does("effect") }.boxed()
    }
}

/// A process stands still for longer than its lease, `after` a call has come in, and goes on: at
/// first without knowing. Says what it did, and how its node stood then.
fn stood_still(seed: u64, operation: &'static str, after: Duration) -> Vec<(&'static str, Health)> {
    let world = World::slow_to_answer(seed);
    let doer = Doer::default();
    world.sim.block_on(async {
        let runtime = world.start(vec![Arc::new(doer.clone())]).await;
        assert!(doer.node.set(runtime.clone()).is_ok());
        let call = Call::new(actor("doer", "a"), operation, "");
        world.node.env().spawn("caller", async move {
            drop(runtime.call(call).await);
        });
        world.store_env().sleep(after).await;
        world.node.pause();
        world.store_env().sleep(Duration::from_secs(20)).await;
        world.node.resume();
        world.store_env().sleep(Duration::from_secs(10)).await;
    });
    doer.done.lock().unwrap().clone()
}

fn a_node_without_its_lease_begins_nothing_outside() {
    for operation in ["step", "step once", "effect"] {
        for seed in 0..60 {
            // Late enough that the call is admitted.
            let done = stood_still(seed, operation, Duration::from_millis(1 + 2 * seed));
            assert_eq!(done, [(operation, Health::Ready)], "seed {seed}");
        }
    }
}

#[test]
fn sim_a_node_whose_lease_has_run_out_begins_nothing_outside_until_it_has_renewed_it() {
    a_node_without_its_lease_begins_nothing_outside();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_effects_without_a_lease() {
    let _armed = kelpie_core::mutant::arm("effects_without_a_lease");
    std::panic::catch_unwind(a_node_without_its_lease_begins_nothing_outside).unwrap_err();
}
