//! `kelpie-sim shrink`.

use std::path::PathBuf;
use std::process::ExitCode;

use kelpie_dst::{shrink, story};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A schedule that fails
    file: PathBuf,
    /// Where the small one goes
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// How many runs it may take
    #[arg(long, default_value_t = 2_000)]
    runs: u32,
    /// What it came to as one line of JSON instead of the story
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let schedule = super::read(&args.file)?;
    super::arm(schedule.mutant.as_deref())?;
    let Some(shrunk) = shrink::shrink(&schedule, args.runs)? else {
        anyhow::bail!("the schedule in {} does not fail", args.file.display());
    };
    super::write(&args.to, &shrunk.schedule)?;
    if args.json {
        super::say(&super::as_json(&shrunk.schedule, &shrunk.verdict).to_string())?;
    } else {
        super::say(story::story(&shrunk.schedule, &shrunk.verdict).trim_end())?;
        super::say(&format!(
            "{} faults and {} calls left, after {} runs: {}",
            shrunk.schedule.faults.len(),
            shrunk.schedule.operations.len(),
            shrunk.runs,
            args.to.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
