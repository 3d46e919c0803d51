//! The embedded backend on a real disk.

use bytes::Bytes;
use kelpie_env::real;
use kelpie_storage::{EmbeddedOptions, RangeQuery, Store, StoreConfig};

fn small(dir: &std::path::Path) -> StoreConfig {
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
    StoreConfig::Embedded { dir: dir.to_owned(), options }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_many_reopenings() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    for round in 0u32..5 {
        let store = Store::open(&small(dir.path()), &env).await.unwrap();
        let mut tx = store.begin();
        let page = tx.get_range(RangeQuery::new(Bytes::new(), vec![255])).await.unwrap();
        assert_eq!(page.rows.len(), (round * 200) as usize, "{:?}", store.stats());
        drop(tx);
        let tasks: Vec<_> = (0..8u32)
            .map(|task| {
                let store = store.clone();
                async move {
                    for n in 0..25u32 {
                        let mut tx = store.begin();
                        let key = (round * 200 + task * 25 + n).to_be_bytes().to_vec();
                        assert_eq!(tx.get(&key).await.unwrap(), None);
                        tx.set(key, vec![1; 300]);
                        tx.commit().await.unwrap();
                    }
                }
            })
            .collect();
        futures::future::join_all(tasks).await;
        println!("{:?}", store.stats());
        store.close().await.unwrap();
    }
}
