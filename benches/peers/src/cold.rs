//! The first call of an actor that is not in memory.

use std::time::Duration;

use kelpie_machine::section::{quantile, show};
use kelpie_runtime::{Options, Runtime};
use kelpie_storage::StoreConfig;

use crate::counter;

const ACTORS: usize = 20_000;
const IDLE_AFTER: Duration = Duration::from_secs(4);

pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [fresh, claimed, again] = runtime.block_on(times());
    let line =
        |times: &[Duration]| format!("p50 {}, p99 {}", show(quantile(times, 50)), show(quantile(times, 99)));
    format!(
        "The first call of an actor that is not in memory, {ACTORS} typed read calls in a row, embedded store: of an actor that\n\
         this process owns already {}; of one that it has to claim from a former process, with the commit of that, {};\n\
         of one that never was, {}.\n\n",
        line(&again),
        line(&claimed),
        line(&fresh),
    )
}

async fn times() -> [Vec<Duration>; 3] {
    let env = kelpie_env::real::env();
    let dir = tempfile::tempdir().unwrap();
    let store = StoreConfig::embedded(dir.path());
    let options = || Options { idle_after: IDLE_AFTER, idle_activations_max: ACTORS, ..counter::options() };
    let runtime = counter::node(&env, &store, options()).await;
    let fresh = first_calls(&runtime).await;
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    let runtime = counter::node(&env, &store, options()).await;
    let claimed = first_calls(&runtime).await;
    runtime.store().checkpoint().await.unwrap();
    while runtime.activations() > 0 {
        env.sleep(Duration::from_millis(100)).await;
    }
    let again = first_calls(&runtime).await;
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    [fresh, claimed, again]
}

async fn first_calls(runtime: &Runtime) -> Vec<Duration> {
    let env = runtime.env().clone();
    let runtime = runtime.clone();
    let (done, ended) = tokio::sync::oneshot::channel();
    env.clone().spawn("caller", async move {
        let mut times = Vec::with_capacity(ACTORS);
        for number in 0..ACTORS {
            let client = counter::client(&runtime, &format!("c{number}"));
            let began = env.now();
            client.get().await.unwrap();
            times.push(env.now().saturating_sub(began));
        }
        done.send(times).unwrap();
    });
    ended.await.unwrap()
}
