//! Bytes of an idle actor: what is on the heap with so many of them, and without.

use std::fmt::Write;
use std::time::Duration;

use futures::StreamExt;
use kelpie_env::Env;
use kelpie_runtime::{Options, Runtime};
use kelpie_storage::StoreConfig;

use crate::{counter, heap, machine, others};

const PEERS: usize = 100_000;
/// Activations, and how long they stay: longer than it takes to make them.
const ACTIVATIONS: [(usize, Duration); 2] =
    [(100_000, Duration::from_secs(60)), (1_000_000, Duration::from_secs(300))];
const AT_ONCE: usize = 128;

pub(crate) fn measure() -> String {
    let mut page = format!(
        "Bytes that an idle actor holds on the heap: a counter that was called once. Of the others, with {PEERS} of them; of\n\
         Kelpie, what is given back when all activations leave memory (nothing else happens in between), so it includes the\n\
         counter's record.\n\n\
         | idle actor | how many | bytes of each |\n|---|---|---|\n",
    );
    for (name, bytes) in others::on_one_thread(peers()) {
        writeln!(page, "| {name} | {PEERS} | {bytes} |").unwrap();
    }
    let mut notes = String::new();
    for (count, idle_after) in ACTIVATIONS {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let Held { bytes, state, resident, took } = runtime.block_on(activations(count, idle_after));
        writeln!(page, "| Kelpie, embedded store | {count} | {bytes} |").unwrap();
        writeln!(
            notes,
            "{count} activations were made in {:.0} s by {AT_ONCE} callers, each with a durable turn; {state} of the bytes of each are\n\
             what the runtime counts as records; {} MiB resident with all of them and the store.\n",
            took.as_secs_f64(),
            resident >> 20,
        )
        .unwrap();
    }
    format!("{page}\n{notes}")
}

async fn peers() -> Vec<(&'static str, i64)> {
    let mut figures = Vec::new();
    let before = heap::live();
    let mut all = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let channel = others::channel();
        others::ask_channel(&channel).await;
        all.push(channel);
    }
    figures.push(("task with a channel", each(before, PEERS)));
    drop(all);
    let before = heap::live();
    let mut all = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let actor = others::ractor().await;
        others::ask_ractor(&actor).await;
        all.push(actor);
    }
    figures.push(("ractor 0.16", each(before, PEERS)));
    for actor in all {
        actor.stop(None);
    }
    let before = heap::live();
    let mut all = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let actor = others::kameo();
        others::ask_kameo(&actor).await;
        all.push(actor);
    }
    figures.push(("kameo 0.22", each(before, PEERS)));
    drop(all);
    let before = heap::live();
    let mut all = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let actor = others::actix();
        others::ask_actix(&actor).await;
        all.push(actor);
    }
    figures.push(("actix 0.13", each(before, PEERS)));
    figures
}

fn each(before: i64, count: usize) -> i64 {
    (heap::live() - before) / i64::try_from(count).unwrap()
}

struct Held {
    bytes: i64,
    state: usize,
    resident: u64,
    took: Duration,
}

async fn activations(count: usize, idle_after: Duration) -> Held {
    let env = kelpie_env::real::env();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        idle_after,
        idle_activations_max: count,
        cached_bytes_max: usize::MAX,
        ..counter::options()
    };
    heap::live();
    let runtime = counter::node(&env, &StoreConfig::embedded(dir.path()), options).await;
    let took = add_to_all(&env, &runtime, count).await;
    runtime.store().checkpoint().await.unwrap();
    assert_eq!(runtime.activations(), count, "some left before all were there: this machine is too slow");
    let (with, state, resident) = (heap::live(), runtime.cached_bytes() / count, machine::resident_bytes());
    while runtime.activations() > 0 {
        env.sleep(Duration::from_millis(500)).await;
    }
    let without = heap::live();
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    Held { bytes: (with - without) / i64::try_from(count).unwrap(), state, resident, took }
}

/// One durable turn on each of so many counters.
async fn add_to_all(env: &Env, runtime: &Runtime, count: usize) -> Duration {
    let began = env.now();
    let (done, ended) = tokio::sync::oneshot::channel();
    let callers = runtime.clone();
    env.spawn("callers", async move {
        let adds = (0..count).map(|number| {
            let client = counter::client(&callers, &format!("c{number:07}"));
            async move { client.add(1).await.unwrap() }
        });
        futures::stream::iter(adds).buffer_unordered(AT_ONCE).for_each(|_| std::future::ready(())).await;
        done.send(()).unwrap();
    });
    ended.await.unwrap();
    env.now().saturating_sub(began)
}
