//! One TLC config: which module it runs, and what must come out.

use std::collections::BTreeSet;

use crate::repo::Tree;

/// What a config's header says TLC must find.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    /// No error, and exactly this many distinct states.
    Holds { states: u64 },
    /// This invariant or property is violated.
    Violates { name: String },
}

/// A file `specs/<name>.cfg`.
pub(crate) struct Config {
    pub(crate) name: String,
    pub(super) module: String,
    pub(super) expected: Expected,
    /// Whether it is too big for every change.
    pub(crate) only_deep: bool,
    /// Whether a state without successor is an error.
    pub(super) checks_deadlock: bool,
    /// The names under INVARIANT and INVARIANTS.
    pub(super) invariants: Vec<String>,
    /// The names under PROPERTY and PROPERTIES.
    pub(super) properties: Vec<String>,
}

/// The configs of all modules, by name.
pub(super) fn all(tree: &Tree) -> Vec<Config> {
    let modules: BTreeSet<&str> =
        tree.files.keys().filter_map(|path| path.strip_prefix("specs/")?.strip_suffix(".tla")).collect();
    let stem = |path: &str| {
        let name = path.strip_prefix("specs/")?.strip_suffix(".cfg")?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    tree.texts()
        .filter_map(|(path, text)| {
            let name = stem(path)?;
            let module = modules
                .iter()
                .filter(|module| name == **module || name.starts_with(&format!("{module}_")))
                .max_by_key(|module| module.len())
                .map_or_else(String::new, |module| (*module).to_owned());
            Some(Config::parse(&name, &module, text))
        })
        .collect()
}

impl Config {
    /// Reads a config; a header that says nothing expects zero states, which TLC never finds.
    pub(super) fn parse(name: &str, module: &str, text: &str) -> Self {
        let header = |key: &str| {
            let values =
                text.lines().filter_map(|line| line.trim().strip_prefix("\\*")?.trim().strip_prefix(key));
            values.map(str::trim).next()
        };
        let expected = match header("violates:") {
            Some(name) => Expected::Violates { name: name.to_owned() },
            None => {
                let states = header("states:").and_then(|states| states.replace('_', "").parse().ok());
                Expected::Holds { states: states.unwrap_or(0) }
            }
        };
        Self {
            name: name.to_owned(),
            module: module.to_owned(),
            expected,
            only_deep: header("only:") == Some("deep"),
            checks_deadlock: header("deadlock:") != Some("ignore"),
            invariants: section(text, &["INVARIANT", "INVARIANTS"]),
            properties: section(text, &["PROPERTY", "PROPERTIES"]),
        }
    }
}

/// The words below the given keywords, up to the next keyword.
fn section(text: &str, keywords: &[&str]) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        for word in line.split("\\*").next().unwrap_or_default().split_whitespace() {
            let is_keyword = word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if is_keyword {
                inside = keywords.contains(&word);
            } else if inside {
                found.push(word.to_owned());
            }
        }
    }
    found
}

/// What is wrong with the set of configs, before any of them runs.
pub(super) fn mistakes(configs: &[Config]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for config in configs {
        let is_good = config.name == config.module;
        match &config.expected {
            _ if config.module.is_empty() => {
                mistakes.push(format!("{}.cfg belongs to no module", config.name))
            }
            Expected::Violates { .. } if is_good => {
                mistakes.push(format!("{}.cfg is the good config, but expects a violation", config.name));
            }
            Expected::Holds { states: 0 } => {
                mistakes.push(format!(
                    "{}.cfg says neither `\\* states: N` nor `\\* violates: Name`",
                    config.name
                ));
            }
            Expected::Violates { name }
                if !(config.invariants.contains(name) || config.properties.contains(name)) =>
            {
                mistakes.push(format!("{}.cfg does not check {name}, which it is to violate", config.name));
            }
            Expected::Violates { .. } => {}
            Expected::Holds { .. } => {
                let killed = |name: &str| {
                    let bugs = configs.iter().filter(|bug| bug.module == config.module);
                    bugs.into_iter()
                        .any(|bug| matches!(&bug.expected, Expected::Violates { name: by } if by == name))
                };
                for name in config.invariants.iter().chain(&config.properties) {
                    // What says only which values a variable can hold guards the model, not the protocol.
                    if name != "TypeOK" && !killed(name) {
                        mistakes.push(format!("{}: no config shows that {name} can fail", config.module));
                    }
                }
            }
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Vec<String> {
        mistakes(&all(&Tree::of(files)))
    }

    #[test]
    fn a_module_with_a_bug_for_each_invariant_is_fine() {
        let found = tree(&[
            ("specs/A.tla", ""),
            ("specs/A.cfg", "\\* states: 7\nINVARIANTS TypeOK Safe\nPROPERTY Live\n"),
            ("specs/A_One.cfg", "\\* violates: Safe\nINVARIANT Safe\n"),
            ("specs/A_Two.cfg", "\\* violates: Live\nPROPERTY Live\n"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn each_mistake_is_reported() {
        let unkilled = tree(&[("specs/A.tla", ""), ("specs/A.cfg", "\\* states: 7\nINVARIANT Safe\n")]);
        assert_eq!(unkilled, ["A: no config shows that Safe can fail"]);
        let homeless = tree(&[("specs/B_x.cfg", "\\* violates: Safe\nINVARIANT Safe\n")]);
        assert_eq!(homeless, ["B_x.cfg belongs to no module"]);
        let silent = tree(&[("specs/A.tla", ""), ("specs/A_x.cfg", "INVARIANT Safe\n")]);
        assert_eq!(silent, ["A_x.cfg says neither `\\* states: N` nor `\\* violates: Name`"]);
        let unchecked =
            tree(&[("specs/A.tla", ""), ("specs/A_x.cfg", "\\* violates: Safe\nINVARIANT Other\n")]);
        assert_eq!(unchecked, ["A_x.cfg does not check Safe, which it is to violate"]);
        let good = tree(&[("specs/A.tla", ""), ("specs/A.cfg", "\\* violates: Safe\nINVARIANT Safe\n")]);
        assert_eq!(good, ["A.cfg is the good config, but expects a violation"]);
    }

    #[test]
    fn the_header_is_read() {
        let config = Config::parse(
            "A",
            "A",
            "\\* states: 12_345\n\\* deadlock: ignore\nCONSTANT N = 3\nINVARIANT Safe \\* x\n",
        );
        assert_eq!(config.expected, Expected::Holds { states: 12_345 });
        assert!(!config.checks_deadlock);
        assert_eq!(config.invariants, ["Safe"]);
    }
}
