//! What a node does to stay alive, with few actors and with many.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kelpie_env::Env;
use kelpie_runtime::Call;
use kelpie_storage::{Memory, Store};

use crate::counter::actor;
use crate::shared::Shared;

/// Actors that the node owns and has in memory.
const OWNED: [u64; 2] = [1_000, 1_000_000];
/// Claims under way at once.
const CLAIMS: u64 = 64;
/// How long the idle node is watched.
const WATCHED: Duration = Duration::from_secs(30);

pub(crate) async fn measure(env: Env) -> String {
    let mut text = format!(
        "A node that nobody calls, watched for {} s, store in memory; all that it does is counted: its beats, its look at\n\
         the others, its scans for what is due.\n\n\
         | actors owned, in memory | commits/s | transactions begun/s | processor time/s |\n|---|---|---|---|\n",
        WATCHED.as_secs(),
    );
    for owned in OWNED {
        let backend = Arc::new(Shared::new(Memory::new(env.clone())));
        let store = Store::from_backend(backend.clone(), env.clone());
        let node = crate::node("n1", &env, store, |_| {}).await;
        for first in (0..owned).step_by(usize::try_from(CLAIMS).unwrap()) {
            let claims = (first..owned.min(first + CLAIMS))
                .map(|n| node.runtime().call(Call::new(actor(format!("c{n}")), "add", "")));
            join_all(claims).await.into_iter().for_each(|claimed| drop(claimed.unwrap()));
        }
        assert_eq!(node.runtime().activations() as u64, owned);
        env.sleep(Duration::from_secs(2)).await;
        let (before, computed) = (backend.counted(), processor_time());
        env.sleep(WATCHED).await;
        let (after, computed) = (backend.counted(), processor_time().saturating_sub(computed));
        let second = |count: u64| count as f64 / WATCHED.as_secs_f64();
        writeln!(
            text,
            "| {owned} | {:.1} | {:.1} | {:.2} ms |",
            second(after.1 - before.1),
            second(after.0 - before.0),
            computed.as_secs_f64() * 1e3 / WATCHED.as_secs_f64(),
        )
        .unwrap();
        node.drain(Duration::from_secs(1)).await;
    }
    text
}

/// What this process has computed so far.
fn processor_time() -> Duration {
    kelpie_machine::cpu(std::process::id())
}
