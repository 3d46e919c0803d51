//! What a model answers, and the pieces that it comes in.

use serde::{Deserialize, Serialize};

use super::request::{PromptMessage, RawTurn, ToolCall};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAnswer {
    /// The model that answered, by the name that its provider gave.
    pub model: String,
    /// Text, if there is any.
    pub text: Option<String>,
    /// Thoughts, if the model shows them.
    pub reasoning: Option<String>,
    /// Calls of tools, in order; ids are unique.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub stop: Stop,
    /// What it cost.
    pub usage: Usage,
    /// The turn as the provider wrote it, where sending it back needs more than the above.
    pub raw: Option<RawTurn>,
}

impl ModelAnswer {
    /// The answer as an entry of the conversation that goes on after it.
    pub fn to_message(&self) -> PromptMessage {
        PromptMessage::Assistant {
            text: self.text.clone(),
            reasoning: self.reasoning.clone(),
            tool_calls: self.tool_calls.clone(),
            raw: self.raw.clone(),
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model was done.
    EndTurn,
    /// It waits for the results of its calls.
    ToolUse,
    /// It reached the longest answer; the last call's arguments may be incomplete.
    MaxTokens,
    /// The provider or the model declined to go on.
    Refusal,
    /// Another reason, in the provider's word.
    Other(String),
}

/// Tokens, as the provider counted them; 0 where it did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Of the request, cached ones included.
    pub input_tokens: u64,
    /// Of the answer.
    pub output_tokens: u64,
    /// Of the request, read from the provider's cache.
    pub cached_tokens: u64,
    /// Of the answer, spent on thoughts.
    pub reasoning_tokens: u64,
}

/// A piece of an answer in the making. Provisional: only the [`ModelAnswer`] counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More thoughts.
    Reasoning(String),
    /// The start of a call (then `name` is set) or more of its arguments.
    ToolCall {
        /// Which call of this answer, from 0.
        index: usize,
        /// Its id, at the start; empty afterwards. The same as in the answer.
        id: String,
        /// The tool's name, at the start; empty afterwards.
        name: String,
        /// The next part of the arguments.
        arguments_part: String,
    },
    /// The attempt failed and a new one starts: all pieces so far are void.
    Restart,
}

/// A model on offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider/name`: what a request names.
    pub handle: String,
    /// The provider.
    pub provider: String,
    /// Its name at the provider.
    pub name: String,
    /// How many tokens request and answer may have together, if the provider says so.
    pub context_window: Option<u32>,
}
