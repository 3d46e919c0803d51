//! Whatever the library gives to its users is shown in use.
//!
//! The names that `kelpie` exports stand in two files; each `pub use` of them, also of those below
//! the typed layer (`kelpie::untyped`), has an example in its documentation, which rustdoc shows on
//! the page of each name and the doctests run. So has each method of these names, and each function
//! among them, where it is written; the same holds for what a test of `kelpie-dst` calls. An example
//! that shows several methods stands at one of them, or at their type; the others say so with the
//! line ``/// Shown at [`Type::method`].``, and occur in it.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::repo::Tree;

/// Where the library's names are exported.
const EXPORTS: &[&str] = &["crates/kelpie/src/lib.rs", "crates/kelpie/src/exports.rs"];
/// Those whose examples stand elsewhere: in this crate, and with the attributes.
const ELSEWHERE: &[&str] = &["pub use exports::*", "pub use kelpie_macros::"];

/// Where what they export is written.
const LIBRARY: &[&str] = &[
    "crates/core/src/",
    "crates/env/src/",
    "crates/storage/src/",
    "crates/registry/src/",
    "crates/runtime/src/",
    "crates/kelpie/src/",
];
/// Where some of them are exported once more on their way.
const ON_THE_WAY: &str = "crates/runtime/src/lib.rs";
/// Two of the names are there a second time, below the typed layer.
const TYPED: &str = "crates/runtime/src/typed";
/// What a test of a whole cluster calls, and where it is written.
const SIMULATION: &[(&str, &str)] =
    &[("crates/dst/src/", "cluster"), ("crates/dst/src/", "Cluster"), ("crates/dst/src/cluster/", "Client")];

/// Reports exports, and methods of what is exported, without an example.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    methods(tree, &mut findings);
    for (path, text) in tree.texts().filter(|(path, _)| EXPORTS.contains(path)) {
        for line in unshown_exports(text) {
            findings.violation(&format!("{path}:{line}"), "exports without an example: `/// ```` above it");
        }
    }
    findings
}

/// The lines that export something without an example, but those of a hidden module.
fn unshown_exports(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut shown, mut hides, mut hidden) = (false, false, false);
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if line == "}" {
            hidden = false;
        } else if code.starts_with("///") {
            shown |= code.starts_with("/// ```");
            continue;
        } else if code.starts_with("#[") {
            hides |= code.starts_with("#[doc(hidden)]");
            continue;
        } else if line.starts_with("pub mod ") {
            hidden = hides;
        } else if code.starts_with("pub use ")
            && !shown
            && !hidden
            && !ELSEWHERE.iter().any(|elsewhere| code.starts_with(elsewhere))
        {
            found.push(index + 1);
        }
        (shown, hides) = (false, false);
    }
    found
}

fn methods(tree: &Tree, findings: &mut Findings) {
    let mut exported = Exported::default();
    for (_, text) in tree.texts().filter(|(path, _)| EXPORTS.contains(path)) {
        exported.read(text);
    }
    for (_, text) in tree.texts().filter(|(path, _)| *path == ON_THE_WAY) {
        exported.follow(text);
    }
    let files = || {
        let simulation = |path: &str| SIMULATION.iter().any(|(part, _)| path.starts_with(part));
        tree.texts()
            .filter(move |(path, _)| LIBRARY.iter().any(|part| path.starts_with(part)) || simulation(path))
    };
    let mut shown = BTreeMap::new();
    let mut items = Vec::new();
    for (path, text) in files() {
        for item in items_of(text, |name| exported.has(name, path)) {
            let layer = layer(path);
            if !item.example.is_empty() {
                shown.insert((layer, item.name.clone()), item.example.clone());
            }
            items.push((path, layer, item));
        }
    }
    for (path, layer, item) in items.iter().filter(|(_, _, item)| item.is_called && item.example.is_empty()) {
        let at = format!("{path}:{}", item.line);
        let name = &item.name;
        let Some(target) = &item.shown_at else {
            findings.violation(&at, format!("`{name}` has no example: `/// ```` above it"));
            continue;
        };
        let method = name.rsplit("::").next().unwrap_or(name);
        match shown.get(&(*layer, target.clone())) {
            None => findings
                .violation(&at, format!("`{name}` is to be shown at `{target}`, which has no example")),
            Some(example) if !occurs(method, example) => {
                findings.violation(&at, format!("`{name}` does not occur in the example of `{target}`"));
            }
            Some(_) => {}
        }
    }
}

/// Names that stand twice in the library, once in each layer, and once more in the simulation.
fn layer(path: &str) -> &'static str {
    if path.starts_with(TYPED) {
        "typed"
    } else if path.starts_with("crates/dst/") {
        "simulation"
    } else {
        "library"
    }
}

/// Whether a name occurs in a text as a word.
fn occurs(name: &str, text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// The names of the library, types, traits and functions, each with the crate that it comes from.
#[derive(Default)]
struct Exported {
    typed: BTreeSet<String>,
    others: BTreeSet<(String, String)>,
}

impl Exported {
    fn read(&mut self, text: &str) {
        // Not what only the attributes write.
        let (seen, hidden) = text.split_once("#[doc(hidden)]\npub mod ").unwrap_or((text, ""));
        let behind = hidden.split_once("\n}").map_or("", |(_, behind)| behind);
        let exports = |text| str::split(text, "pub use ").skip(1).filter_map(|rest| rest.split(';').next());
        for export in exports(seen).chain(exports(behind)) {
            // What stands before a brace holds for all that is in it.
            let mut around: Vec<String> = Vec::new();
            let mut word = String::new();
            for c in export.chars().chain([',']) {
                match c {
                    '{' => around.push(std::mem::take(&mut word)),
                    ',' | '}' => {
                        let path = around.concat() + &std::mem::take(&mut word);
                        self.add(&path);
                        if c == '}' {
                            around.pop();
                        }
                    }
                    c if c.is_whitespace() => {}
                    c => word.push(c),
                }
            }
        }
    }

    /// Reads where names come from that the crate of this text has exported.
    fn follow(&mut self, text: &str) {
        let mut further = Self::default();
        further.read(text);
        let known = |(_, name): &(String, String)| self.others.iter().any(|(_, known)| known == name);
        let followed: Vec<_> = further.others.into_iter().filter(known).collect();
        self.others.extend(followed);
    }

    fn add(&mut self, path: &str) {
        let mut parts = path.split("::");
        let (of, Some(name)) = (parts.next().unwrap_or(path), path.rsplit("::").next()) else { return };
        if parts.any(|part| part == "typed") {
            self.typed.insert(name.to_owned());
        } else {
            // The facade exports its own modules.
            let of = of.strip_prefix("kelpie_").unwrap_or("kelpie");
            self.others.insert((format!("crates/{of}/"), name.to_owned()));
        }
    }

    fn has(&self, name: &str, path: &str) -> bool {
        let of = path.find("src/").map_or(path, |end| &path[..end]);
        self.others.contains(&(of.to_owned(), name.to_owned()))
            || (path.starts_with(TYPED) && self.typed.contains(name))
            || SIMULATION.iter().any(|(part, known)| path.starts_with(part) && name == *known)
    }
}

/// What users see in a file: a type, or what they call.
#[derive(Debug, PartialEq)]
struct Item {
    line: usize,
    /// With that of its type, if it is a method.
    name: String,
    is_called: bool,
    /// The code of its examples.
    example: String,
    /// Where it says that it is shown.
    shown_at: Option<String>,
}

/// What stands above an item.
#[derive(Default)]
struct Above {
    example: String,
    fence: Fence,
    shown_at: Option<String>,
    hidden: bool,
}

/// Where a line of documentation stands.
#[derive(Default, PartialEq)]
enum Fence {
    #[default]
    Outside,
    Example,
    /// A picture, or another language.
    Other,
}

impl Above {
    /// Reads a line of it. Says whether it was one.
    fn read(&mut self, code: &str) -> bool {
        if let Some(words) = code.strip_prefix("///") {
            let words = words.trim_start();
            if words.starts_with("```") {
                self.fence = match (&self.fence, words) {
                    (Fence::Outside, "```") => Fence::Example,
                    (Fence::Outside, _) => Fence::Other,
                    (Fence::Example | Fence::Other, _) => Fence::Outside,
                };
            } else if self.fence == Fence::Example {
                self.example.push_str(words);
                self.example.push('\n');
            } else if let Some(target) = words.strip_prefix("Shown at [`") {
                self.shown_at = target.split('`').next().map(str::to_owned);
            }
            return true;
        }
        self.hidden |= code.starts_with("#[doc(hidden)]");
        code.starts_with("#[")
    }
}

/// What users see in a formatted file, with the examples above it.
fn items_of(text: &str, exported: impl Fn(&str) -> bool) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut owner, mut is_trait) = (None, false);
    let mut above = Above::default();
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if above.read(code) {
            continue;
        }
        let Above { example, shown_at, hidden, .. } = std::mem::take(&mut above);
        if line == "}" {
            owner = None;
        } else if let Some(name) = owner_of(line) {
            is_trait = line.starts_with("pub trait ");
            owner = Some(name).filter(|name| exported(name));
        }
        let inside = line.starts_with("    ") && !line.starts_with("     ");
        let called = match (owner, inside) {
            (Some(owner), true) => function(code, !is_trait).map(|name| format!("{owner}::{name}")),
            (None, false) => function(line, true).filter(|name| exported(name)).map(str::to_owned),
            _ => None,
        };
        let is_called = called.is_some();
        let name = called.or_else(|| type_of(line).filter(|name| exported(name)).map(str::to_owned));
        if let Some(name) = name.filter(|_| !hidden) {
            items.push(Item { line: index + 1, name, is_called, example, shown_at });
        }
    }
    items
}

/// The type or trait that a line begins.
fn type_of(line: &str) -> Option<&str> {
    let rest =
        ["pub struct ", "pub enum ", "pub trait "].into_iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
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
                    pub use kelpie_macros::actor;\npub mod below {\n    /// ```\n    /// d();\n    /// ```\n    \
                    pub use d::d;\n    pub use e::e;\n}\n#[doc(hidden)]\npub mod of_macros {\n    \
                    pub use f::f;\n}\n";
        let found =
            check(&Tree::of(&[("crates/kelpie/src/lib.rs", file), ("crates/other/src/lib.rs", file)]));
        let lines: Vec<&str> = found.violations.iter().filter_map(|found| found.split(' ').next()).collect();
        assert_eq!(lines, [5, 7, 14].map(|line| format!("crates/kelpie/src/lib.rs:{line}:")));
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
            // Others of that name: below the typed layer, and of another crate.
            ("crates/runtime/src/turn.rs", typed),
            ("crates/core/src/step.rs", "pub trait StepKey {\n    fn as_str(&self);\n}\n"),
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

    #[test]
    fn a_method_is_shown_where_it_says_if_it_occurs_there() {
        let exports = "/// ```\n/// a();\n/// ```\npub use kelpie_runtime::Turn;\n";
        let turn = "/// ```\n/// turn.set(1);\n/// ```\npub struct Turn {}\n\nimpl Turn {\n    /// Shown at [`Turn`].\n    \
                    pub fn set(&self) {}\n\n    /// Shown at [`Turn`].\n    pub fn get(&self) {}\n\n    \
                    /// ```text\n    /// clear\n    /// ```\n    pub fn clear(&self) {}\n\n    \
                    /// Shown at [`Turn::clear`].\n    pub fn range(&self) {}\n}\n";
        let found =
            check(&Tree::of(&[("crates/kelpie/src/lib.rs", exports), ("crates/runtime/src/turn.rs", turn)]));
        assert_eq!(
            found.violations,
            [
                "crates/runtime/src/turn.rs:11: `Turn::get` does not occur in the example of `Turn`",
                "crates/runtime/src/turn.rs:16: `Turn::clear` has no example: `/// ```` above it",
                "crates/runtime/src/turn.rs:19: `Turn::range` is to be shown at `Turn::clear`, which has no example",
            ]
        );
    }
}
