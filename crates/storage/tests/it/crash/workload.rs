//! A scripted life of a store: concurrent writers, readers of new and of old versions,
//! checkpoints, recycled segments.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_storage::{
    AtomicOp, CommitError, EmbeddedOptions, KeyRange, OpenError, RangeQuery, ReadError, Store, StoreConfig,
    Transaction,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Violation;
use super::history::{Changes, History, ORDER, Rows};

pub(crate) const DIR: &str = "data";

/// The largest value that the contract allows.
const VALUE_BYTES_MAX: u64 = 100_000;

pub(crate) type Shared = Arc<Mutex<History>>;

/// Segments of a handful of records, a checkpoint after every other one.
pub(crate) fn config() -> StoreConfig {
    let options = EmbeddedOptions { segment_bytes: 8192, checkpoint_bytes: 4500, cache_bytes: 1 << 20 };
    StoreConfig::Embedded { dir: Path::new(DIR).to_owned(), options }
}

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) writers: u8,
    pub(crate) commits: u32,
    pub(crate) close: bool,
}

/// Opens the store, judges what it holds, then works on it.
pub(crate) async fn live(env: Env, history: Shared, load: Load) -> Result<Judged, OpenError> {
    let store = Store::open(&config(), &env).await?;
    let rows = match all_rows(&mut store.begin()).await {
        Ok(rows) => rows,
        Err(error) => return Ok(Judged(Err(Violation::Refused(format!("{error:?}"))))),
    };
    let judged = history.lock().recovered(&rows);
    if judged.is_err() || load.writers == 0 {
        return Ok(Judged(judged));
    }
    let seen = Arc::new(Mutex::new(Ok(())));
    let mut done: Vec<oneshot::Receiver<()>> = Vec::new();
    for writer in 0..load.writers {
        let (tx, rx) = oneshot::channel();
        done.push(rx);
        let (own, writing, history) = (store.clone(), env.clone(), history.clone());
        env.spawn("writer", async move {
            write(&own, &writing, &history, writer, load.commits).await;
            drop(tx);
        });
    }
    let (own, reading, noted) = (store.clone(), env.clone(), history.clone());
    env.spawn("reader", async move { read_newest(&own, &reading, &noted).await });
    for pause in [Duration::from_micros(50), Duration::from_millis(3)] {
        let (own, reading, noted, judged) = (store.clone(), env.clone(), history.clone(), seen.clone());
        env.spawn("reader of all", async move {
            while let Some(judgement) = read_slowly(&own, &reading, &noted, pause).await {
                if judgement.is_err() {
                    *judged.lock() = judgement;
                    return;
                }
            }
        });
    }
    for rx in done {
        drop(rx.await);
    }
    history.lock().stats = store.stats();
    if load.close {
        // A failed fsync of the test makes it fail, rightly.
        drop(store.close().await);
    }
    let seen = seen.lock().clone();
    Ok(Judged(seen))
}

/// What a check of the rows said.
pub(crate) struct Judged(pub(crate) Result<(), Violation>);

pub(crate) async fn all_rows(tx: &mut Transaction) -> Result<Rows, ReadError> {
    let mut rows = Rows::new();
    let mut next = Some(RangeQuery::new(Bytes::new(), vec![0xff]));
    while let Some(query) = next {
        let page = tx.get_range(query).await?;
        rows.extend(page.rows);
        next = page.more;
    }
    Ok(rows)
}

async fn write(store: &Store, env: &Env, history: &Shared, writer: u8, commits: u32) {
    for _ in 0..commits {
        // Conflicts over what is shared are tried again; a full disk is waited for, a failed
        // fsync ends the writer.
        for _ in 0..3 {
            match commit_once(store, env, history, writer).await {
                Ok(()) => break,
                Err(CommitError::Conflict) => {}
                Err(CommitError::Unavailable(kelpie_storage::Outage::DiskFull)) => {
                    env.sleep(Duration::from_millis(60)).await;
                }
                Err(_) => return,
            }
        }
        // Bursts, and rests long enough for the checkpoints, which rest in between as well.
        let rest_us_max = match env.random_u64() % 8 {
            0 => 1_200_000,
            1..4 => 3000,
            _ => continue,
        };
        env.sleep(Duration::from_micros(env.random_u64() % rest_us_max)).await;
    }
}

async fn commit_once(store: &Store, env: &Env, history: &Shared, writer: u8) -> Result<(), CommitError> {
    let mut tx = store.begin();
    let changes = changes(&mut tx, env.random_u64(), writer).await?;
    for range in &changes.clears {
        tx.clear_range(range.begin.clone(), range.end.clone());
    }
    for (key, value) in &changes.puts {
        match value {
            Some(value) => tx.set(key.clone(), value.clone()),
            None => tx.clear(key.clone()),
        }
    }
    for (key, added) in &changes.sums {
        tx.atomic(AtomicOp::Add, key.clone(), added.to_le_bytes().to_vec());
    }
    let attempt = history.lock().begin(changes);
    tx.set_versionstamped_key(
        [ORDER, &[0; 10]].concat(),
        ORDER.len(),
        (attempt as u64).to_be_bytes().to_vec(),
    );
    let outcome = tx.commit().await;
    history.lock().end(attempt, &outcome.clone().map(|committed| committed.version.expect("numbered")));
    outcome.map(drop)
}

/// Half of them read first and may conflict; the others are blind.
async fn changes(tx: &mut Transaction, drawn: u64, writer: u8) -> Result<Changes, ReadError> {
    let mut changes = Changes::default();
    let key = |kind: u8, number: u64| Bytes::from(vec![kind, writer, number.to_le_bytes()[0]]);
    let bits = |from: u32, below: u64| (drawn >> from) % below;
    if drawn.is_multiple_of(2) {
        let mine = Bytes::from(vec![b'c', b'/', writer]);
        let count = counter(tx, &mine).await?;
        changes.puts.push((mine, Some(Bytes::copy_from_slice(&(count + 1).to_be_bytes()))));
        if bits(1, 3) == 0 {
            let shared = Bytes::from_static(b"shared");
            let total = counter(tx, &shared).await?;
            changes.puts.push((shared, Some(Bytes::copy_from_slice(&(total + 1).to_be_bytes()))));
        }
    }
    if bits(3, 5) == 0 {
        changes.clears.push(KeyRange { begin: key(b'r', 0), end: key(b'r', 1 + bits(6, 5)) });
    }
    let len = match bits(9, 64) {
        0 => VALUE_BYTES_MAX - bits(15, 2),
        1..=3 => bits(15, 9000),
        4..=8 => 0,
        _ => bits(15, 900),
    };
    // The large ones share a key, so that the base stays small.
    let place = if len > 900 { key(b'l', 0) } else { key(b'r', bits(28, 6)) };
    let value = Bytes::from(vec![drawn.to_le_bytes()[5]; usize::try_from(len).unwrap()]);
    changes.puts.push((place, Some(value)));
    if bits(31, 4) == 0 {
        changes.puts.push((key(b'x', bits(33, 4)), bits(35, 2).eq(&0).then(|| Bytes::from_static(b"there"))));
    }
    if bits(37, 3) == 0 {
        changes.sums.push((Bytes::from_static(b"sum"), 1 + bits(39, 1000)));
        changes.sums.push((key(b's', bits(49, 2)), drawn));
    }
    Ok(changes)
}

async fn counter(tx: &mut Transaction, key: &[u8]) -> Result<u32, ReadError> {
    let value = tx.get(key).await?;
    Ok(value.map_or(0, |value| u32::from_be_bytes(value[..].try_into().unwrap())))
}

/// Notes what is visible, so that it must stay.
async fn read_newest(store: &Store, env: &Env, history: &Shared) {
    loop {
        let mut tx = store.begin();
        let Ok(page) = tx.get_range(RangeQuery::prefix(ORDER).limit(2).reversed()).await else { return };
        page.rows.iter().for_each(|(_, attempt)| history.lock().saw(attempt));
        env.sleep(Duration::from_millis(12)).await;
    }
}

/// Reads everything at one version, in two parts, and judges it; `None` when the store does
/// not serve any more.
async fn read_slowly(
    store: &Store,
    env: &Env,
    history: &Shared,
    pause: Duration,
) -> Option<Result<(), Violation>> {
    let promised = history.lock().promised();
    let mut tx = store.begin();
    let first = tx.get_range(RangeQuery::new(Bytes::new(), vec![b's']).limit(3)).await;
    env.sleep(pause).await;
    let rows = all_rows(&mut tx).await;
    // A checkpoint waits for whoever reads.
    drop(tx);
    env.sleep(Duration::from_millis(40) + 2 * pause).await;
    match (first, rows) {
        (Ok(_), Ok(rows)) => Some(history.lock().visible(&rows, &promised)),
        (Err(ReadError::TooOld), _) | (_, Err(ReadError::TooOld)) => Some(Ok(())),
        _ => None,
    }
}
