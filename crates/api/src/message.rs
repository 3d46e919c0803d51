//! Messages: what an agent was told, thought, called and said.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// One message of an agent's history, told apart by `message_type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "message_type")]
pub enum Message {
    /// Instructions.
    #[serde(rename = "system_message")]
    System(Text),
    /// From the user.
    #[serde(rename = "user_message")]
    User(Text),
    /// The agent's words for the user.
    #[serde(rename = "assistant_message")]
    Assistant(Text),
    /// What the model thought.
    #[serde(rename = "reasoning_message")]
    Reasoning(Reasoning),
    /// The agent calls a tool.
    #[serde(rename = "tool_call_message")]
    ToolCall(ToolCallMessage),
    /// What the tool gave back.
    #[serde(rename = "tool_return_message")]
    ToolReturn(ToolReturnMessage),
    /// The agent wants to call tools that somebody has to approve, or carries out.
    #[serde(rename = "approval_request_message")]
    ApprovalRequest(ToolCallMessage),
    /// What was decided about them.
    #[serde(rename = "approval_response_message")]
    ApprovalResponse(ApprovalResponse),
    /// What stands in the prompt for the oldest part of the conversation.
    #[serde(rename = "summary_message")]
    Summary(Summary),
}

/// The names of all messages that clients know; a filter may name any of them.
pub const MESSAGE_TYPES: [&str; 11] = [
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
];

impl Message {
    /// What all messages have.
    pub fn header(&self) -> &Header {
        match self {
            Self::System(text) | Self::User(text) | Self::Assistant(text) => &text.header,
            Self::Reasoning(message) => &message.header,
            Self::ToolCall(message) | Self::ApprovalRequest(message) => &message.header,
            Self::ToolReturn(message) => &message.header,
            Self::ApprovalResponse(message) => &message.header,
            Self::Summary(message) => &message.header,
        }
    }

    /// The same, to change it.
    pub fn header_mut(&mut self) -> &mut Header {
        match self {
            Self::System(text) | Self::User(text) | Self::Assistant(text) => &mut text.header,
            Self::Reasoning(message) => &mut message.header,
            Self::ToolCall(message) | Self::ApprovalRequest(message) => &mut message.header,
            Self::ToolReturn(message) => &mut message.header,
            Self::ApprovalResponse(message) => &mut message.header,
            Self::Summary(message) => &mut message.header,
        }
    }

    /// Its `message_type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::System(_) => "system_message",
            Self::User(_) => "user_message",
            Self::Assistant(_) => "assistant_message",
            Self::Reasoning(_) => "reasoning_message",
            Self::ToolCall(_) => "tool_call_message",
            Self::ToolReturn(_) => "tool_return_message",
            Self::ApprovalRequest(_) => "approval_request_message",
            Self::ApprovalResponse(_) => "approval_response_message",
            Self::Summary(_) => "summary_message",
        }
    }
}

/// What all messages have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// Its id: the cursor of its page, and the same for all chunks of one message.
    pub id: String,
    /// When it was recorded.
    pub date: Timestamp,
    /// The sender's own id for it: its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otid: Option<String>,
    /// The run that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The step of that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<String>,
    /// Its place in a stream; grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq_id: Option<u64>,
    /// The sender's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A message that is text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Text {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// The text; in a stream of tokens, the next piece of it.
    pub content: String,
}

/// A message that is a thought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reasoning {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// The thought; in a stream of tokens, the next piece of it.
    pub reasoning: String,
}

/// A message that calls tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallMessage {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// The first call.
    pub tool_call: ToolCall,
    /// All calls; absent in a piece.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// One call of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolCall {
    /// The tool; absent in all pieces after the first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The arguments: JSON in a string; in a stream of tokens, the next piece of it.
    pub arguments: String,
    /// Ties the return to its call.
    pub tool_call_id: String,
}

/// A message with the results of tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolReturnMessage {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// The first result.
    pub tool_return: String,
    /// `success` or `error`.
    pub status: String,
    /// Which call it answers.
    pub tool_call_id: String,
    /// All results.
    pub tool_returns: Vec<ToolReturn>,
}

/// The result of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolReturn {
    /// The result.
    pub tool_return: String,
    /// `success` or `error`.
    pub status: String,
    /// Which call it answers.
    pub tool_call_id: String,
    /// `tool`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What was decided about calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalResponse {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// Whether all of them were approved or carried out.
    pub approve: bool,
    /// Each of them.
    pub approvals: Vec<Approval>,
    /// Why, if a call was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was decided about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Approval {
    /// Whether it may be made.
    Approval {
        /// Which call.
        tool_call_id: String,
        /// Whether it may be made.
        approve: bool,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What came out of it: the client has carried it out.
    Tool {
        /// Which call.
        tool_call_id: String,
        /// What came out.
        tool_return: String,
        /// `success` or `error`.
        status: String,
    },
}

/// What stands in the prompt for the oldest part of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
    /// The summary.
    pub summary: String,
}
