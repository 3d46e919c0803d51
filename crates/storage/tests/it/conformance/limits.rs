//! Limits: a typed error before anything is sent.

use bytes::Bytes;
use kelpie_storage::limits::{TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};
use kelpie_storage::{AtomicOp, CommitError, LimitError, RangeQuery, ReadError, Store, Transaction};

use super::shorthand::{Commit, pages, put, rows, value};
use super::world::World;

/// Commits `write` beside a row that would be fine alone.
async fn end(store: &Store, write: impl FnOnce(&mut Transaction)) -> Commit {
    let mut tx = store.begin();
    tx.get(b"x/seen").await.unwrap();
    tx.set("x/beside", "1");
    write(&mut tx);
    tx.clear("x/after");
    tx.commit().await
}

fn key(bytes: usize) -> Vec<u8> {
    vec![b'k'; bytes]
}

pub(crate) async fn what_is_too_large_is_refused_before_anything_is_sent(world: &World) {
    let store = world.open().await;
    put(&store, "x/after", "stays").await.unwrap();
    let before = store.stats();
    rows_are_refused(&store).await;
    reads_are_refused(&store).await;
    let ended = end(&store, |tx| {
        (0..101u8).for_each(|row| tx.set(vec![b'x', b'/', row], vec![row; VALUE_BYTES_MAX]));
    });
    let ended = ended.await;
    assert!(matches!(ended, Err(CommitError::Limit(LimitError::Transaction { .. }))), "{ended:?}");
    let ended = end(&store, |tx| tx.set_versionstamped_key(key(20), 11, "1")).await;
    assert!(matches!(ended, Err(CommitError::Limit(LimitError::Versionstamp { .. }))), "{ended:?}");
    assert_eq!((store.stats().commits, store.stats().version), (before.commits, before.version));
    assert_eq!(rows(&store, "x/").await, [("x/after".into(), "stays".into())]);
}

async fn rows_are_refused(store: &Store) {
    type WriteKey = fn(&mut Transaction, Vec<u8>);
    let keys: [WriteKey; 4] = [
        |tx, key| tx.set(key, "1"),
        |tx, key| tx.clear(key),
        |tx, key| tx.atomic(AtomicOp::Add, key, "1"),
        |tx, key| tx.set_versionstamped_key(key, 0, "1"),
    ];
    for write in keys {
        let ended = end(store, |tx| write(tx, key(store.key_bytes_max() + 1))).await;
        assert!(matches!(ended, Err(CommitError::Limit(LimitError::Key { .. }))), "{ended:?}");
    }
    type Write = fn(&mut Transaction);
    let values: [Write; 3] = [
        |tx| tx.set("x/large", vec![1; VALUE_BYTES_MAX + 1]),
        |tx| tx.atomic(AtomicOp::Or, "x/large", vec![1; VALUE_BYTES_MAX + 1]),
        |tx| tx.set_versionstamped_key(key(20), 0, vec![1; VALUE_BYTES_MAX + 1]),
    ];
    for write in values {
        let ended = end(store, write).await;
        assert!(matches!(ended, Err(CommitError::Limit(LimitError::Value { .. }))), "{ended:?}");
    }
}

async fn reads_are_refused(store: &Store) {
    let long = key(store.key_bytes_max() + 1);
    let read = store.begin().get(&long).await;
    assert!(matches!(read, Err(ReadError::Limit(LimitError::Key { .. }))), "{read:?}");
    let read = store.begin().get_many(&["a".into(), long.clone().into()]).await;
    assert!(matches!(read, Err(ReadError::Limit(LimitError::Key { .. }))), "{read:?}");
    let watch = store.watch(long).await.map(drop);
    assert!(matches!(watch, Err(ReadError::Limit(LimitError::Key { .. }))), "{watch:?}");
}

pub(crate) async fn what_is_just_small_enough_is_kept(world: &World) {
    let store = world.open().await;
    // Not bytes that a backend could press together.
    let noise = |seed: u64, bytes: usize| -> Vec<u8> {
        let mut state = seed + 1;
        let step = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(step).take(bytes).collect()
    };
    let rows: Vec<(Bytes, Bytes)> = (0..3)
        .map(|n| (noise(n, store.key_bytes_max()).into(), noise(n + 9, VALUE_BYTES_MAX).into()))
        .chain([(Bytes::new(), "the empty key".into()), ("empty value".into(), Bytes::new())])
        .chain([(vec![0, 255, 0].into(), vec![0, 255, 0, 39, 92].into())])
        .collect();
    let mut tx = store.begin();
    rows.iter().for_each(|(key, value)| tx.set(key.clone(), value.clone()));
    tx.commit().await.unwrap();
    let store = world.reopen(store).await;
    for (key, expected) in &rows {
        assert!(value(&store, key).await.as_ref() == Some(expected), "a key of {} bytes", key.len());
    }
    let all = RangeQuery::new(Bytes::new(), kelpie_storage::keys::end_of_keys());
    let mut sorted = rows.clone();
    sorted.sort();
    assert!(pages(&mut store.begin(), all).await == sorted, "not in byte order");
    // A whole transaction of nearly the limit.
    let mut tx = store.begin();
    let each = VALUE_BYTES_MAX + 100;
    let count = TRANSACTION_BYTES_MAX / each;
    for row in 0..count {
        tx.set(format!("whole/{row:03}"), noise(row as u64, VALUE_BYTES_MAX));
    }
    tx.commit().await.unwrap();
    let last = value(&store, format!("whole/{:03}", count - 1).as_bytes()).await;
    assert!(last.is_some_and(|last| last == noise(count as u64 - 1, VALUE_BYTES_MAX)));
}
