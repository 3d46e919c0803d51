//! What a model is asked, in nobody's wire format.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::ResponseFormat;

/// One question to a model: everything it gets to see, and what it may answer with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRequest {
    /// The model's handle, `provider/name`.
    pub model: String,
    /// Instructions and core memory. The same bytes as last time let the provider's cache hit.
    pub system: String,
    /// The conversation, oldest first. Each tool call is followed by its result before the
    /// next assistant message.
    pub messages: Vec<PromptMessage>,
    /// The tools that it may call, always in the same order.
    pub tools: Vec<ToolSpec>,
    /// The longest answer, in tokens; the provider's default when absent.
    pub max_tokens: Option<u32>,
    /// How freely it chooses words; the provider's default when absent.
    pub temperature: Option<f32>,
    /// Whether it must call a tool, and not just write text.
    pub require_tool: bool,
    /// What the text of the answer has to look like.
    pub response_format: Option<ResponseFormat>,
}

/// One entry of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptMessage {
    /// What a person or the runtime says to the model.
    User {
        /// Its text.
        text: String,
    },
    /// What the model answered.
    Assistant {
        /// Its text, if it wrote any.
        #[serde(default)]
        text: Option<String>,
        /// Its thoughts, if it shows them. Never sent as text: only `raw` brings them back.
        #[serde(default)]
        reasoning: Option<String>,
        /// The tools that it called, in order.
        #[serde(default)]
        tool_calls: Vec<ToolCall>,
        /// The same turn as its provider wrote it.
        #[serde(default)]
        raw: Option<RawTurn>,
    },
    /// What a tool answered.
    ToolResult {
        /// The call that it answers.
        call_id: String,
        /// The answer.
        text: String,
        /// Whether the tool failed.
        #[serde(default)]
        is_error: bool,
    },
}

impl PromptMessage {
    /// What a person or the runtime says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { text: text.into() }
    }

    /// The result of a call.
    pub fn tool_result(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::ToolResult { call_id: call_id.into(), text: text.into(), is_error: false }
    }
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// When and how to use it.
    pub description: String,
    /// JSON schema of its arguments: an object.
    pub parameters: Value,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its name within the conversation, unique among the calls of one answer.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON text exactly as the model gave it (`{}` where it gave nothing), which may be no JSON
    /// at all: who runs the tool parses it and answers the model with what is wrong.
    pub arguments: String,
}

/// An assistant turn in its provider's own blocks, to be sent back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTurn {
    /// The provider that wrote it: no other one gets to see it.
    pub provider: String,
    /// The JSON text of each block, in order.
    pub blocks: Vec<String>,
}
