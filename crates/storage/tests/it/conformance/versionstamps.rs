//! Versionstamps: keys in the order of their commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_storage::{CommitError, RangeQuery, Store, Version};

use super::shorthand::{Commit, found, put, rows};
use super::world::{World, pause};

const STAMP: std::ops::Range<usize> = 2..12;

async fn stamp(store: &Store, value: impl Into<Bytes>) -> Version {
    let mut tx = store.begin();
    tx.set_versionstamped_key([&b"q/"[..], &[0; 10]].concat(), STAMP.start, value);
    tx.commit().await.unwrap().version.expect("a commit with a versionstamp has a version")
}

pub(crate) async fn versionstamps_grow_in_the_order_of_commits(world: &World) {
    let store = world.open().await;
    in_order(&store).await;
    let found = rows(&store, "q/").await;
    let values: Vec<_> = found.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(values, ["early", "between", "slow"], "not in the order of their commits");
    let mut stamped = Vec::new();
    for round in 0..3u8 {
        let commits = (0..8u8).map(|n| {
            let store = store.clone();
            async move { (Bytes::from(vec![round, n]), stamp(&store, vec![round, n]).await) }
        });
        stamped.extend(world.at_once(commits).await);
    }
    let stamped: BTreeMap<Bytes, Version> = stamped.into_iter().collect();
    let found = rows(&store, "q/").await.split_off(3);
    assert_eq!(found.len(), stamped.len(), "two commits have one stamp");
    for (key, value) in &found {
        assert_eq!(key[STAMP][..8], stamped[value].to_be_bytes(), "the stamp is not the version");
    }
    let rounds: Vec<u8> = found.iter().map(|(_, value)| value[0]).collect();
    assert!(rounds.is_sorted(), "not in the order of time: {rounds:?}");
}

/// A transaction that begins first and commits last.
pub(crate) async fn in_order(store: &Store) {
    put(store, "warm", "1").await.unwrap();
    let mut slow = store.begin();
    slow.get(b"nothing").await.unwrap();
    stamp(store, "early").await;
    put(store, "beside", "1").await.unwrap();
    stamp(store, "between").await;
    slow.set_versionstamped_key([&b"q/"[..], &[0; 10]].concat(), STAMP.start, "slow");
    slow.commit().await.unwrap();
}

/// Who follows a feed by "everything behind the last stamp that I saw" misses nothing.
pub(crate) async fn a_feed_never_grows_behind_its_reader(world: &World) {
    let store = world.open().await;
    let (clients, entries) = (4, world.times(15, 8));
    let writers = (0..clients).map(|client| {
        let (store, env) = (store.clone(), world.env.clone());
        async move {
            for n in 0..entries {
                loop {
                    pause(&env).await;
                    match enter(&store, &env, client % 2 == 0, format!("{client}/{n}")).await {
                        Ok(_) => break,
                        Err(CommitError::Conflict) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }
    });
    let written = Arc::new(AtomicBool::new(false));
    let (reader, env, over) = (world.other_client(&store).await, world.env.clone(), written.clone());
    let follow = async move {
        let (mut followed, mut next) = (Vec::new(), Bytes::from("q/"));
        loop {
            let last = over.load(Ordering::SeqCst);
            let found = found(&reader, &RangeQuery::new(next.clone(), "q0").limit(5)).await;
            if let Some((key, _)) = found.last() {
                next = kelpie_storage::keys::successor(key);
            }
            followed.extend(found);
            if last {
                return followed;
            }
            pause(&env).await;
        }
    };
    let write = async {
        world.at_once(writers).await;
        written.store(true, Ordering::SeqCst);
    };
    let ((), followed) = futures::join!(write, world.at_once([follow]));
    let all = rows(&store, "q/").await;
    assert_eq!(followed[0], all, "the feed grew behind its reader");
    assert_eq!(all.len(), clients * entries, "two commits have one stamp");
}

/// Adds an entry; one that depends on what others write is refused at times.
async fn enter(store: &Store, env: &Env, depends: bool, value: String) -> Commit {
    let mut tx = store.begin();
    if depends {
        tx.get(b"hot").await?;
        tx.set("hot", "1");
    }
    pause(env).await;
    tx.set_versionstamped_key([&b"q/"[..], &[0; 10]].concat(), STAMP.start, value);
    tx.commit().await
}
