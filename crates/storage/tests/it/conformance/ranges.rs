//! Range reads: limits, both directions, pages that go on.

use std::collections::BTreeMap;

use bytes::Bytes;
use kelpie_storage::limits::PAGE_BYTES_MAX;
use kelpie_storage::{RangeQuery, Transaction};

use super::shorthand::{Rows, pages, put};
use super::world::World;

pub(crate) async fn ranges_merge_what_is_folded_what_is_recent_and_what_is_unwritten(world: &World) {
    let mut store = world.open().await;
    let mut model = BTreeMap::new();
    for n in 0u32..100 {
        let (key, value) = (Bytes::from(format!("k/{n:03}")), Bytes::from(vec![b'f'; 1000]));
        put(&store, key.clone(), value.clone()).await.unwrap();
        model.insert(key, value);
    }
    store = world.reopen(store).await;
    let one_process = store.properties().single_process;
    // The first of these may be folded at once; what follows a fold stays above it.
    for what in ["recent", "newer"] {
        let mut recent = store.begin();
        change(&mut recent, &mut model, 3, what);
        recent.commit().await.unwrap();
        if !one_process || store.stats().memtable_keys > 0 {
            break;
        }
    }
    if one_process {
        let stats = store.stats();
        assert!(stats.checkpoint > 0 && stats.memtable_keys > 0, "not on both sides: {stats:?}");
    }
    let mut tx = store.begin();
    change(&mut tx, &mut model, 4, "unwritten");
    let all: Rows = model.into_iter().collect();
    let back: Rows = all.iter().rev().cloned().collect();
    for limit in [1, 7, 1000] {
        let query = RangeQuery::prefix(b"k/").limit(limit);
        assert_eq!(pages(&mut tx, query.clone()).await, all, "pages of {limit}");
        assert_eq!(pages(&mut tx, query.reversed()).await, back, "pages of {limit}, in reverse");
    }
    let part = RangeQuery::new("k/020", "k/030").limit(4);
    let within = |(key, _): &&(Bytes, Bytes)| (&b"k/020"[..]..&b"k/030"[..]).contains(&&key[..]);
    let expected: Rows = all.iter().filter(within).cloned().collect();
    assert_eq!(pages(&mut tx, part).await, expected, "its end belongs to it");
}

/// Overwrites, clears and adds keys, every `step`th, in the store and in the model.
fn change(tx: &mut Transaction, model: &mut BTreeMap<Bytes, Bytes>, step: usize, what: &'static str) {
    for n in (0..100).step_by(step) {
        let (key, added) = (Bytes::from(format!("k/{n:03}")), Bytes::from(format!("k/{n:03}{what}")));
        if n % 2 == 0 {
            tx.set(key.clone(), what);
            model.insert(key, what.into());
        } else {
            tx.clear(key.clone());
            model.remove(&key);
        }
        tx.set(added.clone(), what);
        model.insert(added, what.into());
    }
    tx.clear_range("k/040", "k/050");
    model.retain(|key, _| !(&b"k/040"[..]..&b"k/050"[..]).contains(&&key[..]));
}

pub(crate) async fn a_page_of_large_values_ends_early_and_goes_on(world: &World) {
    const VALUE: usize = 90_000;
    let store = world.open().await;
    let expected: Rows = (0..40u8).map(|n| (vec![b'k', n].into(), Bytes::from(vec![n; VALUE]))).collect();
    let mut tx = store.begin();
    expected.iter().for_each(|(key, value)| tx.set(key.clone(), value.clone()));
    tx.commit().await.unwrap();
    for reverse in [false, true] {
        let mut tx = store.begin();
        let mut next = Some(RangeQuery { reverse, ..RangeQuery::prefix(b"k") });
        let (mut found, mut count) = (Rows::new(), 0);
        while let Some(query) = next {
            let page = tx.get_range(query).await.unwrap();
            let bytes: usize = page.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert!(bytes < PAGE_BYTES_MAX + VALUE + 2, "a page of {bytes} bytes");
            found.extend(page.rows);
            next = page.more;
            count += 1;
        }
        assert!(count > 3, "{count} pages");
        if reverse {
            found.reverse();
        }
        assert!(found == expected, "rows were lost between pages (reverse: {reverse})");
    }
}

pub(crate) async fn an_empty_range_holds_nothing(world: &World) {
    let store = world.open().await;
    put(&store, "m", "1").await.unwrap();
    let mut tx = store.begin();
    for (begin, end) in [("m", "m"), ("z", "a"), ("n", "z"), ("", "")] {
        let page = tx.get_range(RangeQuery::new(begin, end)).await.unwrap();
        assert_eq!((page.rows.len(), page.more), (0, None), "from {begin:?} to {end:?}");
    }
    tx.clear_range("z", "a");
    tx.clear_range("m", "m");
    tx.set("other", "1");
    tx.commit().await.unwrap();
    let all = RangeQuery::new(Bytes::new(), kelpie_storage::keys::end_of_keys());
    assert_eq!(pages(&mut store.begin(), all).await.len(), 2, "an inverted range cleared something");
}
