//! What fills the context window of a conversation: the next prompt, part by part.

use kelpie_memory::block::{self, Block};
use kelpie_memory::layout;
use kelpie_memory::recall::Said;
use kelpie_memory::search::ROWS_MAX;
use kelpie_runtime::RecordRange;

use super::conversations::in_view;
use super::{Agents, failure};
use crate::actor::rows;
use crate::conversation::ConversationName;
use crate::error::AgentError;
use crate::message::Message;
use crate::prompt;
use crate::provider::ToolSpec;
use crate::query::Scope;
use crate::show;

/// The next prompt of a conversation, with an estimate of its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextWindow {
    /// Tokens that prompt and answer may have together.
    pub window_tokens: u32,
    /// The instructions.
    pub system: String,
    /// Core memory, as it is rendered after them.
    pub core_memory: String,
    /// The summary of what was said before the messages.
    pub summary: Option<String>,
    /// The tools, in the prompt's order.
    pub tools: Vec<ToolSpec>,
    /// The messages.
    pub messages: Vec<Message>,
    /// Tokens of the messages.
    pub message_tokens: usize,
    /// Passages in archival memory; no more than 20,000 are counted.
    pub passages: usize,
    /// Entries of the log, in the prompt or not; no more than 20,000 are counted.
    pub recall: usize,
}

impl ContextWindow {
    /// Tokens of the instructions.
    pub fn system_tokens(&self) -> usize {
        prompt::tokens(self.system.len())
    }

    /// Tokens of core memory.
    pub fn core_memory_tokens(&self) -> usize {
        prompt::tokens(self.core_memory.len())
    }

    /// Tokens of the summary.
    pub fn summary_tokens(&self) -> usize {
        prompt::tokens(self.summary.as_ref().map_or(0, String::len))
    }

    /// Tokens of the tools.
    pub fn tool_tokens(&self) -> usize {
        prompt::tokens(prompt::tool_bytes(&self.tools))
    }

    /// Tokens of all of it.
    pub fn tokens(&self) -> usize {
        self.system_tokens()
            + self.core_memory_tokens()
            + self.summary_tokens()
            + self.tool_tokens()
            + self.message_tokens
    }
}

impl Agents {
    /// What fills the context window of a conversation.
    pub async fn context(&self, scope: &Scope, name: &ConversationName) -> Result<ContextWindow, AgentError> {
        let agent = self.get(scope, &name.agent_id).await?;
        let view = self.view(scope, &name.agent_id).await?;
        let talk = in_view(&view, name).await?;
        let about = talk.about.as_ref();
        let read = |range| async { view.range(range).await.map_err(|error| failure::read(&error)) };
        let mut entries = Vec::new();
        for span in talk.spans(talk.context_from, u64::MAX) {
            let rows = read(rows::log_range(span.from, span.to)).await?;
            entries.extend(rows::entries(rows).map_err(|error| failure::read(&error))?);
        }
        let summary = match talk.summary_at {
            None => None,
            Some(at) => {
                let rows = read(rows::log_range(at, at + 1)).await?;
                let entries = rows::entries(rows).map_err(|error| failure::read(&error))?;
                entries.into_iter().find_map(|(_, entry)| {
                    let Said::Summary { text, .. } = entry.said else { return None };
                    Some(text)
                })
            }
        };
        entries.retain(|(_, entry)| !matches!(entry.said, Said::Summary { .. }));
        let message_bytes: usize = entries.iter().map(|(_, entry)| entry.prompt_bytes()).sum();
        let shown = entries.iter().flat_map(|(position, entry)| {
            show::messages(&agent.id, *position, entry, true).into_iter().map(|(_, message)| message)
        });
        let on_offer = self.tools(scope).await?;
        let spec = |name: &String| {
            on_offer.iter().find(|tool| tool.spec.name == *name).map(|tool| tool.spec.clone())
        };
        let blocks: &[Block] = &agent.blocks;
        Ok(ContextWindow {
            window_tokens: about.and_then(|about| about.context_window).unwrap_or(agent.model.context_window),
            core_memory: if blocks.is_empty() { String::new() } else { block::render(blocks) },
            summary,
            tools: agent.tools.iter().filter_map(spec).collect(),
            messages: shown.collect(),
            message_tokens: prompt::tokens(message_bytes),
            passages: read(RecordRange::prefix(layout::PASSAGES).limit(ROWS_MAX)).await?.len(),
            recall: read(RecordRange::prefix(layout::LOG).limit(ROWS_MAX)).await?.len(),
            system: agent.system,
        })
    }
}
