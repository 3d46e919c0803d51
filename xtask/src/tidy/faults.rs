//! Every known fault has its row in `docs/verification.md`, and a row says how things stand.

use super::Findings;
use crate::repo::Tree;

const TABLE: &str = "docs/verification.md";
/// The faults of the January 2026 report: how many of each weight.
const FAULTS: &[(char, u32)] = &[('H', 8), ('M', 14), ('L', 7)];

/// Reports missing and doubled rows, rows without a known status, and claims without a proof.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let Some(text) = tree.text(TABLE) else {
        findings.violation(TABLE, "does not exist");
        return findings;
    };
    let rows: Vec<Vec<&str>> = text.lines().filter_map(cells).collect();
    for (weight, count) in FAULTS {
        for number in 1..=*count {
            let name = format!("{weight}{number}");
            match rows.iter().filter(|row| row.first() == Some(&name.as_str())).count() {
                0 => findings.violation(TABLE, format!("has no row for {name}")),
                1 => {}
                _ => findings.violation(TABLE, format!("has {name} more than once")),
            }
        }
    }
    for row in rows.iter().filter(|row| row.first().is_some_and(|name| is_fault(name))) {
        if let Some(problem) = problem(row) {
            findings.violation(TABLE, format!("{}: {problem}", row[0]));
        }
    }
    findings
}

fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect())
}

fn is_fault(name: &str) -> bool {
    name.strip_prefix(['H', 'M', 'L']).is_some_and(|number| number.parse::<u32>().is_ok())
}

fn problem(row: &[&str]) -> Option<&'static str> {
    let [_, _, adr, spec, tests, status] = row else {
        return Some("does not have six columns");
    };
    let named = [adr, spec, tests].iter().any(|cell| cell.contains('`'));
    match status.split([' ', ':']).next().unwrap_or_default() {
        "open" => None,
        "shown" | "partly" if named => None,
        "shown" | "partly" => Some("names nothing that shows it"),
        _ => Some("has another status than shown, partly or open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&str]) -> Vec<String> {
        let mut text = String::new();
        for (weight, count) in FAULTS {
            for number in 1..=*count {
                let name = format!("| {weight}{number} |");
                if !rows.iter().any(|row| row.starts_with(&name)) {
                    text.push_str(&format!("{name} x | – | – | – | open |\n"));
                }
            }
        }
        text.push_str(&rows.join("\n"));
        check(&Tree::of(&[(TABLE, &text)])).violations
    }

    #[test]
    fn a_whole_table_passes() {
        assert!(table(&[]).is_empty());
        assert!(table(&["| H1 | x | – | – | `a_test` | shown |"]).is_empty());
    }

    #[test]
    fn each_mistake_is_reported() {
        let unproven = table(&["| H1 | x | – | – | some test | partly: yes |"]);
        assert_eq!(unproven, ["docs/verification.md: H1: names nothing that shows it"]);
        let vague = table(&["| M3 | x | – | – | `a_test` | done |"]);
        assert_eq!(vague, ["docs/verification.md: M3: has another status than shown, partly or open"]);
        let narrow = table(&["| L2 | x | open |"]);
        assert_eq!(narrow, ["docs/verification.md: L2: does not have six columns"]);
        let twice = table(&["| H2 | x | – | – | – | open |", "| H2 | x | – | – | – | open |"]);
        assert_eq!(twice, ["docs/verification.md: has H2 more than once"]);
        let gone = check(&Tree::of(&[(TABLE, "")])).violations;
        assert_eq!(gone.len(), 29);
        assert_eq!(gone[0], "docs/verification.md: has no row for H1");
    }
}
