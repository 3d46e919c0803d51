//! `kelpie-sim trace`: one run for another process to compare with its own.

use std::ops::Range;
use std::process::ExitCode;

use anyhow::Context;
use kelpie_dst::schedule::Schedule;
use kelpie_dst::{run, same};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The number of the first event to record
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The number of the first event not to record any more
    #[arg(long, default_value_t = 0)]
    to: u64,
}

impl Args {
    /// The arguments of a process that records `events`.
    pub(crate) fn line(events: &Range<u64>) -> [String; 5] {
        let option = |name: &str| format!("--{name}");
        ["trace".to_owned(), option("from"), events.start.to_string(), option("to"), events.end.to_string()]
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let schedule: Schedule =
        serde_json::from_reader(std::io::stdin().lock()).context("the standard input holds no schedule")?;
    super::arm(schedule.mutant.as_deref())?;
    let (_, recording) = run::traced(&schedule, &(args.from..args.to))?;
    super::say(&same::to_json(&recording)?)?;
    Ok(ExitCode::SUCCESS)
}
