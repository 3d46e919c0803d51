//! Operations that change a value without reading it.

use bytes::Bytes;
use kelpie_storage::AtomicOp;

use super::shorthand::{le, number, value};
use super::world::World;

/// Operation, what is stored, the operand, the result.
type Case = (AtomicOp, Option<&'static [u8]>, &'static [u8], &'static [u8]);

/// As FoundationDB defines them.
const CASES: &[Case] = &[
    (AtomicOp::Add, None, &[7, 1], &[7, 1]),
    (AtomicOp::Add, Some(&[255, 0]), &[1, 0], &[0, 1]),
    (AtomicOp::Add, Some(&[255, 255]), &[1, 0], &[0, 0]),
    (AtomicOp::Add, Some(&[255]), &[1, 0, 0], &[0, 1, 0]),
    (AtomicOp::Add, Some(&[1, 2, 3]), &[1], &[2]),
    (AtomicOp::And, None, &[6, 6], &[6, 6]),
    (AtomicOp::And, Some(&[3]), &[6, 6], &[2, 0]),
    (AtomicOp::Or, None, &[6], &[6]),
    (AtomicOp::Or, Some(&[3, 9]), &[6], &[7]),
    (AtomicOp::Xor, None, &[6], &[6]),
    (AtomicOp::Xor, Some(&[3]), &[6, 1], &[5, 1]),
    (AtomicOp::Max, None, &[6], &[6]),
    (AtomicOp::Max, Some(&[0, 1]), &[255, 0], &[0, 1]),
    (AtomicOp::Max, Some(&[9]), &[1, 1], &[1, 1]),
    (AtomicOp::Min, None, &[6], &[6]),
    (AtomicOp::Min, Some(&[0, 1]), &[255, 0], &[255, 0]),
    (AtomicOp::Min, Some(&[9]), &[1, 1], &[9, 0]),
    (AtomicOp::ByteMax, None, b"a", b"a"),
    (AtomicOp::ByteMax, Some(b"b"), b"ab", b"b"),
    (AtomicOp::ByteMax, Some(b"a"), b"ab", b"ab"),
    (AtomicOp::ByteMin, None, b"a", b"a"),
    (AtomicOp::ByteMin, Some(b"b"), b"ab", b"ab"),
    (AtomicOp::ByteMin, Some(b"a"), b"ab", b"a"),
];

pub(crate) async fn atomic_operations_change_what_is_stored(world: &World) {
    let mut store = world.open().await;
    // What is stored: below the checkpoint, recent, or written by the transaction itself.
    for place in ["folded", "recent", "own"] {
        let key = |n: usize| Bytes::from(format!("{place}/{n:02}"));
        let mut tx = store.begin();
        for (n, (_, stored, _, _)) in CASES.iter().enumerate() {
            stored.iter().for_each(|stored| tx.set(key(n), *stored));
        }
        if place != "own" {
            tx.commit().await.unwrap();
            tx = store.begin();
        }
        if place == "folded" {
            drop(tx);
            store = world.reopen(store).await;
            tx = store.begin();
        }
        for (n, (op, _, operand, _)) in CASES.iter().enumerate() {
            tx.atomic(*op, key(n), *operand);
        }
        tx.commit().await.unwrap();
        let mut tx = store.begin();
        for (n, case) in CASES.iter().enumerate() {
            assert_eq!(tx.get(&key(n)).await.unwrap().unwrap(), case.3, "{place}: {case:?}");
        }
    }
    // One after the other on one key, in one commit, over a clear.
    let mut tx = store.begin();
    tx.clear("folded/00");
    for operand in [5, 6] {
        tx.atomic(AtomicOp::Add, "folded/00", le(operand));
        tx.atomic(AtomicOp::Add, "fresh", le(operand));
    }
    tx.commit().await.unwrap();
    for key in ["folded/00", "fresh"] {
        assert_eq!(number(value(&store, key.as_bytes()).await.as_ref()), 11, "{key}");
    }
}

pub(crate) async fn concurrent_additions_never_conflict_and_all_count(world: &World) {
    let store = world.open().await;
    let rounds = world.times(10, 5) as u64;
    let adds = (1..=8u64).map(|n| {
        let store = store.clone();
        async move {
            for _ in 0..rounds {
                let mut tx = store.begin();
                tx.atomic(AtomicOp::Add, "sum", le(n));
                tx.atomic(AtomicOp::Max, "max", le(n));
                tx.commit().await.unwrap();
            }
        }
    });
    world.at_once(adds).await;
    assert_eq!(number(value(&store, b"sum").await.as_ref()), rounds * 36);
    assert_eq!(number(value(&store, b"max").await.as_ref()), 8);
}
