//! The one command that runs every check and every test, cheapest first.
//!
//! A stage ends as passed, failed or NOT RUN; what cannot run here is listed at the end with
//! the command that installs it, and never counts as passed. The first failed stage ends the
//! run. The last line is always `N passed, N failed`, summed over all stages.
//!
//! The workspace is built twice for tests: once as users get it, with every test, and once,
//! only the crates that have them, with their seeded bugs (feature `mutants`) for the tests
//! that show that each bug is caught. A build with all features alone would be cheaper by a
//! few minutes, but nothing that users run would have been tested.

mod conformance;
mod count;
mod foundationdb;
mod stages;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use crate::tools::Tools;

/// How long the variants of tests are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Length {
    /// For every change.
    Short,
    /// Everything that a person with time can wait for.
    Full,
}

/// What stages share.
struct Context<'a> {
    root: &'a Path,
    length: Length,
    tools: Tools,
    /// Where the conformance suite writes down what it has shown.
    records: PathBuf,
}

/// How a stage ended.
enum Ended {
    Counted(count::Counts),
    /// Nothing to do yet or nothing to count.
    Done,
    NotRun(String),
}

/// Runs all stages; `false` says that one failed.
pub(crate) fn run(root: &Path, length: Length) -> Result<bool> {
    let records = conformance::records(root)?;
    let mut context = Context { root, length, tools: Tools::default(), records };
    let stages = stages::ALL;
    println!("stages: {}", stages.iter().map(|stage| stage.name).collect::<Vec<_>>().join(", "));
    let mut table = Vec::new();
    let mut not_run = Vec::new();
    let mut total = count::Counts::default();
    let mut broken = false;
    let begin = Instant::now();
    for stage in stages {
        if broken {
            table.push(format!("{:<12} not reached", stage.name));
            continue;
        }
        println!("\n== {} ==", stage.name);
        let start = Instant::now();
        let ended = (stage.run)(&mut context).unwrap_or_else(|error| {
            println!("{}: {error:#}", stage.name);
            Ended::Counted(count::Counts { passed: 0, failed: 1 })
        });
        let result = match ended {
            Ended::Counted(counts) => {
                total += counts;
                broken = counts.failed > 0;
                format!("{} passed, {} failed", counts.passed, counts.failed)
            }
            Ended::Done => "done".to_owned(),
            Ended::NotRun(missing) => {
                let said = format!("NOT RUN: {missing}");
                not_run.push(format!("{}: {missing}", stage.name));
                said
            }
        };
        let line = format!("{:<12} {:>7.1} s  {result}", stage.name, start.elapsed().as_secs_f64());
        println!("{line}");
        table.push(line);
    }
    println!("\n== what was shown of each store ==\n{}", conformance::table(root, &context.records)?);
    println!("\n== stages, {:.0} s in all ==", begin.elapsed().as_secs_f64());
    for line in table {
        println!("{line}");
    }
    if !not_run.is_empty() {
        println!("\nNOT RUN:");
        for missing in not_run {
            println!("  {missing}");
        }
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(!broken)
}
