//! What the model gets to see: instructions, memory, and as much of the log as fits.
//!
//! ```text
//!   system       instructions · memory blocks       the same bytes until somebody edits them
//!   messages     the newest whole exchanges of the log
//! ```
//!
//! When the log no longer fits, the oldest exchanges leave the prompt, several at once, so
//! that the prefix stays the same for a while and the provider's cache hits. A summary by the
//! model stands in their place; they stay in recall, where `conversation_search` finds them.
//!
//! Invariant: the messages start where a person speaks, so no result stands without its call.

use kelpie_memory::block;
use kelpie_memory::recall::{CallMade, Entry, RawAnswer, Said, Speaker};

use crate::format::ResponseFormat;
use crate::provider::{ModelAnswer, ModelRequest, PromptMessage, RawTurn, ToolCall, ToolSpec};
use crate::record::{AgentRecord, AgentType};

/// The instructions of an agent whose creator gives none.
pub(crate) fn system_default(agent_type: AgentType) -> &'static str {
    match agent_type {
        AgentType::Memgpt => SYSTEM_OF_TOOLS,
        AgentType::MemgptV2 => SYSTEM_OF_TOOLS_V2,
        AgentType::LettaV1 => SYSTEM_OF_TEXT,
        AgentType::React => SYSTEM_PLAIN,
    }
}

/// For agents that have no memory tools.
const SYSTEM_PLAIN: &str = "\
You are an agent that works with tools. Think about what is missing, call a tool for it, read its result, and go on \
until you can answer. What you write without calling a tool is your answer to the person.";

/// For agents that keep their memory and talk in plain text.
const SYSTEM_OF_TEXT: &str = "\
You are a stateful agent: you keep your own memory and go on where the last conversation ended.\n\
What you write without calling a tool is your answer to the person, and ends your turn.\n\
What matters in every conversation stands in your core memory blocks below: keep them true and short with \
memory_insert, memory_replace and memory_rethink. Put longer things aside with archival_memory_insert and find them with \
archival_memory_search; find earlier conversation with conversation_search.";

/// For agents that keep their memory and talk by a tool.
const SYSTEM_OF_TOOLS: &str = "\
You are a stateful agent: you keep your own memory and go on where the last conversation ended.\n\
You talk to the person only by calling send_message; text outside of it is not meant for them.\n\
What matters in every conversation stands in your core memory blocks below: keep them true and short with \
core_memory_append and core_memory_replace. Put longer things aside with archival_memory_insert and find them with \
archival_memory_search; find earlier conversation with conversation_search.\n\
After any other tool you are asked again; your turn ends when you have sent your message.";

/// For agents that talk by a tool, and have the newer tools for their memory.
const SYSTEM_OF_TOOLS_V2: &str = "\
You are a stateful agent: you keep your own memory and go on where the last conversation ended.\n\
You talk to the person only by calling send_message; text outside of it is not meant for them.\n\
What matters in every conversation stands in your core memory blocks below: keep them true and short with \
memory_insert, memory_replace and memory_rethink. Put longer things aside with archival_memory_insert and find them \
with archival_memory_search; find earlier conversation with conversation_search.\n\
After any other tool you are asked again; your turn ends when you have sent your message.";

/// Rule of thumb: bytes of text per token.
const BYTES_PER_TOKEN: usize = 4;
/// Of the context window, kept free for the answer when nobody says how long it may be: a part.
const ANSWER_PART: usize = 4;
/// How full the prompt is after the oldest exchanges have left: low enough that it does not
/// happen again at once.
const FILL_PERCENT_AFTER: usize = 70;

/// What a model is told that makes a summary.
const SUMMARY_SYSTEM: &str = "\
You keep the memory of a conversation between a person and an agent. Write a summary of the part below that lets the \
agent go on without it: who the person is, what they want, what was said, decided and promised, which tools were \
called and what came of it, and what is still open. Keep names, numbers, dates and ids exactly. If an earlier summary \
comes first, keep what it says. Write plain sentences in the conversation's language, no more than 400 words, and \
nothing else.";
/// Tokens of a summary.
const SUMMARY_TOKENS_MAX: u32 = 2_000;

/// What the prompt of a conversation is made of.
#[derive(Debug)]
pub(crate) struct Context {
    /// The prompt's part of the log.
    pub(crate) entries: Vec<(u64, Entry)>,
    /// The summary of what comes before it.
    pub(crate) summary: Option<Entry>,
}

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
    window.checked_sub(answer + system(agent).len() + tool_bytes(tools)).filter(|room| *room > 0)
}

/// The bytes that tools take in the prompt.
pub(crate) fn tool_bytes(tools: &[ToolSpec]) -> usize {
    let bytes =
        |tool: &ToolSpec| tool.name.len() + tool.description.len() + tool.parameters.to_string().len();
    tools.iter().map(bytes).sum()
}

/// About how many tokens a text of so many bytes has.
pub(crate) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
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
pub(crate) fn request(
    agent: &AgentRecord,
    tools: Vec<ToolSpec>,
    summary: Option<&Entry>,
    entries: &[(u64, Entry)],
    format: Option<ResponseFormat>,
) -> ModelRequest {
    let entries = entries.iter().map(|(_, entry)| entry);
    let entries = summary.into_iter().chain(entries.filter(|entry| !is_summary(entry)));
    ModelRequest {
        model: agent.model.handle.clone(),
        system: system(agent),
        messages: entries.filter_map(message).collect(),
        tools,
        max_tokens: agent.model.max_tokens,
        temperature: agent.model.temperature,
        require_tool: false,
        response_format: format,
    }
}

fn is_summary(entry: &Entry) -> bool {
    matches!(entry.said, Said::Summary { .. })
}

/// The question for a summary of these entries, and of the summary before them. What is longer
/// than the model can read loses its middle: the beginning and the end say most.
pub(crate) fn summary_request(
    agent: &AgentRecord,
    summary: Option<&Entry>,
    entries: &[(u64, Entry)],
) -> ModelRequest {
    let lines = summary.into_iter().chain(entries.iter().map(|(_, entry)| entry)).filter_map(line);
    let mut text: String = lines.collect::<Vec<_>>().join("\n");
    let window =
        usize::try_from(agent.model.context_window).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    let room = window / 2;
    if text.len() > room {
        let head = text.floor_char_boundary(room / 2);
        let tail = text.ceil_char_boundary(text.len() - room / 2);
        text = format!("{}\n[…]\n{}", &text[..head], &text[tail..]);
    }
    ModelRequest {
        model: agent.model.handle.clone(),
        system: SUMMARY_SYSTEM.to_owned(),
        messages: vec![PromptMessage::User { text }],
        tools: Vec::new(),
        max_tokens: Some(agent.model.max_tokens.unwrap_or(SUMMARY_TOKENS_MAX).min(SUMMARY_TOKENS_MAX)),
        temperature: None,
        require_tool: false,
        response_format: None,
    }
}

/// What an entry says, for a summary.
fn line(entry: &Entry) -> Option<String> {
    match &entry.said {
        Said::Heard { by, text, .. } => Some(format!("{}: {text}", by.word())),
        Said::Answer { text, calls, .. } => {
            let said = text.iter().cloned();
            let calls = calls.iter().map(|call| match &call.says {
                Some(says) => says.clone(),
                None => format!("[calls {} {}]", call.name, call.arguments),
            });
            let said: Vec<String> = said.chain(calls).collect();
            (!said.is_empty()).then(|| format!("agent: {}", said.join(" ")))
        }
        Said::Result { of_speech: true, .. } | Said::Decided { .. } => None,
        Said::Result { name, text, .. } => Some(format!("[{name} returned {text}]")),
        Said::Summary { text, .. } => Some(format!("[earlier summary: {text}]")),
    }
}

fn message(entry: &Entry) -> Option<PromptMessage> {
    Some(match &entry.said {
        Said::Decided { .. } => return None,
        Said::Summary { text, .. } => {
            PromptMessage::User { text: format!("<summary of what was said before>\n{text}\n</summary>") }
        }
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
    })
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
