//! Whatever the library gives to its users is shown in use.
//!
//! The names that `kelpie` exports stand in two files; each `pub use` of them has an example in
//! its documentation, which rustdoc shows on the page of each name and the doctests run. So has
//! each method of these names, and each function among them, where it is written. What lies below
//! the typed layer (`kelpie::untyped`) is shown in the example of that module.

use std::collections::BTreeSet;

use super::Findings;
use crate::repo::Tree;

/// Where the library's names are exported.
const EXPORTS: &[&str] = &["crates/kelpie/src/lib.rs", "crates/kelpie/src/exports.rs"];
/// Those whose examples stand elsewhere: in this crate, and with the attributes.
const ELSEWHERE: &[&str] = &["pub use exports::*", "pub use kelpie_macros::"];

/// Where what they export is written.
const LIBRARY: &[&str] =
    &["crates/core/src/", "crates/env/src/", "crates/runtime/src/", "crates/kelpie/src/"];
/// Two of the names are there a second time, below the typed layer.
const TYPED: &str = "crates/runtime/src/typed";

/// Reports exports, and methods of what is exported, without an example.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    methods(tree, &mut findings);
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

fn methods(tree: &Tree, findings: &mut Findings) {
    let mut exported = Exported::default();
    for (_, text) in tree.texts().filter(|(path, _)| EXPORTS.contains(path)) {
        exported.read(text);
    }
    for (path, text) in tree.texts().filter(|(path, _)| LIBRARY.iter().any(|part| path.starts_with(part))) {
        for (line, name) in unshown(text, |name| exported.has(name, path)) {
            findings
                .violation(&format!("{path}:{line}"), format!("`{name}` has no example: `/// ```` above it"));
        }
    }
}

/// The names of the library: types, traits and functions.
#[derive(Default)]
struct Exported {
    typed: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Exported {
    fn read(&mut self, text: &str) {
        let exports = text.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next());
        for export in exports {
            // What stands before a brace holds for all that is in it, at most two deep.
            let mut typed_at = None;
            let mut depth = 0_usize;
            let mut word = String::new();
            for c in export.chars().chain([',']) {
                match c {
                    '{' | ',' | '}' => {
                        let path = std::mem::take(&mut word);
                        if path.split("::").any(|part| part == "typed") && c == '{' {
                            typed_at = typed_at.or(Some(depth));
                        } else if let Some(name) = path.rsplit("::").next().filter(|name| !name.is_empty()) {
                            let names = if typed_at.is_some() { &mut self.typed } else { &mut self.others };
                            names.insert(name.to_owned());
                        }
                        depth = if c == '{' { depth + 1 } else { depth - usize::from(c == '}') };
                        typed_at = typed_at.filter(|at| depth > *at);
                    }
                    c if c.is_whitespace() => {}
                    c => word.push(c),
                }
            }
        }
    }

    fn has(&self, name: &str, path: &str) -> bool {
        self.others.contains(name) || (path.starts_with(TYPED) && self.typed.contains(name))
    }
}

/// The methods and functions in a formatted file that users see and that have no example, each with
/// its line.
fn unshown(text: &str, exported: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut owner, mut is_trait) = (None, false);
    let (mut shown, mut hidden) = (false, false);
    for (index, line) in text.lines().enumerate() {
        if line == "}" {
            owner = None;
        } else if let Some(name) = owner_of(line) {
            is_trait = line.starts_with("pub trait ");
            owner = Some(name).filter(|name| exported(name));
        }
        let code = line.trim_start();
        if code.starts_with("///") {
            shown |= code.starts_with("/// ```");
            continue;
        }
        if code.starts_with("#[") {
            hidden |= code.starts_with("#[doc(hidden)]");
            continue;
        }
        let inside = line.starts_with("    ") && !line.starts_with("     ");
        let function = match (owner, inside) {
            (Some(owner), true) => function(code, !is_trait).map(|name| format!("{owner}::{name}")),
            (None, false) => function(line, true).filter(|name| exported(name)).map(str::to_owned),
            _ => None,
        };
        found.extend(function.filter(|_| !shown && !hidden).map(|name| (index + 1, name)));
        (shown, hidden) = (false, false);
    }
    found
}

/// The type of an `impl` block of its own, or a trait.
fn owner_of(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("impl") {
        Some(rest) => {
            // Behind the block's own generics, whose bounds may hold others.
            let mut depth = 0_usize;
            let end = rest.find(|c| {
                depth = depth + usize::from(c == '<') - usize::from(c == '>' && depth > 0);
                c == ' ' && depth == 0
            });
            Some(&rest[end? + 1..]).filter(|rest| !rest.contains(" for "))?
        }
        None => line.strip_prefix("pub trait ")?,
    };
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// The name of a function that users may call.
fn function(code: &str, says_pub: bool) -> Option<&str> {
    let code = if says_pub { code.strip_prefix("pub ")? } else { code };
    let code = code.strip_prefix("const ").unwrap_or(code);
    let code = code.strip_prefix("async ").unwrap_or(code);
    code.strip_prefix("fn ")?.split(['(', '<']).next()
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

    #[test]
    fn a_method_without_an_example_is_reported() {
        let exports = "/// ```\n/// a();\n/// ```\npub use kelpie_runtime::{\n    StepKey,\n    typed::{Turn, me},\n};\n";
        let typed = "impl<E: Into<Vec<u8>>> Turn<E> {\n    /// Says.\n    pub async fn key(&self) {}\n\n    /// ```\n    /// a();\n    \
                     /// ```\n    #[must_use]\n    pub fn shown() {}\n\n    #[doc(hidden)]\n    pub fn hidden() {}\n\n    \
                     fn own() {}\n}\n\nimpl Drop for Turn {\n    fn drop(&mut self) {}\n}\n\npub fn me<A>() {}\n";
        let found = check(&Tree::of(&[
            ("crates/kelpie/src/lib.rs", exports),
            ("crates/runtime/src/typed/turn.rs", typed),
            // Another one, below the typed layer.
            ("crates/runtime/src/turn.rs", typed),
            ("crates/runtime/src/step.rs", "pub trait StepKey {\n    fn as_str(&self);\n}\n"),
        ]));
        let mut lines: Vec<&str> =
            found.violations.iter().filter_map(|found| found.split(" has").next()).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "crates/runtime/src/step.rs:2: `StepKey::as_str`",
                "crates/runtime/src/typed/turn.rs:21: `me`",
                "crates/runtime/src/typed/turn.rs:3: `Turn::key`",
            ]
        );
    }
}
