//! Kelpie beside other actors and durable engines, in one run: prints its section of
//! `docs/performance.md`.
//!
//! `cargo run --release -p kelpie-peers` prints it, with `-- --write` it replaces what it has measured;
//! names (`calls`, `arguments`, `memory`, `cold`, `wakes`, `durable`) choose parts. Contestants take turns, so
//! that a machine whose speed drifts hits all of them; medians and ratios are what to quote.
//!
//! Restate takes part if `KELPIE_BENCH_NODE_MODULES` names a `node_modules` folder with
//! it: `npm install @restatedev/restate-server @restatedev/restate-sdk node@22` makes one.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the section is its output")]

mod arguments;
mod callers;
mod calls;
mod cold;
mod counter;
mod durable;
mod engines;
mod heap;
mod load;
mod memory;
mod others;
mod serve;
mod wakes;

use kelpie_machine::section::Section;

const SECTION: Section = Section {
    title: "## Actors beside others",
    introduction: "Made by `cargo run --release -p kelpie-peers -- --write`, part by part. Contestants take turns in \
one run; each figure is\nthe median of the rounds. Absolute times are this machine's; compare rows.",
};

/// Measures one part and says what came of it.
type Measure = fn() -> String;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serves, dir] = &arguments[..]
        && serves == serve::ARGUMENT
    {
        return serve::run(dir);
    }
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let runs = |part: &str| chosen.is_empty() || chosen.contains(&part);
    let parts: [(&str, &str, Measure); 6] = [
        ("calls", "A call in memory", calls::measure),
        ("arguments", "Arguments of a typed call", arguments::measure),
        ("memory", "An idle actor in memory", memory::measure),
        ("cold", "The first call", cold::measure),
        ("wakes", "Idle reminders", wakes::measure),
        ("durable", "Durable turns", durable::measure),
    ];
    for (_, heading, measure) in parts.into_iter().filter(|(name, _, _)| runs(name)) {
        let before = kelpie_machine::load();
        let part = Section::part(heading, &before, &measure());
        println!("{part}");
        if arguments.iter().any(|argument| argument == "--write") {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let env = kelpie_env::real::env_on(runtime.handle());
            SECTION.write(&env, concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"), &part);
        }
    }
}
