//! What the Rust sources know by name: tests, seeded bugs, and what judges them.
//!
//! Documents and specifications name these. They are found by how they are written, not by
//! compiling: a test is a function behind `#[test]` or `#[tokio::test]`, or a line of a list of
//! `properties!`; a seeded bug is a `mutant!("name")`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Tree, is_test_source};

/// Names, and where they stand.
pub(crate) struct Names<'a> {
    /// Tests by their last name: the files that have one of that name.
    tests: BTreeMap<&'a str, Vec<Place<'a>>>,
    functions: BTreeSet<&'a str>,
    mutants: BTreeSet<&'a str>,
    armed: BTreeSet<&'a str>,
    searched: Vec<(&'a str, &'a str)>,
}

/// What may stand in a test's path before its name.
struct Place<'a> {
    path: &'a str,
    text: &'a str,
    /// Of a line of a list: the module that has the property.
    concern: Option<&'a str>,
}

impl Place<'_> {
    /// Whether `module` is a file, a folder, or a module written out here.
    fn has(&self, module: &str) -> bool {
        let parts = self.path.trim_end_matches(".rs").split('/');
        parts.into_iter().any(|part| part == module)
            || self.text.contains(&format!("mod {module} {{"))
            || self.concern == Some(module)
    }
}

impl<'a> Names<'a> {
    /// Reads all sources but those of the checks.
    pub(crate) fn of(tree: &'a Tree) -> Self {
        let mut names = Self {
            tests: BTreeMap::new(),
            functions: BTreeSet::new(),
            mutants: BTreeSet::new(),
            armed: BTreeSet::new(),
            searched: Vec::new(),
        };
        for (path, text) in tree.rust().filter(|(path, _)| !path.starts_with("xtask/")) {
            for (concern, test) in tests(text) {
                names.tests.entry(test).or_default().push(Place { path, text, concern });
            }
            names.functions.extend(behind(text, "fn "));
            if !is_test_source(path) {
                names.mutants.extend(behind(text, "mutant!(\""));
            }
            names.armed.extend(behind(test_part(path, text), "\""));
            if path.ends_with("dst/src/mutants.rs") {
                for mark in ["    common(\"", "    rare(\""] {
                    let rows = text.match_indices(mark).map(|(at, _)| &text[at..]);
                    names.searched.extend(
                        rows.filter_map(|row| {
                            Some((behind(row, mark).next()?, behind(row, "\", \"").next()?))
                        }),
                    );
                }
            }
        }
        names
    }

    /// Whether there is this test: `name`, or `module::name`.
    pub(crate) fn has_test(&self, test: &str) -> bool {
        let mut modules: Vec<&str> = test.split("::").collect();
        let name = modules.pop().unwrap_or_default();
        let places = self.tests.get(name);
        places.is_some_and(|places| places.iter().any(|place| modules.iter().all(|module| place.has(module))))
    }

    /// Whether any function has this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }

    /// Whether the product has this seeded bug.
    pub(crate) fn has_mutant(&self, name: &str) -> bool {
        self.mutants.contains(name)
    }

    /// Whether the product has this seeded bug and a test, or a list of a search, names it.
    pub(crate) fn has_armed_mutant(&self, name: &str) -> bool {
        self.mutants.contains(name) && self.armed.contains(name)
    }

    /// The seeded bugs that no test names.
    pub(crate) fn unarmed(&self) -> impl Iterator<Item = &'a str> {
        self.mutants.difference(&self.armed).copied()
    }

    /// The seeded bugs that simulation of clusters searches for, each with its scenario.
    pub(crate) fn searched(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.searched.iter().copied()
    }
}

/// The names that stand behind each `mark`.
pub(crate) fn behind<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark).filter_map(move |(at, _)| {
        let rest = &text[at + mark.len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        (end > 0).then(|| &rest[..end])
    })
}

/// The names of the tests in a source, each with the module that a list says.
fn tests(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut is_marked = false;
    let mut is_list = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        is_list = line == "properties! {" || is_list && line != "}";
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
            return None;
        }
        if is_list {
            return line.split_once("::").map(|(concern, name)| (Some(concern), name));
        }
        let name = behind(line, "fn ").next()?;
        std::mem::take(&mut is_marked).then_some((None, name))
    })
}

/// The part of a source that is tests, or a list of seeded bugs to search for.
fn test_part<'a>(path: &str, text: &'a str) -> &'a str {
    if is_test_source(path) || path.ends_with("/mutants.rs") {
        return text;
    }
    let marks = ["#[cfg(test)]", "#[cfg(feature = \"mutants\")]"];
    let at = marks.iter().filter_map(|mark| text.find(mark)).min();
    at.map_or("", |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_its_attribute_and_its_modules() {
        let tree = Tree::of(&[
            ("crates/x/src/turn.rs", "fn helps() {}\nmod tests {\n  #[test]\n  fn is_quick() {}\n}\n"),
            (
                "crates/x/tests/it/lease/ends.rs",
                "#[tokio::test(start_paused = true)]\n// On time.\nasync fn ends_once() {}\n",
            ),
            ("crates/x/tests/it/all.rs", "properties! {\n    limits::holds\n}\nfn not_one() {}\n"),
        ]);
        let names = Names::of(&tree);
        for test in ["is_quick", "turn::tests::is_quick", "lease::ends::ends_once", "limits::holds"] {
            assert!(names.has_test(test), "{test}");
        }
        for other in ["helps", "turn::helps", "runs::is_quick", "not_one", "lease::is_quick"] {
            assert!(!names.has_test(other), "{other}");
        }
    }

    #[test]
    fn a_seeded_bug_is_of_the_product_and_armed_by_a_test() {
        let tree = Tree::of(&[
            ("crates/x/src/turn.rs", "fn f() { mutant!(\"forgets\"); mutant!(\"sleeps\"); }\n"),
            ("crates/x/tests/it/turns.rs", "arm(\"forgets\")"),
            (
                "crates/dst/src/mutants.rs",
                "    common(\"forgets\", \"bank\"),\n    rare(\"naps\", \"orders\"),\n",
            ),
        ]);
        let names = Names::of(&tree);
        assert!(names.has_armed_mutant("forgets") && names.has_mutant("sleeps"));
        assert!(!names.has_armed_mutant("sleeps") && !names.has_mutant("dreams"));
        assert_eq!(names.unarmed().collect::<Vec<_>>(), ["sleeps"]);
        assert_eq!(names.searched().collect::<Vec<_>>(), [("forgets", "bank"), ("naps", "orders")]);
    }
}
