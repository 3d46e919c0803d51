//! The rules of the repository that a machine can check.
//!
//! Each rule is a module with one function and a test that plants a violation. A rule
//! that matters is a failing build, never a paragraph.

mod adr;
mod examples;
mod history;
mod hosts;
mod layers;
mod licences;
mod manifests;
mod names;
mod size;
mod stray;
mod verification;
mod words;

use std::path::Path;

use anyhow::Result;

use crate::repo::{self, Tree};

/// What one rule found.
#[derive(Default)]
pub(crate) struct Findings {
    /// Violations: each fails the run.
    pub(crate) violations: Vec<String>,
    /// Things worth knowing that fail nothing.
    pub(crate) notes: Vec<String>,
    /// Why the rule could not be checked here, if it could not.
    pub(crate) skipped: Option<String>,
}

impl Findings {
    fn violation(&mut self, at: &str, what: impl AsRef<str>) {
        self.violations.push(format!("{at}: {}", what.as_ref()));
    }
}

/// How the rules ended.
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: Vec<String>,
}

/// Checks every rule against the repository at `root` and prints what it found.
pub(crate) fn run(root: &Path) -> Result<Outcome> {
    let tree = Tree::load(root)?;
    let metadata = repo::metadata(root)?;
    let packages = manifests::packages(&metadata);
    let rules: Vec<(&str, Findings)> = vec![
        ("layers", layers::check(&layers::edges(&metadata))),
        ("manifests", manifests::check(&packages, &tree)),
        ("licences", licences::check(&licences::dependencies(&metadata))),
        ("size", size::check(&tree)),
        ("names", names::check(&tree)),
        ("words", words::check(&tree)),
        ("hosts", hosts::check(&tree)),
        ("stray", stray::check(&tree)),
        ("adr", adr::check(&tree)),
        ("examples", examples::check(&tree)),
        ("verification", verification::check(&tree)),
        ("history", history::check(root)),
    ];
    let mut outcome = Outcome { passed: 0, failed: 0, skipped: Vec::new() };
    for (name, findings) in rules {
        for note in &findings.notes {
            println!("tidy: note: {name}: {note}");
        }
        for violation in &findings.violations {
            println!("tidy: {name}: {violation}");
        }
        if let Some(reason) = findings.skipped {
            outcome.skipped.push(format!("tidy {name}: {reason}"));
        } else if findings.violations.is_empty() {
            outcome.passed += 1;
        } else {
            outcome.failed += 1;
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let outcome = super::run(&crate::repo::root()).expect("the rules can be checked");
        assert_eq!(outcome.failed, 0, "see the lines that start with `tidy:` above");
    }
}
