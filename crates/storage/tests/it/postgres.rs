//! The PostgreSQL backend against a real server, which `cargo xtask test` starts.
#![expect(clippy::disallowed_methods, reason = "a real server is watched with a real clock and real tasks")]

mod faults;
mod runs;
pub(crate) mod server;
mod tls;
mod watches;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use kelpie_env::real;
use kelpie_storage::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use kelpie_storage::{
    AtomicOp, CommitError, KeyRange, OpenError, Outage, RangeQuery, ReadError, Store, Transaction,
};
use server::{fresh, open, superuser};

async fn put(store: &Store, key: &'static [u8], value: &'static [u8]) {
    let mut tx = store.begin();
    tx.set(key, value);
    tx.commit().await.unwrap();
}

async fn value(store: &Store, key: &[u8]) -> Option<Bytes> {
    store.begin().get(key).await.unwrap()
}

async fn rows(tx: &mut Transaction, query: RangeQuery) -> Vec<(Bytes, Bytes)> {
    let (mut rows, mut next) = (Vec::new(), Some(query));
    while let Some(query) = next {
        let page = tx.get_range(query).await.unwrap();
        rows.extend(page.rows);
        next = page.more;
    }
    rows
}

/// Two rows under the prefixes `a/` and `b/`, more than one index page apart.
async fn apart(store: &Store) {
    for n in 0..40u32 {
        let mut tx = store.begin();
        for m in 0..50u32 {
            tx.set(format!("m/{n:04}/{m:04}/{:0100}", 0), "filler");
        }
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_create_the_tables_once() {
    let url = fresh();
    let stores = join_all((0..6).map(|_| open(&url))).await;
    put(&stores[0], b"a", b"1").await;
    for store in &stores {
        assert_eq!(value(store, b"a").await.unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_version_are_refused() {
    let url = fresh();
    open(&url).await.close().await.unwrap();
    superuser(&format!("UPDATE {}.kelpie_schema SET version = 77", url.schema)).await;
    let refused = Store::open(&url.text.parse().unwrap(), &real::env()).await.unwrap_err();
    assert!(matches!(refused, OpenError::UnknownSchema { found: 77, .. }), "{refused}");
    assert!(refused.to_string().contains("?schema="), "{refused}");
}

/// Keys that are empty, short, long, and long with a common beginning of any length.
fn keys() -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = vec![Bytes::new(), "a".into(), "a\0".into(), "b".into(), vec![255; 3].into()];
    for length in [1_999, 2_000, 2_001, 2_002, 5_000, KEY_BYTES_MAX] {
        for end in [0u8, 1, 200] {
            let mut key = vec![b'k'; length];
            key[length - 1] = end;
            keys.push(key.into());
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_any_length_stay_in_byte_order() {
    let store = open(&fresh()).await;
    let mut model = BTreeMap::new();
    for key in keys() {
        let mut tx = store.begin();
        let value = Bytes::from(format!("{} bytes", key.len()));
        tx.set(key.clone(), value.clone());
        tx.commit().await.unwrap();
        model.insert(key, value);
    }
    let end = || vec![255; 4];
    for limit in [1, 4, 100] {
        for bounds in
            [(Bytes::new(), Bytes::from(end())), (vec![b'k'; 2_000].into(), vec![b'k'; 4_999].into())]
        {
            let expected: Vec<_> = model
                .range(bounds.0.clone()..bounds.1.clone())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let query = RangeQuery::new(bounds.0, bounds.1).limit(limit);
            assert!(rows(&mut store.begin(), query.clone()).await == expected, "pages of {limit}");
            let mut back = rows(&mut store.begin(), query.reversed()).await;
            back.reverse();
            assert!(back == expected, "pages of {limit}, in reverse");
        }
    }
    let all = keys();
    let found = store.begin().get_many(&all).await.unwrap();
    assert!(all.iter().zip(&found).all(|(key, value)| model.get(key) == value.as_ref()));
    let mut tx = store.begin();
    tx.clear_range(vec![b'k'; 1_999], vec![b'k'; 2_001]);
    tx.clear(all[all.len() - 1].clone());
    tx.set(all[all.len() - 2].clone(), vec![7; VALUE_BYTES_MAX]);
    tx.commit().await.unwrap();
    model.retain(|key, _| !(&vec![b'k'; 1_999][..]..&vec![b'k'; 2_001][..]).contains(&&key[..]));
    model.remove(&all[all.len() - 1]);
    model.insert(all[all.len() - 2].clone(), vec![7; VALUE_BYTES_MAX].into());
    let expected: Vec<_> = model.into_iter().collect();
    assert!(rows(&mut store.begin(), RangeQuery::new(Bytes::new(), end())).await == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_large_values_end_early() {
    let store = open(&fresh()).await;
    for n in 0..300u32 {
        let mut tx = store.begin();
        tx.set(format!("v/{n:04}"), vec![1; if n < 200 { 20 } else { 50_000 }]);
        tx.commit().await.unwrap();
    }
    assert_eq!(rows(&mut store.begin(), RangeQuery::prefix(b"v/")).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_figures_tell_commits_their_times_and_conflicts() {
    let store = open(&fresh()).await;
    put(&store, b"a", b"1").await;
    let (mut first, mut second) = (store.begin(), store.begin());
    for tx in [&mut first, &mut second] {
        assert_eq!(tx.get(b"a").await.unwrap().as_deref(), Some(&b"1"[..]));
        tx.set(&b"a"[..], &b"2"[..]);
    }
    first.commit().await.unwrap();
    assert!(matches!(second.commit().await, Err(CommitError::Conflict)));
    let stats = store.stats();
    assert_eq!((stats.commits, stats.commit_times.count, stats.conflicts.by_server), (2, 2, 1), "{stats:?}");
    let times = stats.commit_times;
    assert!(times.max >= times.p50 && times.p50 > Duration::ZERO, "{times:?}");
}

/// Two transactions that each read what the other one writes.
async fn crossed(store: &Store, look: impl AsyncFn(&mut Transaction, &'static [u8])) -> usize {
    let (mut a, mut b) = (store.begin(), store.begin());
    look(&mut a, b"b/").await;
    look(&mut b, b"a/").await;
    a.set(&b"a/1"[..], &b"1"[..]);
    b.set(&b"b/1"[..], &b"1"[..]);
    let mut committed = 0;
    for ended in join_all([a.commit(), b.commit()]).await {
        match ended {
            Ok(_) => committed += 1,
            Err(CommitError::Conflict) => {}
            Err(other) => panic!("{other}"),
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_read_what_the_other_writes_never_both_commit() {
    let store = open(&fresh()).await;
    apart(&store).await;
    let point =
        crossed(&store, async |tx, prefix| assert_eq!(tx.get(&[prefix, b"1"].concat()).await.unwrap(), None));
    assert!(point.await <= 1, "write skew");
    let store = open(&fresh()).await;
    apart(&store).await;
    let range =
        crossed(&store, async |tx, prefix| assert_eq!(rows(tx, RangeQuery::prefix(prefix)).await, []));
    assert!(range.await <= 1, "phantoms");
    let store = open(&fresh()).await;
    apart(&store).await;
    let explicit = crossed(&store, async |tx, prefix| {
        tx.get(b"unrelated").await.unwrap();
        tx.add_read_conflict(KeyRange::prefix(prefix));
    });
    assert!(explicit.await <= 1, "explicit ranges");
}

#[cfg(feature = "mutants")]
#[tokio::test]
async fn mutant_snapshot_isolation_lets_both_commit() {
    let _armed = kelpie_core::mutant::arm("postgres_snapshot_isolation");
    let store = open(&fresh()).await;
    apart(&store).await;
    let both =
        crossed(&store, async |tx, prefix| assert_eq!(tx.get(&[prefix, b"1"].concat()).await.unwrap(), None));
    assert_eq!(both.await, 2, "the check for write skew holds without serializable transactions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_update_is_refused() {
    let store = open(&fresh()).await;
    put(&store, b"counter", b"0").await;
    let mut tx = store.begin();
    tx.get(b"counter").await.unwrap();
    put(&store, b"counter", b"theirs").await;
    tx.set(&b"counter"[..], &b"ours"[..]);
    assert!(matches!(tx.commit().await, Err(CommitError::Conflict)));
    assert_eq!(value(&store, b"counter").await.unwrap(), "theirs");
}

/// A reader sees that the batch is closed and not the receipt that a slower writer is about
/// to add to it: then the writer may not commit, also when the reader was only dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dropped_reader_saw_stays_true() {
    let store = open(&fresh()).await;
    apart(&store).await;
    put(&store, b"a/batch", b"1").await;
    let mut receipt = store.begin();
    assert_eq!(receipt.get(b"a/batch").await.unwrap().unwrap(), "1");
    put(&store, b"a/batch", b"2").await;
    let mut report = store.begin();
    assert_eq!(report.get(b"a/batch").await.unwrap().unwrap(), "2");
    assert_eq!(report.get(b"z/receipt").await.unwrap(), None);
    drop(report);
    receipt.set(&b"z/receipt"[..], &b"in batch 1"[..]);
    let ended = receipt.commit().await;
    assert!(matches!(ended, Err(CommitError::Conflict)), "the report was wrong: {ended:?}");
}

/// A range that counts as written makes a cycle of what would else be no conflict at all.
async fn with_a_written_range(store: &Store, key: &[u8], range: KeyRange) -> usize {
    let (mut reader, mut writer) = (store.begin(), store.begin());
    reader.get(key).await.unwrap();
    writer.get(b"q/other").await.unwrap();
    writer.add_write_conflict(range);
    let written = writer.commit().await;
    reader.set(&b"q/other"[..], &b"1"[..]);
    [written, reader.commit().await].iter().filter(|ended| ended.is_ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_counts_as_written_conflicts_where_no_row_is() {
    for (key, begin, end) in [
        ("m/0007/0003", "m/0007", "m/0008"), // in a gap between rows
        ("a/5", "a/", "a0"),                 // before all rows
        ("z/5", "z/", "z0"),                 // behind all rows
        ("z/", "z/", "z0"),                  // the very first key
        ("n", "m/0038", "n0"),               // behind the last row of the range
    ] {
        let store = open(&fresh()).await;
        apart(&store).await;
        put(&store, b"q/other", b"0").await;
        let before = rows(&mut store.begin(), RangeQuery::new(Bytes::new(), vec![255])).await;
        assert_eq!(with_a_written_range(&store, b"q/other", KeyRange::prefix(b"y")).await.min(1), 1);
        let both = with_a_written_range(&store, key.as_bytes(), KeyRange::new(begin, end)).await;
        assert!(both <= 1, "no conflict at {key}");
        let mut after = rows(&mut store.begin(), RangeQuery::new(Bytes::new(), vec![255])).await;
        after.iter_mut().filter(|(key, _)| key == "q/other").for_each(|row| row.1 = "0".into());
        assert!(before == after, "a range that counts as written was changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn additions_never_conflict_and_all_count() {
    let store = open(&fresh()).await;
    let adds = (1..=40u64).map(|n| {
        let mut tx = store.begin();
        tx.atomic(AtomicOp::Add, &b"sum"[..], n.to_le_bytes().to_vec());
        tx.atomic(AtomicOp::Max, &b"max"[..], n.to_le_bytes().to_vec());
        tokio::spawn(tx.commit())
    });
    for ended in join_all(adds).await {
        ended.unwrap().unwrap();
    }
    assert_eq!(value(&store, b"sum").await.unwrap(), 820u64.to_le_bytes()[..]);
    assert_eq!(value(&store, b"max").await.unwrap(), 40u64.to_le_bytes()[..]);
}

fn stamped(store: &Store, value: String) -> Transaction {
    let mut tx = store.begin();
    tx.set_versionstamped_key([&b"feed/"[..], &[0; 10]].concat(), 5, value);
    tx
}

/// Holds a commit between its version and its end, by a lock on a row that it also writes,
/// and says whether a later commit became visible meanwhile: who followed the versions would
/// have passed the first one by.
async fn a_later_version_passes_an_earlier_one() -> bool {
    let url = fresh();
    let store = open(&url).await;
    put(&store, b"held", b"0").await;
    let holder = server::client(&server::server_url()).await;
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT 1 FROM {}.kelpie_rows WHERE key = 'held' FOR UPDATE",
            url.schema
        ))
        .await
        .unwrap();
    let mut tx = stamped(&store, "first".into());
    tx.set(&b"held"[..], &b"1"[..]);
    let first = tokio::spawn(tx.commit());
    let waits = |what: &str| {
        format!(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted \
             AND l.locktype = '{what}' AND a.query LIKE '%kelpie_%' AND a.pid <> pg_backend_pid() \
             AND EXISTS (SELECT 1 FROM pg_locks o JOIN pg_class c ON c.oid = o.relation JOIN pg_namespace n \
                ON n.oid = c.relnamespace WHERE o.pid = l.pid AND n.nspname = '{}')",
            url.schema
        )
    };
    server::until(&waits("transactionid"), 1).await;
    let second = stamped(&store, "second".into()).commit();
    let passed = tokio::time::timeout(Duration::from_millis(500), tokio::spawn(second)).await;
    let seen = rows(&mut store.begin(), RangeQuery::prefix(b"feed/").snapshot()).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    first.await.unwrap().unwrap();
    if passed.is_ok() {
        assert_eq!(seen.len(), 1, "the second one is committed");
    }
    let feed = async || rows(&mut store.begin(), RangeQuery::prefix(b"feed/")).await;
    for _ in 0..100 {
        if feed().await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let order: Vec<Bytes> = feed().await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(order, ["first", "second"], "versions are drawn in the order of asking");
    passed.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_in_the_order_in_which_commits_become_visible() {
    assert!(!a_later_version_passes_an_earlier_one().await);
    let store = open(&fresh()).await;
    let (one, two) = (stamped(&store, "1".into()).commit().await, stamped(&store, "2".into()).commit().await);
    assert!(one.unwrap().version.unwrap() < two.unwrap().version.unwrap());
    let mut tx = store.begin();
    tx.set(&b"a"[..], &b"1"[..]);
    assert_eq!(tx.commit().await.unwrap().version, None, "numbers cost a lock: only stamps have one");
}

#[cfg(feature = "mutants")]
#[tokio::test]
async fn mutant_a_version_drawn_without_its_lock_is_passed_by() {
    let _armed = kelpie_core::mutant::arm("postgres_version_without_lock");
    assert!(a_later_version_passes_an_earlier_one().await, "the order holds without the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_see_changes_of_this_and_of_other_processes() {
    let url = fresh();
    let (here, there) = (open(&url).await, open(&url).await);
    put(&here, b"w", b"1").await;
    for (store, value) in [(&here, "2"), (&there, "3"), (&there, "3")] {
        let mut watch = here.watch(&b"w"[..]).await.unwrap();
        tokio::time::timeout(Duration::from_millis(350), &mut watch).await.unwrap_err();
        let mut tx = store.begin();
        tx.set(&b"w"[..], value);
        tx.commit().await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), watch).await.expect("nobody woke the waiter");
    }
    let watch = here.watch(&b"w"[..]).await.unwrap();
    let mut tx = there.begin();
    tx.clear_range(&b"w"[..], &b"x"[..]);
    tx.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), watch).await.expect("a cleared key wakes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_refuses_clearly_and_recovers() {
    let url = fresh().with("pool_size=2&pool_wait_ms=100");
    let store = open(&url).await;
    let (mut a, mut b) = (store.begin(), store.begin());
    a.get(b"x").await.unwrap();
    b.get(b"x").await.unwrap();
    let refused = store.begin().get(b"x").await.unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable(Outage::Overloaded)), "{refused:?}");
    let mut tx = store.begin();
    tx.set(&b"y"[..], &b"1"[..]);
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(Outage::Overloaded)), "{refused:?}");
    drop(a);
    assert_eq!(value(&store, b"y").await, None);
    drop(b);
}

/// Commits and reads that are dropped at any moment: connections are never mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_leave_no_transaction_open() {
    let url = fresh().with("pool_size=3");
    let store = open(&url).await;
    for n in 0..200u64 {
        let mut tx = store.begin();
        let limit = Duration::from_micros(n * 20);
        let work = async {
            tx.get(format!("k/{n}").as_bytes()).await.unwrap();
            tx.get_range(RangeQuery::prefix(b"k/")).await.unwrap();
            tx.set(format!("k/{n}"), "1");
            tx.atomic(AtomicOp::Add, "sum", 1u64.to_le_bytes().to_vec());
            tx.commit().await
        };
        drop(tokio::time::timeout(limit, work).await);
    }
    // A commit that nobody polls was not asked for, and leaves its connection in order.
    for _ in 0..6 {
        let mut tx = store.begin();
        tx.get(b"sum").await.unwrap();
        tx.set("unasked", "1");
        drop(tx.commit());
    }
    put(&store, b"seen", b"1").await;
    assert_eq!(value(&store, b"seen").await.unwrap(), "1", "read in a transaction that had begun before");
    // Every commit that was asked for is in by now or comes to its end; both rows or none.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut tx = store.begin();
    let sum = tx.get(b"sum").await.unwrap().map_or(0, |sum| u64::from_le_bytes(sum[..].try_into().unwrap()));
    assert_eq!(rows(&mut tx, RangeQuery::prefix(b"k/")).await.len() as u64, sum);
    let held = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{}' AND l.mode = 'RowExclusiveLock'",
        url.schema
    );
    assert_eq!(server::count(&held).await, 0, "a transaction holds locks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_refuses() {
    let store = open(&fresh()).await;
    put(&store, b"a", b"1").await;
    store.close().await.unwrap();
    let refused = store.begin().get(b"a").await.unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable(Outage::Closed)), "{refused:?}");
    let mut tx = store.begin();
    tx.set(&b"a"[..], &b"2"[..]);
    assert!(matches!(tx.commit().await, Err(CommitError::Unavailable(Outage::Closed))));
    let refused = store.watch(&b"a"[..]).await.map(drop).unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable(Outage::Closed)), "{refused:?}");
}
