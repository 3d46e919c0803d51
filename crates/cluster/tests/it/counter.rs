//! The actor that the tests call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_runtime::{Actor, HandlerError, PlacementWish, Turn, View};

pub(crate) fn actor(key: impl AsRef<str>) -> ActorId {
    ActorId::new("default", "counter", key.as_ref()).unwrap()
}

pub(crate) fn number(reply: &[u8]) -> u64 {
    std::str::from_utf8(reply).unwrap().parse().unwrap_or(0)
}

fn bytes(number: u64) -> Bytes {
    number.to_string().into()
}

/// Counts its additions.
pub(crate) struct Counter {
    env: Env,
    /// Turns that have begun, on whichever node.
    begun: Arc<AtomicU64>,
}

impl Counter {
    pub(crate) fn all(env: &Env) -> Vec<Arc<dyn Actor>> {
        Self::counted(env, &Arc::default())
    }

    /// The same, and `begun` counts its turns.
    pub(crate) fn counted(env: &Env, begun: &Arc<AtomicU64>) -> Vec<Arc<dyn Actor>> {
        vec![Arc::new(Self { env: env.clone(), begun: begun.clone() })]
    }

    async fn run(&self, turn: &mut Turn, operation: &str, payload: &[u8]) -> Result<Bytes, HandlerError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let path = std::str::from_utf8(payload).unwrap();
        if operation == "refuse" {
            return Err(HandlerError::app("counter.refused", path));
        }
        let total = turn.get(b"total").await?.map_or(0, |total| number(&total)) + 1;
        turn.set("total", bytes(total));
        match operation {
            "add" => {}
            "add slowly" => self.env.sleep(Duration::from_millis(200)).await,
            // In one piece: nothing is looked at before its end.
            "add for seconds" => self.env.sleep(Duration::from_secs(number(payload))).await,
            // Between its steps it can be stopped.
            "step by step" => {
                for step in 0..20_usize {
                    let env = self.env.clone();
                    turn.step(("step", step), b"", |_| async move {
                        env.sleep(Duration::from_millis(100)).await;
                        Ok(Bytes::new())
                    })
                    .await?;
                }
            }
            // What it belongs to, and what the one that it calls belongs to.
            "trace" => {
                let mut traces = turn.trace().map_or_else(|| "none".to_owned(), |trace| trace.to_string());
                if !path.is_empty() {
                    let next = turn.call("next", actor(path), "trace", "").await?;
                    traces = format!("{traces} {}", String::from_utf8_lossy(&next));
                }
                return Ok(traces.into());
            }
            // Waits, and calls the first of those that are named, which passes the rest on.
            "walk" if !path.is_empty() => {
                self.env.sleep(Duration::from_millis(120)).await;
                let (first, rest) = path.split_once(' ').unwrap_or((path, ""));
                turn.call("next", actor(first), "walk", rest.to_owned()).await?;
            }
            "walk" => {}
            "send" => turn.send(actor(path), "add", ""),
            "remind" => turn.wake_at(Some(turn.now_ms() + 1_000)),
            other => return Err(HandlerError::app("counter.unknown", other)),
        }
        Ok(bytes(total))
    }
}

impl Actor for Counter {
    fn actor_type(&self) -> &str {
        "counter"
    }

    /// `… near KEY` and `… on LABEL` are what the key says.
    fn wish(&self, of: &ActorId) -> PlacementWish {
        let after = |word: &str| of.key().split_once(word).map(|(_, what)| what.to_owned());
        PlacementWish { near: after(" near ").map(actor), label: after(" on ") }
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "get"
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        self.run(turn, operation, payload).boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        _: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(view.get(b"total").await?.unwrap_or_else(|| bytes(0))) }.boxed()
    }

    fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        async {
            if turn.get(b"woken").await?.is_none() {
                let total = turn.get(b"total").await?.map_or(0, |total| number(&total)) + 100;
                turn.set("total", bytes(total));
                turn.set("woken", "");
            }
            turn.wake_at(None);
            Ok(())
        }
        .boxed()
    }
}
