//! Which code carries out an action of a specification: one to one, or it is said who else does.
//!
//! The header of a module has a paragraph that begins with `Where the code is`, perhaps with the
//! folder that its paths are relative to, else they are relative to `crates/`:
//!
//! ```text
//! (* Where the code is (crates/x/src):                     *)
//! (*   Began, Ended      turn.rs begin, end; gate.rs enter *)
//! (*   machine: crates/core/src/turn.rs                    *)
//! (*   not modelled: Retired                               *)
//! (*   a seeded bug: Looked                                *)
//! (*   the world: Crashed, CallerGaveUp                    *)
//! ```
//!
//! An entry names actions, then the functions that carry them out. A `machine:` has an action for
//! each variant of its `Input`, by the same name, or, where it is functions, an entry for each of
//! them, unless they are `not modelled:`. Faults and clients are `the world:`. What only
//! happens in a config with a seeded bug is `a seeded bug:`. What stands in parentheses is for readers. Each action stands in exactly one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::map::Answer;
use crate::repo::Tree;

/// The map of the actions, and what is wrong with it.
pub(super) fn draw(tree: &Tree) -> (Vec<Answer>, Vec<String>) {
    let (mut map, mut mistakes) = (Vec::new(), Vec::new());
    let mut named = BTreeSet::new();
    let modules = tree.texts().filter_map(|(path, text)| {
        let name = path.strip_prefix("specs/")?.strip_suffix(".tla")?;
        (!name.contains('/') && name != "Following").then_some((name, text))
    });
    for (module, text) in modules {
        let header = Header::of(text);
        let mut answers: BTreeMap<&str, String> = BTreeMap::new();
        let mut wrong = |problem: String| mistakes.push(format!("{module}.tla: {problem}"));
        let mut answer = |action: &'_ str, answer: String| {
            map.push(Answer { module: module.to_owned(), name: action.to_owned(), answer });
        };
        for entry in &header.entries {
            for place in &entry.places {
                match place.problem(tree) {
                    Some(problem) => wrong(problem),
                    None => drop(named.insert(place.path.clone())),
                }
            }
            let places: Vec<String> = entry.places.iter().map(Place::to_string).collect();
            for action in &entry.actions {
                if answers.insert(action, places.join("; ")).is_some() {
                    wrong(format!("the action `{action}` stands twice in the header"));
                }
            }
        }
        for machine in &header.machines {
            named.insert(machine.clone());
            for problem in header.problems_of(machine, tree, text, &mut answers) {
                wrong(problem);
            }
        }
        let others = header.world.iter().map(|action| (action, "the world"));
        for (action, who) in others.chain(header.seeded.iter().map(|action| (action, "a seeded bug"))) {
            if answers.insert(action, who.to_owned()).is_some() {
                wrong(format!("the action `{action}` stands twice in the header"));
            }
        }
        let actions = actions(text);
        for action in &actions {
            match answers.remove(action) {
                Some(found) => answer(action, found),
                None => wrong(format!("nothing carries out the action `{action}`: its header names no code")),
            }
        }
        for name in answers.keys() {
            wrong(format!("its header names `{name}`, which is no action of `Next`"));
        }
    }
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/core/")) {
        if text.contains("\npub enum Input")
            && !named.contains(path)
            && !text.contains("//! No specification: ")
        {
            mistakes.push(format!("{path}: is a machine that no module in specs/ names"));
        }
    }
    (map, mistakes)
}

/// What a module's header says of the code.
#[derive(Default)]
struct Header {
    entries: Vec<Entry>,
    machines: Vec<String>,
    left_out: Vec<String>,
    world: Vec<String>,
    seeded: Vec<String>,
}

struct Entry {
    actions: Vec<String>,
    places: Vec<Place>,
}

/// Functions in a file.
struct Place {
    path: String,
    functions: Vec<String>,
}

impl Header {
    fn of(module: &str) -> Self {
        let mut header = Self::default();
        let comment =
            |line: &'_ str| line.strip_prefix("(*")?.trim_end().strip_suffix("*)").map(str::to_owned);
        let mut lines = module
            .lines()
            .skip_while(|line| !line.starts_with("(*"))
            .map_while(comment)
            .skip_while(|line| !line.contains("Where the code is"));
        let first = lines.next().unwrap_or_default();
        let noted = first.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(note, _)| note);
        let folder = noted.filter(|note| !note.contains(' ')).unwrap_or("crates");
        let mut entries: Vec<String> = Vec::new();
        let indented =
            lines.take_while(|line| !line.trim().is_empty()).filter(|line| line.starts_with("   "));
        for line in indented {
            let deep = line.starts_with("    ");
            match entries.last_mut() {
                Some(entry) if deep => {
                    entry.push(' ');
                    entry.push_str(line.trim());
                }
                _ => entries.push(line.trim().to_owned()),
            }
        }
        for entry in entries {
            let entry = without_notes(&entry);
            match entry.split_once(": ") {
                Some(("machine", path)) => header.machines.push(path.trim().to_owned()),
                Some(("not modelled", names)) => header.left_out.extend(list(names)),
                Some(("a seeded bug", names)) => header.seeded.extend(list(names)),
                Some(("the world", names)) => header.world.extend(list(names)),
                _ => header.entries.push(Entry::of(&entry, folder)),
            }
        }
        header
    }

    /// What is wrong between a machine and its module; the inputs that are actions answer for themselves.
    fn problems_of<'a>(
        &'a self,
        machine: &str,
        tree: &'a Tree,
        module: &str,
        answers: &mut BTreeMap<&'a str, String>,
    ) -> Vec<String> {
        let Some(code) = tree.text(machine) else {
            return vec![format!("its machine `{machine}` does not exist")];
        };
        let actions = actions(module);
        let mut problems = Vec::new();
        let inputs = inputs(code);
        let functions: Vec<&str> = if inputs.is_empty() { functions(code) } else { Vec::new() };
        if inputs.is_empty() && functions.is_empty() {
            problems.push(format!("`{machine}` has neither `pub enum Input` nor functions"));
        }
        for input in &inputs {
            let is_action = actions.contains(input);
            if is_action == self.left_out.iter().any(|name| name == input) {
                let problem = if is_action { "is modelled, but listed as not" } else { "has no action" };
                problems.push(format!("the input `{input}` of `{machine}` {problem}"));
            }
            if is_action && answers.insert(input, format!("input of {machine}")).is_some() {
                problems.push(format!("the action `{input}` stands twice in the header"));
            }
        }
        for function in &functions {
            let has_entry =
                self.entries.iter().flat_map(|entry| &entry.places).any(|place| {
                    place.path == machine && place.functions.iter().any(|named| named == function)
                });
            if has_entry == self.left_out.iter().any(|name| name == function) {
                let problem = if has_entry { "is modelled, but listed as not" } else { "has no action" };
                problems.push(format!("the function `{function}` of `{machine}` {problem}"));
            }
        }
        let of_all: Vec<&str> = self
            .machines
            .iter()
            .filter_map(|machine| tree.text(machine))
            .flat_map(inputs_or_functions)
            .collect();
        for name in self.left_out.iter().filter(|name| !of_all.contains(&name.as_str())) {
            problems.push(format!("`{name}` is not of `{machine}`"));
        }
        problems
    }
}

impl Entry {
    fn of(entry: &str, folder: &str) -> Self {
        let is_action = |word: &&str| word.starts_with(|c: char| c.is_ascii_uppercase());
        let words: Vec<&str> = entry.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let actions: Vec<String> = words.iter().copied().take_while(is_action).map(str::to_owned).collect();
        let begin = words.get(actions.len()).and_then(|word| entry.find(word)).unwrap_or(entry.len());
        let places = entry[begin..].split(';').filter(|place| !place.trim().is_empty());
        let places = places.map(|place| {
            let (path, functions) = place.trim().split_once(' ').unwrap_or((place.trim(), ""));
            let path = if path.starts_with("specs/") { path.to_owned() } else { format!("{folder}/{path}") };
            Place { path, functions: list(functions).collect() }
        });
        Self { actions, places: places.collect() }
    }
}

impl Place {
    fn problem(&self, tree: &Tree) -> Option<String> {
        let Some(text) = tree.text(&self.path) else {
            return Some(format!("its header names `{}`, which does not exist", self.path));
        };
        if self.functions.is_empty() {
            return Some(format!("its header names no function of `{}`", self.path));
        }
        let has = |name: &String| match self.path.ends_with(".tla") {
            true => definitions(text).contains_key(name.as_str()),
            false => text
                .match_indices(&format!("fn {name}"))
                .any(|(at, found)| text[at + found.len()..].starts_with(['(', '<'])),
        };
        let missing = self.functions.iter().find(|name| !has(name))?;
        Some(format!("`{}` has no function `{missing}`", self.path))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} {}", self.path, self.functions.join(", "))
    }
}

fn without_notes(entry: &str) -> String {
    let mut depth = 0_u32;
    let kept = entry.chars().filter(|c| {
        match c {
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                return false;
            }
            _ => {}
        }
        depth == 0
    });
    kept.collect()
}

fn list(names: &str) -> impl Iterator<Item = String> {
    names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn inputs_or_functions(code: &str) -> Vec<&str> {
    let inputs = inputs(code);
    if inputs.is_empty() { functions(code) } else { inputs }
}

/// The variants of `pub enum Input`: the lines that are indented once and start with a name.
fn inputs(code: &str) -> Vec<&str> {
    let body = code.lines().skip_while(|line| !line.starts_with("pub enum Input")).skip(1);
    body.take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(word)
        .collect()
}

/// Public functions that belong to no type: decisions.
fn functions(code: &str) -> Vec<&str> {
    code.lines().filter_map(|line| line.strip_prefix("pub fn ")).map(word).collect()
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// What is defined at the left edge of a module: name and body, without comments.
fn definitions(module: &str) -> BTreeMap<&str, String> {
    let mut all = BTreeMap::new();
    let mut last = None;
    for line in module.lines() {
        let line = line.split("\\*").next().unwrap_or_default();
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            last = line.split_once("==").map(|(_, body)| {
                all.insert(word(line), body.to_owned());
                word(line)
            });
        } else if let (Some(name), true) = (last, line.starts_with(' ')) {
            let body: &mut String = all.entry(name).or_default();
            body.push('\n');
            body.push_str(line);
        }
    }
    all
}

/// The actions that `Next` is a choice of, also by way of definitions that are choices themselves.
fn actions(module: &str) -> BTreeSet<&str> {
    let all = definitions(module);
    let mut found = BTreeSet::new();
    let root = all.keys().copied().find(|name| name.ends_with("Next"));
    let mut open: Vec<&str> = root.into_iter().collect();
    while let Some(name) = open.pop() {
        for part in parts(&all, name).into_iter().filter(|part| changes(&all, part)) {
            let body = &all[part];
            if body.contains('\'') || body.contains("UNCHANGED") || body.contains("/\\") {
                found.insert(part);
            } else {
                open.push(part);
            }
        }
    }
    found
}

fn parts<'a>(all: &BTreeMap<&'a str, String>, name: &str) -> Vec<&'a str> {
    let words: BTreeSet<&str> = all[name].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    all.keys().copied().filter(|other| *other != name && words.contains(other)).collect()
}

fn changes(all: &BTreeMap<&str, String>, name: &str) -> bool {
    let body = &all[name];
    body.contains('\'')
        || body.contains("UNCHANGED")
        || parts(all, name).into_iter().any(|part| changes(all, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "pub enum Input {\n    /// A call.\n    Called {\n        /// When.\n        at: u64,\n    },\n    Loaded,\n}\n";
    const DECISIONS: &str = "pub fn join(x: u8) {}\nimpl X {\n    pub fn is(&self) {}\n}\n";

    /// A module with this header and these actions.
    fn module(header: &[&str], next: &str) -> String {
        let header: Vec<String> = header.iter().map(|line| format!("(* {line:<60}*)\n")).collect();
        let actions = "Called(n) ==\n    x' = n\nLoaded(n) ==\n    x' = n\nLost == x' = 0\nAny == \\E n \\in N : Lost\n";
        format!("-- MODULE X --\n(****)\n{}EXTENDS N\n{actions}Next == {next}\n", header.concat())
    }

    fn found(header: &[&str], next: &str) -> (Vec<String>, Vec<String>) {
        let module = module(header, next);
        let tree = Tree::of(&[
            ("specs/X.tla", &module),
            ("crates/core/src/turn.rs", MACHINE),
            ("crates/core/src/session.rs", DECISIONS),
        ]);
        let (map, mistakes) = draw(&tree);
        (map.into_iter().map(|line| format!("{}: {}", line.name, line.answer)).collect(), mistakes)
    }

    #[test]
    fn each_action_is_answered_for() {
        let header = ["Where the code is:", "  machine: crates/core/src/turn.rs", "  the world: Lost", ""];
        let (map, mistakes) = found(&header, "Called(1) \\/ Loaded(1) \\/ Any");
        assert_eq!(mistakes, Vec::<String>::new());
        let input = "input of crates/core/src/turn.rs";
        assert_eq!(
            map,
            [format!("Called: {input}"), format!("Loaded: {input}"), "Lost: the world".to_owned()]
        );
        let header = [
            "Where the code is (crates/core/src):",
            "  machine: crates/core/src/turn.rs",
            "  machine: crates/core/src/session.rs",
            "  not modelled: Loaded",
            "  Lost      session.rs join (when it is",
            "              refused), is",
        ];
        let (map, mistakes) = found(&header, "Called(1) \\/ Any");
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(map[1], "Lost: crates/core/src/session.rs join, is");
    }

    #[test]
    fn each_difference_is_reported() {
        let machine = "  machine: crates/core/src/turn.rs";
        let wrong = |lines: &[&str], next| {
            let header: Vec<&str> = ["Where the code is:"].into_iter().chain(lines.iter().copied()).collect();
            found(&header, next).1
        };
        assert_eq!(
            wrong(&[machine, "  the world: Lost"], "Called(1) \\/ Lost"),
            ["X.tla: the input `Loaded` of `crates/core/src/turn.rs` has no action"]
        );
        assert_eq!(
            wrong(&[machine, "  not modelled: Loaded"], "Called(1) \\/ Lost"),
            ["X.tla: nothing carries out the action `Lost`: its header names no code"]
        );
        assert_eq!(
            wrong(&[machine, "  not modelled: Loaded", "  the world: Lost, Gone"], "Called(1) \\/ Lost"),
            ["X.tla: its header names `Gone`, which is no action of `Next`"]
        );
        assert_eq!(
            wrong(&[machine, "  not modelled: Loaded, Dropped"], "Called(1)"),
            ["X.tla: `Dropped` is not of `crates/core/src/turn.rs`"]
        );
        assert_eq!(
            wrong(&[machine, "  Lost core/src/session.rs leave"], "Called(1) \\/ Loaded(1) \\/ Lost"),
            ["X.tla: `crates/core/src/session.rs` has no function `leave`"]
        );
        assert_eq!(
            wrong(&[machine, "  machine: crates/core/src/session.rs"], "Called(1) \\/ Loaded(1)"),
            ["X.tla: the function `join` of `crates/core/src/session.rs` has no action"]
        );
        assert_eq!(wrong(&[machine, "  Called core/src/turn.rs x"], "Called(1) \\/ Loaded(1)").len(), 2);
    }

    #[test]
    fn a_machine_that_no_module_names_is_reported() {
        let unnamed = draw(&Tree::of(&[("crates/core/src/turn.rs", &format!("//! Turns.\n{MACHINE}"))])).1;
        assert_eq!(unnamed, ["crates/core/src/turn.rs: is a machine that no module in specs/ names"]);
        let said = format!("//! No specification: it is pure.\n{MACHINE}");
        assert_eq!(draw(&Tree::of(&[("crates/core/src/turn.rs", &said)])).1, Vec::<String>::new());
    }
}
