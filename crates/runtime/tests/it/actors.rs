//! The actors that the tests call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use kelpie_env::Env;
use kelpie_runtime::{Actor, EffectContext, HandlerError, PendingEffect, RecordRange, Turn, View};

use crate::world::{actor, bytes, number};

/// The world outside: counts effects by the key that they carry.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) effects: Mutex<BTreeMap<String, u64>>,
}

impl Outside {
    pub(crate) fn effect(&self, key: &str) {
        *self.effects.lock().unwrap().entry(key.to_owned()).or_default() += 1;
    }

    pub(crate) fn times(&self, key: &str) -> u64 {
        self.effects.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.effects.lock().unwrap().values().sum()
    }
}

/// A counter with a record of every addition.
pub(crate) struct Counter {
    pub(crate) env: Env,
    pub(crate) outside: Arc<Outside>,
}

impl Counter {
    pub(crate) fn all(env: &Env) -> Vec<Arc<dyn Actor>> {
        Self::with(env, &Arc::default())
    }

    pub(crate) fn with(env: &Env, outside: &Arc<Outside>) -> Vec<Arc<dyn Actor>> {
        vec![Arc::new(Self { env: env.clone(), outside: outside.clone() })]
    }

    async fn add(turn: &mut Turn, by: u64) -> Result<u64, HandlerError> {
        let total = number(&turn.get(b"total").await?.unwrap_or_default()) + by;
        turn.set("total", bytes(total));
        Ok(total)
    }

    async fn steps(&self, turn: &mut Turn, operation: &str, by: u64) -> Result<u64, HandlerError> {
        turn.set("total", bytes(number(&turn.get(b"total").await?.unwrap_or_default()) + by));
        for name in ["first", "second", "third"] {
            let (env, outside) = (self.env.clone(), self.outside.clone());
            turn.step(name, b"", |key| async move {
                outside.effect(&key);
                env.sleep(Duration::from_millis(20)).await;
                Ok(Bytes::new())
            })
            .await?;
        }
        if operation == "steps, then ask" {
            turn.call("slow", actor("counter", "slow"), "add slowly", bytes(by)).await?;
        }
        Ok(number(&turn.get(b"total").await?.unwrap_or_default()))
    }
}

impl Counter {
    /// Five steps at once, and a read and a call beside them; then what the turn believes of
    /// time and chance.
    async fn steps_side_by_side(&self, turn: &mut Turn, by: u64) -> Result<u64, HandlerError> {
        Self::add(turn, by).await?;
        let chance = turn.random_u64();
        let turn = &*turn;
        let step = |index: usize| async move {
            let (env, outside) = (self.env.clone(), self.outside.clone());
            let input = [turn.now_ms().to_be_bytes(), chance.to_be_bytes()].concat();
            turn.step(("part", index), &input, |key| async move {
                outside.effect(&key);
                env.sleep(Duration::from_millis(if index == 0 { 10 } else { 20 })).await;
                Ok(bytes(index as u64))
            })
            .await
        };
        let beside = async {
            self.env.sleep(Duration::from_millis(9)).await;
            for _ in 0..200 {
                turn.get(b"absent").await?;
                turn.range(RecordRange::prefix(b"t")).await?;
                self.env.sleep(Duration::from_micros(10)).await;
            }
            Ok(turn.call("beside", actor("counter", "beside"), "add", bytes(by)).await?)
        };
        let (parts, _) = futures::try_join!(try_join_all((0..5).map(step)), beside)?;
        let parts: Vec<u64> = parts.iter().map(|part| number(part)).collect();
        assert_eq!(parts, [0, 1, 2, 3, 4]);
        Ok(number(&turn.get(b"total").await?.unwrap_or_default()))
    }

    /// Adds one, waits, and calls those that are named: each passes the rest on, or one after
    /// the other.
    async fn walk(&self, turn: &mut Turn, operation: &str, path: &[u8]) -> Result<u64, HandlerError> {
        let total = Self::add(turn, 1).await?;
        self.env.sleep(Duration::from_millis(120)).await;
        let path = std::str::from_utf8(path).unwrap();
        if operation == "visit" {
            for name in path.split(' ') {
                turn.call(name, actor("counter", name), "add slowly", bytes(1)).await?;
                self.env.sleep(Duration::from_millis(120)).await;
            }
        } else if !path.is_empty() {
            let (first, rest) = path.split_once(' ').unwrap_or((path, ""));
            turn.call("next", actor("counter", first), "walk", rest.to_owned()).await?;
        }
        Ok(total)
    }

    /// More than one commit takes.
    fn too_much(turn: &mut Turn) {
        for record in ["large 1", "large 2", "large 3"] {
            turn.set(record, vec![7_u8; 4 << 20]);
        }
    }

    /// Records a step, and then fails or waits for a long time. Each beginning is counted.
    async fn never_ends_well(&self, turn: &mut Turn, operation: &str, by: u64) -> Result<u64, HandlerError> {
        self.outside.effect("begun");
        Self::add(turn, by).await?;
        let begun = self.outside.times("begun");
        let input = if operation == "another input" { bytes(begun) } else { Bytes::new() };
        turn.step("first", &input, |_| async {
            self.outside.effect("first");
            Ok(Bytes::new())
        })
        .await?;
        match operation {
            "step, then panic" => panic!("at its step"),
            "step, then too much" => Self::too_much(turn),
            _ => {
                let (env, hour) = (self.env.clone(), Duration::from_hours(1));
                let waits = |_| async move {
                    env.sleep(hour).await;
                    Ok(Bytes::new())
                };
                turn.step("second", b"", waits).await?;
            }
        }
        Ok(0)
    }

    /// Operations that leave something to be done later.
    async fn owe(turn: &mut Turn, operation: &str, by: u64) -> Result<u64, HandlerError> {
        match operation {
            "remind" => {
                turn.wake_at(Some(turn.now_ms() + by));
            }
            "send to the slow" => {
                for _ in 0..20 {
                    turn.send(actor("counter", "slow"), "add slowly", bytes(1));
                }
            }
            "effect" => {
                turn.set("owed", bytes(by));
                turn.perform("e", bytes(by));
                turn.wake_at(Some(turn.now_ms() + 5_000));
            }
            "effect done" => {
                if turn.get(b"owed").await?.is_some() {
                    turn.clear("owed");
                    turn.wake_at(None);
                    Self::add(turn, by).await?;
                }
            }
            other => return Err(HandlerError::app("counter.operation", other.to_owned())),
        }
        Ok(0)
    }
}

impl Actor for Counter {
    fn actor_type(&self) -> &str {
        "counter"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "get" || operation == "rows"
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let by = number(payload);
            let reply = match operation {
                "add" => Self::add(turn, by).await?,
                "add slowly" => {
                    let total = Self::add(turn, by).await?;
                    self.env.sleep(Duration::from_millis(50)).await;
                    total
                }
                "steps" | "steps, then ask" => self.steps(turn, operation, by).await?,
                "steps side by side" => self.steps_side_by_side(turn, by).await?,
                "say when" => {
                    let now = turn.now_ms();
                    turn.call("when", actor("counter", "clock"), "add", bytes(now)).await?;
                    self.env.sleep(Duration::from_millis(50)).await;
                    Self::add(turn, now).await?
                }
                "once" => {
                    let outside = self.outside.clone();
                    let env = self.env.clone();
                    turn.step_once("effect", b"", |key| async move {
                        outside.effect(&key);
                        env.sleep(Duration::from_millis(50)).await;
                        Ok(Bytes::new())
                    })
                    .await?;
                    Self::add(turn, by).await?
                }
                "same step twice" => {
                    for _ in 0..2 {
                        turn.step("s", b"", |_| async { Ok(Bytes::new()) }).await?;
                    }
                    0
                }
                "refuse" => {
                    Self::add(turn, by).await?;
                    return Err(HandlerError::app("counter.refused", "not today"));
                }
                "panic" => {
                    Self::add(turn, by).await?;
                    panic!("as asked");
                }
                "large" => {
                    turn.set("large", vec![7_u8; usize::try_from(by).unwrap()]);
                    0
                }
                "send" => {
                    Self::add(turn, by).await?;
                    turn.send(actor("counter", "receiver"), "add", bytes(by));
                    turn.send(actor("counter", "receiver"), "refuse", bytes(by));
                    turn.send(actor("nobody", "x"), "add", bytes(by));
                    0
                }
                "walk" | "visit" => self.walk(turn, operation, payload).await?,
                "call myself" => number(&turn.call("me", turn.actor().clone(), "add", bytes(by)).await?),
                "too much" => {
                    Self::too_much(turn);
                    0
                }
                "stuck" | "another input" | "step, then panic" | "step, then too much" => {
                    self.never_ends_well(turn, operation, by).await?
                }
                other => Self::owe(turn, other, by).await?,
            };
            Ok(bytes(reply))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            match operation {
                "rows" => {
                    let rows = view.range(RecordRange::prefix(b"")).await?;
                    Ok(bytes(rows.iter().map(|(_, value)| value.len() as u64).sum()))
                }
                _ => Ok(bytes(number(&view.get(b"total").await?.unwrap_or_default()))),
            }
        }
        .boxed()
    }

    fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            match turn.get(b"owed").await? {
                Some(owed) if !turn.in_flight("e") => turn.perform("e", owed),
                Some(_) => turn.wake_at(Some(turn.now_ms() + 5_000)),
                None => {
                    Self::add(turn, 1_000).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
        let outside = self.outside.clone();
        async move {
            outside.effect(&effect.key);
            context.env().sleep(Duration::from_millis(100)).await;
            // A node that goes down meanwhile does it again after its start.
            drop(context.call_back("effect done", effect.payload, "e").await);
        }
        .boxed()
    }
}
