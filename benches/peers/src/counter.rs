//! The counter of Kelpie that everything else is beside: typed, and below the typed layer.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie::{Result, Turn, View, actor, handlers};
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_runtime::typed::Behaviours;
use kelpie_runtime::{Actor, HandlerError, Options, Runtime};
use kelpie_storage::{Store, StoreConfig};
use serde::{Deserialize, Serialize};

/// Counts.
#[actor(name = "counter", version = 1)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    total: u64,
}

#[handlers]
impl Counter {
    /// Counts `by` more.
    pub async fn add(&mut self, _: &mut Turn, by: u64) -> Result<u64> {
        self.total += by;
        Ok(self.total)
    }

    /// How many there are.
    pub async fn get(&self, _: &View) -> Result<u64> {
        Ok(self.total)
    }

    /// Has it count by itself in so many seconds.
    pub async fn later(&mut self, cx: &mut Turn, seconds: u64) -> Result<()> {
        let then = kelpie::Schedule::After(std::time::Duration::from_secs(seconds));
        cx.remind("later", then, kelpie::me::<Self>().add(1)).await?;
        Ok(())
    }
}

/// The same in bytes.
pub(crate) struct Plain;

impl Actor for Plain {
    fn actor_type(&self) -> &str {
        "plain"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "get"
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut kelpie_runtime::Turn,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, std::result::Result<Bytes, HandlerError>> {
        async move {
            let total = turn.get(b"total").await?;
            let total = total.and_then(|total| total.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
            let reply = Bytes::copy_from_slice(&(total + 1).to_be_bytes());
            turn.set("total", reply.clone());
            Ok(reply)
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a kelpie_runtime::View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, std::result::Result<Bytes, HandlerError>> {
        async move { Ok(view.get(b"total").await?.unwrap_or_default()) }.boxed()
    }
}

pub(crate) fn actor(actor_type: &str, key: &str) -> ActorId {
    ActorId::new("default", actor_type, key).unwrap()
}

/// A node that keeps its lease also while this machine has no time for it.
pub(crate) fn options() -> Options {
    let mut options = Options::alone("bench").unwrap();
    options.node.lease_term = std::time::Duration::from_secs(60);
    options
}

/// A node that has both.
pub(crate) async fn node(env: &Env, store: &StoreConfig, options: Options) -> Runtime {
    let store = Store::open(store, env).await.unwrap();
    let mut actors = Behaviours::new().actor::<Counter>().untyped();
    actors.push(std::sync::Arc::new(Plain));
    Runtime::start(options, env.clone(), store, actors).await.unwrap()
}

/// A client of one counter.
pub(crate) fn client(runtime: &Runtime, key: &str) -> CounterClient<Runtime> {
    use kelpie_runtime::typed::{Handlers, Target};
    Counter::client(Target::new::<Counter>(runtime.clone(), "default", key))
}
