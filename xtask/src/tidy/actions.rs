//! A specification and the machine it is about speak of the same inputs.
//!
//! A module that says `machine: <path>` in its header has an action for every variant of the
//! `Input` enum in that file, by the same name, or says `not modelled: Name, …` in its header.

use super::Findings;
use crate::repo::Tree;

/// Reports inputs without an action.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, module) in tree.texts().filter(|(path, _)| path.ends_with(".tla")) {
        let header = |key: &str| module.lines().find_map(|line| line.split_once(key)).map(|(_, rest)| rest);
        let Some(machine) = header("machine: ").map(|rest| rest.trim_matches(['*', ')', ' '])) else {
            continue;
        };
        let Some(code) = tree.text(machine) else {
            findings.violation(path, format!("its machine `{machine}` does not exist"));
            continue;
        };
        let left_out: Vec<&str> = header("not modelled: ")
            .map(|rest| rest.trim_matches(['*', ')', ' ']).split(',').map(str::trim).collect())
            .unwrap_or_default();
        let inputs = inputs(code);
        if inputs.is_empty() {
            findings.violation(path, format!("`{machine}` has no `pub enum Input`"));
        }
        for input in &inputs {
            let is_action =
                module.lines().any(|line| line.starts_with(&format!("{input}(")) && line.contains("=="));
            if is_action == left_out.contains(input) {
                let problem = if is_action { "is modelled, but listed as not" } else { "has no action" };
                findings.violation(path, format!("the input `{input}` of `{machine}` {problem}"));
            }
        }
        for name in left_out.iter().filter(|name| !inputs.contains(name)) {
            findings.violation(path, format!("`{name}` is no input of `{machine}`"));
        }
    }
    findings
}

/// The variants of `pub enum Input`: the lines that are indented once and start with a name.
fn inputs(code: &str) -> Vec<&str> {
    let body = code.lines().skip_while(|line| !line.starts_with("pub enum Input")).skip(1);
    body.take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "pub enum Input {\n    /// A call.\n    Called {\n        /// When.\n        at: u64,\n    },\n    Loaded,\n}\n";

    fn found(module: &str) -> Vec<String> {
        check(&Tree::of(&[("specs/X.tla", module), ("crates/x/src/turn.rs", MACHINE)])).violations
    }

    #[test]
    fn a_module_with_all_inputs_passes() {
        assert!(found("(* machine: crates/x/src/turn.rs  *)\nCalled(n) == x\nLoaded(n) ==\n").is_empty());
        let partly = "(* machine: crates/x/src/turn.rs  *)\n(* not modelled: Loaded  *)\nCalled(n) == x\n";
        assert!(found(partly).is_empty());
        assert!(found("Anything == 1\n").is_empty());
    }

    #[test]
    fn each_difference_is_reported() {
        let missing = found("(* machine: crates/x/src/turn.rs *)\nCalled(n) == x\n");
        assert_eq!(missing, ["specs/X.tla: the input `Loaded` of `crates/x/src/turn.rs` has no action"]);
        let gone = "(* machine: crates/x/src/turn.rs *)\n(* not modelled: Dropped *)\nCalled(n) == x\nLoaded(n) == x\n";
        assert_eq!(found(gone), ["specs/X.tla: `Dropped` is no input of `crates/x/src/turn.rs`"]);
        let moved = found("(* machine: crates/x/src/gone.rs *)\n");
        assert_eq!(moved, ["specs/X.tla: its machine `crates/x/src/gone.rs` does not exist"]);
    }
}
