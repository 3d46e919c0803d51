//! `kelpie-sim run`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use kelpie_dst::run::{self, Verdict};
use kelpie_dst::schedule::{self, Schedule};
use kelpie_dst::{shrink, story, workload};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which scenario; all of them in turn if none is given
    #[arg(long)]
    scenario: Option<String>,
    /// This one seed
    #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// So many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// As many seeds as fit into so many minutes, instead of a number of them
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Fail if a fault that clusters can meet had no effect in the whole batch
    #[arg(long)]
    every_fault: bool,
    /// A seeded bug to arm, in a build that has them
    #[arg(long)]
    mutant: Option<String>,
    /// Where a schedule that fails goes
    #[arg(long, value_name = "FILE", default_value = "failure.json")]
    failure: PathBuf,
    /// Each verdict as a line of JSON
    #[arg(long)]
    json: bool,
}

/// What a batch has come to.
#[derive(Default)]
struct Batch {
    runs: u64,
    events: u64,
    simulated: Duration,
    fired: BTreeMap<String, u64>,
    /// Over all verdicts, so that two batches can be compared.
    hash: u64,
}

impl Batch {
    fn add(&mut self, verdict: &Verdict) {
        self.runs += 1;
        self.events += verdict.events;
        self.simulated += verdict.simulated;
        for (fault, times) in &verdict.fired {
            *self.fired.entry(fault.clone()).or_default() += times;
        }
        self.hash = self.hash.rotate_left(5) ^ verdict.trace_hash;
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::arm(args.mutant.as_deref())?;
    let scenarios =
        match &args.scenario {
            Some(name) => {
                let known = workload::by_name(name);
                vec![known.with_context(|| {
                    format!("there is no scenario `{name}`: `kelpie-sim list` names them")
                })?]
            }
            None => workload::ALL.iter().collect(),
        };
    let began = Instant::now();
    let limit = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let seeds = match (args.seed, limit) {
        (Some(seed), _) => seed..=seed,
        (None, Some(_)) => args.from..=u64::MAX,
        (None, None) => args.from..=args.from.saturating_add(args.seeds.max(1) - 1),
    };
    let progress = !args.json && std::io::stderr().is_terminal();
    let mut batch = Batch::default();
    'seeds: for seed in seeds {
        for scenario in &scenarios {
            if limit.is_some_and(|limit| began.elapsed() >= limit) {
                break 'seeds;
            }
            let schedule = Schedule { mutant: args.mutant.clone(), ..run::draw(scenario, seed) };
            let verdict = run::run(&schedule)?;
            batch.add(&verdict);
            if args.json {
                println!("{}", super::as_json(&schedule, &verdict));
            } else if progress && batch.runs.is_multiple_of(16) {
                eprint!("\r{} runs, {:.0} s", batch.runs, began.elapsed().as_secs_f64());
            }
            if args.twice {
                let again = run::run(&schedule)?;
                if again.trace_hash != verdict.trace_hash || again.events != verdict.events {
                    super::complain(&format!(
                        "seed {seed} of {} is not the same twice: {:016x} after {} events, then {:016x} after {}",
                        scenario.name, verdict.trace_hash, verdict.events, again.trace_hash, again.events
                    ));
                    return Ok(ExitCode::FAILURE);
                }
            }
            if !verdict.violations.is_empty() {
                fail(args, &schedule, &verdict)?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    summary(args, &batch, began.elapsed());
    let missing: Vec<&str> = batch
        .fired
        .iter()
        .filter(|(fault, times)| **times == 0 && schedule::NOT_DRAWN.iter().all(|(name, _)| name != fault))
        .map(|(fault, _)| fault.as_str())
        .collect();
    if args.every_fault && !missing.is_empty() {
        super::complain(&format!(
            "these faults had no effect in {} runs: {}",
            batch.runs,
            missing.join(", ")
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(args: &Args, schedule: &Schedule, verdict: &Verdict) -> anyhow::Result<()> {
    super::write(&args.failure, schedule)?;
    if args.json {
        return Ok(());
    }
    let shrunk = shrink::shrink(schedule, 400)?;
    if let Some(shrunk) = &shrunk {
        super::write(&args.failure, &shrunk.schedule)?;
        println!("{}", story::story(&shrunk.schedule, &shrunk.verdict));
    } else {
        println!("{}", story::story(schedule, verdict));
    }
    println!(
        "FAILED  scenario {}, seed {}, commit {}\nagain:  kelpie-sim replay {}",
        schedule.scenario,
        schedule.seed,
        commit(),
        args.failure.display(),
    );
    Ok(())
}

/// The commit that was checked out, for a report.
fn commit() -> String {
    let asked = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let told = asked.ok().filter(|output| output.status.success());
    told.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn summary(args: &Args, batch: &Batch, took: Duration) {
    let rate = batch.events as f64 / took.as_secs_f64().max(0.001);
    let ratio = batch.simulated.as_secs_f64() / took.as_secs_f64().max(0.001);
    if args.json {
        println!(
            "{}",
            json!({
                "runs": batch.runs,
                "events": batch.events,
                "events_per_second": rate,
                "simulated_ms": batch.simulated.as_millis(),
                "times_real": ratio,
                "fired": batch.fired,
                "trace_hash": format!("{:016x}", batch.hash),
            })
        );
        return;
    }
    println!("\rfaults that had an effect");
    for (fault, times) in &batch.fired {
        println!("  {fault:<24} {times}");
    }
    println!(
        "{} runs, no violation; {} events in {:.1} s ({rate:.0}/s), {:.0} s simulated ({ratio:.0} times real)",
        batch.runs,
        batch.events,
        took.as_secs_f64(),
        batch.simulated.as_secs_f64(),
    );
    println!("trace hash {:016x}", batch.hash);
}
