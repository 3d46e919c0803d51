//! The actors that the workloads call. They are users of the runtime like any other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_runtime::{Actor, HandlerError, RecordRange, Schedule, Turn, TurnError, View};

use super::{Outside, couriers, values};

/// All of them, for one process.
pub(super) fn all(env: &Env, outside: &Arc<Outside>) -> Vec<Arc<dyn Actor>> {
    let mut actors: Vec<Arc<dyn Actor>> = vec![
        Arc::new(Counter),
        Arc::new(Account),
        Arc::new(Log),
        Arc::new(Shop { env: env.clone(), outside: outside.clone() }),
        Arc::new(Alarm),
        Arc::new(values::Register),
        Arc::new(values::Set),
    ];
    actors.extend(couriers::all());
    actors
}

fn number(payload: &[u8]) -> Result<i64, HandlerError> {
    std::str::from_utf8(payload)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| HandlerError::app("number", "what should be a number is none"))
}

/// A record that is not there counts as `start`; one that is no number fails the turn.
async fn total(turn: &Turn, record: &[u8], start: i64) -> Result<i64, HandlerError> {
    match turn.get(record).await? {
        Some(stored) => number(&stored),
        None => Ok(start),
    }
}

fn shown(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

pub(super) fn unknown(operation: &str) -> HandlerError {
    HandlerError::app("operation", format!("there is no operation `{operation}`"))
}

pub(super) type Answer<'a> = BoxFuture<'a, Result<Bytes, HandlerError>>;

/// The record that holds the sum of a counter.
pub(super) const SUM: &str = "sum";

/// `add` a number, `get` the sum.
struct Counter;

impl Actor for Counter {
    fn actor_type(&self) -> &str {
        "counter"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "get"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation != "add" {
                return Err(unknown(operation));
            }
            let sum = total(turn, SUM.as_bytes(), 0).await? + number(payload)?;
            turn.set(SUM, shown(sum));
            Ok(shown(sum))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move { Ok(view.get(SUM.as_bytes()).await?.unwrap_or_else(|| shown(0))) }.boxed()
    }
}

/// What is in an account that nothing has happened to.
pub(crate) const OPENING: i64 = 100;

/// `transfer` an amount to another account (`<account> <amount>`), which gets it as a message;
/// `balance`.
struct Account;

impl Actor for Account {
    fn actor_type(&self) -> &str {
        "account"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "balance"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            let balance = total(turn, b"balance", OPENING).await?;
            let balance = match operation {
                "deposit" => balance + number(payload)?,
                "transfer" => {
                    let words = std::str::from_utf8(payload).unwrap_or_default().split_once(' ');
                    let (to, amount) =
                        words.ok_or_else(|| HandlerError::app("transfer", "say whom to give how much"))?;
                    let amount = number(amount.as_bytes())?;
                    if amount > balance {
                        return Err(HandlerError::app("funds", "there is not so much in the account"));
                    }
                    let to = ActorId::new("default", "account", to)
                        .map_err(|error| HandlerError::app("account", error.to_string()))?;
                    turn.send(to, "deposit", amount.to_string());
                    balance - amount
                }
                _ => return Err(unknown(operation)),
            };
            turn.set("balance", shown(balance));
            Ok(shown(balance))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move { Ok(view.get(b"balance").await?.unwrap_or_else(|| shown(OPENING))) }.boxed()
    }
}

/// `append` a word, `read` all words in order. Each word is a record of its own.
struct Log;

impl Actor for Log {
    fn actor_type(&self) -> &str {
        "log"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "read"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation != "append" {
                return Err(unknown(operation));
            }
            let last = turn.range(RecordRange::prefix(b"word/").reversed().limit(1)).await?;
            let next = last.first().map_or(0, |(record, _)| {
                String::from_utf8_lossy(&record[b"word/".len()..]).parse::<u64>().map_or(0, |last| last + 1)
            });
            turn.set(format!("word/{next:08}"), Bytes::copy_from_slice(payload));
            Ok(Bytes::from(next.to_string()))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move {
            let rows = view.range(RecordRange::prefix(b"word/")).await?;
            let words: Vec<_> = rows.iter().map(|(_, word)| String::from_utf8_lossy(word)).collect();
            Ok(Bytes::from(words.join(" ")))
        }
        .boxed()
    }
}

/// `order` a thing: asks for its price, which is another one each time, charges it and ships it
/// outside, each a recorded step, and counts it; `orders` tells the count.
struct Shop {
    env: Env,
    outside: Arc<Outside>,
}

impl Actor for Shop {
    fn actor_type(&self) -> &str {
        "shop"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "orders"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation != "order" {
                return Err(unknown(operation));
            }
            let thing = String::from_utf8_lossy(payload).into_owned();
            // Before the first step, and from what was committed: it may leave with the turn
            // only, or an order that runs again after a crash would count twice.
            let orders = total(turn, b"orders", 0).await? + 1;
            turn.set("orders", shown(orders));
            let (env, outside) = (self.env.clone(), self.outside.clone());
            // Drawn once for the turn, however often it runs.
            let asked = [thing.as_bytes(), &turn.random_u64().to_le_bytes()].concat();
            let price = turn.step("price", &asked, |_| async move {
                env.sleep(Duration::from_millis(5)).await;
                Ok(Bytes::from(outside.price().to_string()))
            });
            let price = String::from_utf8_lossy(&price.await?).into_owned();
            for step in ["charge", "ship"] {
                let (env, outside, what) =
                    (self.env.clone(), self.outside.clone(), format!("{step} {thing}"));
                let terms = price.clone();
                turn.step(step, thing.as_bytes(), |key| async move {
                    outside.ask(&key, &what, &terms);
                    env.sleep(Duration::from_millis(30)).await;
                    Ok(Bytes::from_static(b"done"))
                })
                .await?;
            }
            Ok(shown(orders))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move { Ok(view.get(b"orders").await?.unwrap_or_else(|| shown(0))) }.boxed()
    }
}

/// `remind` of a word after some milliseconds (`<word> <ms>`); `reminded` tells each word that
/// came due with how often it did. Half of them are the runtime's reminders, the others rest
/// on the actor's own wake time.
struct Alarm;

impl Alarm {
    /// The time of the first reminder that is left.
    async fn next(turn: &Turn) -> Result<Option<u64>, TurnError> {
        let first = turn.range(RecordRange::prefix(b"due/").limit(1)).await?;
        Ok(first.first().and_then(|(record, _)| due_of(record)))
    }

    /// Counts a word that has come due.
    async fn fired(turn: &mut Turn, word: &[u8]) -> Result<(), HandlerError> {
        let fired = [b"fired/", word].concat();
        let times = total(turn, &fired, 0).await? + 1;
        turn.set(fired, shown(times));
        Ok(())
    }
}

fn due_of(record: &[u8]) -> Option<u64> {
    let (due, _) = record.strip_prefix(b"due/")?.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*due))
}

impl Actor for Alarm {
    fn actor_type(&self) -> &str {
        "alarm"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "reminded"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            match operation {
                "remind" => {}
                "fire" => {
                    Self::fired(turn, payload).await?;
                    return Ok(Bytes::new());
                }
                _ => return Err(unknown(operation)),
            }
            let words = std::str::from_utf8(payload).unwrap_or_default().split_once(' ');
            let (word, after) =
                words.ok_or_else(|| HandlerError::app("remind", "say of what, and after how long"))?;
            let after = u64::try_from(number(after.as_bytes())?).unwrap_or(0);
            if after.is_multiple_of(2) {
                let schedule = Schedule::After(Duration::from_millis(after));
                turn.remind(word, schedule, "fire", Bytes::copy_from_slice(word.as_bytes())).await?;
                return Ok(Bytes::from_static(b"set"));
            }
            let due = turn.now_ms() + after;
            let record = [b"due/", &due.to_be_bytes()[..], word.as_bytes()].concat();
            turn.set(record, Bytes::copy_from_slice(word.as_bytes()));
            let next = Self::next(turn).await?;
            turn.wake_at(next);
            Ok(Bytes::from_static(b"set"))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move {
            let rows = view.range(RecordRange::prefix(b"fired/")).await?;
            let fired: Vec<_> = rows
                .iter()
                .map(|(record, times)| {
                    let word = String::from_utf8_lossy(&record[b"fired/".len()..]);
                    format!("{word}:{}", String::from_utf8_lossy(times))
                })
                .collect();
            Ok(Bytes::from(fired.join(" ")))
        }
        .boxed()
    }

    fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            for (record, word) in turn.range(RecordRange::prefix(b"due/")).await? {
                if due_of(&record).is_none_or(|due| due > turn.now_ms()) {
                    break;
                }
                turn.clear(record);
                Self::fired(turn, &word).await?;
            }
            let next = Self::next(turn).await?;
            turn.wake_at(next);
            Ok(())
        }
        .boxed()
    }
}
