//! The embedded store where it must say no: at its door, and to a disk that fails.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::log::frame::{self, ALIGNMENT, FRAME_BYTES, Header, RECORDS_BEGIN};
use kelpie_env::sim::{Node, Sim};
use kelpie_env::{Env, Open};
use kelpie_storage::{
    CommitError, Committed, EmbeddedOptions, OpenError, Outage, RangeQuery, Store, StoreConfig,
};

const DIR: &str = "data";

fn config(checkpoint_bytes: u64) -> StoreConfig {
    let options = EmbeddedOptions { segment_bytes: 32 << 10, checkpoint_bytes, cache_bytes: 1 << 20 };
    StoreConfig::Embedded { dir: Path::new(DIR).to_owned(), options }
}

async fn open(env: &Env) -> Result<Store, OpenError> {
    Store::open(&config(1 << 20), env).await
}

fn world() -> (Sim, Node) {
    let sim = Sim::new(3);
    let node = sim.node("store");
    (sim, node)
}

async fn put(store: &Store, n: u32) -> Result<Committed, CommitError> {
    let mut tx = store.begin();
    tx.set(n.to_be_bytes().to_vec(), vec![7; 200]);
    tx.commit().await
}

async fn keys(store: &Store) -> Vec<u32> {
    let page = store.begin().get_range(RangeQuery::new(Bytes::new(), vec![0xff])).await.unwrap();
    page.rows.iter().map(|(key, _)| u32::from_be_bytes(key[..].try_into().unwrap())).collect()
}

/// The one segment of the log that has records.
fn segment(env: &Env) -> PathBuf {
    let names = env.disk().list(Path::new(DIR)).unwrap();
    names.into_iter().find(|path| path.to_string_lossy().contains("/wal-")).unwrap()
}

/// Where its records are.
fn records(env: &Env, path: &Path) -> Vec<Range<u64>> {
    let file = env.disk().open(path, Open::Existing).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let generation = Header::decode(&bytes).unwrap().generation;
    let (mut at, mut found) = (RECORDS_BEGIN, Vec::new());
    while let Some(record) = frame::decode(&bytes, at, generation, 0) {
        let end = at + FRAME_BYTES + record.body.len();
        found.push(at as u64..end as u64);
        at = end.next_multiple_of(ALIGNMENT);
    }
    found
}

#[test]
fn sim_a_directory_in_use_is_refused() {
    let (sim, node) = world();
    let other = sim.node_on_disk_of(&node, "other");
    sim.block_on(async {
        let store = open(&node.env()).await.unwrap();
        put(&store, 1).await.unwrap();
        let refused = open(&other.env()).await.unwrap_err();
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
        put(&store, 2).await.unwrap();
        store.close().await.unwrap();
        let store = open(&other.env()).await.unwrap();
        assert_eq!(keys(&store).await, [1, 2]);
    });
}

#[test]
fn sim_a_format_of_another_version_is_refused_and_left_alone() {
    let (sim, node) = world();
    let env = node.env();
    sim.block_on(async {
        let store = open(&env).await.unwrap();
        put(&store, 1).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        let format = env.disk().open(&Path::new(DIR).join("format"), Open::Existing).unwrap();
        format.write_all_at(b"9", 0).unwrap();
        let refused = open(&env).await.unwrap_err();
        assert!(matches!(&refused, OpenError::UnknownFormat { found, .. } if found == "9"), "{refused:?}");
        format.write_all_at(b"1", 0).unwrap();
        assert_eq!(keys(&open(&env).await.unwrap()).await, [1]);
    });
}

#[test]
fn sim_a_flipped_bit_in_the_middle_of_the_log_is_named_and_nothing_is_cut() {
    let (sim, node) = world();
    let env = node.env();
    sim.block_on(async {
        let store = open(&env).await.unwrap();
        for n in 0..40 {
            put(&store, n).await.unwrap();
        }
    });
    node.kill_process();
    let env = node.restart();
    let path = segment(&env);
    sim.block_on(async {
        let records = records(&env, &path);
        assert_eq!(records.len(), 40);
        // In every part of the earlier records; what fills them up to their alignment says nothing.
        for (n, record) in records[..30].iter().enumerate() {
            let at = record.start + (n * 53) as u64 % (record.end - record.start);
            node.disk().flip_bit(&path, at, 3).unwrap();
            match open(&env).await {
                Err(OpenError::Damaged { file, offset, .. }) => {
                    assert_eq!(file, path);
                    assert_eq!(offset, record.start, "flipped at {at}");
                }
                other => panic!("flipped at {at}: {other:?}"),
            }
            node.disk().flip_bit(&path, at, 3).unwrap();
        }
        // The refusals have changed nothing.
        assert_eq!(keys(&open(&env).await.unwrap()).await, (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn sim_a_full_disk_refuses_commits_and_goes_on_when_there_is_room() {
    let (sim, node) = world();
    let env = node.env();
    sim.block_on(async {
        let store = open(&env).await.unwrap();
        let mut kept = Vec::new();
        node.disk().set_free_space(Some(0));
        // What was filled ahead is used up first.
        let refused = loop {
            let n = u32::try_from(kept.len()).unwrap();
            match put(&store, n).await {
                Ok(_) => kept.push(n),
                Err(error) => break error,
            }
            assert!(kept.len() < 5000, "the disk never became full");
        };
        assert!(matches!(refused, CommitError::Unavailable(Outage::DiskFull)), "{refused:?}");
        let again = put(&store, 9000).await;
        assert!(matches!(again, Err(CommitError::Unavailable(Outage::DiskFull))), "{again:?}");
        assert_eq!(keys(&store).await, kept, "reads go on, and nothing refused is seen");
        node.disk().set_free_space(None);
        env.sleep(Duration::from_secs(2)).await;
        put(&store, 9001).await.unwrap();
        kept.push(9001);
        store.close().await.unwrap();
        drop(store);
        assert_eq!(keys(&open(&env).await.unwrap()).await, kept);
    });
}

#[test]
fn sim_a_failed_fsync_makes_one_commit_unknown_and_refuses_the_rest() {
    let (sim, node) = world();
    let env = node.env();
    sim.block_on(async {
        let store = open(&env).await.unwrap();
        put(&store, 1).await.unwrap();
        // The spare segment is made by now: the next sync is the log's.
        env.sleep(Duration::from_secs(1)).await;
        node.disk().fail_next_sync();
        let unknown = put(&store, 2).await;
        assert!(matches!(unknown, Err(CommitError::Unknown(Outage::Poisoned))), "{unknown:?}");
        let refused = put(&store, 3).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(Outage::Poisoned))), "{refused:?}");
        assert_eq!(keys(&store).await, [1], "reads go on");
    });
    node.kill();
    let env = node.restart();
    sim.block_on(async {
        let found = keys(&open(&env).await.unwrap()).await;
        assert!(found == [1] || found == [1, 2], "{found:?}");
    });
}
