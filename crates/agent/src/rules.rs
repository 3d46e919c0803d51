//! Rules about an agent's tools: which one it may call next, and when its run may end.
//!
//! Pure: what was called so far goes in, what is allowed comes out. A call that a rule does not
//! allow is refused when it is made, and not only hidden from the model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One rule about a tool, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolRule {
    /// The first call of a run is one of the tools with this rule.
    RunFirst {
        /// The tool.
        tool_name: String,
    },
    /// Having been called, the run ends.
    ExitLoop {
        /// The tool.
        tool_name: String,
    },
    /// Having been called, the run does not end.
    ContinueLoop {
        /// The tool.
        tool_name: String,
    },
    /// What comes right after it is one of its children.
    ConstrainChildTools {
        /// The tool.
        tool_name: String,
        /// What may come after it.
        children: Vec<String>,
    },
    /// Its children are called right after it, and nowhere else.
    ParentLastTool {
        /// The tool.
        tool_name: String,
        /// What comes after it only.
        children: Vec<String>,
    },
    /// What comes right after it depends on its result.
    Conditional {
        /// The tool.
        tool_name: String,
        /// What comes after which result.
        child_output_mapping: BTreeMap<String, String>,
        /// What comes after any other; anything if absent.
        #[serde(default)]
        default_child: Option<String>,
        /// Whether nothing may be called after a result that is not in the mapping.
        #[serde(default)]
        require_output_mapping: Option<bool>,
    },
    /// It is called at most so often in a run.
    MaxCountPerStep {
        /// The tool.
        tool_name: String,
        /// How often.
        max_count_limit: u32,
    },
    /// The run does not end before it was called.
    RequiredBeforeExit {
        /// The tool.
        tool_name: String,
    },
}

impl ToolRule {
    /// The tools that it names.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::RunFirst { tool_name }
            | Self::ExitLoop { tool_name }
            | Self::ContinueLoop { tool_name }
            | Self::MaxCountPerStep { tool_name, .. }
            | Self::RequiredBeforeExit { tool_name } => vec![tool_name],
            Self::ConstrainChildTools { tool_name, children }
            | Self::ParentLastTool { tool_name, children } => {
                std::iter::once(tool_name).chain(children).map(String::as_str).collect()
            }
            Self::Conditional { tool_name, child_output_mapping, default_child, .. } => {
                let children = child_output_mapping.values().chain(default_child);
                std::iter::once(tool_name).chain(children).map(String::as_str).collect()
            }
        }
    }
}

/// The tools that a run has called so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Called {
    /// How often each.
    counts: BTreeMap<String, u32>,
    /// The last one.
    last: Option<String>,
    /// Its result, once it is there.
    result: Option<String>,
    /// Whether a call has ended the run.
    ended: bool,
}

impl Called {
    /// A call is made.
    pub fn call(&mut self, name: &str) {
        *self.counts.entry(name.to_owned()).or_default() += 1;
        self.last = Some(name.to_owned());
        self.result = None;
    }

    /// Its result came.
    pub fn returned(&mut self, rules: &[ToolRule], name: &str, text: &str, ok: bool) {
        if self.last.as_deref() == Some(name) {
            self.result = Some(text.to_owned());
        }
        let exits = |rule: &ToolRule| matches!(rule, ToolRule::ExitLoop { tool_name } if tool_name == name);
        // A failure has to be seen by the model, whatever was to follow.
        self.ended |= ok && rules.iter().any(exits);
    }

    /// Whether a call has ended the run.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn count(&self, name: &str) -> u32 {
        self.counts.get(name).copied().unwrap_or_default()
    }
}

/// Whether a tool may be called now; else why not, in words for the model.
///
/// ```
/// use kelpie_agent::rules::{Called, ToolRule, allows};
///
/// let rules = [ToolRule::RunFirst { tool_name: "look".into() }];
/// let mut called = Called::default();
/// assert!(allows(&rules, &called, "book").is_err());
/// called.call("look");
/// assert_eq!(allows(&rules, &called, "book"), Ok(()));
/// ```
///
/// # Errors
/// What the rule says that does not allow it.
pub fn allows(rules: &[ToolRule], called: &Called, name: &str) -> Result<(), String> {
    let first = |rule: &ToolRule| matches!(rule, ToolRule::RunFirst { .. });
    let first: BTreeSet<&str> = rules.iter().filter(|rule| first(rule)).flat_map(ToolRule::names).collect();
    if called.last.is_none() && !first.is_empty() && !first.contains(name) {
        return Err(format!("the first call of a run has to be one of {}", list(first)));
    }
    for rule in rules {
        one_allows(rule, called, name)?;
    }
    Ok(())
}

fn one_allows(rule: &ToolRule, called: &Called, name: &str) -> Result<(), String> {
    let was_last = |tool: &String| called.last.as_ref() == Some(tool);
    match rule {
        ToolRule::RunFirst { .. }
        | ToolRule::ExitLoop { .. }
        | ToolRule::ContinueLoop { .. }
        | ToolRule::RequiredBeforeExit { .. } => Ok(()),
        ToolRule::MaxCountPerStep { tool_name, max_count_limit } => {
            let again = tool_name == name && called.count(name) >= *max_count_limit;
            let why = || format!("it may be called at most {max_count_limit} times in a run");
            if again { Err(why()) } else { Ok(()) }
        }
        ToolRule::ConstrainChildTools { tool_name, children } => {
            let other = was_last(tool_name) && !children.iter().any(|child| child == name);
            let why =
                || format!("after {tool_name} comes one of {}", list(children.iter().map(String::as_str)));
            if other { Err(why()) } else { Ok(()) }
        }
        ToolRule::ParentLastTool { tool_name, children } => {
            let child = children.iter().any(|child| child == name);
            match (was_last(tool_name), child) {
                (true, false) => {
                    let children = list(children.iter().map(String::as_str));
                    Err(format!("after {tool_name} comes one of {children}"))
                }
                (false, true) => Err(format!("it may be called right after {tool_name} only")),
                (true, true) | (false, false) => Ok(()),
            }
        }
        ToolRule::Conditional { tool_name, child_output_mapping, default_child, require_output_mapping } => {
            if !was_last(tool_name) {
                return Ok(());
            }
            let Some(result) = &called.result else {
                return Err(format!("what comes after {tool_name} depends on its result: wait for it"));
            };
            let mapped = child_output_mapping.get(&essence(result));
            match mapped.or(default_child.as_ref()) {
                Some(child) if child == name => Ok(()),
                Some(child) => Err(format!("after this result of {tool_name} comes {child}")),
                None if require_output_mapping == &Some(true) => {
                    Err(format!("nothing may come after this result of {tool_name}"))
                }
                None => Ok(()),
            }
        }
    }
}

/// What of a result counts for a condition: a JSON string without its quotes.
fn essence(result: &str) -> String {
    match serde_json::from_str(result) {
        Ok(Value::String(text)) => text,
        Ok(_) | Err(_) => result.trim().to_owned(),
    }
}

/// Of these tools, those that may be called now.
pub fn allowed<'a>(
    rules: &'a [ToolRule],
    called: &'a Called,
    names: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = &'a String> {
    names.filter(|name| allows(rules, called, name).is_ok())
}

/// Whether the model has to call a tool before it may say anything: one is due that comes first.
pub fn forces(rules: &[ToolRule], called: &Called) -> bool {
    called.last.is_none() && rules.iter().any(|rule| matches!(rule, ToolRule::RunFirst { .. }))
}

/// Whether a call of this tool keeps the run going.
pub fn continues(rules: &[ToolRule], name: &str) -> bool {
    rules.iter().any(|rule| matches!(rule, ToolRule::ContinueLoop { tool_name } if tool_name == name))
}

/// The tools that have to be called before the run may end and were not.
pub fn missing(rules: &[ToolRule], called: &Called) -> Vec<String> {
    let required = |rule: &&ToolRule| matches!(rule, ToolRule::RequiredBeforeExit { .. });
    let names = rules.iter().filter(required).flat_map(ToolRule::names);
    names.filter(|name| called.count(name) == 0).map(str::to_owned).collect()
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rules(rules: Value) -> Vec<ToolRule> {
        serde_json::from_value(rules).expect("rules")
    }

    /// What may be called of `a`, `b`, `c`, `d` after these calls with their results.
    fn after(rules: &[ToolRule], calls: &[(&str, &str)]) -> String {
        let mut called = Called::default();
        for (name, result) in calls {
            called.call(name);
            if !result.is_empty() {
                called.returned(rules, name, result, true);
            }
        }
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        allowed(rules, &called, names.iter()).cloned().collect()
    }

    #[test]
    fn a_run_begins_with_one_of_those_that_come_first() {
        let first = rules(
            json!([{ "type": "run_first", "tool_name": "a" }, { "type": "run_first", "tool_name": "b" }]),
        );
        assert_eq!((after(&first, &[]), after(&first, &[("b", "x")])), ("ab".into(), "abcd".into()));
        assert!(forces(&first, &Called::default()) && !forces(&[], &Called::default()));
    }

    #[test]
    fn children_come_after_their_parents() {
        let child =
            rules(json!([{ "type": "constrain_child_tools", "tool_name": "a", "children": ["b", "c"] }]));
        assert_eq!((after(&child, &[]), after(&child, &[("a", "x")])), ("abcd".into(), "bc".into()));
        assert_eq!(after(&child, &[("a", "x"), ("b", "x")]), "abcd");
        let parent = rules(json!([{ "type": "parent_last_tool", "tool_name": "a", "children": ["b"] }]));
        assert_eq!((after(&parent, &[]), after(&parent, &[("a", "x")])), ("acd".into(), "b".into()));
        assert_eq!(after(&parent, &[("a", "x"), ("b", "x")]), "acd");
    }

    #[test]
    fn what_comes_next_depends_on_the_result() {
        let rule = |more: Value| {
            let mut rule =
                json!({ "type": "conditional", "tool_name": "a", "child_output_mapping": { "yes": "b" } });
            rule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            rules(json!([rule]))
        };
        let plain = rule(json!({}));
        assert_eq!(
            (after(&plain, &[("a", "yes")]), after(&plain, &[("a", "\"yes\"")])),
            ("b".into(), "b".into())
        );
        assert_eq!(
            (after(&plain, &[("a", "no")]), after(&plain, &[("a", "")])),
            ("abcd".into(), String::new())
        );
        assert_eq!(after(&rule(json!({ "default_child": "c" })), &[("a", "no")]), "c");
        assert_eq!(after(&rule(json!({ "require_output_mapping": true })), &[("a", "no")]), "");
        assert_eq!(after(&plain, &[("a", "yes"), ("b", "x")]), "abcd");
    }

    #[test]
    fn calls_are_counted_and_some_have_to_come_before_the_end() {
        let rules = rules(json!([
            { "type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2 },
            { "type": "required_before_exit", "tool_name": "b" },
            { "type": "exit_loop", "tool_name": "c" },
            { "type": "continue_loop", "tool_name": "d" },
        ]));
        assert_eq!(
            (after(&rules, &[("a", "x")]), after(&rules, &[("a", "x"), ("a", "x")])),
            ("abcd".into(), "bcd".into())
        );
        let mut called = Called::default();
        assert_eq!(missing(&rules, &called), ["b"]);
        called.call("b");
        assert_eq!(missing(&rules, &called), [""; 0]);
        called.call("c");
        called.returned(&rules, "c", "out of order", false);
        assert!(!called.ended(), "a failure ends nothing");
        called.returned(&rules, "c", "x", true);
        assert!(called.ended() && continues(&rules, "d") && !continues(&rules, "c"));
    }

    #[test]
    fn rules_are_written_as_they_were_read() {
        let wire = json!([
            { "type": "constrain_child_tools", "tool_name": "a", "children": ["b"] },
            { "type": "conditional", "tool_name": "a", "child_output_mapping": { "yes": "b" },
              "default_child": null, "require_output_mapping": null },
            { "type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2 },
        ]);
        let read = rules(wire.clone());
        assert_eq!(serde_json::to_value(&read).expect("JSON"), wire);
        assert_eq!(read[1].names(), ["a", "b"]);
    }

    proptest! {
        /// A rule never allows what another refuses, and what is allowed never grows with a rule.
        #[test]
        fn a_further_rule_allows_nothing_more(
            calls in prop::collection::vec(("[a-d]", "yes|no"), 0..6),
            cuts in 0..5_usize,
        ) {
            let all = rules(json!([
                { "type": "run_first", "tool_name": "a" },
                { "type": "constrain_child_tools", "tool_name": "b", "children": ["a", "c"] },
                { "type": "parent_last_tool", "tool_name": "c", "children": ["d"] },
                { "type": "conditional", "tool_name": "d", "child_output_mapping": { "yes": "a" } },
                { "type": "max_count_per_step", "tool_name": "a", "max_count_limit": 1 },
            ]));
            let calls: Vec<(&str, &str)> = calls.iter().map(|(name, result)| (name.as_str(), result.as_str())).collect();
            let (with, without) = (after(&all, &calls), after(&all[..cuts], &calls));
            prop_assert!(with.chars().all(|name| without.contains(name)), "{with} {without}");
        }
    }
}
