//! Judges the history of a run, after the fact: one file for each property.

mod agents;
mod conservation;
mod conversation;
mod drains_fail_nothing;
mod exactly_once;
mod linearizability;
mod liveness;
mod memory_edits;
mod memory_isolation;
mod nested_once;
mod orphan_calls;
mod reminders;
#[cfg(test)]
mod tests;
mod tool_effects;

use std::any::Any;

use serde::Serialize;

use crate::history::History;
use crate::workload::Outside;

/// Something that must never be, and was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The name of what does not hold.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// A property of whole histories.
pub struct Judge {
    /// Its name.
    pub name: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
    judge: fn(&History, &Outside, &mut Vec<String>),
}

/// All of them.
pub const ALL: &[Judge] = &[
    Judge {
        name: "Linearizability",
        about: "each counter, log, register, set and board behaves as if its calls happened one at a time, between asking and answer",
        judge: linearizability::judge,
    },
    Judge {
        name: "Conservation",
        about: "transfers neither make nor destroy money, and each arrives once",
        judge: conservation::judge,
    },
    Judge {
        name: "ExactlyOnce",
        about: "an order has its effects outside once, and counts once",
        judge: exactly_once::judge,
    },
    Judge {
        name: "NestedOnce",
        about: "what an actor calls another one for happens once, and only with the turns that say so",
        judge: nested_once::judge,
    },
    Judge {
        name: "DrainsFailNothing",
        about: "where machines only drain and actors only move, no call is lost",
        judge: drains_fail_nothing::judge,
    },
    Judge { name: "RemindersOnce", about: "a reminder that was set comes due once", judge: reminders::judge },
    Judge {
        name: "MemoryIsolation",
        about: "what was said to one agent is shown by no other, and no tenant sees another's agents",
        judge: memory_isolation::judge,
    },
    Judge {
        name: "NoOrphanCall",
        about: "each call of a tool has one result, before its model is asked again and in the end",
        judge: orphan_calls::judge,
    },
    Judge {
        name: "Conversation",
        about: "messages stay in their order under their ids, each is heard and answered once, each run ends",
        judge: conversation::judge,
    },
    Judge {
        name: "MemoryEdits",
        about: "memory holds each edit that the conversation calls done, once, and no other",
        judge: memory_edits::judge,
    },
    Judge {
        name: "ToolEffects",
        about: "no effect of a tool before its call is recorded, one where it succeeded, at most one for each call",
        judge: tool_effects::judge,
    },
    Judge {
        name: "Liveness",
        about: "after the faults every call is answered, and none with a refusal",
        judge: liveness::judge,
    },
];

/// Judges a whole run.
pub(crate) fn judge(history: &History, outside: &Outside) -> Vec<Violation> {
    let mut violations = Vec::new();
    for judge in ALL {
        let mut found = Vec::new();
        (judge.judge)(history, outside, &mut found);
        violations.extend(found.into_iter().map(|what| Violation::new(judge.name, what)));
    }
    violations
}

/// Judges what holds whatever the calls mean: those that are owed an answer have it.
pub(crate) fn owed(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    liveness::judge(history, &Outside::default(), &mut found);
    found.into_iter().map(|what| Violation::new("Liveness", what)).collect()
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}
