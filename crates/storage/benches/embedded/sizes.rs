//! Large stores: how long a long log takes to replay, what ten million keys take of memory,
//! and how long a commit waits while checkpoints run.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kelpie_env::Env;
use kelpie_storage::{CommitError, EmbeddedOptions, OpenError, Outage, Store, StoreConfig};

use crate::commits::{VALUE_BYTES, fill, round};
use crate::table::Table;

const LOG_BYTES: u64 = 1 << 30;
const KEYS: u64 = 10_000_000;
const WRITERS: u64 = 8;
const ROWS: u64 = 100;

/// Rows of one writer, in the order of its keys.
async fn write(env: &Env, store: &Store, writer: u64, from: u64, keys: u64) {
    for first in (from..from + keys).step_by(usize::try_from(ROWS).unwrap()) {
        loop {
            let mut tx = store.begin();
            (first..first + ROWS).for_each(|n| tx.set(format!("w{writer}/{n:012}"), vec![7; VALUE_BYTES]));
            match tx.commit().await {
                Ok(_) => break,
                // More than the memtable takes, until a checkpoint has caught up.
                Err(CommitError::Unavailable(Outage::Overloaded)) => {
                    env.sleep(Duration::from_millis(1)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub(crate) async fn recovery(env: &Env, table: &mut Table) {
    let dir = crate::fresh_dir();
    let options = EmbeddedOptions { checkpoint_bytes: 2 * LOG_BYTES, ..EmbeddedOptions::default() };
    let config = StoreConfig::Embedded { dir: dir.path().join("kelpie"), options };
    let store = Store::open(&config, env).await.unwrap();
    let mut keys = 0;
    while store.stats().unfolded_bytes < LOG_BYTES {
        let store = &store;
        join_all((0..WRITERS).map(|writer| write(env, store, writer, keys % 100_000, 10_000))).await;
        keys += 10_000;
    }
    let before = store.stats();
    drop(store);
    let began = env.now();
    let store = loop {
        match Store::open(&config, env).await {
            Ok(store) => break store,
            // The last task of the one before has not let go yet.
            Err(OpenError::Locked { .. }) => env.sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let took = env.now().saturating_sub(began);
    let after = store.stats();
    assert_eq!(after.version, before.version);
    table.line(&format!(
        "Recovery of a log of {} MiB ({} commits of {ROWS} rows): {:.2} s, {:.0} MiB/s.",
        after.unfolded_bytes >> 20,
        after.unfolded_commits,
        took.as_secs_f64(),
        (after.unfolded_bytes >> 20) as f64 / took.as_secs_f64()
    ));
}

pub(crate) async fn memory(env: &Env, table: &mut Table) {
    let dir = crate::fresh_dir();
    let options = EmbeddedOptions::default();
    let config = StoreConfig::Embedded { dir: dir.path().join("kelpie"), options };
    let store = Arc::new(Store::open(&config, env).await.unwrap());
    let empty = kelpie_machine::resident_bytes(std::process::id());
    let (began, mut most, mut memtable) = (env.now(), 0, 0);
    let each = KEYS / WRITERS / 50;
    for step in 0..50 {
        let store = &store;
        join_all((0..WRITERS).map(|writer| write(env, store, writer, step * each, each))).await;
        most = most.max(kelpie_machine::resident_bytes(std::process::id()));
        memtable = memtable.max(store.stats().memtable_bytes);
    }
    let took = env.now().saturating_sub(began);
    let times = store.stats().commit_times;
    store.close().await.unwrap();
    table.line(&format!(
        "{KEYS} keys of {VALUE_BYTES} B written in {:.0} s by {WRITERS} writers: {} MiB resident before, {} MiB at \
         most; the memtable counted {} MiB at most, the cache of pages and rows is {} MiB. Longest commit {:.0} ms.",
        took.as_secs_f64(),
        empty >> 20,
        most >> 20,
        memtable >> 20,
        options.cache_bytes >> 20,
        times.max.as_secs_f64() * 1e3,
    ));
}

/// Commits with checkpoints beside them, and without.
pub(crate) async fn stalls(env: &Env, table: &mut Table) {
    for (what, checkpoint_bytes) in [("with checkpoints", 64 << 20), ("without", 1 << 40)] {
        let dir = crate::fresh_dir();
        let options = EmbeddedOptions { checkpoint_bytes, ..EmbeddedOptions::default() };
        let config = StoreConfig::Embedded { dir: dir.path().join("kelpie"), options };
        let store = Store::open(&config, env).await.unwrap();
        fill(&store, 64).await;
        let rate = round(env, &store, 64, Duration::from_secs(4)).await.rate;
        let stats = store.stats();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        table.line(&format!(
            "64 clients for 4 s {what} ({} of them, the longest {:.0} ms): {rate:.0} commits/s; the commit that \
             waited longest in each batch p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms; flush p50 {:.2} ms, longest \
             {:.1} ms.",
            stats.checkpoints,
            ms(stats.checkpoint_times.max),
            ms(stats.commit_times.p50),
            ms(stats.commit_times.p99),
            ms(stats.commit_times.max),
            ms(stats.fsync_times.p50),
            ms(stats.fsync_times.max),
        ));
        store.close().await.unwrap();
    }
}
