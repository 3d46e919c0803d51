//! The embedded backend on a real disk.

use std::path::Path;
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

/// Few clients, so that the log falls idle and busy again all the time: who flushes changes
/// from batch to batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_land_in_their_order_whoever_flushes_them() {
    const CLIENTS: u64 = 3;
    const COMMITS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let store = Store::open(&small(dir.path()), &env).await.unwrap();
    let clients = (0..CLIENTS).map(|client| {
        let (store, (done, ended)) = (store.clone(), tokio::sync::oneshot::channel());
        env.spawn("client", async move {
            let mut versions = Vec::new();
            for n in 0..COMMITS {
                let mut tx = store.begin();
                let before = tx.get(&client.to_be_bytes()).await.unwrap();
                assert_eq!(before, (n > 0).then(|| Bytes::copy_from_slice(&(n - 1).to_be_bytes())));
                tx.set(client.to_be_bytes().to_vec(), n.to_be_bytes().to_vec());
                versions.push(tx.commit().await.unwrap().version.unwrap());
            }
            done.send(versions).unwrap();
        });
        ended
    });
    let mut all = Vec::new();
    for versions in futures::future::join_all(clients).await {
        let versions = versions.unwrap();
        assert!(versions.is_sorted(), "a client's later commit has a later version");
        all.extend(versions);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64, CLIENTS * COMMITS, "no version is used twice");
    let stats = store.stats();
    assert_eq!(stats.commits, CLIENTS * COMMITS);
    assert!(stats.batches < stats.commits, "{stats:?}");
    store.close().await.unwrap();
}

/// A carer that went on after the close would make and remove files beside the next owner of
/// the directory.
#[test]
fn sim_a_closed_store_leaves_its_directory_to_the_next() {
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let env = sim.node("store").env();
        sim.block_on(async {
            let config = small(Path::new("data"));
            Store::open(&config, &env).await.unwrap().close().await.unwrap();
            let store = Store::open(&config, &env).await.unwrap();
            for n in 0u32..8 {
                let mut tx = store.begin();
                tx.set(n.to_be_bytes().to_vec(), vec![1; 5000]);
                let committed = tx.commit().await;
                assert!(committed.is_ok(), "seed {seed}, commit {n}: {committed:?}");
            }
        });
    }
}
