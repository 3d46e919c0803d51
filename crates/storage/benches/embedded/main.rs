//! The embedded store beside what it could be made of, in one run: prints its section of
//! `docs/performance.md`.
//!
//! `cargo bench -p kelpie-storage --bench embedded` prints it, with `-- --write` it replaces
//! the section; names (`commits`, `slow`, `reads`, `stalls`, `recovery`, `memory`) choose parts;
//! `profile` is Kelpie alone at 64 clients, for a profiler.
//! Contestants take turns, round by round, each in a fresh directory on the disk of
//! `target`; ratios are medians over the rounds. On a machine that others use, run it with
//! real-time priority: there a wake-up otherwise waits for whoever computes.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

mod commits;
mod grouped;
mod peers;
mod reads;
mod sizes;
mod slow;
mod table;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::table::Table;

/// A directory on the disk that the build uses: a temporary one may be in memory.
pub(crate) fn fresh_dir() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let wanted = |part: &str| {
        let mut parts = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        parts.peek().is_none() || parts.any(|name| name == part)
    };
    let page = runtime.block_on(async {
        let env = kelpie_env::real::env();
        let mut table = Table::default();
        let before = kelpie_machine::load();
        if wanted("commits") {
            commits::measure(&env, &mut table, 7, Duration::from_millis(300)).await;
        }
        if wanted("slow") {
            slow::measure(&env, &mut table, 5, Duration::from_millis(300)).await;
        }
        if wanted("reads") {
            reads::measure(&env, &mut table, 5).await;
        }
        if wanted("stalls") {
            sizes::stalls(&env, &mut table).await;
        }
        if wanted("recovery") {
            sizes::recovery(&env, &mut table).await;
        }
        if wanted("memory") {
            sizes::memory(&env, &mut table).await;
        }
        if arguments.iter().any(|argument| argument == "profile") {
            commits::profile(&env).await;
        }
        table.page(&before, &kelpie_machine::load())
    });
    println!("{page}");
    if arguments.iter().any(|argument| argument == "--write") {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"));
        let _inside = runtime.enter();
        let env = kelpie_env::real::env();
        let page = kelpie_machine::with_section(&kelpie_machine::file(path), table::TITLE, &page);
        kelpie_machine::replace(&env, path, page.as_bytes());
    }
}
