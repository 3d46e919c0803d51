//! The command line of Kelpie.
//!
//! ```text
//!   serve ──▶ server ── agent ── runtime ── store      the one command that opens a store
//!   chat · agents · actor · node · doctor ──HTTP──▶ a running server
//!   store ──HTTP──▶ a running server, or the directory of one that does not run
//!   demo ──▶ starts `serve` as a child, speaks HTTP to it, and pulls its plug
//! ```
//!
//! Invariant: only `serve` assembles the crates; every other command is a client of the
//! public API, so what it can do a user's program can do too. `store` opens a directory only
//! under its lock, so never one that a server has open.

mod actor;
mod agents;
mod args;
mod chat;
mod client;
mod demo;
mod doctor;
mod embeddings;
mod exit;
mod node;
mod ports;
mod say;
mod serve;
mod stop;
mod store;

use std::process::ExitCode;

use clap::Parser;
use kelpie_env::Env;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Exit::Failed, format!("cannot start threads: {error}")).report(),
    };
    let env = kelpie_env::real::env_on(runtime.handle());
    let ended = runtime.block_on(run(cli, env));
    // A read of the standard input cannot be cancelled: do not wait for it.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli, env: Env) -> Result<Exit, Failure> {
    match cli.command {
        Command::Serve(args) => serve::run(*args, env).await,
        Command::Chat(args) => chat::run(args, env).await,
        Command::Agents(args) => agents::run(args, env).await,
        Command::Actor(args) => actor::run(args, env).await,
        Command::Node(args) => node::run(args, env).await,
        Command::Store(args) => store::run(args, env).await,
        Command::Doctor(args) => doctor::run(args, env).await,
        Command::Demo(args) => demo::run(args, env).await,
    }
}
