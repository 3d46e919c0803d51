//! The PostgreSQL store beside pgbench on the same server, in one run: prints its section of
//! `docs/performance.md`.
//!
//! `cargo xtask postgres cargo bench -p kelpie-storage --bench postgres` starts a server and
//! prints it; with `-- --write` it replaces the section. `profile` is Kelpie alone at 64
//! clients, for a profiler. Contestants take turns, round by round, on the same tables;
//! ratios are medians over the rounds. On a machine that others use, run server and bench with
//! real-time priority: there a wake-up otherwise waits for whoever computes.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod clients;
mod pgbench;
mod table;

use std::path::Path;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_storage::Store;

use crate::clients::Round;
use crate::pgbench::{FORMS, Pgbench};
use crate::table::Table;

/// Rounds of each contestant.
const ROUNDS: usize = 5;
/// Of one round; pgbench counts whole seconds.
const TIME: Duration = Duration::from_secs(3);
/// Actors of one client: nobody fights over a row, as with one owner for each actor.
pub(crate) const ACTORS: u64 = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let server = std::env::var("KELPIE_TEST_POSTGRES").expect("a server: see `cargo xtask postgres`");
    let env = kelpie_env::real::env_on(runtime.handle());
    let asked = |what: &str| arguments.iter().any(|argument| argument == what);
    let (task, done) = tokio::sync::oneshot::channel();
    let profiled = asked("profile");
    let inside = env.clone();
    // On a worker, where the connections are: the main thread would be one more to wake.
    env.spawn("bench", async move {
        let page = if profiled { profile(&inside, &server).await } else { measure(&inside, &server).await };
        task.send(page).unwrap();
    });
    let page = runtime.block_on(done).expect("the bench has ended early");
    println!("{page}");
    if asked("--write") {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"));
        let page = kelpie_machine::with_section(&kelpie_machine::file(path), table::TITLE, &page);
        kelpie_machine::replace(&env, path, page.as_bytes());
    }
}

async fn open(env: &Env, server: &str, schema: &str, clients: u64) -> Store {
    let url = format!("{server}?schema={schema}&pool_size={}", clients.max(2));
    Store::open(&url.parse().unwrap(), env).await.unwrap()
}

async fn measure(env: &Env, server: &str) -> String {
    let mut table = Table::default();
    let before = kelpie_machine::load();
    for clients in [1, 64] {
        let schema = format!("bench_{clients}");
        let store = open(env, server, &schema, clients).await;
        clients::fill(&store, clients).await;
        let pgbench = Pgbench::new(server, &schema);
        let mut ours: Vec<Round> = Vec::new();
        let mut theirs: [Vec<Round>; FORMS.len()] = Default::default();
        for _ in 0..ROUNDS {
            ours.push(clients::round(env, &store, clients, TIME).await);
            for (form, rounds) in FORMS.iter().zip(&mut theirs) {
                rounds.push(pgbench.round(form, clients, TIME).await);
            }
        }
        table.rounds(clients, &ours, &theirs);
        store.close().await.unwrap();
    }
    table.page(&pgbench::version().await, &before, &kelpie_machine::load())
}

async fn profile(env: &Env, server: &str) -> String {
    let store = open(env, server, "bench_profile", 64).await;
    clients::fill(&store, 64).await;
    let round = clients::round(env, &store, 64, 4 * TIME).await;
    store.close().await.unwrap();
    format!("{round:?}")
}
