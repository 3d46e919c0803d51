//! What the code was seen to do is what the specifications allow.
//!
//! `specs/traces/X_Trace.cfg` names in its header where steps come from (`\* steps: SCENARIO FROM
//! SEEDS [churn]`, runs of the simulator over a store that records; those of real servers that are
//! killed come to them) and which seeded bugs have to be seen in
//! them (`\* mutant: NAME SCENARIO FROM SEEDS`). A SCENARIO that is the name of a specification is lives of
//! the embedded store alone, told by its example `traces`. `kelpie-traces` makes the module `Trace` of them, and
//! TLC has to reach the end of each trace, each event a step of the specification, with no
//! invariant violated on the way. With a seeded bug it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Outcome, TIME_MAX, tlc};
use crate::process::{cargo, must, side_by_side};
use crate::repo::{self, Tree};
use crate::tools;

/// So many traces of a specification have to be followed.
const TRACES_MIN: usize = 20;

/// The test whose servers record, and leave what they did in `KELPIE_STEPS_DIR`.
const KILLED_SERVERS: &str = "crash::each_commit_is_written_down_as_a_step_of_its_protocol";

/// Runs of the simulator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Runs {
    mutant: Option<String>,
    scenario: String,
    from: u64,
    seeds: u64,
    churn: bool,
}

impl Runs {
    /// Whether they are lives of the embedded store alone, which makes the module itself.
    fn is_of_store(&self) -> bool {
        self.scenario.starts_with("Kelpie")
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mutant, scenario, from, seeds, churn } = self;
        write!(f, "{scenario} {from}+{seeds}{}", if *churn { " churn" } else { "" })?;
        mutant.as_ref().map_or(Ok(()), |mutant| write!(f, " with {mutant}"))
    }
}

/// A specification whose traces are followed.
struct Followed {
    spec: String,
    runs: Vec<Runs>,
    mutants: Vec<Runs>,
}

/// Which traces to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bugs {
    /// Those of the code as it is: each has to be followed.
    None,
    /// Those of each seeded bug: not all may be followed.
    Seeded,
}

/// Follows traces of all specifications that have some.
pub(crate) fn run(root: &Path, bugs: Bugs) -> Result<Outcome> {
    let mut outcome = Outcome { passed: 0, failed: 0, not_run: None };
    let java = match tools::java() {
        Ok(java) => java,
        Err(missing) => {
            outcome.not_run = Some(format!("traces: {missing}"));
            return Ok(outcome);
        }
    };
    let jar = tools::tlc_jar(root)?;
    let all = all(&Tree::load(root)?)?;
    let scratch = tempfile::tempdir()?;
    let programs = build(root, bugs)?;
    let jobs: Vec<(&Followed, Vec<&Runs>)> = match bugs {
        Bugs::None => all.iter().map(|followed| (followed, followed.runs.iter().collect())).collect(),
        Bugs::Seeded => all
            .iter()
            .flat_map(|followed| followed.mutants.iter().map(move |runs| (followed, vec![runs])))
            .collect(),
    };
    let wanted: BTreeSet<&Runs> = jobs.iter().flat_map(|(_, runs)| runs.iter().copied()).collect();
    let recorded = record(&programs, &wanted, scratch.path())?;
    let real = match bugs {
        Bugs::None => vec![killed_servers(root, scratch.path())?],
        Bugs::Seeded => Vec::new(),
    };
    println!(
        "{:<26} {:<44} {:>7} {:>9} {:>7} {:>8}  left out",
        "specification", "runs", "traces", "followed", "events", "seconds"
    );
    let jobs = jobs.into_iter().enumerate().collect();
    let done = side_by_side(jobs, |(number, (followed, runs)): (usize, (&Followed, Vec<&Runs>))| {
        let dir = scratch.path().join(format!("follow-{number}"));
        let start = Instant::now();
        // What servers commit is above the contract of the store.
        let real = real.iter().filter(|_| !runs.iter().any(|runs| runs.is_of_store()));
        let files: Vec<&PathBuf> = runs.iter().flat_map(|runs| &recorded[*runs]).chain(real).collect();
        let seen = follow(root, &programs, (java, &jar), &followed.spec, &files, &dir);
        let what = runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        (followed.spec.as_str(), what, seen, start.elapsed().as_secs_f64())
    });
    for (spec, what, seen, seconds) in done {
        let Seen { traces, followed, events, left_out, problem } = seen?;
        println!("{spec:<26} {what:<44} {traces:>7} {followed:>9} {events:>7} {seconds:>8.1}  {left_out}");
        let fine = match bugs {
            Bugs::None => problem.is_none() && traces >= TRACES_MIN,
            Bugs::Seeded => problem.is_some(),
        };
        if fine {
            outcome.passed += 1;
            if let (Bugs::Seeded, Some(problem)) = (bugs, problem) {
                println!("    caught: {}", problem.lines().next().unwrap_or_default());
            }
            continue;
        }
        outcome.failed += 1;
        match problem {
            Some(problem) => println!("    FAILED: {problem}"),
            None if bugs == Bugs::Seeded => {
                println!("    FAILED: every trace is followed in spite of the seeded bug")
            }
            None => println!("    FAILED: fewer than {TRACES_MIN} traces"),
        }
    }
    Ok(outcome)
}

/// The configs in `specs/traces`.
fn all(tree: &Tree) -> Result<Vec<Followed>> {
    let name = |path: &str| path.strip_prefix("specs/traces/")?.strip_suffix("_Trace.cfg").map(str::to_owned);
    let configs = tree.texts().filter_map(|(path, text)| Some((name(path)?, text)));
    configs
        .map(|(spec, text)| {
            let lines = |key: &'static str| {
                text.lines().filter_map(move |line| line.trim().strip_prefix("\\*")?.trim().strip_prefix(key))
            };
            let runs = lines("steps:").map(|line| parse(line, false)).collect::<Result<_>>();
            let mutants = lines("mutant:").map(|line| parse(line, true)).collect::<Result<_>>();
            let context = || format!("specs/traces/{spec}_Trace.cfg");
            Ok(Followed { runs: runs.with_context(context)?, mutants: mutants.with_context(context)?, spec })
        })
        .collect()
}

fn parse(line: &str, mutant: bool) -> Result<Runs> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (mutant, rest) = match (mutant, words.as_slice()) {
        (true, [name, rest @ ..]) => (Some((*name).to_owned()), rest),
        (_, rest) => (None, rest),
    };
    let (churn, rest) = match rest {
        [rest @ .., "churn"] => (true, rest),
        rest => (false, rest),
    };
    let [scenario, from, seeds] = rest else { bail!("`{line}` is not SCENARIO FROM SEEDS [churn]") };
    Ok(Runs { mutant, scenario: (*scenario).to_owned(), from: from.parse()?, seeds: seeds.parse()?, churn })
}

/// The simulator, the maker of traces, and what lets a store live, built.
struct Programs {
    simulator: PathBuf,
    traces: PathBuf,
    store: PathBuf,
}

fn build(root: &Path, bugs: Bugs) -> Result<Programs> {
    let mut command = cargo();
    command.args([
        "build",
        "--locked",
        "--bin",
        "kelpie-sim",
        "--bin",
        "kelpie-traces",
        "--example",
        "traces",
    ]);
    match bugs {
        Bugs::None => {
            command.arg("--workspace");
        }
        Bugs::Seeded => repo::with_seeded(&mut command, &repo::seeded(root)?),
    }
    must(&mut command, TIME_MAX)?;
    let debug = repo::built(root)?;
    Ok(Programs {
        simulator: debug.join("kelpie-sim"),
        traces: debug.join("kelpie-traces"),
        store: debug.join("examples/traces"),
    })
}

/// Runs the simulator; the files of each.
fn record(
    programs: &Programs,
    wanted: &BTreeSet<&Runs>,
    scratch: &Path,
) -> Result<BTreeMap<Runs, Vec<PathBuf>>> {
    let jobs =
        wanted.iter().enumerate().map(|(number, runs)| (scratch.join(format!("steps-{number}")), *runs));
    let recorded = side_by_side(jobs.collect(), |(out, runs)| {
        let Runs { mutant, scenario, from, seeds, churn } = runs;
        if runs.is_of_store() {
            return Ok((runs.clone(), vec![live(programs, runs, &out)?]));
        }
        let mut command = Command::new(&programs.simulator);
        command.args(["steps", "--scenario", scenario]);
        command.args(["--from", &from.to_string(), "--seeds", &seeds.to_string()]).arg("--out").arg(&out);
        command.args(churn.then_some("--churn"));
        command.args(mutant.iter().flat_map(|mutant| ["--mutant", mutant]));
        must(&mut command, TIME_MAX)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&out)? {
            files.push(entry?.path());
        }
        files.sort();
        Ok((runs.clone(), files))
    });
    recorded.into_iter().collect()
}

/// Runs the binary as users have it, killed again and again: the file of what it recorded.
fn killed_servers(root: &Path, scratch: &Path) -> Result<PathBuf> {
    let mut command = cargo();
    command.current_dir(root).env("KELPIE_STEPS_DIR", scratch);
    command.args(["test", "--locked", "--workspace", "--test", "it", "--", "--exact", KILLED_SERVERS]);
    must(&mut command, TIME_MAX)?;
    let file = scratch.join("killed-servers.jsonl");
    if !file.is_file() {
        bail!("the test {KILLED_SERVERS} has left no {}", file.display());
    }
    Ok(file)
}

/// Lets a store live; the module `Trace` of it.
fn live(programs: &Programs, runs: &Runs, out: &Path) -> Result<PathBuf> {
    let mut command = Command::new(&programs.store);
    command.args([&runs.scenario, &runs.from.to_string(), &runs.seeds.to_string()]);
    command.envs(runs.mutant.iter().map(|mutant| ("KELPIE_MUTANT", mutant)));
    let made = command.output()?;
    if !made.status.success() {
        bail!("{runs}: {}", String::from_utf8_lossy(&made.stderr));
    }
    let module = out.with_extension("tla");
    std::fs::write(&module, made.stdout)?;
    Ok(module)
}

/// What became of some traces.
struct Seen {
    traces: usize,
    followed: usize,
    events: usize,
    /// What the maker of traces says that it left out.
    left_out: String,
    problem: Option<String>,
}

fn follow(
    root: &Path,
    programs: &Programs,
    (java, jar): (&str, &Path),
    spec: &str,
    files: &[&PathBuf],
    dir: &Path,
) -> Result<Seen> {
    std::fs::create_dir_all(dir)?;
    for from in ["specs", "specs/traces"] {
        for entry in std::fs::read_dir(root.join(from))? {
            let file = entry?.path();
            if file.is_file()
                && file.extension().is_some_and(|extension| extension == "tla" || extension == "cfg")
            {
                std::fs::copy(&file, dir.join(file.file_name().context("a file has a name")?))?;
            }
        }
    }
    let module = match files {
        [module] if module.extension().is_some_and(|ending| ending == "tla") => {
            std::fs::read_to_string(module)?
        }
        steps => {
            let made = Command::new(&programs.traces).arg(spec).args(steps).output()?;
            if !made.status.success() {
                bail!("kelpie-traces {spec}: {}", String::from_utf8_lossy(&made.stderr));
            }
            String::from_utf8(made.stdout)?
        }
    };
    std::fs::write(dir.join("Trace.tla"), &module)?;
    let traces = traces(&module);
    let report = tlc::run_in(dir, java, jar, &format!("{spec}_Trace"), TIME_MAX)?;
    let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
    let mut followed = BTreeSet::new();
    for (what, trace, at) in report.output.iter().filter_map(|line| progress(line)) {
        let furthest = reached.entry(trace).or_default();
        *furthest = at.max(*furthest);
        if what == "followed" {
            followed.insert(trace);
        }
    }
    let stuck = (1..=traces.len()).find(|trace| !followed.contains(trace)).map(|trace| {
        let at = reached.get(&trace).copied().unwrap_or(0);
        let before = traces[trace - 1][at.saturating_sub(SHOWN)..at].join("\n        ");
        let next = traces[trace - 1].get(at).copied().unwrap_or("nothing");
        format!("{next} is no step of {spec}: event {} of trace {trace}, after\n        {before}", at + 1)
    });
    let problem = match report.verdict {
        tlc::Verdict::Holds => stuck,
        other @ (tlc::Verdict::Violated { .. } | tlc::Verdict::Deadlock | tlc::Verdict::Broken { .. }) => {
            Some(format!("{other}{}", stuck.map_or_else(String::new, |stuck| format!("; {stuck}"))))
        }
    };
    let events = traces.iter().map(Vec::len).sum();
    let left_out = module.lines().find_map(|line| line.strip_prefix("\\* left out: ")).unwrap_or_default();
    let left_out = left_out.to_owned();
    Ok(Seen { traces: traces.len(), followed: followed.len(), events, left_out, problem })
}

/// Events that are shown before the one that was not followed.
const SHOWN: usize = 4;

/// The lines of each trace of a module `Trace`.
fn traces(module: &str) -> Vec<Vec<&str>> {
    let mut traces = Vec::new();
    for line in module.lines() {
        match line {
            "  <<" => traces.push(Vec::new()),
            line => {
                if let (Some(event), Some(trace)) = (line.strip_prefix("    ["), traces.last_mut()) {
                    trace.push(event.trim_end_matches(',').trim_end_matches(']'));
                }
            }
        }
    }
    traces
}

/// What TLC prints at each event: whether it is the last, which trace, how many so far.
fn progress(line: &str) -> Option<(&str, usize, usize)> {
    let mut parts = line.strip_prefix("<<\"")?.strip_suffix(">>")?.split(", ");
    let what = parts.next()?.strip_suffix('"')?;
    Some((what, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tlc_prints_is_read() {
        assert_eq!(progress("<<\"at\", 3, 17>>"), Some(("at", 3, 17)));
        assert_eq!(progress("<<\"followed\", 12, 4>>"), Some(("followed", 12, 4)));
        assert_eq!(progress("State 3: <TraceNext line 3>"), None);
    }

    #[test]
    fn events_are_counted_by_trace() {
        let module = "Traces == <<\n  <<\n    [action |-> \"A\"],\n    [action |-> \"B\"]\n  >>,\n  <<\n    [action |-> \"C\"]\n  >>\n>>\n";
        assert_eq!(traces(module), [vec!["action |-> \"A\"", "action |-> \"B\""], vec!["action |-> \"C\""]]);
    }

    #[test]
    fn a_header_says_which_runs() {
        let runs = parse(" claim_keeps_epoch counters 100 20", true).unwrap();
        assert_eq!(runs.to_string(), "counters 100+20 with claim_keeps_epoch");
        assert!(parse("counters 100", false).is_err());
    }
}
