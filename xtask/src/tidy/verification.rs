//! What the documents name as proof exists.
//!
//! A table that says "shown by `test_x`" is worth something only while `test_x` is there.
//! So in the tables of `docs/adr/` and `docs/verification.md` every name in backticks that
//! looks like a function must be one, every path must be a file, every specification a module.

use std::collections::BTreeSet;

use super::Findings;
use crate::repo::Tree;

/// Reports names in proof tables that nothing in the sources answers to.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let functions: BTreeSet<&str> =
        tree.rust().flat_map(|(_, text)| functions(text).chain(mutants(text))).collect();
    for (path, text) in tree.texts() {
        if !(path.starts_with("docs/adr/") || path == "docs/verification.md") {
            continue;
        }
        for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
            for name in quoted(line).filter(|name| !exists(name, &functions, tree)) {
                findings.violation(&format!("{path}:{}", index + 1), format!("`{name}` does not exist"));
            }
        }
    }
    findings
}

fn exists(name: &str, functions: &BTreeSet<&str>, tree: &Tree) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    let is_function =
        last.contains('_') && last.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_spec = name.starts_with("Kelpie") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_path = name.contains('/')
        && name.rsplit('/').next().is_some_and(|file| file.contains('.'))
        && !name.contains(['<', '*', ' ']);
    if is_path {
        tree.files.contains_key(name)
    } else if is_spec {
        tree.files.contains_key(&format!("specs/{name}.tla"))
            || tree.files.contains_key(&format!("specs/{name}.cfg"))
    } else if is_function {
        functions.contains(last)
    } else {
        true
    }
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("fn ").filter_map(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
        (end > 0).then(|| &rest[..end])
    })
}

/// Names of seeded bugs stand as `mutant!("name")` where they bite.
fn mutants(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("mutant!(\"").filter_map(|(at, found)| text[at + found.len()..].split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/adr/031-x.md", row),
            ("crates/x/tests/it/lease.rs", "#[test]\nfn lease_ends_once() {}\n"),
            ("specs/KelpieWAL.tla", ""),
        ]);
        check(&tree).violations
    }

    #[test]
    fn names_that_exist_pass() {
        let row = "| a | `lease::lease_ends_once`, `crates/x/tests/it/lease.rs`, `KelpieWAL`, `own`, `cargo xtask test` |";
        assert!(found(row).is_empty(), "{:?}", found(row));
    }

    #[test]
    fn names_that_do_not_exist_are_reported() {
        for gone in ["lease_ends_twice", "crates/x/src/gone.rs", "KelpieGone"] {
            let row = format!("| a | `{gone}` |");
            assert_eq!(found(&row), [format!("docs/adr/031-x.md:1: `{gone}` does not exist")]);
        }
    }
}
