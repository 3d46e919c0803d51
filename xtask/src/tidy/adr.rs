//! Decisions are numbered once, keep their titles, and say where they are proven.

use std::collections::BTreeMap;

use super::Findings;
use crate::repo::Tree;

/// Numbers below 030 whose titles readers look for; the others below 030 stay free.
const FIXED: &[(u32, &str)] = &[
    (1, "Virtual Actor Model"),
    (2, "FoundationDB Integration"),
    (4, "Linearizability Guarantees"),
    (5, "DST Framework"),
    (9, "Memory Tools Architecture"),
    (10, "Heartbeat/Pause"),
    (20, "Consolidated VM Crate"),
    (21, "Write-Ahead Log Design"),
    (22, "Checkpoint and State Persistence"),
];

/// The first number that carries no fixed title.
const FREE_FROM: u32 = 30;

/// What every decision says, each at the start of a line.
const PARTS: &[&str] = &[
    "Status:",
    "Question:",
    "Decision:",
    "Because:",
    "Instead of:",
    "Costs:",
    "| claim | where it is proven |",
];

/// Reports decisions with a wrong number, title or form.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let mut numbers: BTreeMap<u32, &str> = BTreeMap::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.starts_with("docs/adr/")) {
        let name = path.trim_start_matches("docs/adr/");
        let digits = name.split('-').next().unwrap_or_default();
        let Some(number) = (digits.len() == 3).then(|| digits.parse::<u32>().ok()).flatten() else {
            findings.violation(path, "is not named `NNN-title.md`");
            continue;
        };
        if let Some(other) = numbers.insert(number, path) {
            findings.violation(path, format!("number {digits} is taken by {other}"));
        }
        if let Some(problem) = wrong_title(number, digits, text.lines().next().unwrap_or_default()) {
            findings.violation(path, problem);
        }
        for part in PARTS {
            if !text.lines().any(|line| line.starts_with(part)) {
                findings.violation(path, format!("has no line that starts with `{part}`"));
            }
        }
    }
    findings
}

fn wrong_title(number: u32, digits: &str, first_line: &str) -> Option<String> {
    let Some(title) = first_line.strip_prefix(&format!("# {digits} ")) else {
        return Some(format!("does not start with `# {digits} Title`"));
    };
    match FIXED.iter().find(|(fixed, _)| *fixed == number) {
        Some((_, expected)) if *expected != title => Some(format!("number {digits} is `{expected}`")),
        None if number < FREE_FROM => {
            Some(format!("number {digits} is not free: ours start at 0{FREE_FROM}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str) -> String {
        format!("{title}\n{}\n", PARTS.join(" x\n"))
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).violations
    }

    #[test]
    fn a_decision_in_the_right_form_passes() {
        let (fixed, free) = (page("# 001 Virtual Actor Model"), page("# 031 One fence per commit"));
        assert!(found(&[("docs/adr/001-a.md", &fixed), ("docs/adr/031-b.md", &free)]).is_empty());
    }

    #[test]
    fn each_wrong_form_is_reported() {
        let free = page("# 031 One fence");
        let doubled = found(&[("docs/adr/031-a.md", &free), ("docs/adr/031-b.md", &free)]);
        assert_eq!(doubled, ["docs/adr/031-b.md: number 031 is taken by docs/adr/031-a.md"]);
        let renamed = found(&[("docs/adr/021-a.md", &page("# 021 Snapshots"))]);
        assert_eq!(renamed, ["docs/adr/021-a.md: number 021 is `Write-Ahead Log Design`"]);
        let squatter = found(&[("docs/adr/003-a.md", &page("# 003 Mine"))]);
        assert_eq!(squatter, ["docs/adr/003-a.md: number 003 is not free: ours start at 030"]);
        let nameless = found(&[("docs/adr/fence.md", &free)]);
        assert_eq!(nameless, ["docs/adr/fence.md: is not named `NNN-title.md`"]);
        let silent = found(&[("docs/adr/031-a.md", &free.replace("Costs:", "It costs"))]);
        assert_eq!(silent, ["docs/adr/031-a.md: has no line that starts with `Costs:`"]);
    }
}
