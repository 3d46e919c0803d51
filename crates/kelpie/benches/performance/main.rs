//! Kelpie beside a peer, in one run: prints the table of `docs/performance.md`.
//!
//! `cargo bench -p kelpie --bench performance` prints it, with `-- --write` it replaces the
//! page down to the sections that other benches write. Rounds of Kelpie and peer alternate, so
//! that a machine whose speed drifts hits both; medians and ratios are what to quote.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]

mod calls;
mod durable;
mod http;
mod server;
mod table;

use kelpie_env::Env;

use crate::table::Table;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let write = std::env::args().any(|argument| argument == "--write");
    let page = runtime.block_on(async {
        let env = kelpie_env::real::env();
        page(&env).await
    });
    println!("{page}");
    if write {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
        let env = {
            let _inside = runtime.enter();
            kelpie_env::real::env()
        };
        // Behind it is what other benches have written.
        let old = kelpie_machine::file(path);
        let page = page + old.find("\n## ").map_or("", |at| &old[at..]);
        kelpie_machine::replace(&env, path, page.as_bytes());
    }
}

async fn page(env: &Env) -> String {
    let before = kelpie_machine::load();
    let mut table = Table::default();
    calls::measure(env, &mut table).await;
    durable::measure(env, &mut table).await;
    http::measure(env, &mut table).await;
    table.page(&before, &kelpie_machine::load())
}
