//! `kelpie-sim`: runs, replays and shrinks simulations.

mod commands;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod libc_net;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Kelpie's production code as simulated clusters, with faults, from seeds.
#[derive(Parser)]
#[command(name = "kelpie-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds, or one.
    Run(commands::run::Args),
    /// Run the schedule in a file again and tell what happens.
    Replay(commands::replay::Args),
    /// Run the schedule on the standard input and print what a comparison needs.
    #[command(hide = true)]
    Trace(commands::trace::Args),
    /// Run seeds and write down their protocol steps, in the words of the specifications.
    Steps(commands::steps::Args),
    /// Find a small schedule that fails as the one in a file does.
    Shrink(commands::shrink::Args),
    /// Search for the seeded bugs and print how soon each is found.
    #[cfg(feature = "mutants")]
    Mutants(commands::mutants::Args),
    /// Name all scenarios, faults and invariants.
    List(commands::list::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Trace(args) => commands::trace::run(&args),
        Command::Steps(args) => commands::steps::run(&args),
        Command::Shrink(args) => commands::shrink::run(&args),
        #[cfg(feature = "mutants")]
        Command::Mutants(args) => commands::mutants::run(&args),
        Command::List(args) => commands::list::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
