//! What the demo claims, decided from what was really there.

use serde_json::Value;

use crate::client::text;

/// One claim and whether it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) says: &'static str,
    /// What was seen, when it did not hold.
    pub(super) wrong: Option<String>,
}

impl Claim {
    fn that(says: &'static str, holds: bool, seen: impl FnOnce() -> String) -> Self {
        Self { says, wrong: (!holds).then(seen) }
    }
}

/// Everything that was seen from outside.
pub(super) struct Seen<'a> {
    /// The tool's name and the fact to remember.
    pub(super) tool: &'a str,
    pub(super) fact: &'a str,
    /// The message of the interrupted turn.
    pub(super) asked: &'a str,
    /// The agent's history just before the kill and at the end.
    pub(super) before: &'a [Value],
    pub(super) after: &'a [Value],
    /// The agent's memory blocks at the end.
    pub(super) blocks: &'a [Value],
    /// The keys with which the tool was asked.
    pub(super) requests: &'a [String],
    /// The keys in the tool's ledger file.
    pub(super) charges: &'a [String],
    /// The interrupted message's reply, and the reply to the same key once more.
    pub(super) reply: &'a Value,
    pub(super) again: &'a Value,
}

/// Judges every claim.
pub(super) fn judge(seen: &Seen<'_>) -> Vec<Claim> {
    vec![
        resumed(seen),
        asked_with_one_key(seen),
        one_effect(seen),
        whole_history(seen),
        memory(seen),
        same_reply(seen),
    ]
}

/// The call that the model had made before the crash is the one that was answered after it.
fn resumed(seen: &Seen<'_>) -> Claim {
    let (before, after) = (calls(seen.before, seen.tool), calls(seen.after, seen.tool));
    let holds = before.len() == 1 && before == after;
    Claim::that("the turn resumed at its step: the model was not asked for the call again", holds, || {
        format!("calls before the kill: {before:?}, at the end: {after:?}")
    })
}

fn asked_with_one_key(seen: &Seen<'_>) -> Claim {
    let holds = seen.requests.len() >= 2 && seen.requests.iter().all(|key| *key == seen.requests[0]);
    Claim::that("the tool was asked again, with the same idempotency key", holds, || {
        format!("keys of its requests: {:?}", seen.requests)
    })
}

fn one_effect(seen: &Seen<'_>) -> Claim {
    let holds = seen.charges.len() == 1 && seen.requests.contains(&seen.charges[0]);
    Claim::that("the tool's effect happened once: its own ledger has one line", holds, || {
        format!("keys in the ledger: {:?}", seen.charges)
    })
}

fn whole_history(seen: &Seen<'_>) -> Claim {
    let questions = seen.after.iter().filter(|message| is_question(message, seen.asked)).count();
    let calls = calls(seen.after, seen.tool);
    let results: Vec<&str> = seen
        .after
        .iter()
        .filter(|message| text(message, "message_type") == "tool_return_message")
        .map(|message| text(message, "tool_call_id"))
        .filter(|id| calls.contains(id))
        .collect();
    let holds = questions == 1 && calls.len() == 1 && results == calls;
    Claim::that("the history holds the message, the call and its result, each once", holds, || {
        format!("{questions} messages, calls {calls:?}, results {results:?}")
    })
}

fn memory(seen: &Seen<'_>) -> Claim {
    let holds = seen.blocks.iter().any(|block| text(block, "value").contains(seen.fact));
    Claim::that("what it remembered before the kill is in its memory", holds, || {
        format!("its blocks: {:?}", seen.blocks)
    })
}

fn same_reply(seen: &Seen<'_>) -> Claim {
    Claim::that("the message sent again under its key gets the same reply", seen.reply == seen.again, || {
        format!("{}\nand\n{}", seen.reply, seen.again)
    })
}

/// The ids of the calls of a tool.
fn calls<'a>(messages: &'a [Value], tool: &str) -> Vec<&'a str> {
    let calls = messages.iter().filter(|message| text(message, "message_type") == "tool_call_message");
    let calls = calls.map(|message| &message["tool_call"]).filter(|call| text(call, "name") == tool);
    calls.map(|call| text(call, "tool_call_id")).collect()
}

fn is_question(message: &Value, asked: &str) -> bool {
    text(message, "message_type") == "user_message" && text(message, "content") == asked
}

/// The last thing that the agent says in a reply.
pub(super) fn answer(reply: &Value) -> String {
    let messages = reply["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().rev().find(|message| text(message, "message_type") == "assistant_message");
    said.map(|message| crate::client::content(&message["content"])).unwrap_or_default()
}

#[cfg(test)]
mod tests;
