//! The stages, in the order of what they cost.

use std::process::Command;

use anyhow::Result;

use super::count::{self, Counts};
use super::{Context, Ended, Length, conformance, foundationdb};
use crate::process::{cargo, shown, works};
use crate::tools::postgres::Server;
use crate::{repo, specs, tidy, tools};

/// What `proptest` draws its cases from.
const PROPERTY_SEED: &str = "PROPTEST_RNG_SEED";

/// One stage of the suite.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) run: fn(&mut Context) -> Result<Ended>,
}

/// Every stage, cheapest first.
pub(super) const ALL: &[Stage] = &[
    Stage { name: "fmt", run: fmt },
    Stage { name: "lockfile", run: lockfile },
    Stage { name: "tidy", run: run_tidy },
    Stage { name: "specs", run: run_specs },
    Stage { name: "clippy", run: clippy },
    Stage { name: "tests", run: tests },
    Stage { name: "simulation", run: simulation },
    Stage { name: "clusters", run: clusters },
    Stage { name: "traces", run: traces },
    Stage { name: "mutants", run: mutants },
    Stage { name: "doctests", run: doctests },
    Stage { name: "doc", run: doc },
    Stage { name: "tools", run: provision },
    Stage { name: "postgres", run: postgres },
    Stage { name: "aimock", run: aimock },
    Stage { name: "python", run: python },
    Stage { name: "typescript", run: typescript },
    Stage { name: "small model", run: small_model },
    Stage { name: "letta-code", run: letta_code },
    Stage { name: "browser", run: browser },
    Stage { name: "readme", run: readme },
    Stage { name: "newcomer", run: newcomer },
    Stage { name: "fdb types", run: foundationdb::types },
    Stage { name: "foundationdb", run: foundationdb::tests },
];

/// Parts of the paths of tests that have a stage of their own, because they need a tool or time.
const SIMULATION: &str = "sim_";
const POSTGRES: &str = "postgres";
const AIMOCK: &str = "aimock";
const PYTHON: &str = "python_sdk";
const TYPESCRIPT: &str = "typescript_sdk";
const SMALL_MODEL: &str = "small_model";
const LETTA_CODE: &str = "letta_code";
const README: &str = "readme";
const BROWSER: &str = "in_a_browser";
const NEWCOMER: &str = "newcomer";
const NEEDS_TOOLS: &[&str] = &[
    POSTGRES,
    AIMOCK,
    PYTHON,
    TYPESCRIPT,
    SMALL_MODEL,
    LETTA_CODE,
    BROWSER,
    README,
    NEWCOMER,
    foundationdb::TESTS,
];

fn fmt(_: &mut Context) -> Result<Ended> {
    if !works(cargo().args(["fmt", "--version"])) {
        return Ok(Ended::NotRun("rustup component add rustfmt".to_owned()));
    }
    check(cargo().args(["fmt", "--all", "--", "--check"]))
}

fn lockfile(_: &mut Context) -> Result<Ended> {
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1"]).stdout(std::process::Stdio::null());
    let status = command.status()?;
    if !status.success() {
        println!("Cargo.lock is not up to date: run cargo metadata and commit it");
    }
    Ok(Ended::Counted(one(status.success())))
}

fn run_tidy(context: &mut Context) -> Result<Ended> {
    let outcome = tidy::run(context.root)?;
    for skipped in &outcome.skipped {
        println!("NOT RUN: {skipped}");
    }
    Ok(Ended::Counted(Counts { passed: outcome.passed, failed: outcome.failed }))
}

fn run_specs(context: &mut Context) -> Result<Ended> {
    let scope = match context.length {
        Length::Short => specs::Scope::Quick,
        Length::Full => specs::Scope::All,
    };
    ended(specs::run(context.root, &scope)?)
}

fn clippy(context: &mut Context) -> Result<Ended> {
    if !works(cargo().args(["clippy", "--version"])) {
        return Ok(Ended::NotRun("rustup component add clippy".to_owned()));
    }
    let features = foundationdb::features_but_this(context.root)?;
    let scope = ["clippy", "--locked", "--workspace", "--all-targets", "--features", &features];
    check(cargo().args(scope).args(["--", "-D", "warnings"]))
}

fn tests(context: &mut Context) -> Result<Ended> {
    let own_stage: Vec<&str> = NEEDS_TOOLS.iter().chain(&[SIMULATION]).copied().collect();
    all_but(context, &own_stage, |command| {
        command.arg("--workspace");
    })
}

/// Runs the tests of the packages that `scope` chooses, without those that have one of
/// `parts` in their path.
fn all_but(context: &Context, parts: &[&str], scope: impl FnOnce(&mut Command)) -> Result<Ended> {
    let mut command = if has_nextest() { nextest(context) } else { cargo_test(context) };
    scope(&mut command);
    if has_nextest() {
        let left_out: Vec<String> = parts.iter().map(|part| format!("test({part})")).collect();
        command.args(["-E", &format!("not ({})", left_out.join(" + "))]);
    } else {
        command.arg("--").args(parts.iter().flat_map(|part| ["--skip", part]));
    }
    counted(&mut command)
}

fn simulation(context: &mut Context) -> Result<Ended> {
    part_of_tests(context, SIMULATION, Scope::Workspace)
}

/// Whole clusters under faults, every scenario: 450 runs, which have to meet every fault. Some
/// of each scenario run twice more, in this process and in a fresh one, and have to be the same.
fn clusters(context: &mut Context) -> Result<Ended> {
    let (seeds, runs, checked) = match context.length {
        Length::Short => ("50", 450, "20"),
        Length::Full => ("1000", 9_000, "1000"),
    };
    // With the features of the whole workspace, as the tests: its dependencies are built already.
    let (built, _) = shown(cargo().args(["build", "--locked", "--workspace", "--bin", "kelpie-sim"]))?;
    if !built.success() {
        return Ok(Ended::Counted(one(false)));
    }
    let failure = context.root.join("target/failed-simulation.json");
    let mut command = Command::new(repo::built(context.root)?.join("kelpie-sim"));
    // The rarest fault, a power cut that reorders unsynced writes, is met by a hundredth of the seeds:
    // the short run begins where some do.
    command.args(["run", "--from", "100", "--seeds", seeds, "--check", checked, "--every-fault"]);
    command.arg("--failure").arg(&failure);
    let status = command.status()?;
    Ok(Ended::Counted(if status.success() {
        Counts { passed: runs, failed: 0 }
    } else {
        Counts { passed: 0, failed: 1 }
    }))
}

/// What clusters were seen to do is what the specifications allow.
fn traces(context: &mut Context) -> Result<Ended> {
    ended(specs::traces::run(context.root, specs::traces::Bugs::None)?)
}

fn ended(outcome: specs::Outcome) -> Result<Ended> {
    Ok(match outcome.not_run {
        Some(missing) if outcome.failed == 0 => Ended::NotRun(missing),
        _ => Ended::Counted(Counts { passed: outcome.passed, failed: outcome.failed }),
    })
}

/// The crates with seeded bugs, built with them: the tests that only exist there show that
/// each bug is caught; the others show that the bugs are asleep unless they are chosen.
fn mutants(context: &mut Context) -> Result<Ended> {
    let crates = repo::seeded(context.root)?;
    if crates.is_empty() {
        return Ok(Ended::Done);
    }
    let Ended::Counted(mut counts) =
        all_but(context, NEEDS_TOOLS, |command| repo::with_seeded(command, &crates))?
    else {
        return Ok(Ended::Done);
    };
    if let Ended::Counted(seen) = ended(specs::traces::run(context.root, specs::traces::Bugs::Seeded)?)? {
        counts += seen;
    }
    Ok(Ended::Counted(counts))
}

fn doctests(_: &mut Context) -> Result<Ended> {
    counted(cargo().args(["test", "--locked", "--workspace", "--doc"]))
}

fn doc(_: &mut Context) -> Result<Ended> {
    check(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--locked", "--workspace", "--no-deps"]))
}

fn provision(context: &mut Context) -> Result<Ended> {
    context.tools = tools::provision(context.root)?;
    for (name, value) in context.tools.exports() {
        println!("{name}={value}");
    }
    Ok(if context.tools.missing.is_empty() {
        Ended::Done
    } else {
        Ended::NotRun(context.tools.missing.join("; "))
    })
}

/// A server of its own for all of them; then once more what shows that each bug seeded in
/// that backend is caught.
fn postgres(context: &mut Context) -> Result<Ended> {
    let Some(bin) = context.tools.postgres.clone() else {
        return Ok(Ended::NotRun("needs PostgreSQL: apt-get install -y postgresql".to_owned()));
    };
    let server = Server::start(&bin)?;
    println!("PostgreSQL from {} at {}", bin.display(), server.url());
    context.tools.postgres_url = Some(server.url());
    let ended = part_of_tests(context, POSTGRES, Scope::Workspace).and_then(|ended| {
        let Ended::Counted(mut counts) = ended else { return Ok(ended) };
        for bugs in ["postgres::mutant", "postgres::faults::mutant"] {
            if let Ended::Counted(caught) = part_of_tests(context, bugs, Scope::Seeded)? {
                counts += caught;
            }
        }
        Ok(Ended::Counted(counts))
    });
    context.tools.postgres_url = None;
    ended
}

fn aimock(context: &mut Context) -> Result<Ended> {
    with_node(context, AIMOCK)
}

fn typescript(context: &mut Context) -> Result<Ended> {
    with_node(context, TYPESCRIPT)
}

fn python(context: &mut Context) -> Result<Ended> {
    if context.tools.python.is_none() {
        return Ok(Ended::NotRun("needs the Python packages, see `tools`".to_owned()));
    }
    part_of_tests(context, PYTHON, Scope::Workspace)
}

/// Agents whose model is a real one, if a very small one.
fn small_model(context: &mut Context) -> Result<Ended> {
    if context.tools.small_model.is_none() || context.tools.python.is_none() {
        return Ok(Ended::NotRun("needs the small model and Python, see `tools`".to_owned()));
    }
    part_of_tests(context, SMALL_MODEL, Scope::Workspace)
}

/// The letta-code command line against the binary.
fn letta_code(context: &mut Context) -> Result<Ended> {
    if context.tools.letta_code.is_none() {
        return Ok(Ended::NotRun("needs letta-code, see `tools`".to_owned()));
    }
    part_of_tests(context, LETTA_CODE, Scope::Workspace)
}

/// Pages that are shown by a real browser.
fn browser(context: &mut Context) -> Result<Ended> {
    if context.tools.browser.is_none() {
        return Ok(Ended::NotRun("needs a browser, see `tools`".to_owned()));
    }
    part_of_tests(context, BROWSER, Scope::Workspace)
}

fn readme(context: &mut Context) -> Result<Ended> {
    if context.tools.python.is_none() || context.tools.node_modules.is_none() {
        return Ok(Ended::NotRun("needs the Python and npm packages, see `tools`".to_owned()));
    }
    part_of_tests(context, README, Scope::Workspace)
}

/// Builds programs against the library as people do who do not work on it.
fn newcomer(context: &mut Context) -> Result<Ended> {
    part_of_tests(context, NEWCOMER, Scope::Workspace)
}

fn with_node(context: &mut Context, part: &str) -> Result<Ended> {
    if context.tools.node_modules.is_none() {
        return Ok(Ended::NotRun("needs the npm packages, see `tools`".to_owned()));
    }
    part_of_tests(context, part, Scope::Workspace)
}

/// Where tests are looked for.
pub(super) enum Scope<'a> {
    /// Everywhere, built as users get it.
    Workspace,
    /// In the crates with seeded bugs, built with them.
    Seeded,
    /// In one package, built with more.
    Package { name: &'a str, features: &'a str },
}

/// Runs the tests whose path contains `part`. When none does, nothing was shown: that is said.
pub(super) fn part_of_tests(context: &Context, part: &str, scope: Scope) -> Result<Ended> {
    let mut command = if has_nextest() { nextest(context) } else { cargo_test(context) };
    match scope {
        Scope::Workspace => {
            command.arg("--workspace");
        }
        Scope::Seeded => repo::with_seeded(&mut command, &repo::seeded(context.root)?),
        Scope::Package { name, features } => {
            command.args(["--package", name, "--features", features]);
        }
    }
    if has_nextest() {
        command.args(["-E", &format!("test({part})")]);
    } else {
        command.args(["--", part]);
    }
    let ended = counted(&mut command)?;
    if matches!(ended, Ended::Counted(Counts { passed: 0, failed: 0 })) {
        return Ok(Ended::NotRun(format!("no test has `{part}` in its path")));
    }
    Ok(ended)
}

fn has_nextest() -> bool {
    works(cargo().args(["nextest", "--version"]))
}

fn nextest(context: &Context) -> Command {
    let mut command = with_tools(context);
    command.args(["nextest", "run", "--locked", "--no-fail-fast", "--no-tests", "pass"]);
    command.args(["--status-level", "fail", "--final-status-level", "slow"]);
    command
}

fn cargo_test(context: &Context) -> Command {
    let mut command = with_tools(context);
    command.args(["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    command
}

/// A cargo whose tests find the provisioned tools.
fn with_tools(context: &Context) -> Command {
    let mut command = cargo();
    command.envs(context.tools.exports());
    command.env(conformance::VARIABLE, &context.records);
    if context.length == Length::Full {
        command.env("KELPIE_TEST_FULL", "1");
    } else if std::env::var_os(PROPERTY_SEED).is_none() {
        // The same cases each time, so that no change is refused for what another one did; the
        // full length, and whoever runs a test by hand, draws new ones.
        command.env(PROPERTY_SEED, "1");
    }
    command
}

/// A command that passes or fails as a whole.
fn check(command: &mut Command) -> Result<Ended> {
    let (status, _) = shown(command)?;
    Ok(Ended::Counted(one(status.success())))
}

/// A command that runs tests and says how many.
fn counted(command: &mut Command) -> Result<Ended> {
    let (status, lines) = shown(command)?;
    let mut counts = count::tests(&lines);
    // A build that fails runs no test, and still is a failure.
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(Ended::Counted(counts))
}

fn one(passed: bool) -> Counts {
    Counts { passed: usize::from(passed), failed: usize::from(!passed) }
}
