//! What the judges of agents read: the last look at each, and who said which word.

use std::collections::BTreeMap;

use crate::agents::{Look, word_of};
use crate::history::{Call, History};

/// The calls to agents, by the agent's name.
pub(super) fn calls(history: &History) -> BTreeMap<&str, Vec<&Call>> {
    history.by_actor("agent")
}

/// All messages that clients sent or wanted to send, at once or later, but for those that were sent again in the
/// end.
pub(super) fn said<'a>(calls: &[&'a Call]) -> impl Iterator<Item = &'a Call> {
    let said = calls.iter().filter(|call| matches!(call.operation.as_str(), "say" | "leave" | "schedule"));
    said.filter(|call| !call.probe).copied().collect::<Vec<_>>().into_iter()
}

/// The last look at each agent that answered it; one that did not is for the liveness check to
/// report.
pub(super) fn looks<'a>(history: &'a History, found: &mut Vec<String>) -> BTreeMap<&'a str, Look> {
    let mut looks = BTreeMap::new();
    for call in history.calls.iter().filter(|call| call.operation == "look" && call.actor_type == "agent") {
        let Some(reply) = call.reply() else { continue };
        match serde_json::from_str(reply) {
            Ok(look) => drop(looks.insert(call.actor_key.as_str(), look)),
            Err(error) => found.push(format!("agent/{}: what it is cannot be read: {error}", call.actor_key)),
        }
    }
    looks
}

/// Which agent each word was said to.
pub(super) fn owners(history: &History) -> BTreeMap<&str, &str> {
    let calls = history.calls.iter().filter(|call| call.actor_type == "agent");
    let words = calls
        .filter(|call| matches!(call.operation.as_str(), "say" | "leave" | "schedule" | "write" | "set"));
    words.map(|call| (word_of(&call.payload), call.actor_key.as_str())).collect()
}
