//! Calls of tools: each has exactly one result, in every question to a model and in the end.

use std::collections::BTreeMap;

use kelpie_agent::message::{Message, MessageBody};

use crate::history::History;
use crate::workload::Outside;

use super::agents::looks;

pub(super) fn judge(history: &History, outside: &Outside, found: &mut Vec<String>) {
    found.extend(outside.world.complaints());
    for (agent, look) in looks(history, found) {
        // What the agent says shows as speech and not as a call, whose result is not shown.
        let mut open: BTreeMap<&str, u32> = BTreeMap::new();
        for Message { body, .. } in &look.messages {
            let called: Vec<&str> = match body {
                MessageBody::ToolCall { call_id, .. } => vec![call_id],
                MessageBody::ApprovalRequest { calls } => {
                    calls.iter().map(|call| call.call_id.as_str()).collect()
                }
                MessageBody::ToolReturn { .. }
                | MessageBody::ApprovalResponse { .. }
                | MessageBody::Summary { .. }
                | MessageBody::System { .. }
                | MessageBody::User { .. }
                | MessageBody::Reasoning { .. }
                | MessageBody::Assistant { .. } => Vec::new(),
            };
            for call_id in called {
                if open.insert(call_id, 0).is_some() {
                    found.push(format!("agent/{agent}: {call_id} is called twice"));
                }
            }
            match body {
                MessageBody::ToolReturn { call_id, .. } => match open.get_mut(call_id.as_str()) {
                    Some(results) => *results += 1,
                    None => found.push(format!("agent/{agent}: a result of {call_id}, which is not called")),
                },
                MessageBody::ToolCall { .. }
                | MessageBody::ApprovalRequest { .. }
                | MessageBody::ApprovalResponse { .. }
                | MessageBody::Summary { .. }
                | MessageBody::System { .. }
                | MessageBody::User { .. }
                | MessageBody::Reasoning { .. }
                | MessageBody::Assistant { .. } => {}
            }
        }
        for (call, results) in open.into_iter().filter(|(_, results)| *results != 1) {
            found.push(format!("agent/{agent}: {call} has {results} results"));
        }
    }
}
