//! What in the code answers to a specification: one to one, or it is said why not.
//!
//! A config with a seeded bug says in its header which seeded bug of the code it is
//! (`\* mutant: name`, one that a test arms), or which test puts the same to the proof where the
//! code leaves no place for a bug that one could switch on (`\* test: module::name`), or that it
//! is an assumption and no code at all (`\* assumption: why`).
//!
//! An invariant or property of a good config is a property of a model in `crates/models`, an
//! invariant or judge of the simulator, each by the same name, or the header of the module's good
//! config names the test that shows it (`\* tested: Name module::name`).
//!
//! An action is code's or the world's, see [`actions`].

use std::collections::BTreeSet;

use super::actions;
use super::config::{Config, Expected};
use crate::repo::Tree;
use crate::repo::names::{Names, behind};

/// One line of the map.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    pub(super) module: String,
    /// An invariant, an action, or a config with a seeded bug.
    pub(super) name: String,
    /// What it answers to in the code.
    pub(super) answer: String,
}

/// What the sources know, by name.
struct Code<'a> {
    names: Names<'a>,
    models: BTreeSet<&'a str>,
    simulator: BTreeSet<&'a str>,
}

impl<'a> Code<'a> {
    fn of(tree: &'a Tree) -> Self {
        let under = |folder: &'a str| tree.rust().filter(move |(path, _)| path.starts_with(folder));
        Self {
            names: Names::of(tree),
            models: under("crates/models/")
                .flat_map(|(_, text)| behind(text, "Property::always(\""))
                .collect(),
            simulator: under("crates/dst/").flat_map(|(_, text)| behind(text, "name: \"")).collect(),
        }
    }
}

/// The map, and what is wrong with it.
pub(super) fn draw(tree: &Tree, configs: &[Config]) -> (Vec<Answer>, Vec<String>) {
    let code = Code::of(tree);
    let (mut map, mut mistakes) = (Vec::new(), Vec::new());
    for config in configs {
        let text = tree.text(&format!("specs/{}.cfg", config.name)).unwrap_or_default();
        let answers = match &config.expected {
            Expected::Violates { .. } => vec![(config.name.clone(), of_bug(&code, text))],
            Expected::Holds { .. } => of_invariants(&code, tree, config),
        };
        for (name, answer) in answers {
            match answer {
                Ok(answer) => map.push(Answer { module: config.module.clone(), name, answer }),
                Err(problem) => mistakes.push(format!("{}.cfg: {name}: {problem}", config.name)),
            }
        }
    }
    let (actions, wrong) = actions::draw(tree);
    map.extend(actions);
    mistakes.extend(wrong);
    mistakes.extend(code.names.unarmed().map(|name| format!("the seeded bug `{name}` is armed by no test")));
    map.sort();
    map.dedup();
    (map, mistakes)
}

fn headers<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| Some(line.strip_prefix("\\* ")?.strip_prefix(key)?.trim()))
}

fn of_bug(code: &Code<'_>, text: &str) -> Result<String, String> {
    let mutant = headers(text, "mutant:").next();
    let test = headers(text, "test:").next();
    let assumption = headers(text, "assumption:").next();
    match (mutant, test, assumption) {
        (Some(name), None, None) if !code.names.has_mutant(name) => {
            Err(format!("no seeded bug of the code is named `{name}`"))
        }
        (Some(name), None, None) => Ok(format!("mutant {name}")),
        (None, Some(test), None) if !code.names.has_test(test) => Err(format!("there is no test `{test}`")),
        (None, Some(test), None) => Ok(format!("test {test}")),
        (None, None, Some(why)) => Ok(format!("assumption: {why}")),
        (None, None, None) => Err("says neither `mutant:` nor `test:` nor `assumption:`".to_owned()),
        _ => Err("says more than one of `mutant:`, `test:` and `assumption:`".to_owned()),
    }
}

fn of_invariants(code: &Code<'_>, tree: &Tree, config: &Config) -> Vec<(String, Result<String, String>)> {
    let good = tree.text(&format!("specs/{}.cfg", config.module)).unwrap_or_default();
    let names = config.invariants.iter().chain(&config.properties).filter(|name| *name != "TypeOK");
    let answer = |name: &String| {
        let tested = headers(good, "tested:").filter_map(|header| header.split_once(' '));
        let test = tested.into_iter().find(|(tested, _)| tested == name).map(|(_, test)| test);
        let modelled = code.models.contains(name.as_str()).then(|| "model".to_owned());
        let simulated = code.simulator.contains(name.as_str()).then(|| "simulator".to_owned());
        let answers: Vec<String> =
            modelled.into_iter().chain(simulated).chain(test.map(|test| format!("test {test}"))).collect();
        match test {
            Some(test) if !code.names.has_test(test) => Err(format!("there is no test `{test}`")),
            _ if answers.is_empty() => {
                Err("is no property of a model, nothing the simulator checks, and names no test".to_owned())
            }
            _ => Ok(answers.join(", ")),
        }
    };
    names.map(|name| (name.clone(), answer(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::config;
    use super::*;

    const GOOD: &str = "\\* states: 7\n\\* tested: Quick turns::is_quick\nINVARIANTS Safe Quick\n";
    const CODE: &str = "fn f() { mutant!(\"forgets\"); }\n#[test]\nfn is_quick() {}\n";

    fn found(bug: &str, good: &str) -> (Vec<String>, Vec<String>) {
        let tree = Tree::of(&[
            ("specs/A.tla", ""),
            ("specs/A.cfg", good),
            ("specs/A_Bug.cfg", &format!("\\* violates: Safe\n{bug}INVARIANT Safe\n")),
            ("crates/x/src/turns.rs", CODE),
            ("crates/x/tests/it/turns.rs", "arm(\"forgets\")"),
            ("crates/models/src/a.rs", "Property::always(\"Safe\", f)"),
        ]);
        let (map, mistakes) = draw(&tree, &config::all(&tree));
        (map.into_iter().map(|line| format!("{}: {}", line.name, line.answer)).collect(), mistakes)
    }

    #[test]
    fn what_answers_is_told() {
        let (map, mistakes) = found("\\* mutant: forgets\n", GOOD);
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(map, ["A_Bug: mutant forgets", "Quick: test turns::is_quick", "Safe: model"]);
        assert_eq!(found("\\* test: turns::is_quick\n", GOOD).1, Vec::<String>::new());
    }

    #[test]
    fn what_does_not_answer_is_reported() {
        let of_bug = |bug: &str| found(bug, GOOD).1.concat();
        assert_eq!(of_bug(""), "A_Bug.cfg: A_Bug: says neither `mutant:` nor `test:` nor `assumption:`");
        assert_eq!(
            of_bug("\\* mutant: forgot\n"),
            "A_Bug.cfg: A_Bug: no seeded bug of the code is named `forgot`"
        );
        assert_eq!(
            of_bug("\\* test: turns::is_slow\n"),
            "A_Bug.cfg: A_Bug: there is no test `turns::is_slow`"
        );
        let untested = "\\* states: 7\nINVARIANTS Safe Quick\n";
        assert_eq!(
            found("\\* mutant: forgets\n", untested).1.concat(),
            "A.cfg: Quick: is no property of a model, nothing the simulator checks, and names no test"
        );
    }

    #[test]
    fn a_seeded_bug_that_no_test_arms_is_reported() {
        let tree = Tree::of(&[("crates/x/src/turn.rs", CODE)]);
        assert_eq!(draw(&tree, &[]).1, ["the seeded bug `forgets` is armed by no test"]);
    }
}
