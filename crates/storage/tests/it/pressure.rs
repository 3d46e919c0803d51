//! The embedded store when more is written than it can fold.

use std::path::Path;
use std::time::Duration;

use kelpie_env::sim::Sim;
use kelpie_storage::{CommitError, Committed, EmbeddedOptions, Outage, Store, StoreConfig};

/// The least that a memtable may grow to.
const MEMTABLE_BYTES: u64 = 64 << 20;
const VALUE_BYTES: usize = 100_000;

async fn put(store: &Store, n: u32) -> Result<Committed, CommitError> {
    let mut tx = store.begin();
    tx.set(n.to_be_bytes().to_vec(), vec![7; VALUE_BYTES]);
    tx.commit().await
}

#[test]
fn sim_a_reader_of_an_old_version_bounds_commits_and_stops_them_only_while_it_lasts() {
    let sim = Sim::new(11);
    let env = sim.node("store").env();
    let options = EmbeddedOptions { segment_bytes: 1 << 20, checkpoint_bytes: 1 << 20, cache_bytes: 1 << 20 };
    let config = StoreConfig::Embedded { dir: Path::new("data").to_owned(), options };
    sim.block_on(async {
        let store = Store::open(&config, &env).await.unwrap();
        put(&store, 0).await.unwrap();
        let mut reader = store.begin();
        reader.get(b"none").await.unwrap();
        let refused = loop {
            let n = u32::try_from(store.stats().commits).unwrap();
            assert!(u64::from(n) * VALUE_BYTES as u64 <= 2 * MEMTABLE_BYTES, "nothing bounds the memtable");
            if let Err(refused) = put(&store, n).await {
                break refused;
            }
        };
        assert!(matches!(refused, CommitError::Unavailable(Outage::Overloaded)), "{refused:?}");
        let held = store.stats().memtable_bytes;
        assert!(held <= MEMTABLE_BYTES + 2 * VALUE_BYTES as u64, "{held}");
        // Whatever asked for a checkpoint until now has found the reader there.
        env.sleep(Duration::from_secs(2)).await;
        drop(reader);
        env.sleep(Duration::from_secs(2)).await;
        put(&store, 1_000_000).await.unwrap();
        let held = store.stats().memtable_bytes;
        assert!(held < MEMTABLE_BYTES / 2, "{held}");
    });
}
