//! Each known fault: what decides, specifies and shows that it is not ours.

use std::collections::BTreeSet;

use super::data::{Data, Issue};
use super::{DATA, Sources, code, head, list, listed, row};

/// The faults of the January 2026 report: how many of each weight.
const FAULTS: &[(char, u32)] = &[('H', 8), ('M', 14), ('L', 7)];

/// Fault, decisions, specifications with their invariants, seeded bugs, status.
pub(super) fn proofs(data: &Data, sources: &mut Sources<'_>) -> String {
    complain_of_rows(data, sources);
    let mut text = "## The faults\n\nBehind a seeded bug stands the median of the seeds that simulation of clusters takes \
        to find it, where it is searched for there; the others are armed by tests of their crates.\n\n"
        .to_owned();
    text +=
        &head(&["issue", "what it was", "ADR", "specification: invariants", "seeded bugs (seeds)", "status"]);
    for issue in &data.issue {
        let specs = issue.spec.iter().map(|spec| match spec.invariants.as_slice() {
            [] => code(&spec.module),
            invariants => format!("{}: {}", code(&spec.module), invariants.join(", ")),
        });
        let bugs = list(bugs(issue, sources).into_iter().map(|bug| {
            let seeds = data.search.iter().find(|search| search.bug == bug).and_then(|search| search.seeds);
            seeds.map_or_else(|| code(&bug), |seeds| format!("{} ({seeds})", code(&bug)))
        }));
        text += &row(&[
            issue.id.clone(),
            issue.was.clone(),
            adr(issue, sources),
            listed(specs, "; "),
            bugs,
            status(issue, sources),
        ]);
    }
    text
}

/// Fault, decisions, modules, tests.
pub(super) fn tests(data: &Data, sources: &mut Sources<'_>) -> String {
    let mut text = "## Issue → ADR → TLA+ → test\n\n".to_owned();
    text += &head(&["issue", "ADR", "TLA+", "simulation and tests"]);
    for issue in &data.issue {
        let tests = list(issue.tests.iter().map(|test| {
            let (name, remark) = test.split_once(' ').unwrap_or((test, ""));
            if !sources.names.has_test(name) {
                sources.mistakes.push(format!("{DATA}: {}: there is no test `{name}`", issue.id));
            }
            format!("{} {remark}", code(name)).trim_end().to_owned()
        }));
        let modules = list(issue.spec.iter().map(|spec| code(&spec.module)));
        text += &row(&[issue.id.clone(), adr(issue, sources), modules, tests]);
    }
    text
}

fn complain_of_rows(data: &Data, sources: &mut Sources<'_>) {
    let wanted = FAULTS.iter().flat_map(|(weight, count)| (1..=*count).map(move |n| format!("{weight}{n}")));
    let there = data.issue.iter().map(|issue| issue.id.clone());
    if !there.eq(wanted) {
        sources
            .mistakes
            .push(format!("{DATA}: its issues are not H1 to H8, M1 to M14, L1 to L7, in this order"));
    }
    for issue in &data.issue {
        for spec in &issue.spec {
            let Some(invariants) = sources.specs.invariants(&spec.module) else {
                sources
                    .mistakes
                    .push(format!("{DATA}: {}: there is no specification `{}`", issue.id, spec.module));
                continue;
            };
            let gone = spec.invariants.iter().filter(|name| !invariants.contains(*name));
            sources.mistakes.extend(
                gone.map(|name| format!("{DATA}: {}: `{}` does not check `{name}`", issue.id, spec.module)),
            );
        }
    }
}

/// The seeded bugs of the code that the row's invariants answer to, and those that it adds.
fn bugs(issue: &Issue, sources: &mut Sources<'_>) -> BTreeSet<String> {
    let mut bugs = BTreeSet::new();
    for spec in &issue.spec {
        bugs.extend(
            sources
                .specs
                .mutants(&spec.module, |invariant| spec.invariants.iter().any(|name| name == invariant)),
        );
    }
    for bug in &issue.bugs {
        if !sources.names.has_armed_mutant(bug) {
            sources.mistakes.push(format!("{DATA}: {}: no test arms a seeded bug `{bug}`", issue.id));
        }
        bugs.insert(bug.clone());
    }
    bugs
}

fn adr(issue: &Issue, sources: &mut Sources<'_>) -> String {
    list(issue.adr.iter().map(|number| {
        let start = format!("docs/adr/{number:03}-");
        let path = sources.tree.files.keys().find(|path| path.starts_with(&start));
        match path {
            Some(path) => format!("[{number:03}]({})", path.trim_start_matches("docs/")),
            None => {
                let problem = format!("{DATA}: {}: there is no decision {number:03}", issue.id);
                if !sources.mistakes.contains(&problem) {
                    sources.mistakes.push(problem);
                }
                String::new()
            }
        }
    }))
}

/// How far it is shown: what is named for it, and what is said to be missing.
fn status(issue: &Issue, sources: &mut Sources<'_>) -> String {
    let is_shown = !issue.tests.is_empty();
    let mistake = match (is_shown, &issue.missing, &issue.by_design) {
        (true, None, None) => {
            return issue.note.as_ref().map_or_else(|| "shown".to_owned(), |note| format!("shown: {note}"));
        }
        (true, Some(missing), None) => return format!("partly: {missing}"),
        (false, Some(missing), None) => return format!("open: {missing}"),
        (false, None, Some(why)) => return format!("shown by design: {why}"),
        (false, None, None) => "names no test, and does not say what is missing",
        (_, _, Some(_)) => "says `by_design` beside tests or something missing",
    };
    sources.mistakes.push(format!("{DATA}: {}: {mistake}", issue.id));
    String::new()
}
