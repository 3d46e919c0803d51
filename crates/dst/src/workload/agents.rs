//! What people ask of agents.

use std::collections::BTreeSet;

use crate::schedule::{Draw, Operation};

use super::Size;

/// The tool by which an agent asks for a pause.
const PAUSE: &str = "pause_heartbeats";

/// A call of an agent. A message says what its model has to do, line by line; its word stands
/// for it in the whole run.
pub(super) fn agent(draw: &mut Draw, _: Size, word: &str) -> (&'static str, String) {
    match draw.below(20) {
        0 => ("messages", String::new()),
        1 | 6 | 7 => ("cancel", String::new()),
        2 => ("write", word.to_owned()),
        3 => ("read", String::new()),
        4 => ("list", String::new()),
        5 => ("leave", message(draw, word)),
        8 => ("set", word.to_owned()),
        9 => ("get", String::new()),
        10 | 11 => ("schedule", message(draw, word)),
        _ => ("say", message(draw, word)),
    }
}

fn message(draw: &mut Draw, word: &str) -> String {
    let what = format!(r#"{{"what":"{word}"}}"#);
    let append = |text: &str| format!(r#"core_memory_append {{"label":"human","content":"fact {text}."}}"#);
    let insert = format!(r#"archival_memory_insert {{"content":"passage {word}."}}"#);
    let set = format!(r#"working_memory_set {{"key":"{word}","value":"set {word}"}}"#);
    let lines = match draw.below(12) {
        // Somebody has to approve it, which whoever says it does.
        0 if !word.ends_with(['0', '5']) => {
            format!("call sign {what} and note {what} | say signed {word}")
        }
        0 => format!("call book {what} | say booked {word}"),
        1 => format!("call note {what} | say noted {word}"),
        2 => format!("call note {what} and book {what} | call book {what} | say all {word}"),
        3 => format!("call {} | say kept {word}", append(word)),
        4 => format!("call {} and {} | say both kept {word}", append(word), append(word)),
        5 => format!("call {insert} | say put aside {word}"),
        6 => r#"call archival_memory_search {"query":"passage"} and conversation_search {"query":"say"} | say found"#
            .to_owned(),
        7 => format!("call {} and book {what} and {insert} | say everything {word}", append(word)),
        8 if word.ends_with(['1', '3', '5', '7', '9']) => {
            format!("call {PAUSE} {{\"minutes\":1}} and note {what} | say rested {word}")
        }
        8 => format!("nothing to do {word}"),
        9 => format!("call {set} and {} | say set {word}", append(word)),
        10 => format!("call working_memory_list {{}} and {set} | say looked"),
        _ => format!("say {word}"),
    };
    format!("{word} | {lines}")
}

/// Whether an agent may be asked to pause, for a minute.
pub(super) fn pauses(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| operation.payload.contains(PAUSE))
}

/// Agents have to be made: whoever calls one makes it first, all under one key.
pub(super) fn made_first(operations: Vec<Operation>) -> Vec<Operation> {
    let mut made = BTreeSet::new();
    let mut all = Vec::new();
    for operation in operations {
        let Operation { client, actor, .. } = &operation;
        if actor.0 == "agent" && made.insert((*client, actor.1.clone())) {
            all.push(Operation {
                client: *client,
                after_ms: 0,
                actor: actor.clone(),
                operation: "create".to_owned(),
                payload: String::new(),
            });
        }
        all.push(operation);
    }
    all
}

/// Of each agent: everything that was said to it said again, which has to give the same
/// answers, and then all that it is.
pub(super) fn probes(operations: &[Operation]) -> Vec<Operation> {
    let said = operations.iter().filter(|operation| matches!(operation.operation.as_str(), "say" | "leave"));
    let again = said.filter(|operation| operation.actor.0 == "agent").map(|operation| Operation {
        client: 0,
        after_ms: 0,
        operation: "say".to_owned(),
        ..operation.clone()
    });
    let agents: BTreeSet<_> =
        operations.iter().map(|operation| &operation.actor).filter(|actor| actor.0 == "agent").collect();
    let probe = |actor: &(String, String), operation: &str| Operation {
        client: 0,
        after_ms: 0,
        actor: actor.clone(),
        operation: operation.to_owned(),
        payload: String::new(),
    };
    let made = agents.iter().map(|actor| probe(actor, "create"));
    let looks = agents.iter().map(|actor| probe(actor, "look"));
    made.chain(again).chain(looks).collect()
}
