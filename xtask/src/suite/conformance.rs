//! What the run has shown of each store: the table of the guide, filled in by the tests.
//!
//! The tests of the conformance suite write down how they ended, one file per property and
//! store; rows and columns are those of `docs/guide/stores.md`, which a test compares with
//! the suite.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Tells the tests where to write.
pub(super) const VARIABLE: &str = "KELPIE_TEST_CONFORMANCE";

const GUIDE: &str = "docs/guide/stores.md";
const MARK: &str = "<!-- conformance -->";

/// Where the tests write, emptied for a new run.
pub(super) fn records(root: &Path) -> Result<PathBuf> {
    let dir = root.join("target/conformance");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// The table, as this run has filled it.
pub(super) fn table(root: &Path, records: &Path) -> Result<String> {
    let guide = fs::read_to_string(root.join(GUIDE)).context(GUIDE)?;
    Ok(filled(&guide, |record| fs::read_to_string(records.join(record)).ok()))
}

fn filled(guide: &str, record: impl Fn(&str) -> Option<String>) -> String {
    let mut lines =
        guide.lines().skip_while(|line| *line != MARK).skip(1).take_while(|line| !line.is_empty());
    let columns = cells(lines.next().unwrap_or_default());
    let mut table = vec![row(&columns)];
    for line in lines.skip(1) {
        let mut cells = cells(line);
        let property = cells[0].replace(' ', "_");
        for (cell, column) in cells.iter_mut().zip(&columns).skip(1) {
            let said = record(&format!("{property}.{column}"));
            *cell = match said.as_deref() {
                Some("yes") if cell == "not run here" => "yes".to_owned(),
                Some("yes") => cell.clone(),
                Some(other) => other.to_owned(),
                None => "not run".to_owned(),
            };
        }
        table.push(row(&cells));
    }
    table.join("\n")
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn row(cells: &[String]) -> String {
    let mut shown = format!("{:<66}", cells[0]);
    cells[1..].iter().for_each(|cell| shown.push_str(&format!(" {cell:<13}")));
    shown.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_the_tests_wrote_down() {
        let guide = "# Stores\n\n<!-- conformance -->\n| property | memory | disk | far |\n|---|---|---|---|\n\
                     | no loss | forgets | yes | not run here |\n| no skew | yes | yes | not run here |\n\nmore";
        let records = |name: &str| match name {
            "no_loss.memory" | "no_loss.disk" | "no_skew.memory" | "no_skew.far" => Some("yes".to_owned()),
            "no_skew.disk" => Some("FAILED".to_owned()),
            _ => None,
        };
        let table = filled(guide, records);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(rows[0], ["property", "memory", "disk", "far"]);
        assert_eq!(rows[1], ["no loss", "forgets", "yes", "not run"]);
        assert_eq!(rows[2], ["no skew", "yes", "FAILED", "yes"]);
    }
}
