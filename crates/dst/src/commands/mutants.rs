//! `kelpie-sim mutants`, in builds that have seeded bugs.

use std::process::ExitCode;

use kelpie_dst::mutants::{self, Mutant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// This one only
    #[arg(long)]
    mutant: Option<String>,
    /// How many searches for each
    #[arg(long, default_value_t = 20)]
    tries: u32,
    /// How many seeds a search may take: 500 or, for those that are known to be rare, 3000 if not given
    #[arg(long)]
    seeds_max: Option<u64>,
    /// Each row as a line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted: Vec<&Mutant> = mutants::ALL
        .iter()
        .filter(|mutant| args.mutant.as_ref().is_none_or(|name| name == mutant.name))
        .collect();
    anyhow::ensure!(!wanted.is_empty(), "no seeded bug has this name");
    if !args.json {
        super::say(
            "| seeded bug | scenario | found | seeds to detection (median) | violated |\n|---|---|---|---|---|",
        )?;
    }
    let mut missed = 0;
    for mutant in wanted {
        let hunt = mutants::hunt(*mutant, args.tries, args.seeds_max.unwrap_or(mutant.seeds_max))?;
        missed += u32::from(hunt.found < hunt.tries);
        if args.json {
            super::say(&serde_json::to_string(&hunt)?)?;
            continue;
        }
        let seeds = hunt.seeds_median.map_or("–".to_owned(), |seeds| seeds.to_string());
        let by: Vec<_> = hunt.by.iter().map(|(invariant, times)| format!("{invariant} {times}")).collect();
        super::say(&format!(
            "| `{}` | {} | {} of {} | {seeds} | {} |",
            hunt.mutant,
            hunt.scenario,
            hunt.found,
            hunt.tries,
            by.join(", ")
        ))?;
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
