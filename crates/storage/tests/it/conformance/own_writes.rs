//! A transaction sees what it has written itself, before anybody else does.

use bytes::Bytes;
use kelpie_storage::{AtomicOp, RangeQuery};

use super::shorthand::{Rows, le, number, pages, put, value};
use super::world::World;

pub(crate) async fn a_transaction_reads_its_own_writes(world: &World) {
    let store = world.open().await;
    for key in ["a", "b", "sum"] {
        put(&store, key, le(1)).await.unwrap();
    }
    let mut tx = store.begin();
    tx.set("a", "new");
    tx.clear("b");
    tx.set("c", "new");
    tx.atomic(AtomicOp::Add, "sum", le(5));
    tx.atomic(AtomicOp::Add, "fresh", le(7));
    let keys: Vec<Bytes> = ["a", "b", "c", "sum", "fresh", "none"].map(Bytes::from).into();
    let expected = [Some("new".into()), None, Some("new".into()), Some(le(6)), Some(le(7)), None];
    assert_eq!(tx.get_many(&keys).await.unwrap(), expected, "read together");
    for (key, expected) in keys.iter().zip(&expected) {
        assert_eq!(tx.get(key).await.unwrap(), *expected, "{key:?}");
        assert_eq!(tx.get_snapshot(key).await.unwrap(), *expected, "{key:?}, without noting it");
    }
    assert_eq!(number(value(&store, b"a").await.as_ref()), 1, "seen before the commit");
    tx.commit().await.unwrap();
    for (key, expected) in keys.iter().zip(expected) {
        assert_eq!(value(&store, key).await, expected, "{key:?} after the commit");
    }
}

pub(crate) async fn a_range_shows_what_the_transaction_has_written(world: &World) {
    let store = world.open().await;
    for n in 0..10u64 {
        put(&store, format!("k/{n}"), le(n)).await.unwrap();
    }
    let mut tx = store.begin();
    tx.clear_range("k/2", "k/5");
    tx.set("k/3", "in the cleared range");
    tx.atomic(AtomicOp::Add, "k/4", le(40));
    tx.atomic(AtomicOp::Add, "k/6", le(60));
    tx.clear("k/7");
    tx.set("k/8x", "between");
    let expected: Rows = [
        ("k/0", le(0)),
        ("k/1", le(1)),
        ("k/3", "in the cleared range".into()),
        ("k/4", le(40)),
        ("k/5", le(5)),
        ("k/6", le(66)),
        ("k/8", le(8)),
        ("k/8x", "between".into()),
        ("k/9", le(9)),
    ]
    .map(|(key, value)| (key.into(), value))
    .into();
    let back: Rows = expected.iter().rev().cloned().collect();
    for limit in [1, 2, 100] {
        let query = RangeQuery::prefix(b"k/").limit(limit);
        assert_eq!(pages(&mut tx, query.clone()).await, expected, "pages of {limit}");
        assert_eq!(pages(&mut tx, query.reversed().snapshot()).await, back, "pages of {limit}, in reverse");
    }
    tx.commit().await.unwrap();
    assert_eq!(super::shorthand::rows(&store, "k/").await, expected);
}
