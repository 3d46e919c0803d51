//! Random gets and scans of 100,000 rows beside redb, from the memtable and from the base.

use std::path::Path;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_storage::{RangeQuery, Store, StoreConfig};
use redb::{Database, ReadableDatabase};

use crate::commits::VALUE_BYTES;
use crate::peers::ROWS;
use crate::table::{Table, median};

const KEYS: u64 = 100_000;
const GETS: u64 = 100_000;

fn key(number: u64) -> Vec<u8> {
    format!("row/{number:012}").into_bytes()
}

/// Keys in an order that looks random and never repeats: a full period of a step that shares
/// no divisor with their number.
fn shuffled() -> impl Iterator<Item = u64> {
    (0..GETS).map(|n| n * 61_803 % KEYS)
}

pub(crate) async fn measure(env: &Env, table: &mut Table, rounds: usize) {
    let dir = crate::fresh_dir();
    let store = filled(env, &dir.path().join("kelpie")).await;
    let peer = filled_redb(dir.path());
    compare(env, table, &store, &peer, "in the memtable", rounds).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(env, &dir.path().join("kelpie")).await;
    assert_eq!(store.stats().memtable_keys, 0, "everything is in the base");
    compare(env, table, &store, &peer, "in the base", rounds).await;
    store.close().await.unwrap();
}

async fn open(env: &Env, dir: &Path) -> Store {
    Store::open(&StoreConfig::embedded(dir), env).await.unwrap()
}

async fn filled(env: &Env, dir: &Path) -> Store {
    let store = open(env, dir).await;
    for first in (0..KEYS).step_by(1000) {
        let mut tx = store.begin();
        (first..first + 1000).for_each(|number| tx.set(key(number), vec![7; VALUE_BYTES]));
        tx.commit().await.unwrap();
    }
    store
}

fn filled_redb(dir: &Path) -> Database {
    let database = Database::create(dir.join("redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(ROWS).unwrap();
        for number in 0..KEYS {
            rows.insert(&key(number)[..], &[7; VALUE_BYTES][..]).unwrap();
        }
    }
    transaction.commit().unwrap();
    database
}

async fn compare(env: &Env, table: &mut Table, store: &Store, peer: &Database, place: &str, rounds: usize) {
    let mut times = [const { (Vec::new(), Vec::new()) }; 3];
    for _ in 0..rounds {
        times[0].1.push(timed(env, async { redb_single_gets(peer) }).await);
        times[0].0.push(timed(env, single_gets(store)).await);
        times[1].1.push(timed(env, async { redb_gets(peer) }).await);
        times[1].0.push(timed(env, gets(store)).await);
        times[2].1.push(timed(env, async { redb_scan(peer) }).await);
        times[2].0.push(timed(env, scan(store)).await);
    }
    let what = ["get, a transaction each", "get, in one transaction", "row of a whole scan"];
    for (what, (ours, theirs)) in what.into_iter().zip(times) {
        let per_row = |times: &[f64]| median(times) / GETS as f64 * 1e9;
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
        table.reads(&format!("{what}, {place}"), per_row(&ours), per_row(&theirs), median(&ratios));
    }
}

async fn timed(env: &Env, work: impl Future<Output = u64>) -> f64 {
    let began = env.now();
    assert_eq!(work.await, KEYS * VALUE_BYTES as u64);
    env.now().saturating_sub(began).max(Duration::from_nanos(1)).as_secs_f64()
}

async fn single_gets(store: &Store) -> u64 {
    let mut bytes = 0;
    for number in shuffled() {
        bytes += store.begin().get(&key(number)).await.unwrap().unwrap().len() as u64;
    }
    bytes
}

async fn gets(store: &Store) -> u64 {
    let (mut tx, mut bytes) = (store.begin(), 0);
    for number in shuffled() {
        bytes += tx.get_snapshot(&key(number)).await.unwrap().unwrap().len() as u64;
    }
    bytes
}

/// Pages that fit into the processor's cache.
async fn scan(store: &Store) -> u64 {
    let mut tx = store.begin();
    let (mut next, mut bytes) = (Some(RangeQuery::prefix(b"row/").limit(1000)), 0);
    while let Some(query) = next {
        let page = tx.get_range(query).await.unwrap();
        bytes += page.rows.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
        next = page.more;
    }
    bytes
}

fn redb_single_gets(peer: &Database) -> u64 {
    let mut bytes = 0;
    for number in shuffled() {
        let rows = peer.begin_read().unwrap().open_table(ROWS).unwrap();
        bytes += rows.get(&key(number)[..]).unwrap().unwrap().value().to_vec().len() as u64;
    }
    bytes
}

fn redb_gets(peer: &Database) -> u64 {
    let rows = peer.begin_read().unwrap().open_table(ROWS).unwrap();
    shuffled().map(|number| rows.get(&key(number)[..]).unwrap().unwrap().value().to_vec().len() as u64).sum()
}

/// Copies keys and values, as rows that outlive the page have to be.
fn redb_scan(peer: &Database) -> u64 {
    let rows = peer.begin_read().unwrap().open_table(ROWS).unwrap();
    let mut bytes = 0;
    for row in rows.range::<&[u8]>(..).unwrap() {
        let (key, value) = row.unwrap();
        let row = (key.value().to_vec(), value.value().to_vec());
        bytes += std::hint::black_box(row).1.len() as u64;
    }
    bytes
}
