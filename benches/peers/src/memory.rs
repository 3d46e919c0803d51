//! Bytes of an idle actor: what is on the heap with so many of them, and without.

use std::fmt::Write;
use std::time::Duration;

use kelpie_runtime::Options;
use kelpie_storage::StoreConfig;

use crate::{callers, counter, heap, others};

const PEERS: usize = 100_000;
const ACTIVATIONS: [usize; 2] = [100_000, 1_000_000];
/// How many are made first, to know how long this machine takes for one.
const TRIED: usize = 20_000;
/// Activations stay so many times as long as it should take to make them, and this much more.
const SPARE: u32 = 4;
const STAY_MIN: Duration = Duration::from_secs(30);

pub(crate) fn measure() -> String {
    let mut page = format!(
        "Bytes that an idle actor holds on the heap: a counter that was called once. Of the others, with {PEERS} of them; of\n\
         Kelpie, what is given back when all activations leave memory (nothing else happens in between), so it includes the\n\
         counter's record.\n\n\
         | idle actor | how many | bytes of each |\n|---|---|---|\n",
    );
    for (name, bytes) in peers() {
        writeln!(page, "| {name} | {PEERS} | {bytes} |").unwrap();
    }
    let mut notes = String::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let tried = runtime.block_on(activations(TRIED, 3 * STAY_MIN)).took;
    for count in ACTIVATIONS {
        let stay = STAY_MIN + tried * (SPARE * u32::try_from(count / TRIED).unwrap());
        let Held { bytes, state, resident, took } = runtime.block_on(activations(count, stay));
        writeln!(page, "| Kelpie, embedded store | {count} | {bytes} |").unwrap();
        writeln!(
            notes,
            "{count} activations were made in {:.0} s, each with a durable turn; {state} of the bytes of each are\n\
             what the runtime counts as records; {} MiB resident with all of them and the store.\n",
            took.as_secs_f64(),
            resident >> 20,
        )
        .unwrap();
    }
    format!("{page}\n{notes}")
}

/// What so many of the others hold, each kind in a system that ends before the next one begins: what
/// one kind gives back is not taken for what the next one has.
fn peers() -> [(&'static str, i64); 4] {
    let channel = others::on_one_thread(each(async || {
        let channel = others::channel();
        others::ask_channel(&channel).await;
        channel
    }));
    let ractor = others::on_one_thread(each(async || {
        let actor = others::ractor().await;
        others::ask_ractor(&actor).await;
        actor
    }));
    let kameo = others::on_one_thread(each(async || {
        let actor = others::kameo();
        others::ask_kameo(&actor).await;
        actor
    }));
    let actix = others::on_one_thread(each(async || {
        let actor = others::actix();
        others::ask_actix(&actor).await;
        actor
    }));
    [("task with a channel", channel), ("ractor 0.16", ractor), ("kameo 0.22", kameo), ("actix 0.13", actix)]
}

/// Bytes of each of [`PEERS`] that `make` makes.
async fn each<T>(make: impl AsyncFn() -> T) -> i64 {
    let before = heap::live();
    let mut all = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        all.push(make().await);
    }
    (heap::live() - before) / i64::try_from(PEERS).unwrap()
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
    let called = runtime.clone();
    let took = callers::all(&env, count, move |number| {
        let client = counter::client(&called, &format!("c{number:07}"));
        async move { assert_eq!(client.add(1).await.unwrap(), 1) }
    })
    .await;
    runtime.store().checkpoint().await.unwrap();
    assert_eq!(runtime.activations(), count, "some left before all were there: this machine is too slow");
    let (with, state, resident) =
        (heap::live(), runtime.cached_bytes() / count, kelpie_machine::resident_bytes(std::process::id()));
    while runtime.activations() > 0 {
        env.sleep(Duration::from_millis(500)).await;
    }
    let without = heap::live();
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    Held { bytes: (with - without) / i64::try_from(count).unwrap(), state, resident, took }
}
