//! Ranges that count as read or written because the transaction says so.
//!
//! Asked for as cycles: each of two transactions depends on what the other one changes.

use bytes::Bytes;
use kelpie_storage::KeyRange;

use super::shorthand::{at_most_one, rows};
use super::world::World;

pub(crate) async fn explicit_read_ranges_conflict_as_reads_do(world: &World) {
    let store = world.open().await;
    for (round, range) in
        [KeyRange::prefix(b"left/"), KeyRange::single(b"left/1"), KeyRange::new("left/0", "left/2")]
            .into_iter()
            .enumerate()
    {
        let (mut a, mut b) = (store.begin(), store.begin());
        for tx in [&mut a, &mut b] {
            tx.fix_version().await.unwrap();
        }
        a.add_read_conflict(range.clone());
        b.add_read_conflict(KeyRange::prefix(b"right/"));
        a.set("right/1", round.to_string());
        b.set("left/1", round.to_string());
        at_most_one([a.commit().await, b.commit().await]);
    }
    // An empty range is nothing.
    let mut tx = store.begin();
    tx.fix_version().await.unwrap();
    tx.add_read_conflict(KeyRange::new("z", "a"));
    tx.set("other", "1");
    tx.commit().await.unwrap();
}

pub(crate) async fn explicit_write_ranges_conflict_as_writes_do(world: &World) {
    let store = world.open().await;
    for (mine, range) in [("x/1", KeyRange::prefix(b"y/")), ("x/2", KeyRange::single(b"y/1"))] {
        let (mut a, mut b) = (store.begin(), store.begin());
        assert_eq!(a.get(mine.as_bytes()).await.unwrap(), None);
        assert_eq!(b.get(b"y/1").await.unwrap(), None);
        a.add_write_conflict(range);
        b.add_write_conflict(KeyRange::single(mine.as_bytes()));
        at_most_one([a.commit().await, b.commit().await]);
    }
    let mut tx = store.begin();
    tx.add_write_conflict(KeyRange::new("z", "a"));
    tx.commit().await.unwrap();
    assert_eq!(rows(&store, "").await, [], "a mark has left a row");
    let none: &[Bytes] = &[];
    assert_eq!(store.begin().get_many(none).await.unwrap(), []);
}
