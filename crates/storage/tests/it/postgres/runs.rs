//! Runs that have nothing in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::join_all;
use kelpie_storage::ReadError;

use super::server::{fresh, open};

const CLIENTS: u32 = 64;
const EACH: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_on_other_keys_do_not_conflict_in_a_young_store() {
    let store = open(&fresh().with("pool_size=32")).await;
    let mut tx = store.begin();
    (0..CLIENTS).for_each(|client| tx.set(format!("row/{client:04}"), "0"));
    tx.commit().await.unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let clients = (0..CLIENTS).map(|client| {
        let (store, attempts) = (store.clone(), attempts.clone());
        tokio::spawn(async move {
            for n in 0..EACH {
                let body = |tx: &mut kelpie_storage::Transaction| {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    let key = format!("row/{client:04}");
                    tx.set(key, format!("{n}"));
                };
                let run = store.run(|tx| {
                    body(tx);
                    async { Ok::<_, ReadError>(()) }.boxed()
                });
                run.await.unwrap();
            }
        })
    });
    for ended in join_all(clients).await {
        ended.unwrap();
    }
    let (attempts, runs) = (attempts.load(Ordering::Relaxed), CLIENTS * EACH);
    println!("{attempts} attempts of {runs} runs");
    assert!(attempts < runs + runs / 8, "{attempts} attempts of {runs} runs that have nothing in common");
}
