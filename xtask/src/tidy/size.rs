//! A file that has grown too long is two files.

use super::Findings;
use crate::repo::{Tree, is_test_source};

/// Longer sources are refused. Most should stay below a third of it.
const LINES_MAX: usize = 1000;

/// Reports sources that are too long; tests and generated code may be.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.texts() {
        let is_source =
            [".rs", ".tla", ".py", ".ts", ".mjs", ".js", ".sh"].iter().any(|end| path.ends_with(end));
        if !is_source || is_test_source(path) || text.starts_with("// @generated") {
            continue;
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.violation(path, format!("{lines} lines, more than {LINES_MAX}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sources_are_reported_but_not_long_tests() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let generated = format!("// @generated\n{long}");
        let tree = Tree::of(&[
            ("crates/x/src/a.rs", &long),
            ("crates/x/src/b.rs", &long[2..]),
            ("crates/x/src/a/tests.rs", &long),
            ("crates/x/src/c.rs", &generated),
            ("docs/x.md", &long),
        ]);
        assert_eq!(check(&tree).violations, ["crates/x/src/a.rs: 1001 lines, more than 1000"]);
    }
}
