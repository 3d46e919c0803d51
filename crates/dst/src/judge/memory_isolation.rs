//! What one agent was told is nowhere in another: not in what it says, not in its memory, not
//! in what its model reads.

use std::collections::BTreeSet;

use crate::agents::{Listed, words_in};
use crate::history::History;
use crate::workload::Outside;

use super::agents::{calls, owners};

pub(super) fn judge(history: &History, outside: &Outside, found: &mut Vec<String>) {
    let owners = owners(history);
    let mut foreign = |agent: &str, words: &BTreeSet<String>, how: &str| {
        for word in words {
            match owners.get(word.as_str()) {
                Some(owner) if *owner == agent => {}
                Some(owner) => {
                    found.push(format!("agent/{agent} {how} {word}, which was said to agent/{owner}"));
                }
                None => found.push(format!("agent/{agent} {how} {word}, which nobody said")),
            }
        }
    };
    for (agent, calls) in calls(history) {
        for call in calls {
            if let Some(reply) = call.reply() {
                foreign(agent, &words_in(reply), "shows");
            }
        }
    }
    for (agent, words) in outside.world.read() {
        foreign(&agent, &words, "has its model read");
    }
    tenants(history, found);
}

/// A tenant sees its own agents alone.
fn tenants(history: &History, found: &mut Vec<String>) {
    for call in history.calls.iter().filter(|call| call.operation == "list" && call.actor_type == "agent") {
        let Some(reply) = call.reply() else { continue };
        let Ok(Listed { names, strangers }) = serde_json::from_str(reply) else {
            found.push(format!("{}: {reply:?} is no list of agents", call.key));
            continue;
        };
        let tenant = call.actor_key.split_once('@').map(|(_, tenant)| tenant);
        for name in &names {
            if name.split_once('@').map(|(_, tenant)| tenant) != tenant {
                found.push(format!("the list of {} shows agent/{name}", call.actor_key));
            }
        }
        for name in strangers {
            found.push(format!("another tenant finds agent/{name}"));
        }
    }
}
