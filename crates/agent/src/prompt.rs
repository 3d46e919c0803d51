//! What the model gets to see: instructions, memory, and as much of the log as fits.
//!
//! ```text
//!   system       instructions · memory blocks       the same bytes until somebody edits them
//!   messages     the newest whole exchanges of the log
//! ```
//!
//! When the log no longer fits, the oldest exchanges leave the prompt, several at once, so
//! that the prefix stays the same for a while and the provider's cache hits. They stay in
//! recall, where `conversation_search` finds them.
//!
//! Invariant: the messages start where a person speaks, so no result stands without its call.

use kelpie_memory::block;
use kelpie_memory::recall::{CallMade, Entry, RawAnswer, Said, Speaker};

use crate::provider::{ModelAnswer, ModelRequest, PromptMessage, RawTurn, ToolCall, ToolSpec};
use crate::record::AgentRecord;

/// The instructions of an agent whose creator gives none.
pub(crate) const SYSTEM_DEFAULT: &str = "\
You are a stateful agent: you keep your own memory and go on where the last conversation ended.\n\
You talk to the person only by calling send_message; text outside of it is not meant for them.\n\
What matters in every conversation stands in your core memory blocks below: keep them true and short with \
core_memory_append and core_memory_replace. Put longer things aside with archival_memory_insert and find them with \
archival_memory_search; find earlier conversation with conversation_search.\n\
After any other tool you are asked again; your turn ends when you have sent your message.";

/// Rule of thumb: bytes of text per token.
const BYTES_PER_TOKEN: usize = 4;
/// Of the context window, kept free for the answer when nobody says how long it may be: a part.
const ANSWER_PART: usize = 4;
/// How full the prompt is after the oldest exchanges have left: low enough that it does not
/// happen again at once.
const FILL_PERCENT_AFTER: usize = 70;

/// Instructions and memory.
pub(crate) fn system(agent: &AgentRecord) -> String {
    if agent.blocks.is_empty() {
        return agent.system.clone();
    }
    format!("{}\n\n{}", agent.system, block::render(&agent.blocks))
}

/// How many bytes of conversation fit beside instructions, memory and tools; `None` when not
/// even those do.
pub(crate) fn room(agent: &AgentRecord, tools: &[ToolSpec]) -> Option<usize> {
    let window =
        usize::try_from(agent.model.context_window).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    let answer = match agent.model.max_tokens {
        Some(tokens) => {
            usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN).min(window / 2)
        }
        None => window / ANSWER_PART,
    };
    let specs: usize = tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + tool.parameters.to_string().len())
        .sum();
    window.checked_sub(answer + system(agent).len() + specs).filter(|room| *room > 0)
}

/// Where the prompt's part of the log starts: at `from` while all fits, else at a later
/// exchange. The last exchange stays, whatever its size: it is what the model is asked about.
pub(crate) fn start(entries: &[(u64, Entry)], from: u64, room: usize) -> u64 {
    let bytes =
        |entries: &[(u64, Entry)]| entries.iter().map(|(_, entry)| entry.prompt_bytes()).sum::<usize>();
    let mut left = bytes(entries);
    if left <= room {
        return from;
    }
    let target = room / 100 * FILL_PERCENT_AFTER;
    let mut start = from;
    let mut seen = 0;
    for (index, (position, entry)) in entries.iter().enumerate() {
        let anywhere = kelpie_core::mutant!("prompt_cut_in_an_exchange");
        if index > 0 && (anywhere || entry.starts_exchange()) {
            left -= bytes(&entries[seen..index]);
            (start, seen) = (*position, index);
            if left <= target {
                break;
            }
        }
    }
    start
}

/// The question to the model.
pub(crate) fn request(agent: &AgentRecord, tools: Vec<ToolSpec>, entries: &[(u64, Entry)]) -> ModelRequest {
    ModelRequest {
        model: agent.model.handle.clone(),
        system: system(agent),
        messages: entries.iter().map(|(_, entry)| message(entry)).collect(),
        tools,
        max_tokens: agent.model.max_tokens,
        temperature: agent.model.temperature,
        require_tool: false,
    }
}

fn message(entry: &Entry) -> PromptMessage {
    match &entry.said {
        Said::Heard { by: Speaker::Assistant, text, .. } => PromptMessage::Assistant {
            text: Some(text.clone()),
            reasoning: None,
            tool_calls: Vec::new(),
            raw: None,
        },
        Said::Heard { by: Speaker::System, text, .. } => {
            PromptMessage::User { text: format!("<system>\n{text}\n</system>") }
        }
        Said::Heard { by: Speaker::User, text, name: Some(name), .. } => {
            PromptMessage::User { text: format!("{name}: {text}") }
        }
        Said::Heard { by: Speaker::User, text, name: None, .. } => PromptMessage::User { text: text.clone() },
        Said::Answer { text, reasoning, calls, raw } => PromptMessage::Assistant {
            text: text.clone(),
            reasoning: reasoning.clone(),
            tool_calls: calls.iter().map(tool_call).collect(),
            raw: raw.as_ref().map(|RawAnswer { provider, blocks }| RawTurn {
                provider: provider.clone(),
                blocks: blocks.clone(),
            }),
        },
        Said::Result { call_id, text, is_error, .. } => {
            PromptMessage::ToolResult { call_id: call_id.clone(), text: text.clone(), is_error: *is_error }
        }
    }
}

fn tool_call(made: &CallMade) -> ToolCall {
    ToolCall { id: made.id.clone(), name: made.name.clone(), arguments: made.arguments.clone() }
}

/// What an answer is in the log.
pub(crate) fn said(answer: ModelAnswer, calls: Vec<CallMade>) -> Said {
    let raw = answer.raw.map(|RawTurn { provider, blocks }| RawAnswer { provider, blocks });
    let text = answer.text.filter(|text| !text.trim().is_empty());
    let reasoning = answer.reasoning.filter(|text| !text.trim().is_empty());
    Said::Answer { text, reasoning, calls, raw }
}

#[cfg(test)]
mod tests;
