//! `kelpie-sim replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use kelpie_dst::{run, story};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A schedule, as `run` and `shrink` write it
    file: PathBuf,
    /// The verdict as one line of JSON instead of the story
    #[arg(long)]
    json: bool,
    /// Where a page goes that shows the run in a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let schedule = super::read(&args.file)?;
    super::arm(schedule.mutant.as_deref())?;
    let verdict = run::run(&schedule)?;
    if let Some(html) = &args.html {
        super::show(html, &schedule)?;
    }
    if args.json {
        super::say(&super::as_json(&schedule, &verdict).to_string())?;
    } else {
        super::say(story::story(&schedule, &verdict).trim_end())?;
        super::say(&format!("trace hash {:016x} after {} events", verdict.trace_hash, verdict.events))?;
    }
    Ok(if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
