//! What must hold after any number of kills.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Seen;
use super::client::{Sent, wish};
use crate::process::text;

/// Everything that should not be, in words.
pub(super) fn violations(seen: &Seen) -> Vec<String> {
    let mut found = seen.refused.clone();
    messages(seen, &mut found);
    seen.histories.iter().for_each(|history| calls(history, &mut found));
    effects(seen, &mut found);
    replies(seen, &mut found);
    runs(seen, &mut found);
    found
}

/// Acknowledged messages are there once, others at most once.
fn messages(seen: &Seen, found: &mut Vec<String>) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let asked = seen.histories.iter().flatten().filter(|message| message["message_type"] == "user_message");
    for message in asked {
        *times.entry(message["content"].as_str().unwrap_or_default()).or_default() += 1;
    }
    for sent in &seen.sent {
        let times = times.get(&*wish(sent.n)).copied().unwrap_or(0);
        let acknowledged = sent.reply.is_some();
        if sent.stuck {
            found.push(format!("message {} is not answered, with the server up", sent.n));
        }
        if times > 1 || (acknowledged && times == 0) {
            found.push(format!("message {} (acknowledged: {acknowledged}) is there {times} times", sent.n));
        }
    }
}

/// Each call has one result, right in its own history.
fn calls(history: &[Value], found: &mut Vec<String>) {
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    let of_type = |kind: &'static str| history.iter().filter(move |message| message["message_type"] == kind);
    for result in of_type("tool_return_message") {
        *results.entry(result["tool_call_id"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let mut ids = std::collections::BTreeSet::new();
    let asked = of_type("approval_request_message");
    for call in of_type("tool_call_message").chain(asked) {
        let id = call["tool_call"]["tool_call_id"].as_str().unwrap_or_default();
        if !ids.insert(id) {
            found.push(format!("the call {id} is there twice"));
        }
        let times = results.get(id).copied().unwrap_or(0);
        if times != 1 {
            found.push(format!("the call {id} has {times} results"));
        }
    }
    let orphans = results.keys().filter(|id| !ids.contains(*id));
    found.extend(orphans.map(|id| format!("the result of {id} has no call")));
}

/// Each message that was taken had its effect under one key, once.
fn effects(seen: &Seen, found: &mut Vec<String>) {
    let effects = seen.tool.effects();
    for sent in &seen.sent {
        let effect = effects.get(&sent.n).map(Vec::as_slice).unwrap_or_default();
        let denied = sent.decided.as_ref().is_some_and(|(approved, _)| !approved);
        match (sent.reply.is_some(), effect) {
            (true, []) if denied => {}
            (_, [1]) if !denied => {}
            (false, []) => {}
            (acknowledged, effect) => {
                found.push(format!(
                    "message {} (acknowledged: {acknowledged}) had effects {effect:?}",
                    sent.n
                ));
            }
        }
    }
}

/// A key gets its first reply for ever, and that reply tells of a turn that went well.
fn replies(seen: &Seen, found: &mut Vec<String>) {
    for sent in &seen.sent {
        for other in &sent.other_replies {
            found.push(format!("message {}: first {}, later {other}", sent.n, first(sent)));
        }
        let last = text(sent.last_reply());
        let told = match &sent.decided {
            Some((false, _)) => last.contains("DENIED") && !last.contains("counted"),
            Some((true, _)) | None => last.contains("counted"),
        };
        if sent.reply.is_some() && (!told || sent.is_careful() != sent.decided.is_some()) {
            found.push(format!("message {} was answered without its result: {last}", sent.n));
        }
    }
}

/// Each run has ended by itself.
fn runs(seen: &Seen, found: &mut Vec<String>) {
    for run in &seen.runs {
        let reason = run["stop_reason"].as_str().unwrap_or("none");
        if run["status"] != "completed" || !matches!(reason, "end_turn" | "requires_approval") {
            found.push(format!("a run did not end by itself: {run}"));
        }
    }
}

fn first(sent: &Sent) -> String {
    text(sent.reply.as_deref().unwrap_or_default())
}

/// How many summaries stand in the histories.
pub(super) fn summaries(seen: &Seen) -> usize {
    let of_all = seen.histories.iter().flatten();
    of_all.filter(|message| message["message_type"] == "summary_message").count()
}

/// The numbers of one run, for whoever reads the output.
pub(super) fn counts(seen: &Seen) -> String {
    let acknowledged = seen.sent.iter().filter(|sent| sent.reply.is_some()).count();
    let retries: u64 = seen.sent.iter().map(|sent| sent.attempts.saturating_sub(1)).sum();
    let again: u64 = seen.sent.iter().map(|sent| sent.asked_again).sum();
    let decided = seen.sent.iter().filter(|sent| sent.decided.is_some()).count();
    let effects: usize = seen.tool.effects().values().map(Vec::len).sum();
    format!(
        "{} kills, {} of them while a tool ran; {} messages, {acknowledged} acknowledged, {retries} retries, \
         {again} old keys asked again; {decided} approvals, {} summaries, {} runs; {effects} effects from {} tool \
         requests",
        seen.kills,
        seen.hits,
        seen.sent.len(),
        summaries(seen),
        seen.runs.len(),
        seen.tool.requests(),
    )
}
