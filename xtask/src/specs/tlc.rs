//! TLC, the model checker: how it is started and what its output means.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::config::Config;
use crate::process::silent;

/// What TLC found.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The whole state space was searched, no error.
    Holds,
    /// These invariants or properties are violated.
    Violated { names: Vec<String> },
    /// A state has no successor.
    Deadlock,
    /// TLC could not answer.
    Broken { why: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("no error"),
            Self::Violated { names } => write!(f, "{} is violated", names.join(" and ")),
            Self::Deadlock => f.write_str("deadlock"),
            Self::Broken { why } => f.write_str(why),
        }
    }
}

/// One run of TLC.
pub(super) struct Report {
    pub(super) verdict: Verdict,
    /// Distinct states found.
    pub(super) states: u64,
    /// Depth of the search.
    pub(super) depth: u64,
    pub(super) output: Vec<String>,
}

/// Runs TLC on one config, with its scratch files outside of the sources.
///
/// With one worker: the order of the search decides which of several symmetric states stands
/// for the others, and under a view the number of distinct states depends on it.
pub(super) fn run(root: &Path, java: &str, jar: &Path, config: &Config, limit: Duration) -> Result<Report> {
    let names =
        Names { config: &config.name, module: &config.module, checks_deadlock: config.checks_deadlock };
    let output = search(&root.join("specs"), java, jar, &names, limit)?;
    Ok(parse(output, &config.properties))
}

/// Runs TLC on a config and a module in another folder. Traces may end, so that a state without
/// successor is no error.
pub(super) fn run_in(dir: &Path, java: &str, jar: &Path, name: &str, limit: Duration) -> Result<Report> {
    let names = Names { config: name, module: name, checks_deadlock: false };
    Ok(parse(search(dir, java, jar, &names, limit)?, &[]))
}

/// What to search.
struct Names<'a> {
    config: &'a str,
    module: &'a str,
    checks_deadlock: bool,
}

fn search(dir: &Path, java: &str, jar: &Path, names: &Names, limit: Duration) -> Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let mut command = Command::new(java);
    command
        .current_dir(dir)
        .args(["-XX:+UseParallelGC", "-XX:ParallelGCThreads=1", "-Xmx1g"])
        // It unpacks its standard modules there: two runs at once must not share it.
        .arg(format!("-Djava.io.tmpdir={}", scratch.path().display()))
        .arg("-cp")
        .arg(jar)
        .args(["tlc2.TLC", "-cleanup", "-workers", "1", "-metadir"])
        .arg(scratch.path().join("states"))
        .arg("-config")
        .arg(format!("{}.cfg", names.config));
    // This version has no CHECK_DEADLOCK in configs; the flag turns the check *off*.
    if !names.checks_deadlock {
        command.arg("-deadlock");
    }
    command.arg(format!("{}.tla", names.module));
    let (_, output) = silent(&mut command, limit)?;
    Ok(output)
}

/// Reads TLC's output. It does not say which temporal property failed: that is known only
/// when the config has one.
fn parse(output: Vec<String>, properties: &[String]) -> Report {
    let mut violated = Vec::new();
    let mut first_error = None;
    let mut completed = false;
    let mut deadlock = false;
    let (mut states, mut depth) = (0, 0);
    for line in &output {
        if line.starts_with("Model checking completed. No error has been found.") {
            completed = true;
        } else if let Some(error) = line.strip_prefix("Error: ") {
            first_error.get_or_insert_with(|| error.to_owned());
            deadlock |= error.starts_with("Deadlock reached");
            if error.starts_with("Temporal properties were violated") {
                if let [only] = properties {
                    violated.push(only.clone());
                }
            } else if error.contains(" is violated") {
                let kinds = ["Invariant ", "Action property ", "Property "];
                let named = kinds.iter().find_map(|kind| error.strip_prefix(kind));
                violated.extend(named.and_then(|rest| rest.split(' ').next()).map(str::to_owned));
            }
        } else if let Some(count) = number_before(line, " distinct states found") {
            states = count;
        } else if let Some(rest) = line.strip_prefix("The depth of the complete state graph search is ") {
            depth = rest.trim_end_matches('.').parse().unwrap_or(0);
        }
    }
    let verdict = if !violated.is_empty() {
        Verdict::Violated { names: violated }
    } else if deadlock {
        Verdict::Deadlock
    } else if completed && first_error.is_none() {
        Verdict::Holds
    } else {
        Verdict::Broken { why: first_error.unwrap_or_else(|| "TLC gave no verdict".to_owned()) }
    };
    Report { verdict, states, depth, output }
}

/// The number right before `words`, without its separators.
fn number_before(line: &str, words: &str) -> Option<u64> {
    let before = &line[..line.find(words)?];
    before.rsplit(' ').next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests;
