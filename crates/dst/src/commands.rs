//! What `kelpie-sim` can do, one file for each.

#![expect(clippy::print_stderr, reason = "a command line tool")]
#![expect(clippy::disallowed_methods, reason = "the tool itself stands outside of what it simulates")]

pub(crate) mod list;
#[cfg(feature = "mutants")]
pub(crate) mod mutants;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod steps;
pub(crate) mod trace;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use kelpie_dst::run::{Verdict, watched};
use kelpie_dst::schedule::Schedule;
use kelpie_dst::timeline;

/// Prints to the standard error.
pub(crate) fn complain(what: &str) {
    eprintln!("kelpie-sim: {what}");
}

/// Prints a line to the standard output.
///
/// # Errors
/// When nobody reads it any more.
fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("nobody reads what is told")
}

/// Reads a schedule from a file.
fn read(path: &Path) -> anyhow::Result<Schedule> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no schedule", path.display()))
}

/// Writes a schedule to a file.
fn write(path: &Path, schedule: &Schedule) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(schedule).context("cannot write a schedule as JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Runs a schedule again and writes what there was to see as a page.
fn show(path: &Path, schedule: &Schedule) -> anyhow::Result<()> {
    let (_, timeline) = watched(schedule)?;
    let page = timeline::page(&timeline).context("cannot write a timeline as JSON")?;
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// Arms the seeded bug that a schedule or an argument names, for the whole process.
fn arm(mutant: Option<&str>) -> anyhow::Result<()> {
    let Some(mutant) = mutant else { return Ok(()) };
    #[cfg(feature = "mutants")]
    {
        kelpie_core::mutant::arm_process(mutant.to_owned());
        Ok(())
    }
    #[cfg(not(feature = "mutants"))]
    anyhow::bail!(
        "this build has no seeded bugs, so not `{mutant}`: build with --features kelpie-dst/mutants"
    )
}

/// A verdict as JSON.
fn as_json(schedule: &Schedule, verdict: &Verdict) -> serde_json::Value {
    serde_json::json!({
        "scenario": schedule.scenario,
        "seed": schedule.seed,
        "nodes": schedule.nodes,
        "events": verdict.events,
        "simulated_ms": verdict.simulated.as_millis(),
        "trace_hash": format!("{:016x}", verdict.trace_hash),
        "fired": verdict.fired,
        "slips": verdict.slips,
        "violations": verdict.violations,
    })
}
