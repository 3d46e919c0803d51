//! `kelpie-sim list`.

use std::process::ExitCode;

use kelpie_dst::{invariant, judge, marks, schedule, workload};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// As one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let faults = schedule::fault_names();
    if args.json {
        let scenarios: Vec<_> = workload::ALL
            .iter()
            .map(|workload| json!({ "name": workload.name, "about": workload.about }))
            .collect();
        let invariants: Vec<_> =
            invariants().map(|(name, about)| json!({ "name": name, "about": about })).collect();
        let not_drawn: Vec<_> =
            schedule::NOT_DRAWN.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
        let marks: Vec<_> =
            marks::MARKS.iter().map(|(name, about)| json!({ "name": name, "about": about })).collect();
        let all = json!({
            "scenarios": scenarios,
            "faults": faults,
            "not_drawn": not_drawn,
            "marks": marks,
            "invariants": invariants,
        });
        super::say(&all.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    super::say("scenarios")?;
    for workload in workload::ALL {
        super::say(&format!("  {:<16} {}", workload.name, workload.about))?;
    }
    super::say("\ninvariants")?;
    for (name, about) in invariants() {
        super::say(&format!("  {name:<22} {about}"))?;
    }
    super::say(&format!("\n{} faults", faults.len()))?;
    let known = faults.clone();
    for fault in faults {
        match schedule::NOT_DRAWN.iter().find(|(name, _)| *name == fault) {
            Some((_, why)) => super::say(&format!("  {fault:<26} not in clusters: {why}"))?,
            None => super::say(&format!("  {fault}"))?,
        }
    }
    super::say("\nfaults that wait")?;
    for (name, why) in schedule::NOT_DRAWN.iter().filter(|(name, _)| !known.contains(name)) {
        super::say(&format!("  {name:<26} {why}"))?;
    }
    super::say("\nmarks, which a batch has to meet as well")?;
    for (name, about) in marks::MARKS {
        super::say(&format!("  {name:<26} {about}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Name and meaning of everything that is checked: after each commit, and of whole histories.
fn invariants() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_rows = invariant::ALL.iter().map(|invariant| (invariant.name, invariant.about));
    let of_runs = [
        (
            "NothingLeftUndone",
            "a cluster that was healed and has settled owes nothing, and no node that is gone counts as live",
        ),
        ("TurnsRepeat", "a handler goes the same way when its turn runs again from its recorded steps"),
        ("NoPanic", "no task of a machine panics"),
        ("Judge", "the judge itself can tell what the history means"),
        ("Determinism", "a seed is one run, twice in a process and in a fresh one"),
    ];
    of_rows.chain(judge::ALL.iter().map(|judge| (judge.name, judge.about))).chain(of_runs)
}
