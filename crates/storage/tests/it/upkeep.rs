//! What the embedded store does beside commits: files used again, memory that is let go.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use kelpie_storage::{CommitError, EmbeddedOptions, OpenError, Outage, Store, StoreConfig};

const DIR: &str = "data";

async fn open(env: &Env, segment_bytes: u64) -> Result<Store, OpenError> {
    let options = EmbeddedOptions { segment_bytes, checkpoint_bytes: 1 << 20, cache_bytes: 1 << 20 };
    Store::open(&StoreConfig::Embedded { dir: Path::new(DIR).to_owned(), options }, env).await
}

async fn put(store: &Store, key: &[u8], bytes: usize) -> Result<(), CommitError> {
    let mut tx = store.begin();
    tx.set(Bytes::copy_from_slice(key), vec![7; bytes]);
    tx.commit().await.map(drop)
}

fn first_segment(env: &Env) -> PathBuf {
    let names = env.disk().list(Path::new(DIR)).unwrap();
    names.into_iter().find(|path| path.to_string_lossy().contains("/wal-")).unwrap()
}

/// A process frees a segment and is killed before the new name is durable; in the start
/// after that the power goes at some operation. Says whether it went.
fn killed_while_cutting(seed: u64, operation: u64) -> bool {
    let sim = Sim::new(seed);
    let node = sim.node("store");
    sim.block_on(async {
        let store = open(&node.env(), 8192).await.unwrap();
        put(&store, b"k", 100).await.unwrap();
        store.close().await.unwrap();
    });
    node.kill();
    let env = node.restart();
    sim.block_on(async { drop(open(&env, 8192).await.unwrap()) });
    // All of it is in the checkpoint: what the next checkpoint would do first.
    let segment = first_segment(&env);
    let spare = segment.to_string_lossy().replace("/wal-", "/spare-wal-");
    env.disk().rename(&segment, Path::new(&spare)).unwrap();
    node.kill_process();

    let env = node.restart();
    node.disk().crash_at(node.disk().operations() + operation);
    let opened = sim.block_on(node.while_alive(open(&env, 8192)));
    let cut = opened.is_none();
    drop(opened);
    node.disk().clear_crash();
    node.kill();

    let env = node.restart();
    sim.block_on(async {
        let store = open(&env, 8192).await.unwrap_or_else(|e| panic!("seed {seed}, {operation}: {e}"));
        assert!(store.begin().get(b"k").await.unwrap().is_some(), "seed {seed}, operation {operation}");
    });
    cut
}

#[test]
fn sim_a_kill_while_a_segment_is_freed_and_a_power_cut_in_the_next_start_damage_nothing() {
    // The operations around the header of the new segment.
    let runs = (0..40).flat_map(|seed| (4..10).map(move |operation| killed_while_cutting(seed, operation)));
    let cuts = runs.filter(|cut| *cut).count();
    assert!(cuts > 200, "the power went in {cuts} starts");
}

/// A checkpoint cannot leave its marker: nothing is written yet, so it is made when there is
/// room, and commits go on.
#[test]
fn sim_no_room_for_the_marker_of_a_checkpoint_puts_it_off() {
    let sim = Sim::new(6);
    let node = sim.node("store");
    let env = node.env();
    sim.block_on(async {
        let store = open(&env, 1 << 20).await.unwrap();
        put(&store, b"k", 100).await.unwrap();
        env.sleep(Duration::from_secs(1)).await;
        node.disk().set_free_files(Some(0));
        let outage = store.checkpoint().await.unwrap_err();
        assert!(matches!(outage, Outage::DiskFull), "{outage:?}");
        put(&store, b"l", 100).await.unwrap();
        node.disk().set_free_files(None);
        store.checkpoint().await.unwrap();
        assert_eq!(store.stats().unfolded_commits, 0);
        put(&store, b"m", 100).await.unwrap();
        store.close().await.unwrap();
    });
}

/// Flips a bit in each page of the base.
fn flip_pages(node: &Node) {
    const PAGE: usize = 4096 + 8;
    let base = Path::new(DIR).join("base.redb");
    let len = node.disk().image().read(&base).unwrap().len();
    (4096..len).step_by(PAGE).for_each(|page| node.disk().flip_bit(&base, page as u64 + 77, 3).unwrap());
}

#[test]
fn sim_a_damaged_base_is_not_tried_again_and_again_and_folds_once_it_is_whole() {
    let sim = Sim::new(7);
    let node = sim.node("store");
    let env = node.env();
    let options = EmbeddedOptions { segment_bytes: 8192, checkpoint_bytes: 20_000, cache_bytes: 0 };
    let config = StoreConfig::Embedded { dir: DIR.into(), options };
    sim.block_on(async {
        let store = Store::open(&config, &env).await.unwrap();
        for n in 0..100_u32 {
            put(&store, &n.to_be_bytes(), 500).await.unwrap();
        }
        store.checkpoint().await.unwrap();
        env.sleep(Duration::from_secs(1)).await;
        let made = store.stats().checkpoints;
        flip_pages(&node);
        for n in 0..100_u32 {
            put(&store, &n.to_be_bytes(), 501).await.unwrap();
        }
        let operations = async |seconds: Range<u64>| {
            env.sleep_until(Duration::from_secs(seconds.start)).await;
            let before = node.disk().operations();
            env.sleep_until(Duration::from_secs(seconds.end)).await;
            node.disk().operations() - before
        };
        // Each try is some operations: at half a second, a second, two, four, eight, sixteen.
        let (first, later) = (operations(2..32).await, operations(100..130).await);
        assert!(first > 0 && later > 0 && 2 * later <= first, "{first} and later {later}");
        assert_eq!(store.stats().checkpoints, made);
        put(&store, b"still", 1).await.unwrap();
        flip_pages(&node);
        env.sleep(Duration::from_secs(20)).await;
        assert!(store.stats().checkpoints > made, "it is made once the file is whole again");
        put(&store, b"and on", 1).await.unwrap();
    });
}

#[test]
fn sim_commits_go_on_when_the_reader_that_held_up_the_checkpoint_has_gone() {
    let sim = Sim::new(5);
    let env = sim.node("store").env();
    sim.block_on(async {
        let store = open(&env, 1 << 20).await.unwrap();
        let mut reader = store.begin();
        reader.fix_version().await.unwrap();
        let refused = loop {
            if let Err(error) = put(&store, b"k", 90_000).await {
                break error;
            }
        };
        assert!(matches!(refused, CommitError::Unavailable(Outage::Overloaded)), "{refused:?}");
        drop(reader);
        for _ in 0..20 {
            env.sleep(Duration::from_millis(100)).await;
            if put(&store, b"k", 1).await.is_ok() {
                return;
            }
        }
        panic!("commits are refused for ever");
    });
}
