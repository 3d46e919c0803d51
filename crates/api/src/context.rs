//! What fills the context window of an agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::message::Message;

/// The next prompt, part by part. Tokens are estimated at four bytes each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextWindow {
    /// Tokens that prompt and answer may have together.
    pub context_window_size_max: u64,
    /// Tokens of the prompt.
    pub context_window_size_current: u64,
    /// Messages in the prompt.
    pub num_messages: u64,
    /// Passages in archival memory.
    pub num_archival_memory: u64,
    /// Entries of the log, in the prompt or not.
    pub num_recall_memory: u64,
    /// Tokens of what is told about memory outside of the prompt: nothing is.
    pub num_tokens_external_memory_summary: u64,
    /// What is told about memory outside of the prompt.
    pub external_memory_summary: String,
    /// Tokens of the instructions.
    pub num_tokens_system: u64,
    /// The instructions.
    pub system_prompt: String,
    /// Tokens of core memory.
    pub num_tokens_core_memory: u64,
    /// Core memory as the model reads it.
    pub core_memory: String,
    /// Tokens of the summary.
    pub num_tokens_summary_memory: u64,
    /// The summary of what was said before the messages.
    pub summary_memory: Option<String>,
    /// Tokens of the tools.
    pub num_tokens_functions_definitions: u64,
    /// The tools.
    pub functions_definitions: Vec<Value>,
    /// Tokens of the messages.
    pub num_tokens_messages: u64,
    /// The messages.
    pub messages: Vec<Message>,
}
