//! `kelpie-sim steps`: what was committed, in the words of the specifications.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use kelpie_core::protocol::Step;
use kelpie_dst::run;
use kelpie_dst::workload::by_name;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The scenario to run
    #[arg(long)]
    scenario: String,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Machines come and go and are told to, and nothing else goes wrong
    #[arg(long)]
    churn: bool,
    /// A seeded bug to arm
    #[arg(long)]
    mutant: Option<String>,
    /// Where the files go: one for each run, one step a line, in the order of the commits
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::arm(args.mutant.as_deref())?;
    let scenario = &args.scenario;
    let workload = by_name(scenario).ok_or_else(|| run::UnknownScenario { name: scenario.clone() })?;
    for seed in args.from..args.from + args.seeds {
        let draw = if args.churn { run::draw_churning } else { run::draw };
        let (_, steps) = run::recorded(&draw(workload, seed))?;
        write(&args.out.join(format!("{scenario}-{seed}.jsonl")), &lines(&steps)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(steps: &[Step]) -> anyhow::Result<String> {
    let line = |step| serde_json::to_string(step).context("cannot write a step as JSON");
    let lines: Vec<String> = steps.iter().map(line).collect::<Result<_, _>>()?;
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let dir = file.parent().context("a file in a folder")?;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
