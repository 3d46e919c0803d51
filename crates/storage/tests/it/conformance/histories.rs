//! Concurrent clients at random, and the judgement on what they have seen.
//!
//! A key holds a list of numbers, each appended once, so that what is read tells what
//! happened before. Keys come into being all the time, so that ranges meet phantoms.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_storage::{CommitError, RangeQuery, ReadError, Store, Transaction};

use super::checker::exhaustive::has_order;
use super::checker::graph::{self, Violation};
use super::checker::{Key, List, Observed, Op, Outcome};
use super::shorthand::gave_way;
use super::world::{World, pause};

/// Keys in use at the same time; as time goes on, others.
const KEYS: u64 = 5;

pub(crate) async fn concurrent_histories_are_strictly_serializable(world: &World) {
    let store = world.open().await;
    judged(world, &store).await.unwrap_or_else(|violation| panic!("{violation}"));
}

pub(crate) async fn histories_with_lost_answers_are_strictly_serializable(world: &World) {
    let store = world.open_lossy().await;
    judged(world, &store).await.unwrap_or_else(|violation| panic!("{violation}"));
}

/// Lets clients work on lists, and judges what they have seen.
pub(crate) async fn judged(world: &World, store: &Store) -> Result<(), Violation> {
    let (clients, each) = (6, world.times(25, 20));
    let clock = Arc::new(AtomicU64::new(1));
    let mut works = Vec::new();
    for number in 0..clients {
        let store = if number % 2 == 0 { store.clone() } else { world.other_client(store).await };
        let mut client = Client::new(number, store, world.env.clone(), clock.clone());
        works.push(async move {
            for round in 0..each as u64 {
                client.transact(round / 2).await;
            }
            client.history
        });
    }
    let history: Vec<Observed> = world.at_once(works).await.into_iter().flatten().collect();
    let committed = history.iter().filter(|tx| tx.outcome == Outcome::Committed).count();
    assert!(committed * 10 > clients * each, "only {committed} of {} committed", clients * each);
    graph::check(&history)
}

/// Appends and reads lists, and writes down what it has seen.
struct Client {
    number: usize,
    store: Store,
    env: Env,
    clock: Arc<AtomicU64>,
    appended: u64,
    history: Vec<Observed>,
}

impl Client {
    fn new(number: usize, store: Store, env: Env, clock: Arc<AtomicU64>) -> Self {
        Self { number, store, env, clock, appended: 0, history: Vec::new() }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn draw(&self, bound: u64) -> u64 {
        self.env.random_u64() % bound
    }

    /// One transaction over the keys from `oldest` on.
    async fn transact(&mut self, oldest: u64) {
        let invoked = self.tick();
        let mut tx = self.store.begin();
        let mut ops = Vec::new();
        let mut failed = None;
        for _ in 0..=self.draw(4) {
            let done = match self.draw(8) {
                0 | 1 => self.range(&mut tx, oldest, &mut ops).await,
                2 => self.several(&mut tx, oldest, &mut ops).await,
                3 | 4 => self.read(&mut tx, self.key(oldest), &mut ops).await.map(drop),
                _ => self.append(&mut tx, self.key(oldest), &mut ops).await,
            };
            if let Err(error) = done {
                failed = Some(error);
                break;
            }
            pause(&self.env).await;
        }
        let outcome = match failed {
            Some(error) => {
                assert!(!matches!(error, ReadError::Limit(_)), "{error:?}");
                Outcome::Refused
            }
            None if self.draw(8) == 0 => {
                drop(tx);
                self.dropped(&ops, invoked);
                Outcome::Refused
            }
            None => match tx.commit().await {
                Ok(_) => Outcome::Committed,
                Err(CommitError::Unknown(_)) => Outcome::Unknown,
                Err(CommitError::Conflict | CommitError::TooOld | CommitError::Unavailable(_)) => {
                    Outcome::Refused
                }
                Err(CommitError::Limit(limit)) => panic!("{limit}"),
            },
        };
        let ended = self.tick();
        self.history.push(Observed { client: self.number, ops, outcome, invoked, ended });
    }

    /// What a dropped transaction has read, before it wrote, has to fit the order too.
    fn dropped(&mut self, ops: &[Op], invoked: u64) {
        let reads = ops.iter().take_while(|op| matches!(op, Op::Read(..))).cloned().collect();
        let (outcome, ended) = (Outcome::Committed, self.tick());
        self.history.push(Observed { client: self.number, ops: reads, outcome, invoked, ended });
    }

    fn key(&self, oldest: u64) -> Key {
        Key::try_from(oldest + self.draw(KEYS)).expect("few keys")
    }

    async fn read(&self, tx: &mut Transaction, key: Key, ops: &mut Vec<Op>) -> Result<List, ReadError> {
        let list = decoded(tx.get(&row(key)).await?.as_deref());
        ops.push(Op::Read(key, list.clone()));
        Ok(list)
    }

    async fn several(&self, tx: &mut Transaction, oldest: u64, ops: &mut Vec<Op>) -> Result<(), ReadError> {
        let keys = [self.key(oldest), self.key(oldest)];
        let found = tx.get_many(&keys.map(row)).await?;
        ops.extend(keys.iter().zip(&found).map(|(key, value)| Op::Read(*key, decoded(value.as_deref()))));
        Ok(())
    }

    async fn append(&mut self, tx: &mut Transaction, key: Key, ops: &mut Vec<Op>) -> Result<(), ReadError> {
        let mut list = self.read(tx, key, ops).await?;
        self.appended += 1;
        list.push(self.appended * 100 + self.number as u64);
        tx.set(row(key), encoded(&list));
        ops.push(Op::Append(key, list));
        Ok(())
    }

    /// Reads a range: of all keys that it speaks for, those that are not there are empty.
    async fn range(&self, tx: &mut Transaction, oldest: u64, ops: &mut Vec<Op>) -> Result<(), ReadError> {
        let begin = self.key(oldest.saturating_sub(2));
        let end = begin + 1 + Key::try_from(self.draw(2 * KEYS)).expect("few keys");
        let limit = if self.draw(2) == 0 { 100 } else { usize::from(1 + self.draw(3).to_le_bytes()[0]) };
        let reverse = self.draw(2) == 0;
        let query = RangeQuery { reverse, ..RangeQuery::new(row(begin), row(end)).limit(limit) };
        let page = tx.get_range(query).await?;
        let found: BTreeMap<Key, List> =
            page.rows.iter().map(|(key, value)| (key_of(key), decoded(Some(value)))).collect();
        assert_eq!(found.len(), page.rows.len(), "a key twice in a page");
        assert!(found.keys().all(|key| (begin..end).contains(key)), "a row from beside the range");
        let spoken_for = match (page.more.is_some(), reverse) {
            (false, _) => begin..end,
            (true, false) => begin..found.last_key_value().map_or(begin, |(key, _)| key + 1),
            (true, true) => found.first_key_value().map_or(end, |(key, _)| *key)..end,
        };
        ops.extend(spoken_for.map(|key| Op::Read(key, found.get(&key).cloned().unwrap_or_default())));
        Ok(())
    }
}

fn row(key: Key) -> Bytes {
    Bytes::from(format!("list/{key:05}"))
}

fn key_of(row: &[u8]) -> Key {
    std::str::from_utf8(row).unwrap().strip_prefix("list/").unwrap().parse().unwrap()
}

fn encoded(list: &[u64]) -> Vec<u8> {
    list.iter().flat_map(|element| element.to_le_bytes()).collect()
}

fn decoded(value: Option<&[u8]>) -> List {
    let chunks = value.unwrap_or_default().chunks(8);
    chunks.map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
}

/// Few transactions with blind writes, where all orders can be tried.
pub(crate) async fn tiny_histories_have_an_order(world: &World) {
    let lossless = world.open().await;
    let rounds = world.times(20, 30);
    for round in 0..rounds {
        tiny(world, &lossless, round).await;
    }
    lossless.close().await.unwrap();
    drop(lossless);
    let lossy = world.open_lossy().await;
    for round in rounds..2 * rounds {
        tiny(world, &lossy, round).await;
    }
}

async fn tiny(world: &World, store: &Store, round: usize) {
    let clock = Arc::new(AtomicU64::new(1));
    let oldest = round as u64 * 10;
    let works = (0..4).map(|number| {
        let mut client = Client::new(number, store.clone(), world.env.clone(), clock.clone());
        async move {
            for n in 0..3 {
                client.set_and_read(oldest, n).await;
            }
            client.history
        }
    });
    let history: Vec<Observed> = world.at_once(works).await.into_iter().flatten().collect();
    let told: Vec<String> = history.iter().map(ToString::to_string).collect();
    assert!(has_order(&history), "no order explains\n{}", told.join("\n"));
}

impl Client {
    /// One transaction over two registers: reads one, or both as a range, and sets or clears
    /// one, both as a range, or none.
    async fn set_and_read(&mut self, oldest: u64, n: u64) {
        let register = |n: u64| Key::try_from(oldest + n).expect("few keys");
        let invoked = self.tick();
        let mut tx = self.store.begin();
        let mut ops = Vec::new();
        let read = match self.draw(3) {
            0 => Ok(()),
            1 => self.read(&mut tx, register(self.draw(2)), &mut ops).await.map(drop),
            _ => whole_range(&mut tx, register(0)..register(2), &mut ops).await,
        };
        if let Err(error) = read {
            return assert!(gave_way(&error), "{error:?}");
        }
        pause(&self.env).await;
        let (key, value) = (register(self.draw(2)), self.number as u64 * 10 + n + 1);
        match self.draw(5) {
            0 => {}
            1 => {
                tx.clear_range(row(register(0)), row(register(2)));
                ops.extend([register(0), register(1)].map(|key| Op::Set(key, List::new())));
            }
            2 => {
                tx.clear(row(key));
                ops.push(Op::Set(key, List::new()));
            }
            _ => {
                tx.set(row(key), encoded(&[value]));
                ops.push(Op::Set(key, vec![value]));
            }
        }
        let outcome = match tx.commit().await {
            Ok(_) => Outcome::Committed,
            Err(CommitError::Unknown(_)) => Outcome::Unknown,
            Err(CommitError::Conflict) => Outcome::Refused,
            Err(error) => panic!("{error:?}"),
        };
        let ended = self.tick();
        self.history.push(Observed { client: self.number, ops, outcome, invoked, ended });
        pause(&self.env).await;
    }
}

async fn whole_range(tx: &mut Transaction, keys: Range<Key>, ops: &mut Vec<Op>) -> Result<(), ReadError> {
    let page = tx.get_range(RangeQuery::new(row(keys.start), row(keys.end))).await?;
    let found: BTreeMap<Key, List> =
        page.rows.iter().map(|(key, value)| (key_of(key), decoded(Some(value)))).collect();
    ops.extend(keys.map(|key| Op::Read(key, found.get(&key).cloned().unwrap_or_default())));
    Ok(())
}
