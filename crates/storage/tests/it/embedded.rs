//! The embedded backend on a real disk.

use std::time::Duration;

use bytes::Bytes;
use kelpie_env::real;
use kelpie_env::sim::Sim;
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

/// Each life logs little and is killed; what it leaves, the next start has to read.
#[test]
fn sim_a_process_killed_again_and_again_leaves_no_growing_log() {
    let sim = Sim::new(4);
    let node = sim.node("store");
    sim.block_on(async {
        let mut env = node.env();
        for life in 0..20_u8 {
            let store = Store::open(&small("/data".as_ref()), &env).await.unwrap();
            let mut tx = store.begin();
            tx.set(vec![life], "x");
            tx.commit().await.unwrap();
            env.sleep(Duration::from_secs(1)).await;
            let files = env.disk().list("/data".as_ref()).unwrap();
            let logs = files.iter().filter(|path| path.to_string_lossy().ends_with(".log")).count();
            assert!(logs <= 5, "{logs} files of the log after {life} kills: {files:?}");
            let rows = store.begin().get_range(RangeQuery::new(Bytes::new(), vec![255])).await.unwrap().rows;
            assert_eq!(rows.len(), usize::from(life) + 1);
            node.kill_process();
            env = node.restart();
        }
    });
}
