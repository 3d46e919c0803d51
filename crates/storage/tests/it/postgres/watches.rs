//! Watches that live longer than the server that they were made on.

use std::time::Duration;

use bytes::Bytes;
use kelpie_storage::Watch;

use super::server::{Own, fresh_on, open};
use super::{put, value};

const PATIENCE: Duration = Duration::from_secs(20);

async fn fires(watch: Watch, what: &str) {
    tokio::time::timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("nobody woke the waiter: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_made_before_the_server_is_killed_sees_what_changes_after_it() {
    let mut own = Own::start();
    let url = fresh_on(&own.url());
    let here = open(&url).await;
    for (key, first) in [("there", Some("1")), ("absent", None)] {
        let key = Bytes::from_static(key.as_bytes());
        if let Some(first) = first {
            let mut tx = here.begin();
            tx.set(key.clone(), first);
            tx.commit().await.unwrap();
        }
        let mut watch = here.watch(key.clone()).await.unwrap();
        own.kill();
        tokio::time::timeout(Duration::from_millis(400), &mut watch).await.expect_err("nothing has changed");
        own.start_again();
        let there = open(&url).await;
        tokio::time::timeout(Duration::from_millis(400), &mut watch).await.expect_err("nothing has changed");
        let mut tx = there.begin();
        tx.set(key.clone(), "2");
        tx.commit().await.unwrap();
        fires(watch, "a change after the restart").await;
        assert_eq!(value(&here, &key).await.unwrap(), "2");
        there.close().await.unwrap();
    }
}

/// The change is committed and the server dies before anybody has asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_just_before_the_server_is_killed_is_seen() {
    let mut own = Own::start();
    let url = fresh_on(&own.url());
    let (here, there) = (open(&url).await, open(&url).await);
    put(&here, b"w", b"1").await;
    let watch = here.watch(&b"w"[..]).await.unwrap();
    put(&there, b"w", b"2").await;
    own.kill();
    own.start_again();
    fires(watch, "a change before the restart").await;
    assert_eq!(value(&here, b"w").await.unwrap(), "2");
}

/// A watch cannot be made while the server is away; who was refused reads again later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_stopped_server_is_refused_and_then_made() {
    let mut own = Own::start();
    let here = open(&fresh_on(&own.url())).await;
    own.kill();
    here.watch(&b"w"[..]).await.map(drop).unwrap_err();
    own.start_again();
    let watch = here.watch(&b"w"[..]).await.unwrap();
    put(&here, b"w", b"1").await;
    fires(watch, "a watch made after the restart").await;
}
