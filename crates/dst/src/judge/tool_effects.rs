//! Effects of tools: none before the call that asks for it is recorded, once where the result
//! says so, at most once for a tool that knows no keys.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_agent::message::{Message, MessageBody, ToolStatus};

use crate::agents::{Arrival, BOOK, NOTE, SIGN};
use crate::history::History;
use crate::workload::Outside;

use super::agents::looks;

pub(super) fn judge(history: &History, outside: &Outside, found: &mut Vec<String>) {
    let arrivals = outside.world.arrivals();
    keys(&arrivals, found);
    let looks = looks(history, found);
    let made = history.calls.iter().filter(|call| call.actor_type == "agent" && call.operation == "create");
    let ids: BTreeMap<&str, &str> =
        made.filter_map(|call| Some((call.reply()?, call.actor_key.as_str()))).collect();
    let mut arrived: BTreeMap<(&str, &str), Vec<&Arrival>> = BTreeMap::new();
    for arrival in &arrivals {
        let id = arrival.invocation.agent_id.as_str();
        let agent = ids.get(id).copied().unwrap_or(id);
        arrived.entry((agent, &arrival.invocation.call_id)).or_default().push(arrival);
    }
    for (agent, look) in &looks {
        let mut calls: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for Message { body, .. } in &look.messages {
            match body {
                MessageBody::ToolCall { call_id, name, arguments } => {
                    calls.insert(call_id, (name, arguments));
                }
                MessageBody::ApprovalRequest { calls: asked } => {
                    let asked = asked
                        .iter()
                        .map(|call| (call.call_id.as_str(), (call.name.as_str(), call.arguments.as_str())));
                    calls.extend(asked);
                }
                MessageBody::ToolReturn { call_id, text, status, .. } => {
                    let Some((name, arguments)) = calls.get(call_id.as_str()) else { continue };
                    let arrivals = arrived.remove(&(*agent, call_id)).unwrap_or_default();
                    if let Err(what) = fits(name, arguments, &arrivals, text, *status) {
                        found.push(format!("agent/{agent}: {name} {arguments} ({call_id}) {what}"));
                    }
                }
                MessageBody::ApprovalResponse { .. }
                | MessageBody::Summary { .. }
                | MessageBody::System { .. }
                | MessageBody::User { .. }
                | MessageBody::Reasoning { .. }
                | MessageBody::Assistant { .. } => {}
            }
        }
    }
    let seen: BTreeSet<&str> = looks.keys().copied().collect();
    for ((agent, call), arrivals) in arrived.iter().filter(|((agent, _), _)| seen.contains(agent)) {
        let what = &arrivals[0].invocation;
        found.push(format!(
            "agent/{agent}: {} {} ({call}) arrived and was never recorded",
            what.tool, what.arguments
        ));
    }
}

/// A key stands for one call, and a tool that knows none is called once under each.
fn keys(arrivals: &[Arrival], found: &mut Vec<String>) {
    let mut first: BTreeMap<&str, &Arrival> = BTreeMap::new();
    for arrival in arrivals {
        let key = arrival.invocation.idempotency_key.as_str();
        let Some(before) = first.insert(key, arrival) else { continue };
        if before.invocation != arrival.invocation {
            found.push(format!(
                "{key} stood for {:?} and then for {:?}",
                before.invocation, arrival.invocation
            ));
        } else if arrival.effect {
            found.push(format!("{} was called twice under {key}", arrival.invocation.tool));
        }
    }
}

/// Whether what arrived fits what the conversation says of a call.
fn fits(
    tool: &str,
    arguments: &str,
    arrivals: &[&Arrival],
    text: &str,
    status: ToolStatus,
) -> Result<(), String> {
    let outside = [BOOK, NOTE, SIGN].contains(&tool);
    let effects = arrivals.iter().filter(|arrival| arrival.effect).count();
    if let Some(other) = arrivals
        .iter()
        .map(|arrival| &arrival.invocation)
        .find(|invocation| invocation.tool != tool || invocation.arguments != arguments)
    {
        return Err(format!("arrived as {} {}", other.tool, other.arguments));
    }
    match status {
        ToolStatus::Success if outside && effects != 1 => Err(format!("succeeded and had {effects} effects")),
        ToolStatus::Error if text.starts_with("NOT RUN") && !arrivals.is_empty() => {
            Err("was not run, and arrived".to_owned())
        }
        ToolStatus::Success | ToolStatus::Error if effects > 1 => Err(format!("had {effects} effects")),
        ToolStatus::Success | ToolStatus::Error => Ok(()),
    }
}
