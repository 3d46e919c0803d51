//! A thing has one name, and a module is named after what it holds.

use std::collections::BTreeMap;

use super::Findings;
use crate::repo::{Tree, is_test_source};

/// Names under which anything and everything ends up.
const NAMELESS: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "types", "misc", "mod"];

/// Names that are read with their module (`store::Error`) and so may occur in several.
const QUALIFIED: &[&str] = &["Builder", "Effect", "Error", "Handle", "Input", "Options", "Result"];

/// Reports modules without a name of their own, and notes public types that share one.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let mut types: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in tree.rust() {
        let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
        if NAMELESS.contains(&stem) {
            findings.violation(path, format!("`{stem}` names no concept: what is in it?"));
        }
        if path.contains("/src/") && !is_test_source(path) {
            for name in public_types(text) {
                types.entry(name).or_default().push(path.to_owned());
            }
        }
    }
    for (name, places) in types {
        if places.len() > 1 && !QUALIFIED.contains(&name) {
            findings.notes.push(format!("`{name}` is a public type in {}", places.join(" and ")));
        }
    }
    findings
}

fn public_types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let item = line.strip_prefix("pub ")?;
        let named = ["struct ", "enum ", "trait ", "type ", "union "]
            .iter()
            .find_map(|kind| item.strip_prefix(kind))?;
        let end = named.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(named.len());
        Some(&named[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameless_modules_are_reported() {
        let tree =
            Tree::of(&[("crates/x/src/utils.rs", "//! Things."), ("crates/x/src/lease.rs", "//! A lease.")]);
        assert_eq!(
            check(&tree).violations,
            ["crates/x/src/utils.rs: `utils` names no concept: what is in it?"]
        );
    }

    #[test]
    fn a_public_type_in_two_places_is_noted() {
        let tree = Tree::of(&[
            ("crates/x/src/a.rs", "pub struct Lease {\n}\npub enum Error {}\npub(crate) struct Inner;"),
            ("crates/y/src/b.rs", "pub enum Lease {}\npub enum Error {}\nstruct Inner;"),
        ]);
        let notes = check(&tree).notes;
        assert_eq!(notes, ["`Lease` is a public type in crates/x/src/a.rs and crates/y/src/b.rs"]);
    }
}
