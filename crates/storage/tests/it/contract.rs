//! What every backend must give, told once and asked of each of them.
//!
//! ```text
//!   check(store, env) ──▶ memory:      folds early
//!                     └─▶ embedded:    a simulated disk, small segments, early checkpoints
//! ```
//!
//! A backend that is added joins [`configs`] and is asked the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use kelpie_env::Env;
use kelpie_env::sim::Sim;
use kelpie_storage::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use kelpie_storage::{
    AtomicOp, CommitError, Committed, EmbeddedOptions, KeyRange, LimitError, RangeQuery, ReadError, Store,
    StoreConfig, Transaction,
};

type Rows = Vec<(Bytes, Bytes)>;
type Commit = Result<Committed, CommitError>;

fn configs() -> [StoreConfig; 2] {
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
    [StoreConfig::Memory, StoreConfig::Embedded { dir: Path::new("data").to_owned(), options }]
}

/// A few orders of events for each of the stores.
fn on_every_store(check: impl AsyncFn(Store, Env, StoreConfig)) {
    for config in configs() {
        for seed in 0..4 {
            let sim = Sim::new(seed);
            let env = sim.node("store").env();
            sim.block_on(async {
                let store = Store::open(&config, &env).await.unwrap();
                check(store, env, config.clone()).await;
            });
        }
    }
}

async fn put(store: &Store, key: &'static [u8], value: &'static [u8]) -> Commit {
    let mut tx = store.begin();
    tx.set(key, value);
    tx.commit().await
}

async fn value(store: &Store, key: &[u8]) -> Option<Bytes> {
    store.begin().get(key).await.unwrap()
}

/// All rows of a query, page by page, each no longer than asked for.
async fn pages(tx: &mut Transaction, query: RangeQuery) -> Rows {
    let (limit, mut rows, mut next) = (query.limit, Rows::new(), Some(query));
    while let Some(query) = next {
        let page = tx.get_range(query).await.unwrap();
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        next = page.more;
    }
    rows
}

#[test]
fn sim_a_transaction_reads_its_own_writes() {
    on_every_store(async |store, _, _| {
        put(&store, b"a", b"old").await.unwrap();
        put(&store, b"b", b"old").await.unwrap();
        let mut tx = store.begin();
        tx.set(&b"a"[..], &b"new"[..]);
        tx.clear(&b"b"[..]);
        tx.set(&b"c"[..], &b"new"[..]);
        assert_eq!(tx.get(b"a").await.unwrap().unwrap(), "new");
        assert_eq!(tx.get(b"b").await.unwrap(), None);
        let rows = pages(&mut tx, RangeQuery::new(&b"a"[..], &b"z"[..])).await;
        assert_eq!(rows, [("a".into(), "new".into()), ("c".into(), "new".into())]);
        assert_eq!(value(&store, b"a").await.unwrap(), "old", "seen before the commit");
        tx.commit().await.unwrap();
        assert_eq!(value(&store, b"a").await.unwrap(), "new");
        assert_eq!(value(&store, b"b").await, None);
    });
}

#[test]
fn sim_ranges_merge_what_is_folded_what_is_recent_and_what_is_unwritten() {
    on_every_store(async |store, env, config| {
        let mut model = BTreeMap::new();
        for n in 0u32..100 {
            let mut tx = store.begin();
            let (key, value) = (Bytes::from(format!("k/{n:03}")), Bytes::from(vec![b'f'; 1000]));
            tx.set(key.clone(), value.clone());
            tx.commit().await.unwrap();
            model.insert(key, value);
        }
        let store = if config == StoreConfig::Memory {
            store
        } else {
            store.close().await.unwrap();
            drop(store);
            Store::open(&config, &env).await.unwrap()
        };
        let mut recent = store.begin();
        change(&mut recent, &mut model, 3, "recent");
        recent.commit().await.unwrap();
        let stats = store.stats();
        assert!(stats.checkpoint > 0 && stats.memtable_keys > 0, "not on both sides: {stats:?}");
        let mut tx = store.begin();
        change(&mut tx, &mut model, 4, "unwritten");
        let all: Rows = model.into_iter().collect();
        let back: Rows = all.iter().rev().cloned().collect();
        for limit in [1, 7, 1000] {
            let query = RangeQuery::prefix(b"k/").limit(limit);
            assert_eq!(pages(&mut tx, query.clone()).await, all, "pages of {limit}");
            assert_eq!(pages(&mut tx, query.reversed()).await, back, "pages of {limit}, in reverse");
        }
    });
}

/// Overwrites, clears and adds keys, every `step`th, in the store and in the model.
fn change(tx: &mut Transaction, model: &mut BTreeMap<Bytes, Bytes>, step: usize, what: &'static str) {
    for n in (0..100).step_by(step) {
        let (key, added) = (Bytes::from(format!("k/{n:03}")), Bytes::from(format!("k/{n:03}{what}")));
        if n % 2 == 0 {
            tx.set(key.clone(), what);
            model.insert(key, what.into());
        } else {
            tx.clear(key.clone());
            model.remove(&key);
        }
        tx.set(added.clone(), what);
        model.insert(added, what.into());
    }
    tx.clear_range(&b"k/040"[..], &b"k/050"[..]);
    model.retain(|key, _| !(&b"k/040"[..]..&b"k/050"[..]).contains(&&key[..]));
}

#[test]
fn sim_write_skew_is_refused() {
    on_every_store(async |store, _, _| {
        let (mut a, mut b) = (store.begin(), store.begin());
        assert_eq!(a.get(b"b").await.unwrap(), None);
        assert_eq!(b.get(b"a").await.unwrap(), None);
        a.set(&b"a"[..], &b"1"[..]);
        b.set(&b"b"[..], &b"1"[..]);
        let ended = join_all([a.commit(), b.commit()]).await;
        let conflicts = ended.iter().filter(|end| matches!(end, Err(CommitError::Conflict))).count();
        let committed = ended.iter().filter(|end| end.is_ok()).count();
        assert_eq!((conflicts, committed), (1, 1), "{ended:?}");
    });
}

#[test]
fn sim_a_lost_update_is_refused() {
    on_every_store(async |store, _, _| {
        let mut tx = store.begin();
        tx.get(b"counter").await.unwrap();
        put(&store, b"counter", b"theirs").await.unwrap();
        tx.set(&b"counter"[..], &b"ours"[..]);
        assert!(matches!(tx.commit().await, Err(CommitError::Conflict)));
        assert_eq!(value(&store, b"counter").await.unwrap(), "theirs");
    });
}

/// How a transaction ends that found a range empty, after another one has put a key there.
async fn with_a_phantom(store: &Store) -> Commit {
    let mut tx = store.begin();
    assert_eq!(pages(&mut tx, RangeQuery::prefix(b"room/")).await, []);
    put(store, b"room/1", b"theirs").await.unwrap();
    tx.set(&b"taken"[..], &b"ours"[..]);
    tx.commit().await
}

#[test]
fn sim_a_phantom_is_refused() {
    on_every_store(async |store, _, _| {
        let ended = with_a_phantom(&store).await;
        assert!(matches!(ended, Err(CommitError::Conflict)), "{ended:?}");
        assert_eq!(value(&store, b"taken").await, None);
    });
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_resolver_skips_range_reads() {
    let _armed = kelpie_core::mutant::arm("resolver_skips_range_reads");
    on_every_store(async |store, _, _| {
        let ended = with_a_phantom(&store).await;
        assert!(ended.is_ok(), "the check for phantoms holds without the check of ranges: {ended:?}");
    });
}

#[test]
fn sim_snapshot_reads_do_not_conflict() {
    on_every_store(async |store, _, _| {
        let mut tx = store.begin();
        assert_eq!(tx.get_snapshot(b"a").await.unwrap(), None);
        assert_eq!(pages(&mut tx, RangeQuery::prefix(b"a").snapshot()).await, []);
        put(&store, b"a", b"theirs").await.unwrap();
        assert_eq!(tx.get_snapshot(b"a").await.unwrap(), None, "not one version");
        tx.set(&b"b"[..], &b"ours"[..]);
        tx.commit().await.unwrap();
    });
}

#[test]
fn sim_explicit_ranges_conflict_as_reads_and_writes_do() {
    on_every_store(async |store, _, _| {
        let mut reads = store.begin();
        reads.fix_version().await.unwrap();
        reads.add_read_conflict(KeyRange::prefix(b"x/"));
        put(&store, b"x/1", b"theirs").await.unwrap();
        reads.set(&b"y"[..], &b"ours"[..]);
        assert!(matches!(reads.commit().await, Err(CommitError::Conflict)));

        let mut tx = store.begin();
        tx.get(b"z/1").await.unwrap();
        let mut writes = store.begin();
        writes.add_write_conflict(KeyRange::prefix(b"z/"));
        writes.commit().await.unwrap();
        tx.set(&b"y"[..], &b"ours"[..]);
        assert!(matches!(tx.commit().await, Err(CommitError::Conflict)));
        assert_eq!(value(&store, b"y").await, None);
    });
}

#[test]
fn sim_additions_never_conflict_and_all_count() {
    on_every_store(async |store, _, _| {
        let adds = (1..=20u64).map(|n| {
            let mut tx = store.begin();
            tx.atomic(AtomicOp::Add, &b"sum"[..], n.to_le_bytes().to_vec());
            tx.commit()
        });
        for ended in join_all(adds).await {
            ended.unwrap();
        }
        let mut tx = store.begin();
        tx.atomic(AtomicOp::Add, &b"sum"[..], 5u64.to_le_bytes().to_vec());
        assert_eq!(tx.get(b"sum").await.unwrap().unwrap(), 215u64.to_le_bytes()[..], "its own is missing");
        assert_eq!(value(&store, b"sum").await.unwrap(), 210u64.to_le_bytes()[..]);
    });
}

#[test]
fn sim_what_is_too_large_is_never_sent() {
    on_every_store(async |store, _, _| {
        let before = store.stats();
        let end = async |key: usize, value: usize, rows: u8| {
            let mut tx = store.begin();
            tx.set(&b"beside"[..], &b"1"[..]);
            for row in 0..rows {
                tx.set(vec![row; key], vec![1; value]);
            }
            tx.commit().await
        };
        let key = end(KEY_BYTES_MAX + 1, 1, 1).await;
        assert!(matches!(key, Err(CommitError::Limit(LimitError::Key { .. }))), "{key:?}");
        let value_end = end(1, VALUE_BYTES_MAX + 1, 1).await;
        assert!(matches!(value_end, Err(CommitError::Limit(LimitError::Value { .. }))), "{value_end:?}");
        let whole = end(1, VALUE_BYTES_MAX, 101).await;
        assert!(matches!(whole, Err(CommitError::Limit(LimitError::Transaction { .. }))), "{whole:?}");
        assert_eq!((store.stats().commits, store.stats().version), (before.commits, before.version));
        assert_eq!(value(&store, b"beside").await, None);
        end(KEY_BYTES_MAX, VALUE_BYTES_MAX, 1).await.unwrap();
    });
}

#[test]
fn sim_a_transaction_of_more_than_five_seconds_is_too_old() {
    on_every_store(async |store, env, _| {
        let (mut reads, mut writes) = (store.begin(), store.begin());
        for tx in [&mut reads, &mut writes] {
            tx.get(b"a").await.unwrap();
        }
        writes.set(&b"b"[..], &b"late"[..]);
        env.sleep(Duration::from_millis(4900)).await;
        reads.get(b"a").await.unwrap();
        env.sleep(Duration::from_millis(200)).await;
        assert!(matches!(reads.get(b"a").await, Err(ReadError::TooOld)));
        assert!(matches!(writes.commit().await, Err(CommitError::TooOld)));
        assert_eq!(value(&store, b"b").await, None);
    });
}

#[test]
fn sim_a_watch_completes_after_a_change() {
    on_every_store(async |store, _, _| {
        let mut watch = store.watch(&b"a"[..]).await.unwrap();
        assert!((&mut watch).now_or_never().is_none(), "nothing has happened");
        put(&store, b"a", b"1").await.unwrap();
        watch.await;
        assert_eq!(value(&store, b"a").await.unwrap(), "1");
    });
}

#[test]
fn sim_versionstamps_grow_in_the_order_of_commits() {
    on_every_store(async |store, _, _| {
        let mut stamped = Vec::new();
        for round in 0..3u8 {
            let commits = (0..8u8).map(|n| {
                let mut tx = store.begin();
                let value = vec![round, n];
                tx.set_versionstamped_key([&b"q/"[..], &[0; 10]].concat(), 2, value.clone());
                async move { (tx.commit().await.unwrap().version.unwrap(), Bytes::from(value)) }
            });
            stamped.extend(join_all(commits).await);
        }
        stamped.sort();
        let rows = pages(&mut store.begin(), RangeQuery::prefix(b"q/")).await;
        let in_order: Vec<_> = stamped.into_iter().map(|(_, value)| value).collect();
        assert_eq!(rows.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), in_order);
    });
}
