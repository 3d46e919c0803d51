//! Repository checks and the one command that runs every test.
//!
//! ```text
//! cargo xtask tidy           rules of the repository: layers, sizes, words, licences, …
//! cargo xtask verification [--check]  puts docs/verification.md together, or says that it is out of date
//! cargo xtask specs [--deep | NAME…]  every TLA+ config: good ones hold, bad ones fail as they say
//! cargo xtask specs --traces [--mutants]  what the code was seen to do is what they allow
//! cargo xtask specs --map    what in the code answers to each invariant and each seeded bug
//! cargo xtask tools          provision what tests need, print it as `export` lines
//! cargo xtask postgres COMMAND…  runs it beside a PostgreSQL server of its own
//! cargo xtask chaos …        faults on three nodes as processes, and a judge; --help says more
//! cargo xtask letta-coverage [--json]  which operations of letta-client are called and checked
//! cargo xtask test [--full]  everything, cheapest first; what continuous integration runs
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "the checks run beside the product, on the real disk and clock, never in the simulator"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to the terminal")]

mod chaos;
mod letta_coverage;
mod process;
mod repo;
mod specs;
mod suite;
mod tidy;
mod tools;
mod verification;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask tidy | verification [--check] | specs [--deep | --map | --traces [--mutants] | NAME…] | tools | postgres COMMAND… | chaos … | letta-coverage [--json] | test [--full]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments name; `false` says that it ran and found something.
fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = repo::root();
    match args.as_slice() {
        ["tidy"] => {
            let outcome = tidy::run(&root)?;
            for skipped in &outcome.skipped {
                println!("NOT RUN: {skipped}");
            }
            println!("{} passed, {} failed", outcome.passed, outcome.failed);
            Ok(outcome.failed == 0)
        }
        ["verification"] => verification::write(&root),
        ["verification", "--check"] => verification::check(&root),
        ["specs", "--map"] => {
            let outcome = specs::print_map(&root)?;
            println!("{} passed, {} failed", outcome.passed, outcome.failed);
            Ok(outcome.failed == 0)
        }
        ["specs", "--traces"] => ended(&specs::traces::run(&root, specs::traces::Bugs::None)?),
        ["specs", "--traces", "--mutants"] => ended(&specs::traces::run(&root, specs::traces::Bugs::Seeded)?),
        ["specs", names @ ..] => {
            let scope = match names {
                [] => specs::Scope::Quick,
                ["--deep"] => specs::Scope::All,
                names => specs::Scope::Named(names),
            };
            ended(&specs::run(&root, &scope)?)
        }
        ["tools"] => {
            let tools = tools::provision(&root)?;
            for (name, value) in tools.exports() {
                println!("export {name}='{value}'");
            }
            for missing in &tools.missing {
                println!("# NOT RUN: {missing}");
            }
            Ok(tools.missing.is_empty())
        }
        ["postgres", program, rest @ ..] => {
            let bin = tools::postgres_bin(&root)?;
            let server = tools::postgres::Server::start(&bin)?;
            let url = Some(server.url());
            let tools = tools::Tools { postgres: Some(bin), postgres_url: url, ..tools::Tools::default() };
            let status = std::process::Command::new(program).args(rest).envs(tools.exports()).status()?;
            Ok(status.success())
        }
        ["chaos", rest @ ..] => chaos::run(&root, rest),
        ["letta-coverage"] => letta_coverage::run(&root, letta_coverage::Shown::Table),
        ["letta-coverage", "--json"] => letta_coverage::run(&root, letta_coverage::Shown::Json),
        ["test"] => suite::run(&root, suite::Length::Short),
        ["test", "--full"] => suite::run(&root, suite::Length::Full),
        _ => bail!(USAGE),
    }
}

/// Says how specifications ended.
fn ended(outcome: &specs::Outcome) -> Result<bool> {
    if let Some(missing) = &outcome.not_run {
        println!("NOT RUN: {missing}");
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    Ok(outcome.failed == 0 && outcome.not_run.is_none())
}
