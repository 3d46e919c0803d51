//! Which operations of `letta-client` a test of ours calls, with an answer that it checks.
//!
//! ```text
//!   letta_endpoints.csv ─▶ operations by tier ─┐
//!   SDK tests ─▶ recorder.py ─▶ *.txt ─────────┴▶ table, or totals as JSON
//! ```
//!
//! Nothing here says by hand what is covered: the tests run, and their recorder tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::process::cargo;
use crate::tools;

/// The operations that there are.
const ENDPOINTS: &str = "crates/kelpie/tests/sdk/letta_endpoints.csv";
/// The tiers that are counted.
const TIERS: [&str; 2] = ["1", "2"];
/// Where the recorder of the tests leaves what it has seen.
const VARIABLE: &str = "KELPIE_LETTA_COVERAGE";

/// What is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    /// Each operation, then the totals.
    Table,
    /// The totals, and what is missing.
    Json,
}

/// One operation of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Operation {
    tier: String,
    name: String,
    route: String,
}

/// Runs the tests and prints what they cover; `false` when one of them failed.
pub(crate) fn run(root: &Path, shown: Shown) -> Result<bool> {
    let table =
        fs::read_to_string(root.join(ENDPOINTS)).with_context(|| format!("cannot read {ENDPOINTS}"))?;
    let operations = operations(&table)?;
    let python = tools::python_with_client(root)?;
    let records = tempfile::tempdir()?;
    let mut tests = cargo();
    tests.args(["test", "--locked", "--workspace", "--test", "it", "python_sdk"]);
    tests.env(VARIABLE, records.path()).env("KELPIE_TEST_PYTHON", python);
    // What the tests say is not part of the answer.
    let output = tests.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stdout));
        return Ok(false);
    }
    let covered = recorded(records.path())?;
    match shown {
        Shown::Table => print!("{}", as_table(&operations, &covered)),
        Shown::Json => println!("{}", as_json(&operations, &covered)),
    }
    Ok(true)
}

/// The operations of the counted tiers, in the order of the table.
fn operations(table: &str) -> Result<Vec<Operation>> {
    let operation = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        let mut next = || cells.next().with_context(|| format!("{ENDPOINTS}: a short line: {line}"));
        let (tier, resource, method, http, path) = (next()?, next()?, next()?, next()?, next()?);
        Ok(Operation { tier, name: format!("{resource}.{method}"), route: format!("{http} {path}") })
    };
    let all: Result<Vec<Operation>> = table.lines().skip(1).map(operation).collect();
    Ok(all?.into_iter().filter(|operation| TIERS.contains(&operation.tier.as_str())).collect())
}

/// What the programs of the tests have recorded. Nothing at all is a mistake of the set-up.
fn recorded(folder: &Path) -> Result<BTreeSet<String>> {
    let mut covered = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        covered.extend(fs::read_to_string(entry?.path())?.lines().map(str::to_owned));
    }
    if covered.is_empty() {
        bail!("the tests have recorded nothing: did one run that uses recorder.py?");
    }
    Ok(covered)
}

struct Total {
    covered: usize,
    missing: Vec<String>,
}

fn totals(operations: &[Operation], covered: &BTreeSet<String>) -> BTreeMap<String, Total> {
    let mut totals = BTreeMap::new();
    for Operation { tier, name, .. } in operations {
        let total: &mut Total =
            totals.entry(tier.clone()).or_insert(Total { covered: 0, missing: Vec::new() });
        if covered.contains(name) {
            total.covered += 1;
        } else {
            total.missing.push(name.clone());
        }
    }
    totals
}

fn as_table(operations: &[Operation], covered: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for Operation { tier, name, route } in operations {
        let state = if covered.contains(name) { "covered" } else { "missing" };
        writeln!(text, "{tier}  {state}  {name:<42} {route}").expect("a string takes all");
    }
    for (tier, Total { covered, missing }) in totals(operations, covered) {
        writeln!(text, "tier {tier}: {covered} of {}", covered + missing.len()).expect("a string takes all");
    }
    text
}

/// Names of operations are letters, dots and underscores: nothing to escape.
fn as_json(operations: &[Operation], covered: &BTreeSet<String>) -> String {
    let tiers = totals(operations, covered).into_iter().map(|(tier, Total { covered, missing })| {
        let total = covered + missing.len();
        let missing: Vec<String> = missing.iter().map(|name| format!("\"{name}\"")).collect();
        format!(
            "\"tier{tier}\": {{\"covered\": {covered}, \"total\": {total}, \"missing\": [{}]}}",
            missing.join(", ")
        )
    });
    format!("{{{}}}", tiers.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "tier,resource,sdk_method,http,path,required\n\
        1,agents.agents,create,POST,/v1/agents/,\n\
        1,tools,list,GET,/v1/tools/,\n\
        2,tags,list,GET,/v1/tags/,\n\
        cloud,environments,list,GET,/v1/environments,\n";

    #[test]
    fn what_was_recorded_is_counted_by_tier() {
        let operations = operations(TABLE).expect("a table");
        let covered = BTreeSet::from(["tools.list".to_owned()]);
        assert_eq!(
            as_json(&operations, &covered),
            "{\"tier1\": {\"covered\": 1, \"total\": 2, \"missing\": [\"agents.agents.create\"]}, \
             \"tier2\": {\"covered\": 0, \"total\": 1, \"missing\": [\"tags.list\"]}}"
        );
        let table = as_table(&operations, &covered);
        assert!(table.contains("1  covered  tools.list") && table.contains("tier 1: 1 of 2"), "{table}");
    }

    #[test]
    fn a_table_with_a_short_line_and_tests_without_a_record_are_mistakes() {
        assert!(operations("tier,resource\n1,agents\n").is_err());
        let folder = tempfile::tempdir().expect("a folder");
        assert!(recorded(folder.path()).is_err());
    }

    #[test]
    fn the_table_of_the_repository_has_all_operations() {
        let table = fs::read_to_string(crate::repo::root().join(ENDPOINTS)).expect("the table");
        let operations = operations(&table).expect("a table");
        let of = |tier: &str| operations.iter().filter(|operation| operation.tier == tier).count();
        assert_eq!((of("1"), of("2")), (61, 49));
    }
}
