//! A million reminders for tomorrow: what they cost a node that has nothing else to do.

use std::time::Duration;

use futures::StreamExt;
use kelpie_storage::StoreConfig;

use crate::section::show;
use crate::{counter, machine};

const REMINDERS: usize = 1_000_000;
const AT_ONCE: usize = 128;
const LOOKED_AT: Duration = Duration::from_secs(120);

pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [none, all] = [0, REMINDERS].map(|count| runtime.block_on(idle(count)));
    format!(
        "{REMINDERS} actors, each with a reminder for tomorrow and none in memory, embedded store: in {} s the node computes\n\
         {}, without any {}.\n\n",
        LOOKED_AT.as_secs(),
        show(all),
        show(none),
    )
}

/// What the process computes while so many reminders are idle.
async fn idle(count: usize) -> Duration {
    let env = kelpie_env::real::env();
    let dir = tempfile::tempdir().unwrap();
    let store = StoreConfig::embedded(dir.path());
    let runtime = counter::node(&env, &store, counter::options()).await;
    let (done, ended) = tokio::sync::oneshot::channel();
    let callers = runtime.clone();
    env.spawn("callers", async move {
        let calls = (0..count).map(|number| {
            let client = counter::client(&callers, &format!("c{number}"));
            async move { client.later(86_400).await.unwrap() }
        });
        futures::stream::iter(calls).buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(())).await;
        done.send(()).unwrap();
    });
    ended.await.unwrap();
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    // Another process later: nothing of them is in memory.
    let runtime = counter::node(&env, &store, counter::options()).await;
    env.sleep(Duration::from_secs(2)).await;
    let before = machine::cpu(std::process::id());
    env.sleep(LOOKED_AT).await;
    let used = machine::cpu(std::process::id()).saturating_sub(before);
    assert_eq!(runtime.activations(), 0);
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    used
}
