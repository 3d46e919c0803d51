//! Durable transactions of one read and two writes of 100 B, by clients that wait for each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use kelpie_env::Env;
use kelpie_storage::{Memory, Store, StoreConfig};

use crate::grouped::{Durable, Grouped};
use crate::peers::{BareLog, Fjall, Redb, Sqlite};
use crate::table::{Figures, Table, median};

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;
/// Keys of one client.
const KEYS: u64 = 1_000;
/// The memory store under a peer folds after so much: never, here.
const NO_FOLD: u64 = 1 << 30;

/// What one round found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// Commits a second.
    pub(crate) rate: f64,
    /// Time of one commit: half took no longer.
    pub(crate) p50: Duration,
    /// Commits of one batch.
    pub(crate) batch: f64,
}

/// A store under measurement.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    pub(crate) rounds: Vec<Round>,
}

impl Contestant {
    fn new(name: &'static str, store: Store) -> Self {
        Self { name, store, rounds: Vec::new() }
    }
}

fn grouped(env: &Env, durable: impl Durable) -> Store {
    let memory = Memory::folding_at(env.clone(), NO_FOLD);
    Store::from_backend(Arc::new(Grouped::start(env, durable, Some(memory))), env.clone())
}

pub(crate) async fn ours(env: &Env, dir: &Path) -> Contestant {
    Contestant::new("Kelpie", Store::open(&StoreConfig::embedded(dir.join("kelpie")), env).await.unwrap())
}

pub(crate) fn null(env: &Env, dir: &Path) -> Contestant {
    let log = BareLog::create(env, &dir.join("null"));
    let backend = Grouped::start(env, log, None);
    Contestant::new("null engine", Store::from_backend(Arc::new(backend), env.clone()))
}

fn peers(env: &Env, dir: &Path) -> Vec<Contestant> {
    vec![
        Contestant::new("redb", grouped(env, Redb::create(dir))),
        Contestant::new("fjall", grouped(env, Fjall::create(dir))),
        Contestant::new("SQLite", grouped(env, Sqlite::create(dir))),
    ]
}

/// All contestants in turn, round by round, at each number of clients.
pub(crate) async fn measure(env: &Env, table: &mut Table, rounds: usize, time: Duration) {
    for clients in [1, 8, 64] {
        let dir = crate::fresh_dir();
        let mut contestants = vec![ours(env, dir.path()).await, null(env, dir.path())];
        contestants.extend(peers(env, dir.path()));
        let mut bare_log = BareLog::create(env, &dir.path().join("bare"));
        let mut bare_rounds = Vec::new();
        for contestant in &contestants {
            fill(&contestant.store, clients).await;
        }
        for _ in 0..rounds {
            for contestant in &mut contestants {
                contestant.rounds.push(round(env, &contestant.store, clients, time).await);
            }
            let batch = contestants[0].rounds.last().map_or(1.0, |round| round.batch);
            bare_rounds.push(bare(env, &mut bare_log, batch, time));
        }
        let [ours, others @ ..] = &contestants[..] else { unreachable!("ours is there") };
        let mut figures = vec![figure("bare loop", &ours.rounds, &bare_rounds)];
        figures.extend(others.iter().map(|other| figure(other.name, &ours.rounds, &other.rounds)));
        table.commits(&format!("{clients} clients"), &ours.rounds, figures);
        for contestant in contestants {
            contestant.store.close().await.unwrap();
        }
    }
}

/// Kelpie alone.
pub(crate) async fn profile(env: &Env) {
    let dir = crate::fresh_dir();
    let contestant = ours(env, dir.path()).await;
    fill(&contestant.store, 64).await;
    println!("{:?}", round(env, &contestant.store, 64, Duration::from_secs(3)).await);
    println!("{:?}", contestant.store.stats());
    contestant.store.close().await.unwrap();
}

pub(crate) fn figure(name: &'static str, ours: &[Round], theirs: &[Round]) -> Figures {
    let ratios = |of: fn(&Round) -> f64| {
        let each: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
        median(&each)
    };
    Figures {
        name,
        rounds: theirs.to_vec(),
        rate_ratio: ratios(|round| round.rate),
        p50_ratio: ratios(|round| round.p50.as_secs_f64()),
    }
}

fn key(client: u64, number: u64) -> Vec<u8> {
    format!("c{client:04}/k{number:08}").into_bytes()
}

/// Every key once, so that reads find something.
pub(crate) async fn fill(store: &Store, clients: u64) {
    join_all((0..clients).map(|client| async move {
        for first in (0..KEYS).step_by(100) {
            let mut tx = store.begin();
            tx.get(&key(client, first)).await.unwrap();
            (first..first + 100).for_each(|number| tx.set(key(client, number), vec![1; VALUE_BYTES]));
            tx.commit().await.unwrap();
        }
    }))
    .await;
}

async fn transaction(store: &Store, client: u64, number: u64) {
    let mut tx = store.begin();
    let read = key(client, number % KEYS);
    tx.get(&read).await.unwrap();
    tx.set(read, vec![7; VALUE_BYTES]);
    tx.set(key(client, (number * 31 + 7) % KEYS), vec![9; VALUE_BYTES]);
    tx.commit().await.unwrap();
}

/// Clients that commit until the time is over.
pub(crate) async fn round(env: &Env, store: &Store, clients: u64, time: Duration) -> Round {
    let before = store.stats();
    let over = Arc::new(AtomicBool::new(false));
    let began = env.now();
    let running: Vec<_> = (0..clients)
        .map(|client| {
            let (env, store, over) = (env.clone(), store.clone(), over.clone());
            let (done, ended) = tokio::sync::oneshot::channel();
            env.clone().spawn("client", async move {
                let mut times = Vec::new();
                let mut number = client * 17;
                while !over.load(Ordering::Relaxed) {
                    let began = env.now();
                    transaction(&store, client, number).await;
                    times.push(env.now().saturating_sub(began));
                    number += 1;
                }
                done.send(times).unwrap();
            });
            ended
        })
        .collect();
    env.sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> =
        join_all(running).await.into_iter().flat_map(|times| times.unwrap()).collect();
    let took = env.now().saturating_sub(began);
    let after = store.stats();
    times.sort_unstable();
    let batches = (after.batches - before.batches).max(1);
    Round {
        rate: times.len() as f64 / took.as_secs_f64(),
        p50: times[times.len() / 2],
        batch: (after.commits - before.commits) as f64 / batches as f64,
    }
}

/// Append and fsync in a loop: batches of as many commits as the embedded store had.
pub(crate) fn bare(env: &Env, log: &mut BareLog, commits: f64, time: Duration) -> Round {
    let mut one = Vec::new();
    let value = bytes::Bytes::from(vec![7; VALUE_BYTES]);
    let writes = [0, 1].map(|n| (key(0, n).into(), kelpie_storage::Op::Set(value.clone())));
    BareLog::add(&mut one, &writes);
    let bytes = one.repeat((commits.round() as usize).max(1));
    let (began, mut times) = (env.now(), Vec::new());
    while env.now().saturating_sub(began) < time {
        let began = env.now();
        log.append(&bytes);
        times.push(env.now().saturating_sub(began));
    }
    let took = env.now().saturating_sub(began);
    times.sort_unstable();
    Round {
        rate: times.len() as f64 * commits / took.as_secs_f64(),
        p50: times[times.len() / 2],
        batch: commits,
    }
}
