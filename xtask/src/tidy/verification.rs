//! What the documents name as proof exists.
//!
//! A table that says "shown by `test_x`" is worth something only while `test_x` is there.
//! So in the tables of `docs/adr/` and `docs/verification.md` every name in backticks that
//! looks like a test or a function must be one, every path must be a file, every specification a
//! module; each claim of a decision names something or says that it is open; and the page is what
//! would be put together now.

use super::Findings;
use crate::repo::Tree;
use crate::repo::names::Names;
use crate::verification;

/// Reports names in proof tables that nothing in the sources answers to.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings { violations: verification::mistakes(tree), ..Findings::default() };
    findings.violations.extend(unknown_names(tree));
    findings
}

fn unknown_names(tree: &Tree) -> Vec<String> {
    let names = Names::of(tree);
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        if !(path.starts_with("docs/adr/") || path == "docs/verification.md") {
            continue;
        }
        for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
            let unknown = quoted(line).filter(|name| !exists(name, &names, tree));
            found.extend(unknown.map(|name| format!("{path}:{}: `{name}` does not exist", index + 1)));
        }
    }
    found
}

fn exists(name: &str, names: &Names<'_>, tree: &Tree) -> bool {
    let is_word = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_spec = name.starts_with("Kelpie") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_path = name.contains('/')
        && name.rsplit('/').next().is_some_and(|file| file.contains('.'))
        && !name.contains(['<', '*', ' ']);
    if is_path {
        tree.files.contains_key(name)
    } else if is_spec {
        tree.files.contains_key(&format!("specs/{name}.tla"))
            || tree.files.contains_key(&format!("specs/{name}.cfg"))
    } else if name.contains("::") && name.split("::").all(is_word) && name.contains('_') {
        names.has_test(name)
    } else if is_word(name) && name.contains('_') {
        names.has_function(name) || names.has_mutant(name)
    } else {
        true
    }
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
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
        unknown_names(&tree)
    }

    #[test]
    fn names_that_exist_pass() {
        let row = "| a | `lease::lease_ends_once`, `crates/x/tests/it/lease.rs`, `KelpieWAL`, `own`, `cargo xtask test` |";
        assert!(found(row).is_empty(), "{:?}", found(row));
    }

    #[test]
    fn names_that_do_not_exist_are_reported() {
        for gone in ["lease_ends_twice", "runs::lease_ends_once", "crates/x/src/gone.rs", "KelpieGone"] {
            let row = format!("| a | `{gone}` |");
            assert_eq!(found(&row), [format!("docs/adr/031-x.md:1: `{gone}` does not exist")]);
        }
    }
}
