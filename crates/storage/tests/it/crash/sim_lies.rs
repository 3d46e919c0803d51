//! A disk that fails a read of a running store, and one that says that it has synced what it has not.

use kelpie_storage::{EmbeddedOptions, Store, StoreConfig};

use super::history::Rows;
use super::*;

/// Nothing is kept in memory beside the newest commits: reads come from the disk.
fn config() -> StoreConfig {
    let options = EmbeddedOptions { segment_bytes: 8192, checkpoint_bytes: 4500, cache_bytes: 0 };
    StoreConfig::Embedded { dir: DIR.into(), options }
}

async fn commit(store: &Store, expected: &mut Rows, number: u32) {
    let mut tx = store.begin();
    for row in 0..6 {
        let key = format!("{:03}", (number * 7 + row * 31) % 40);
        let value = format!("{number} {}", "x".repeat(200));
        expected.insert(key.clone().into(), value.clone().into());
        tx.set(key, value);
    }
    tx.commit().await.unwrap();
}

/// A read that fails once is made again, and nobody learns of it.
#[test]
fn a_read_that_fails_once_is_made_again() {
    let sim = Sim::new(4);
    let node = sim.node("store");
    let env = node.env();
    sim.block_on(async {
        let store = Store::open(&config(), &env).await.unwrap();
        let mut expected = Rows::new();
        for number in 0..60 {
            commit(&store, &mut expected, number).await;
            store.checkpoint().await.unwrap();
            node.disk().fail_next_read();
            let rows = workload::all_rows(&mut store.begin()).await.unwrap();
            assert!(rows == expected, "after commit {number}");
        }
    });
    let failed = node.disk().fired()["read-error"];
    assert!(failed > 20, "{failed}");
}

/// No store keeps what its disk only said that it had kept. What is left after the power cut is
/// refused, or is what stood there after one of the commits: none is kept in part.
#[test]
fn after_a_sync_that_did_nothing_whole_commits_are_lost_or_the_directory_is_refused() {
    let (mut lost, mut refused) = (0, 0);
    for seed in 0..60 {
        let sim = Sim::new(seed);
        let node = sim.node("store");
        let env = node.env();
        let mut after: Vec<Rows> = vec![Rows::new()];
        sim.block_on(async {
            let store = Store::open(&config(), &env).await.unwrap();
            let mut expected = Rows::new();
            for number in 0..12 {
                node.disk().set_sync_lies(number >= 6);
                commit(&store, &mut expected, number).await;
                after.push(expected.clone());
            }
        });
        node.kill();
        node.disk().set_sync_lies(false);
        let env = node.restart();
        let opened = sim.block_on(async {
            let store = Store::open(&config(), &env).await.ok()?;
            workload::all_rows(&mut store.begin()).await.ok()
        });
        let Some(rows) = opened else {
            refused += 1;
            continue;
        };
        let kept = after.iter().rposition(|before| *before == rows);
        let kept = kept.unwrap_or_else(|| panic!("seed {seed}: what is left was never there"));
        lost += u32::from(kept < after.len() - 1);
        assert!(kept >= 6, "seed {seed}: commit {kept} is lost, which was synced");
    }
    assert!(lost + refused > 10, "{lost} times something was lost, {refused} times it was refused");
}
