//! Every specification holds, and every seeded bug breaks exactly what it says.
//!
//! `specs/X.cfg` is the good config of module `X`: TLC must find no error, and the number of
//! distinct states must be the one that its header records (`\* states: N`), so that a change
//! of the model that makes it explore less does not pass unseen.
//! Further good configs of a module (`X_Wide.cfg`) look the same.
//! `specs/X_Bug.cfg` seeds one bug and names in its header the invariant or property that must
//! catch it (`\* violates: Name`). Every invariant of a good config must be killed by one.
//!
//! Other header lines: `\* deadlock: ignore` for models that may end, `\* only: deep` for configs
//! that run when they are named and with `--deep`; and what in the code answers to it (see [`map`]).

mod actions;
mod catalogue;
mod config;
mod map;
mod tlc;
pub(crate) mod traces;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::side_by_side;
use crate::repo::Tree;
use crate::tools;
pub(crate) use catalogue::Catalogue;
use config::{Config, Expected};

/// A config that takes longer is too big for a check that runs on every change.
const TIME_MAX: Duration = Duration::from_secs(900);

/// A config, what TLC said, and the seconds it took.
type Searched<'a> = (&'a Config, Result<tlc::Report>, f64);

/// How the specifications ended.
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// What is missing here, if nothing could run.
    pub(crate) not_run: Option<String>,
}

/// Which configs to check.
pub(crate) enum Scope<'a> {
    /// What every change has to pass.
    Quick,
    /// All of them.
    All,
    /// Those whose name starts with one of these.
    Named(&'a [&'a str]),
}

impl Scope<'_> {
    fn has(&self, config: &Config) -> bool {
        match self {
            Scope::Quick => !config.only_deep,
            Scope::All => true,
            Scope::Named(names) => names.iter().any(|name| config.name.starts_with(name)),
        }
    }
}

/// Checks the configs in `scope`.
pub(crate) fn run(root: &Path, scope: &Scope) -> Result<Outcome> {
    let mut outcome = Outcome { passed: 0, failed: 0, not_run: None };
    let tree = Tree::load(root)?;
    let configs = config::all(&tree);
    let mut mistakes = config::mistakes(&configs);
    mistakes.extend(map::draw(&tree, &configs).1);
    for mistake in &mistakes {
        println!("specs: {mistake}");
    }
    outcome.failed += mistakes.len();
    let chosen: Vec<&Config> = configs.iter().filter(|config| scope.has(config)).collect();
    if let (Scope::Named(names), true) = (scope, chosen.is_empty()) {
        bail!("no config in specs/ starts with {}", names.join(" or "));
    }
    let java = match tools::java() {
        Ok(java) => java,
        Err(missing) => {
            outcome.not_run = Some(format!("specs: {missing}"));
            return Ok(outcome);
        }
    };
    let jar = tools::tlc_jar(root)?;
    println!("{:<48} {:<44} {:>9} {:>6} {:>8}", "config", "result", "states", "depth", "seconds");
    for (config, report, seconds) in search(root, java, &jar, chosen) {
        let report = report?;
        let verdict = judge(config, &report);
        let result = verdict.as_ref().unwrap_or_else(|problem| problem);
        println!(
            "{:<48} {:<44} {:>9} {:>6} {:>8.1}",
            config.name, result, report.states, report.depth, seconds
        );
        if verdict.is_ok() {
            outcome.passed += 1;
        } else {
            outcome.failed += 1;
            let whole = matches!(scope, Scope::Named(_));
            for line in report.output.iter().filter(|line| whole || is_outline(line)) {
                println!("    {line}");
            }
        }
    }
    Ok(outcome)
}

/// Prints what in the code answers to each invariant and each seeded bug. How many do, and what is
/// wrong.
pub(crate) fn print_map(root: &Path) -> Result<Outcome> {
    let tree = Tree::load(root)?;
    let (map, mistakes) = map::draw(&tree, &config::all(&tree));
    for line in &map {
        println!("{:<24} {:<46} {}", line.module, line.name, line.answer);
    }
    for mistake in &mistakes {
        println!("specs: {mistake}");
    }
    Ok(Outcome { passed: map.len(), failed: mistakes.len(), not_run: None })
}

/// Runs TLC on all configs, one per processor at a time; the results in the order of the configs.
fn search<'a>(root: &Path, java: &'static str, jar: &Path, configs: Vec<&'a Config>) -> Vec<Searched<'a>> {
    side_by_side(configs, |config| {
        let start = Instant::now();
        let report = tlc::run(root, java, jar, config, TIME_MAX);
        (config, report, start.elapsed().as_secs_f64())
    })
}

/// Whether a line of TLC's output tells what happened: errors and the actions that led there.
/// The states between them are shown when a config is named.
fn is_outline(line: &str) -> bool {
    line.starts_with("Error: ") || line.starts_with("State ")
}

/// Whether TLC said what the config expects; both ways in words.
fn judge(config: &Config, report: &tlc::Report) -> Result<String, String> {
    match (&config.expected, &report.verdict) {
        (Expected::Holds { states }, tlc::Verdict::Holds) if *states == report.states => {
            Ok("holds".to_owned())
        }
        (Expected::Holds { states }, tlc::Verdict::Holds) => {
            Err(format!("FAILED: holds, but not with {states} states"))
        }
        (Expected::Violates { name }, tlc::Verdict::Violated { names })
            if names.iter().any(|found| found == name) =>
        {
            Ok(format!("violates {name}"))
        }
        (Expected::Holds { .. }, found) => Err(format!("FAILED: {found}")),
        (Expected::Violates { name }, found) => Err(format!("FAILED: not {name}, but {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlc::{Report, Verdict};

    fn judged(header: &str, verdict: Verdict, states: u64) -> Result<String, String> {
        let config = Config::parse("X_Bug", "X", header);
        judge(&config, &Report { verdict, states, depth: 1, output: vec![] })
    }

    #[test]
    fn a_bug_must_be_caught_by_the_invariant_that_it_names() {
        let violated = |name: &str| Verdict::Violated { names: vec![name.to_owned()] };
        assert!(judged("\\* violates: A", violated("A"), 5).is_ok());
        let other = judged("\\* violates: A", violated("B"), 5).expect_err("another invariant");
        assert_eq!(other, "FAILED: not A, but B is violated");
        let uncaught = judged("\\* violates: A", Verdict::Holds, 5).expect_err("not caught");
        assert_eq!(uncaught, "FAILED: not A, but no error");
        judged("\\* violates: A", Verdict::Broken { why: "parse error".to_owned() }, 0)
            .expect_err("no answer");
    }

    #[test]
    fn a_good_config_must_explore_the_recorded_states() {
        assert!(judged("\\* states: 5", Verdict::Holds, 5).is_ok());
        let fewer = judged("\\* states: 5", Verdict::Holds, 4).expect_err("fewer states");
        assert_eq!(fewer, "FAILED: holds, but not with 5 states");
        let broken = judged("\\* states: 5", Verdict::Violated { names: vec!["A".to_owned()] }, 5);
        assert_eq!(broken.expect_err("violated"), "FAILED: A is violated");
    }
}
