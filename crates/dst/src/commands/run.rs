//! `kelpie-sim run`.

mod batch;
mod fresh;
mod jobs;

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use kelpie_dst::judge::Violation;
use kelpie_dst::run::{self, Verdict};
use kelpie_dst::same::{self, Difference};
use kelpie_dst::schedule::{self, Schedule};
use kelpie_dst::workload::{self, Workload};
use kelpie_dst::{shrink, story};

use batch::Batch;

/// How many runs a failure may be shrunk with before it is shown.
const SHRINK_RUNS: u32 = 400;

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
    /// As many seeds as fit into so many minutes (may be a fraction), instead of a number of them
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<f64>,
    /// Of how many seeds, the first ones, to compare a second run in this process and one in a
    /// fresh process with the first; all of them if not given
    #[arg(long, value_name = "SEEDS")]
    check: Option<u64>,
    /// How many runs go on beside each other; as many as there are processors if not given. What is
    /// found does not depend on it
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Fail if a fault that clusters can meet had no effect in the whole batch, or a mark was not met
    #[arg(long)]
    every_fault: bool,
    /// A seeded bug to arm, in a build that has them
    #[arg(long)]
    mutant: Option<String>,
    /// Where a schedule that fails goes
    #[arg(long, value_name = "FILE", default_value = "failure.json")]
    failure: PathBuf,
    /// Where a page goes that shows in a browser the run of a schedule that fails
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Each verdict as a line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::arm(args.mutant.as_deref())?;
    let scenarios = scenarios(args)?;
    let began = Instant::now();
    let limit = args.minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes)).transpose();
    let limit = limit.context("--minutes takes a number of minutes")?;
    let seeds = match (args.seed, limit) {
        (Some(seed), _) => seed..=seed,
        (None, Some(_)) => args.from..=u64::MAX,
        (None, None) => args.from..=args.from.saturating_add(args.seeds.max(1) - 1),
    };
    let checked = args.check.map_or(u64::MAX, |check| seeds.start().saturating_add(check));
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let schedules = seeds
        .flat_map(|seed| scenarios.iter().map(move |scenario| (seed, *scenario)))
        .take_while(|_| limit.is_none_or(|limit| began.elapsed() < limit))
        .map(|(seed, scenario)| Schedule { mutant: args.mutant.clone(), ..run::draw(scenario, seed) });
    let mut batch = Batch::new(began, !args.json, std::io::stderr().is_terminal());
    let ended = jobs::in_order(
        jobs,
        schedules,
        |schedule| one(schedule, checked),
        |ran| match ran {
            Ok(ran) => ran.told(&mut batch, args.json),
            Err(error) => ControlFlow::Break(Err(error)),
        },
    );
    if let ControlFlow::Break(found) = ended {
        found?.fails(args)?;
        return Ok(ExitCode::FAILURE);
    }
    batch.tell(args.json)?;
    let missing: Vec<&str> =
        batch.missing().filter(|fault| schedule::NOT_DRAWN.iter().all(|(name, _)| name != fault)).collect();
    if args.every_fault && !missing.is_empty() {
        super::complain(&format!(
            "these faults had no effect in the batch, or marks were not met: {}",
            missing.join(", ")
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a schedule came to.
struct Ran {
    schedule: Schedule,
    verdict: Verdict,
    /// Whether it ran twice more.
    checked: bool,
    difference: Option<Difference>,
}

impl Ran {
    /// Adds it to the batch, which ends where it is a find.
    fn told(self, batch: &mut Batch, json: bool) -> ControlFlow<anyhow::Result<Self>> {
        batch.add(&self.verdict, self.checked);
        let found = !self.verdict.violations.is_empty();
        if json {
            let mut line = super::as_json(&self.schedule, &self.verdict);
            if found {
                line["commit"] = commit().into();
                line["again"] = again(&self.schedule).into();
            }
            if let Err(error) = super::say(&line.to_string()) {
                return ControlFlow::Break(Err(error));
            }
        }
        if found { ControlFlow::Break(Ok(self)) } else { ControlFlow::Continue(()) }
    }

    /// Tells of a find.
    fn fails(&self, args: &Args) -> anyhow::Result<()> {
        match &self.difference {
            Some(difference) => differs(args, &self.schedule, difference),
            None => fail(args, &self.schedule, &self.verdict),
        }
    }
}

fn scenarios(args: &Args) -> anyhow::Result<Vec<&'static Workload>> {
    let Some(name) = &args.scenario else { return Ok(workload::ALL.iter().collect()) };
    let known = workload::by_name(name);
    Ok(vec![known.with_context(|| format!("there is no scenario `{name}`: `kelpie-sim list` names them"))?])
}

/// Runs a schedule; if its seed is below `checked`, a second time here and once in a fresh process.
fn one(schedule: Schedule, checked: u64) -> anyhow::Result<Ran> {
    let nothing = 0..0;
    if schedule.seed >= checked {
        let verdict = run::run(&schedule)?;
        return Ok(Ran { schedule, verdict, checked: false, difference: None });
    }
    // It goes on beside the two here.
    let fresh = fresh::start(&schedule, &nothing)?;
    let (mut verdict, first) = run::traced(&schedule, &nothing)?;
    let (_, second) = run::traced(&schedule, &nothing)?;
    let recordings = [&first, &second, &fresh.end()?];
    let difference = same::compare(
        recordings,
        |record| Ok::<_, anyhow::Error>(run::traced(&schedule, record)?.1),
        |record| fresh::start(&schedule, record)?.end(),
    )?;
    let differs = |found: &Difference| Violation { invariant: "Determinism", what: found.to_string() };
    verdict.violations.extend(difference.as_ref().map(differs));
    Ok(Ran { schedule, verdict, checked: true, difference })
}

/// A run that cannot be repeated.
fn differs(args: &Args, schedule: &Schedule, difference: &Difference) -> anyhow::Result<()> {
    super::write(&args.failure, schedule)?;
    super::complain(&format!(
        "NOT DETERMINISTIC  scenario {}, seed {}, commit {}\n{difference}\nagain:  {}",
        schedule.scenario,
        schedule.seed,
        commit(),
        again(schedule),
    ));
    Ok(())
}

fn fail(args: &Args, schedule: &Schedule, verdict: &Verdict) -> anyhow::Result<()> {
    super::write(&args.failure, schedule)?;
    if args.json {
        return args.html.as_ref().map_or(Ok(()), |html| super::show(html, schedule));
    }
    super::complain(&format!(
        "scenario {}, seed {} failed; looking for a smaller schedule",
        schedule.scenario, schedule.seed
    ));
    let shrunk = shrink::shrink(schedule, SHRINK_RUNS)?;
    if let Some(shrunk) = &shrunk {
        super::write(&args.failure, &shrunk.schedule)?;
    }
    let (smallest, judged) =
        shrunk.as_ref().map_or((schedule, verdict), |shrunk| (&shrunk.schedule, &shrunk.verdict));
    if let Some(html) = &args.html {
        super::show(html, smallest)?;
    }
    super::say(&story::story(smallest, judged))?;
    super::say(&format!(
        "FAILED  scenario {}, seed {}, commit {}; {} faults and {} calls are left of {} and {}\nagain:  kelpie-sim replay {}",
        schedule.scenario,
        schedule.seed,
        commit(),
        smallest.faults.len(),
        smallest.operations.len(),
        schedule.faults.len(),
        schedule.operations.len(),
        args.failure.display(),
    ))
}

/// What runs the seed of a schedule again.
fn again(schedule: &Schedule) -> String {
    let Schedule { scenario, seed, mutant, .. } = schedule;
    let armed = mutant.as_ref().map_or_else(String::new, |mutant| format!(" --mutant {mutant}"));
    format!("kelpie-sim run --scenario {scenario} --seed {seed}{armed}")
}

/// The commit that was checked out, for a report.
fn commit() -> String {
    let asked = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let told = asked.ok().filter(|output| output.status.success());
    told.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
