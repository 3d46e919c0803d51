//! Whatever the library gives to its users is shown in use.
//!
//! The names that `kelpie` exports stand in two files; each `pub use` of them has an example in
//! its documentation, which rustdoc shows on the page of each name and the doctests run.

use super::Findings;
use crate::repo::Tree;

/// Where the library's names are exported.
const EXPORTS: &[&str] = &["crates/kelpie/src/lib.rs", "crates/kelpie/src/exports.rs"];
/// Those whose examples stand elsewhere: in this crate, and with the attributes.
const ELSEWHERE: &[&str] = &["pub use exports::*", "pub use kelpie_macros::"];

/// Reports exports without an example.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.texts().filter(|(path, _)| EXPORTS.contains(path)) {
        let mut shown = false;
        for (index, line) in text.lines().enumerate() {
            if line.starts_with("pub use ") {
                if !shown && !ELSEWHERE.iter().any(|elsewhere| line.starts_with(elsewhere)) {
                    let at = format!("{path}:{}", index + 1);
                    findings.violation(&at, "exports without an example: `/// ```` above it");
                }
                shown = false;
            } else if line.starts_with("///") {
                shown |= line.starts_with("/// ```");
            } else if !line.starts_with("#[") {
                shown = false;
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_without_an_example_is_reported() {
        let file = "/// ```\n/// a();\n/// ```\npub use a::a;\npub use b::{b, B};\n/// Words.\npub use c::c;\n\
                    pub use kelpie_macros::actor;\n    pub use inside::a_module;\n";
        let found =
            check(&Tree::of(&[("crates/kelpie/src/lib.rs", file), ("crates/other/src/lib.rs", file)]));
        let lines: Vec<&str> = found.violations.iter().map(|found| &found[..27]).collect();
        assert_eq!(lines, ["crates/kelpie/src/lib.rs:5:", "crates/kelpie/src/lib.rs:7:"]);
    }
}
