//! The table of the guide: what was asked of which backend.

use std::path::PathBuf;

use super::PROPERTIES;
use super::world::Target;

/// Where tests write down what they have found, for the table at the end of `cargo xtask test`.
const RECORDS: &str = "KELPIE_TEST_CONFORMANCE";

/// Carries out `ask`, and writes down whether it came back, where that is wanted.
pub(crate) fn recorded(target: Target, property: &str, ask: impl FnOnce()) {
    let file = std::env::var_os(RECORDS)
        .map(|dir| PathBuf::from(dir).join(format!("{property}.{}", target.column())));
    record(file.as_ref(), "FAILED");
    ask();
    record(file.as_ref(), "yes");
}

#[expect(clippy::disallowed_methods, reason = "a record for the runner of the tests, not data of a store")]
fn record(file: Option<&PathBuf>, what: &str) {
    if let Some(file) = file {
        std::fs::write(file, what).unwrap();
    }
}

impl Target {
    /// Its column, and the module of its tests.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::SimMemory => "sim_memory",
            Self::SimEmbedded => "sim_embedded",
            Self::EmbeddedReal => "embedded_real",
            #[cfg(feature = "fdb")]
            Self::FoundationDb => CLUSTER,
            Self::Postgres => "postgres",
        }
    }

    /// What the guide says of a property of it.
    fn cell(self, property: &str) -> &'static str {
        match self {
            Self::SimMemory if property == "what_was_acknowledged_is_there_after_reopening" => "forgets",
            Self::SimMemory | Self::SimEmbedded | Self::EmbeddedReal | Self::Postgres => "yes",
            #[cfg(feature = "fdb")]
            Self::FoundationDb => NOT_RUN,
        }
    }
}

/// The column of the store that needs a cluster from elsewhere. The guide claims nothing of
/// it; a run that has a cluster says in its own table what it has shown.
const CLUSTER: &str = "foundationdb";
const NOT_RUN: &str = "not run here";

const GUIDE: &str = include_str!("../../../../../docs/guide/stores.md");

#[test]
fn the_table_of_the_guide_is_this_suite() {
    let columns: Vec<_> = Target::ALL.iter().map(|target| target.column()).chain([CLUSTER]).collect();
    let mut expected = vec![format!("| property | {} |", columns.join(" | "))];
    expected.push(format!("|---|{}", "---|".repeat(columns.len())));
    for property in PROPERTIES {
        let cells: Vec<_> = Target::ALL.iter().map(|target| target.cell(property)).chain([NOT_RUN]).collect();
        expected.push(format!("| {} | {} |", property.replace('_', " "), cells.join(" | ")));
    }
    let expected = expected.join("\n");
    println!("{expected}");
    let found: Vec<&str> = GUIDE
        .lines()
        .skip_while(|line| *line != "<!-- conformance -->")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .collect();
    assert_eq!(found.join("\n"), expected, "put this table into docs/guide/stores.md");
}
