//! A million reminders for tomorrow: what they cost a node that has nothing else to do, and how
//! late one among them is that comes due.

use std::time::Duration;

use kelpie_machine::section::{median, quantile, show};
use kelpie_runtime::Runtime;
use kelpie_storage::StoreConfig;

use crate::{callers, counter};

const REMINDERS: usize = 1_000_000;
const LOOKED_AT: Duration = Duration::from_secs(120);
/// How many come due, one after the other.
const DUE: usize = 21;

pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [none, all] = [0, REMINDERS].map(|count| runtime.block_on(with(count)));
    let late =
        |late: &[Duration]| format!("p50 {}, longest {}", show(median(late)), show(quantile(late, 100)));
    format!(
        "{REMINDERS} actors, each with a reminder for tomorrow and none in memory, embedded store, set in {:.0} s: in {} s the\n\
         node computes {}, without any {}. A reminder that comes due has had its turn so long after its time, {DUE} of\n\
         them one after the other: among that many {}; alone {}.\n\n",
        all.set_in.as_secs_f64(),
        LOOKED_AT.as_secs(),
        show(all.computed),
        show(none.computed),
        late(&all.late),
        late(&none.late),
    )
}

struct Idle {
    /// How long it took to set them.
    set_in: Duration,
    /// What the process computes while nothing is due.
    computed: Duration,
    late: Vec<Duration>,
}

async fn with(count: usize) -> Idle {
    let env = kelpie_env::real::env();
    let dir = tempfile::tempdir().unwrap();
    let store = StoreConfig::embedded(dir.path());
    let runtime = counter::node(&env, &store, counter::options()).await;
    let called = runtime.clone();
    let set_in = callers::all(&env, count, move |number| {
        let client = counter::client(&called, &format!("c{number}"));
        async move { client.later(86_400).await.unwrap() }
    })
    .await;
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    // Another process later: nothing of them is in memory.
    let runtime = counter::node(&env, &store, counter::options()).await;
    env.sleep(Duration::from_secs(2)).await;
    let before = kelpie_machine::cpu(std::process::id());
    env.sleep(LOOKED_AT).await;
    let computed = kelpie_machine::cpu(std::process::id()).saturating_sub(before);
    assert_eq!(runtime.activations(), 0);
    let mut late = Vec::new();
    for number in 0..DUE {
        late.push(lateness(&runtime, &format!("due {number}")).await);
    }
    runtime.drain(Duration::from_secs(5)).await;
    runtime.store().close().await.unwrap();
    Idle { set_in, computed, late }
}

/// How long after its time a reminder's turn has committed.
async fn lateness(runtime: &Runtime, key: &str) -> Duration {
    let (env, client) = (runtime.env(), counter::client(runtime, key));
    let due = env.now() + Duration::from_secs(1);
    client.later(1).await.unwrap();
    while client.get().await.unwrap() == 0 {
        env.sleep(Duration::from_micros(200)).await;
    }
    env.now().saturating_sub(due)
}
