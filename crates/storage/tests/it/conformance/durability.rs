//! What was acknowledged stays.

use bytes::Bytes;
use kelpie_storage::AtomicOp;

use super::shorthand::{le, number, put, rows, value};
use super::world::World;

pub(crate) async fn what_was_acknowledged_is_there_after_reopening(world: &World) {
    let mut store = world.open().await;
    let (rounds, each) = (4u64, world.times(25, 10) as u64);
    for round in 0..rounds {
        let found = rows(&store, "kept/").await;
        assert_eq!(found.len() as u64, round * 4 * each, "round {round}");
        assert_eq!(number(value(&store, b"sum").await.as_ref()), round * 4 * each);
        let clients = (0..4).map(|client| {
            let store = store.clone();
            async move {
                for n in 0..each {
                    let mut tx = store.begin();
                    let key = Bytes::from(format!("kept/{round}/{client}/{n}"));
                    tx.set(key, vec![1; 300]);
                    tx.atomic(AtomicOp::Add, "sum", le(1));
                    tx.set(format!("gone/{client}/{n}"), "1");
                    tx.commit().await.unwrap();
                }
            }
        });
        world.at_once(clients).await;
        let mut tx = store.begin();
        tx.clear_range("gone/", "gone0");
        tx.commit().await.unwrap();
        store = world.reopen(store).await;
        assert_eq!(rows(&store, "gone/").await, [], "what was cleared came back");
    }
    if !world.target.keeps() {
        let other = world.open().await;
        assert_eq!(rows(&other, "").await, [], "a store in memory begins empty");
        put(&other, "a", "1").await.unwrap();
    }
}
