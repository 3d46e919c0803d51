//! `kelpie-sim list`.

use std::process::ExitCode;

use kelpie_dst::{judge, schedule, workload};
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
            judge::ALL.iter().map(|judge| json!({ "name": judge.name, "about": judge.about })).collect();
        let not_drawn: Vec<_> =
            schedule::NOT_DRAWN.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
        println!(
            "{}",
            json!({
                "scenarios": scenarios,
                "faults": faults,
                "not_drawn": not_drawn,
                "invariants": invariants,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("scenarios");
    for workload in workload::ALL {
        println!("  {:<16} {}", workload.name, workload.about);
    }
    println!("\ninvariants");
    for judge in judge::ALL {
        println!("  {:<16} {}", judge.name, judge.about);
    }
    println!("\n{} faults", faults.len());
    for fault in faults {
        match schedule::NOT_DRAWN.iter().find(|(name, _)| *name == fault) {
            Some((_, why)) => println!("  {fault:<26} not in clusters: {why}"),
            None => println!("  {fault}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
