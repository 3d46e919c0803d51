//! A scripted life of a store: concurrent writers, a reader, checkpoints, recycled segments.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_storage::{
    CommitError, EmbeddedOptions, KeyRange, OpenError, RangeQuery, ReadError, Store, StoreConfig, Transaction,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::history::{Changes, History, ORDER, Rows};

pub(crate) const DIR: &str = "data";

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
    let rows = match all_rows(&store).await {
        Ok(rows) => rows,
        Err(error) => return Ok(Judged(Err(super::Violation::Refused(format!("{error:?}"))))),
    };
    let judged = history.lock().recovered(&rows);
    if judged.is_err() {
        return Ok(Judged(judged));
    }
    let mut done: Vec<oneshot::Receiver<()>> = Vec::new();
    for writer in 0..load.writers {
        let (tx, rx) = oneshot::channel();
        done.push(rx);
        let (own, env, history) = (store.clone(), env.clone(), history.clone());
        store_task(&env.clone(), async move {
            write(&own, &env, &history, writer, load.commits).await;
            drop(tx);
        });
    }
    let (own, reading, noted) = (store.clone(), env.clone(), history.clone());
    store_task(&env, async move { read(&own, &reading, &noted).await });
    for rx in done {
        drop(rx.await);
    }
    history.lock().stats = store.stats();
    if load.close {
        // A failed fsync of the test makes it fail, rightly.
        drop(store.close().await);
    }
    Ok(Judged(Ok(())))
}

/// What a check of the rows said.
pub(crate) struct Judged(pub(crate) Result<(), super::Violation>);

fn store_task(env: &Env, task: impl Future<Output = ()> + Send + 'static) {
    env.spawn("workload", task);
}

pub(crate) async fn all_rows(store: &Store) -> Result<Rows, ReadError> {
    let mut tx = store.begin();
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
        // A conflict over the shared counter is tried again once, a failure ends the writer.
        for _ in 0..3 {
            match commit_once(store, env, history, writer).await {
                Ok(()) => break,
                Err(CommitError::Conflict) => {}
                Err(_) => return,
            }
        }
        if env.random_u64().is_multiple_of(3) {
            env.sleep(Duration::from_micros(env.random_u64() % 3000)).await;
        }
    }
}

async fn commit_once(store: &Store, env: &Env, history: &Shared, writer: u8) -> Result<(), CommitError> {
    let mut tx = store.begin();
    let mine = Bytes::from(vec![b'c', b'/', writer]);
    let count = counter(&mut tx, &mine).await?;
    let mut changes = Changes::default();
    if count % 5 == 4 {
        let range = KeyRange::new(vec![b'r', writer, 0], vec![b'r', writer, 2]);
        tx.clear_range(range.begin.clone(), range.end.clone());
        changes.clears.push(range);
    }
    let fill = env.random_u64();
    let len = usize::try_from(fill % 900).unwrap();
    let mut puts = vec![
        (mine, Some(Bytes::copy_from_slice(&(count + 1).to_be_bytes()))),
        (Bytes::from(vec![b'r', writer, (count % 4) as u8]), Some(vec![fill.to_le_bytes()[2]; len].into())),
    ];
    if count % 3 == 2 {
        let shared = Bytes::from_static(b"shared");
        let total = counter(&mut tx, &shared).await?;
        puts.push((shared, Some(Bytes::copy_from_slice(&(total + 1).to_be_bytes()))));
        puts.push((Bytes::from(vec![b'r', writer, 3]), None));
        puts.dedup_by(|later, earlier| later.0 == earlier.0);
    }
    for (key, value) in &puts {
        match value {
            Some(value) => tx.set(key.clone(), value.clone()),
            None => tx.clear(key.clone()),
        }
    }
    changes.puts = puts;
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

async fn counter(tx: &mut Transaction, key: &[u8]) -> Result<u32, ReadError> {
    let value = tx.get(key).await?;
    Ok(value.map_or(0, |value| u32::from_be_bytes(value[..].try_into().unwrap())))
}

/// Notes what is visible, so that it must stay.
async fn read(store: &Store, env: &Env, history: &Shared) {
    loop {
        let mut tx = store.begin();
        let Ok(page) = tx.get_range(RangeQuery::prefix(ORDER).limit(2).reversed()).await else { return };
        page.rows.iter().for_each(|(_, attempt)| history.lock().saw(attempt));
        env.sleep(Duration::from_micros(500)).await;
    }
}
