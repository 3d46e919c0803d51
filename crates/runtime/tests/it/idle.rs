//! What an activation costs that has nothing to do, and what a call that need not wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_env::sim::Node;
use kelpie_runtime::{Actor, HandlerError, Turn, View};

use crate::actors::Counter;
use crate::world::{World, actor, bytes, call};

type Tasks = BTreeMap<&'static str, usize>;

/// An actor that looks at the tasks of its node in the middle of its turns.
struct Watchful {
    env: Env,
    node: Node,
    seen: Arc<Mutex<Vec<Tasks>>>,
}

impl Actor for Watchful {
    fn actor_type(&self) -> &str {
        "watchful"
    }

    fn is_read(&self, _: &str) -> bool {
        false
    }

    fn read<'a>(
        &'a self,
        _: &'a View,
        operation: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move { Err(HandlerError::app("watchful.operation", operation.to_owned())) }.boxed()
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            turn.set("last", operation.to_owned());
            if operation == "wait" {
                self.env.sleep(Duration::from_millis(50)).await;
            }
            self.seen.lock().unwrap().push(self.node.tasks());
            Ok(Bytes::new())
        }
        .boxed()
    }
}

#[test]
fn an_idle_activation_has_no_task() {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(Counter::all(&world.node.env())).await;
        world.node.env().sleep(Duration::from_millis(1)).await;
        let before = world.node.tasks();
        for n in 0..1_000_u64 {
            // Some of them have waited in their turn, which was moved to a task then.
            let operation = if n % 10 == 0 { "add slowly" } else { "add" };
            call(&runtime, &actor("counter", &n.to_string()), operation, bytes(1)).await.unwrap();
        }
        world.node.env().sleep(Duration::from_millis(1)).await;
        assert_eq!((runtime.activations(), world.node.tasks()), (1_000, before));
    });
}

#[test]
fn a_call_runs_on_its_caller_until_it_has_to_wait() {
    let world = World::new(1);
    world.sim.block_on(async {
        let (env, seen) = (world.node.env(), Arc::<Mutex<Vec<Tasks>>>::default());
        let watchful = Watchful { env: env.clone(), node: world.node.clone(), seen: seen.clone() };
        let runtime = world.start(vec![Arc::new(watchful)]).await;
        env.sleep(Duration::from_millis(1)).await;
        let a = actor("watchful", "a");
        // Nothing is to be waited for in memory: the caller comes to the end by itself, at once.
        call(&runtime, &a, "load", "").await.unwrap();
        let idle = world.node.tasks();
        let quick = call(&runtime, &a, "quick", "").now_or_never();
        assert!(quick.expect("the first poll ends it").is_ok());
        assert_eq!(seen.lock().unwrap().pop().unwrap(), idle, "the turn had a task of its own");

        // This one waits: it is moved, and its caller may go.
        let waiting = call(&runtime, &a, "wait", "").now_or_never();
        assert!(waiting.is_none());
        let moved = world.node.tasks();
        assert_eq!(moved.get("turn"), Some(&1), "{moved:?}");
        assert_eq!(idle.get("turn"), None);
        env.sleep(Duration::from_millis(60)).await;
        assert_eq!(world.node.tasks(), idle);
        let stored = world.store().begin().get(&kelpie_core::row::state(&a, b"last")).await.unwrap();
        let stored = stored.expect("the turn has committed");
        assert!(stored.ends_with(b"wait"), "its caller went away, the turn did not: {stored:?}");
    });
}
