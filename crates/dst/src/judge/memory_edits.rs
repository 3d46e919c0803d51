//! Memory is what the conversation says that it is: each edit with a result that says so is
//! there once, and no other; and searches find what is there.

use std::collections::BTreeMap;

use kelpie_agent::message::{Message, MessageBody, ToolStatus};
use kelpie_memory::search::HITS_MAX;

use crate::agents::{BOARD, HUMAN, Look};
use crate::history::History;
use crate::workload::Outside;

use super::agents::looks;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    for (agent, look) in looks(history, found) {
        let block = look.blocks.iter().find(|block| block.label == HUMAN);
        let lines = block.map_or("", |block| block.value.as_str()).lines().map(str::to_owned);
        let mut tell = |what| found.push(format!("agent/{agent}: {what}"));
        compare(&look, ("core_memory_append", "content"), lines, &mut tell);
        let passages = look.passages.iter().map(|passage| passage.text.clone());
        compare(&look, ("archival_memory_insert", "content"), passages, &mut tell);
        // People have one entry of their own.
        let set = look.working.iter().filter(|entry| entry.key != BOARD).map(|entry| entry.value.clone());
        compare(&look, ("working_memory_set", "value"), set, &mut tell);
        let mut there: Vec<&String> = look.passages.iter().map(|passage| &passage.id).collect();
        let mut searched: Vec<&String> = look.found.iter().collect();
        there.sort();
        searched.sort();
        if there.len() <= HITS_MAX && there != searched {
            found.push(format!("agent/{agent}: passages {there:?} are there, a search finds {searched:?}"));
        }
    }
}

/// Compares what successful calls of a tool have put aside, by one of its arguments, with what is there.
fn compare(
    look: &Look,
    (tool, argument): (&str, &str),
    kept: impl Iterator<Item = String>,
    tell: &mut dyn FnMut(String),
) {
    let mut there: BTreeMap<String, i64> = BTreeMap::new();
    for text in kept {
        *there.entry(text).or_default() += 1;
    }
    let mut arguments: BTreeMap<&str, &str> = BTreeMap::new();
    for Message { body, .. } in &look.messages {
        match body {
            MessageBody::ToolCall { call_id, name, arguments: text } if name == tool => {
                arguments.insert(call_id, text);
            }
            MessageBody::ApprovalRequest { calls } => {
                let wanted = calls.iter().filter(|call| call.name == tool);
                arguments.extend(wanted.map(|call| (call.call_id.as_str(), call.arguments.as_str())));
            }
            MessageBody::ToolReturn { call_id, status: ToolStatus::Success, .. } => {
                let Some(text) = arguments.get(call_id.as_str()) else { continue };
                let content = serde_json::from_str::<serde_json::Value>(text).ok();
                match content.as_ref().and_then(|value| value[argument].as_str()) {
                    Some(content) => *there.entry(content.to_owned()).or_default() -= 1,
                    None => tell(format!("{tool} succeeded with {text}")),
                }
            }
            MessageBody::ToolCall { .. }
            | MessageBody::ToolReturn { .. }
            | MessageBody::ApprovalResponse { .. }
            | MessageBody::Summary { .. }
            | MessageBody::System { .. }
            | MessageBody::User { .. }
            | MessageBody::Reasoning { .. }
            | MessageBody::Assistant { .. } => {}
        }
    }
    for (text, more) in there.into_iter().filter(|(_, more)| *more != 0) {
        tell(format!("memory holds {text:?} {more} times more than {tool} succeeded"));
    }
}
