//! How long a transaction may take, and what it sees meanwhile.

use std::time::Duration;

use bytes::Bytes;
use kelpie_storage::{CommitError, RangeQuery, ReadError};

use super::shorthand::{pages, put, value};
use super::world::World;

pub(crate) async fn a_transaction_of_more_than_five_seconds_is_too_old(world: &World) {
    let store = world.open().await;
    let (mut reads, mut writes) = (store.begin(), store.begin());
    for tx in [&mut reads, &mut writes] {
        tx.get(b"a").await.unwrap();
    }
    writes.set("b", "late");
    world.env.sleep(Duration::from_millis(4500)).await;
    reads.get(b"a").await.unwrap();
    world.env.sleep(Duration::from_millis(600)).await;
    assert!(matches!(reads.get(b"a").await, Err(ReadError::TooOld)));
    let ranged = reads.get_range(RangeQuery::prefix(b"a")).await;
    assert!(matches!(ranged, Err(ReadError::TooOld)), "{ranged:?}");
    assert!(matches!(writes.commit().await, Err(CommitError::TooOld)));
    assert_eq!(value(&store, b"b").await, None);
    // A transaction that has read nothing has no age.
    let mut blind = store.begin();
    blind.set("b", "blind");
    blind.commit().await.unwrap();
}

pub(crate) async fn an_old_snapshot_stays_as_it_was(world: &World) {
    let store = world.open().await;
    let key = |n: u32| Bytes::from(format!("k/{n:02}"));
    for n in 0..40 {
        put(&store, key(n), "before").await.unwrap();
    }
    let mut old = store.begin();
    let before = pages(&mut old, RangeQuery::prefix(b"k/")).await;
    // Enough for several folds.
    for n in 0..40 {
        let mut tx = store.begin();
        tx.clear(key(n));
        tx.set(key(n + 40), vec![b'a'; 5000]);
        tx.commit().await.unwrap();
    }
    let mut tx = store.begin();
    tx.clear_range("k/20", "k/60");
    tx.commit().await.unwrap();
    for reverse in [false, true] {
        let mut seen = pages(&mut old, RangeQuery { reverse, ..RangeQuery::prefix(b"k/").limit(7) }).await;
        if reverse {
            seen.reverse();
        }
        assert!(seen == before, "an open snapshot has changed");
    }
    for n in [0, 19, 39] {
        assert_eq!(old.get(&key(n)).await.unwrap().unwrap(), "before");
    }
    old.set("late", "1");
    assert!(matches!(old.commit().await, Err(CommitError::Conflict) | Ok(_)));
    assert_eq!(pages(&mut store.begin(), RangeQuery::prefix(b"k/")).await.len(), 20);
}
