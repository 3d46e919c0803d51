//! The memory backend alone.

use std::sync::Arc;

use bytes::Bytes;
use kelpie_storage::{KeyRange, Memory, RangeQuery, Store};

#[tokio::test]
async fn writes_are_read_back() {
    let env = kelpie_env::real::env();
    let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env);
    for n in 0u32..2000 {
        let mut tx = store.begin();
        tx.set(n.to_be_bytes().to_vec(), vec![7; 100]);
        tx.commit().await.unwrap();
    }
    let mut tx = store.begin();
    tx.clear_range(100u32.to_be_bytes().to_vec(), 1900u32.to_be_bytes().to_vec());
    tx.commit().await.unwrap();
    let mut tx = store.begin();
    let page = tx.get_range(RangeQuery::new(Bytes::new(), vec![255]).limit(150).reversed()).await.unwrap();
    assert_eq!(page.rows.len(), 150);
    assert_eq!(page.rows.get(149).unwrap().0, 50u32.to_be_bytes());
    let rest = tx.get_range(page.more.unwrap()).await.unwrap();
    assert_eq!(rest.rows.len(), 50);
    assert_eq!(rest.more, None);
    let mut other = store.begin();
    other.set(vec![0, 0, 1, 0], "phantom");
    other.commit().await.unwrap();
    tx.add_write_conflict(KeyRange::prefix(b"x"));
    tx.commit().await.unwrap_err();
    assert!(store.stats().checkpoints > 0);
}
