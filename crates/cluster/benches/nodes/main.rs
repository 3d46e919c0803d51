//! What other nodes cost, beside what could be had without them: prints its section of
//! `docs/performance.md`.
//!
//! `cargo xtask postgres cargo bench -p kelpie-cluster --bench nodes` starts a server and prints it;
//! with `-- --write` it replaces the parts that it has measured. Names (`calls`, `turns`, `renewals`)
//! choose parts. Contestants take turns, round by round; ratios are medians of the ratios.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod calls;
#[path = "../../../storage/benches/postgres/clients.rs"]
#[expect(dead_code, reason = "Kelpie's side is a whole turn here")]
mod clients;
#[path = "../../tests/it/counter.rs"]
mod counter;
#[path = "../../../storage/benches/postgres/pgbench.rs"]
mod pgbench;
mod renewals;
#[path = "../../tests/it/shared.rs"]
mod shared;
mod turns;

use std::time::Duration;

use futures::future::LocalBoxFuture;
use kelpie_cluster::{Node, Options, Protocols, Security};
use kelpie_env::Env;
use kelpie_machine::section::Section;
use kelpie_storage::Store;

use crate::counter::Counter;

/// Actors of one client, in the rows that pgbench writes.
pub(crate) const ACTORS: u64 = 100;

const SECTION: Section = Section {
    title: "## Many nodes",
    introduction: "Made by `cargo xtask postgres cargo bench -p kelpie-cluster --bench nodes -- --write`, part by part. \
Contestants take turns in one\nrun; each figure is the median of the rounds, each ratio that of the ratios round by round. \
Absolute times are this machine's.\nTimes of fail-over and of drains are made by `cargo xtask chaos --release --write`.",
};

/// Measures one part and says what came of it.
type Measure = fn(Env) -> LocalBoxFuture<'static, String>;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let parts: [(&str, &str, Measure); 3] = [
        ("calls", "A call to another node", |env| Box::pin(calls::measure(env))),
        ("turns", "A durable turn on PostgreSQL", |env| Box::pin(turns::measure(env))),
        ("renewals", "Renewing a lease", |env| Box::pin(renewals::measure(env))),
    ];
    let env = kelpie_env::real::env_on(runtime.handle());
    for (_, heading, measure) in
        parts.into_iter().filter(|(name, _, _)| chosen.is_empty() || chosen.contains(name))
    {
        let before = kelpie_machine::load();
        let part = Section::part(heading, &before, &runtime.block_on(measure(env.clone())));
        println!("{part}");
        if arguments.iter().any(|argument| argument == "--write") {
            SECTION.write(&env, concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"), &part);
        }
    }
}

/// A node that others reach on the loopback address.
pub(crate) async fn node(name: &str, env: &Env, store: Store, set: impl FnOnce(&mut Options)) -> Node {
    let mut runtime = kelpie_runtime::Options::alone(name).unwrap();
    runtime.idle_after = Duration::from_secs(3_600);
    runtime.idle_activations_max = usize::MAX;
    runtime.cached_bytes_max = usize::MAX;
    let mut options = Options {
        runtime,
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        security: Security::Loopback,
        protocols: Protocols::default(),
    };
    set(&mut options);
    Box::pin(kelpie_cluster::start(options, env.clone(), store, Counter::all(env))).await.unwrap()
}
