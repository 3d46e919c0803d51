//! Watches: whoever waits for a change is told.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_storage::{AtomicOp, KeyRange, Store, Transaction};

use super::shorthand::{le, number, put, value};
use super::world::{World, pause};

/// A change is told of long before.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn a_watch_completes_after_a_change(world: &World) {
    let store = world.open().await;
    let mut watch = store.watch("a").await.unwrap();
    put(&store, "b", "beside").await.unwrap();
    assert!((&mut watch).now_or_never().is_none(), "nothing has happened to its key");
    put(&store, "a", "1").await.unwrap();
    world.env.timeout(PATIENCE, watch).await.expect("the watch never completed");
    assert_eq!(value(&store, b"a").await.unwrap(), "1", "told before it is visible");
    // The first change counts, not the one that is there already; and reading in between
    // changes nothing.
    let store = world.reopen(store).await;
    let watch = store.watch("c").await.unwrap();
    assert_eq!(value(&store, b"c").await, None);
    put(&store, "c", "1").await.unwrap();
    put(&store, "c", "2").await.unwrap();
    world.env.timeout(PATIENCE, watch).await.expect("the watch never completed");
}

pub(crate) async fn every_kind_of_write_completes_a_watch(world: &World) {
    let store = world.open().await;
    type Write = fn(&mut Transaction);
    let writes: [(&str, Write); 4] = [
        ("set", |tx| tx.set("w/1", "other")),
        ("atomic", |tx| tx.atomic(AtomicOp::Add, "w/1", le(1))),
        ("clear", |tx| tx.clear("w/1")),
        ("clear_range", |tx| tx.clear_range("w/", "w0")),
    ];
    for (name, write) in writes {
        put(&store, "w/1", le(1)).await.unwrap();
        let watch = store.watch("w/1").await.unwrap();
        let mut tx = store.begin();
        // A transaction with reads takes another way than a blind one.
        if name.starts_with("clear") {
            tx.get(b"w/2").await.unwrap();
            tx.add_read_conflict(KeyRange::prefix(b"elsewhere/"));
        }
        write(&mut tx);
        tx.commit().await.unwrap();
        world.env.timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("{name} completed no watch"));
    }
}

pub(crate) async fn no_wake_up_is_lost(world: &World) {
    let store = world.open().await;
    let reached = chase(world, &store).await;
    assert!(reached, "a wake-up was lost");
}

/// Lets watchers chase a counter that others count up; whether all saw its last value.
pub(crate) async fn chase(world: &World, store: &Store) -> bool {
    let (writers, each) = (3, world.times(15, 8) as u64);
    let last = writers * each;
    let counts = (0..writers).map(|_| {
        let (store, env) = (store.clone(), world.env.clone());
        async move {
            for _ in 0..each {
                let mut tx = store.begin();
                tx.atomic(AtomicOp::Add, "chased", le(1));
                tx.commit().await.unwrap();
                pause(&env).await;
            }
        }
    });
    let other = world.other_client(store).await;
    let chasers = (0..4).map(|n| {
        let (store, env) = (if n % 2 == 0 { store.clone() } else { other.clone() }, world.env.clone());
        async move {
            loop {
                let watch = store.watch("chased").await.unwrap();
                pause(&env).await;
                if number(value(&store, b"chased").await.as_ref()) == last {
                    return true;
                }
                pause(&env).await;
                if env.timeout(PATIENCE, watch).await.is_err() {
                    return false;
                }
            }
        }
    });
    let (reached, _) = futures::join!(world.at_once(chasers), world.at_once(counts));
    reached.into_iter().all(|reached| reached)
}

pub(crate) async fn a_watch_sees_what_another_client_changes(world: &World) {
    let store = world.open().await;
    let other = world.other_client(&store).await;
    for round in 0..5u64 {
        let key = Bytes::from(format!("far/{round}"));
        let watch = store.watch(key.clone()).await.unwrap();
        pause(&world.env).await;
        put(&other, key.clone(), le(round)).await.unwrap();
        world.env.timeout(PATIENCE, watch).await.expect("the watch never completed");
        assert_eq!(number(value(&store, &key).await.as_ref()), round, "told before it is visible");
    }
}
