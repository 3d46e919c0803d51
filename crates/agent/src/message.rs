//! Messages as they are shown: one flat list, each entry of one kind.
//!
//! One answer of a model may show as several messages (a thought, a call, a text); each has
//! an id of its own, from which its place in the log can be read.

use kelpie_memory::recall::Verdict;
use serde::{Deserialize, Serialize};

/// Who says something to an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person or program.
    #[default]
    User,
    /// Instructions in the middle of a conversation.
    System,
    /// Something the agent is made to have said.
    Assistant,
}

/// Messages that one request may bring, or one schedule.
pub const MESSAGES_MAX: usize = 64;

/// A message to an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewMessage {
    /// Who says it.
    pub role: Role,
    /// What.
    pub text: String,
    /// The sender's name, shown with it.
    pub name: Option<String>,
    /// The sender's own id for it.
    pub otid: Option<String>,
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// It answered.
    Success,
    /// It failed, was refused, was cancelled, or nobody knows.
    Error,
}

/// One shown message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `message-…`, unique.
    pub id: String,
    /// When it was recorded, in milliseconds of Unix time.
    pub date_ms: u64,
    /// The run that it belongs to.
    pub run_id: String,
    /// The step of that run; messages from outside have none.
    pub step_id: Option<String>,
    /// The sender's id for it, or the one that its streamed pieces carried.
    pub otid: Option<String>,
    /// The sender's name.
    pub name: Option<String>,
    /// What it is.
    pub body: MessageBody,
}

/// A call that waits for somebody's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedCall {
    /// The call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// JSON text, as the model wrote it.
    pub arguments: String,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageBody {
    /// Instructions.
    System {
        /// The text.
        text: String,
    },
    /// A person or program says something.
    User {
        /// The text.
        text: String,
    },
    /// The model thinks.
    Reasoning {
        /// The thought.
        text: String,
    },
    /// The agent says something (as plain text or with `send_message`).
    Assistant {
        /// The text.
        text: String,
    },
    /// The agent calls a tool.
    ToolCall {
        /// The call.
        call_id: String,
        /// The tool.
        name: String,
        /// JSON text, as the model wrote it.
        arguments: String,
    },
    /// The agent wants to call tools that somebody has to approve.
    ApprovalRequest {
        /// The calls.
        calls: Vec<AskedCall>,
    },
    /// Somebody decided about such calls.
    ApprovalResponse {
        /// What was decided about each.
        verdicts: Vec<Verdict>,
    },
    /// What stands in the prompt for the oldest part of the conversation.
    Summary {
        /// The summary.
        text: String,
        /// Entries in the prompt before.
        before: usize,
        /// Entries in the prompt after.
        after: usize,
    },
    /// A tool answered.
    ToolReturn {
        /// The call that it answers.
        call_id: String,
        /// The tool.
        name: String,
        /// The answer.
        text: String,
        /// How it ended.
        status: ToolStatus,
    },
}
