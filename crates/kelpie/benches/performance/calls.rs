//! A hot call in memory beside a bare tokio channel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_runtime::{Actor, Call, HandlerError, Options, Runtime, Turn, View};
use kelpie_storage::{Store, StoreConfig};
use tokio::sync::{mpsc, oneshot};

use crate::table::{Row, Table};

const ROUNDS: usize = 9;
const CALLS: u32 = 100_000;

/// Counts in one record.
pub(crate) struct Counter;

fn number(bytes: Option<Bytes>) -> u64 {
    bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Actor for Counter {
    fn actor_type(&self) -> &str {
        "counter"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "get"
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let total = number(turn.get(b"total").await?) + 1;
            let reply = Bytes::copy_from_slice(&total.to_be_bytes());
            turn.set("total", reply.clone());
            Ok(reply)
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move { Ok(view.get(b"total").await?.unwrap_or_default()) }.boxed()
    }
}

pub(crate) async fn counters(env: &Env, dir: &std::path::Path) -> Runtime {
    let store = Store::open(&StoreConfig::embedded(dir), env).await.unwrap();
    Runtime::start(Options::alone("bench").unwrap(), env.clone(), store, vec![Arc::new(Counter)])
        .await
        .unwrap()
}

pub(crate) fn counter(key: &str) -> ActorId {
    ActorId::new("default", "counter", key).unwrap()
}

pub(crate) async fn measure(env: &Env, table: &mut Table) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = counters(env, dir.path()).await;
    let actor = counter("hot");
    runtime.call(Call::new(actor.clone(), "add", "")).await.unwrap();
    let channel = channel(env);
    let (mut kelpie, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        peer.push(channel_round(env, &channel).await);
        kelpie.push(read_round(env, &runtime, &actor).await);
    }
    runtime.drain(Duration::from_secs(5)).await;
    table.push(Row {
        what: "hot read turn, embedded store, one caller".into(),
        kelpie,
        peer: Some(("tokio mpsc + oneshot".into(), peer)),
        note: "one call, mean of 100,000".into(),
    });
}

async fn read_round(env: &Env, runtime: &Runtime, actor: &ActorId) -> Duration {
    let began = env.now();
    for _ in 0..CALLS {
        runtime.call(Call::new(actor.clone(), "get", "")).await.unwrap();
    }
    env.now().saturating_sub(began) / CALLS
}

type Ask = oneshot::Sender<u64>;

fn channel(env: &Env) -> mpsc::Sender<Ask> {
    let (tx, mut rx) = mpsc::channel::<Ask>(64);
    env.spawn("peer", async move {
        let mut total = 0_u64;
        while let Some(ask) = rx.recv().await {
            total += 1;
            if ask.send(total).is_err() {
                return;
            }
        }
    });
    tx
}

async fn channel_round(env: &Env, channel: &mpsc::Sender<Ask>) -> Duration {
    let began = env.now();
    for _ in 0..CALLS {
        let (tx, rx) = oneshot::channel();
        channel.send(tx).await.unwrap();
        std::hint::black_box(rx.await.unwrap());
    }
    env.now().saturating_sub(began) / CALLS
}
