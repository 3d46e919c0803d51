//! What a client asks an agent to do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// The body of `POST …/messages`, streamed or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SendMessages {
    /// The messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<NewMessage>>,
    /// Short for one message of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Content>,
    /// How many steps the agent may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// Whether the answer is a stream of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// Whether the events are pieces of messages, as the model makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_tokens: Option<bool>,
    /// Whether a stream that has nothing to say says so from time to time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_pings: Option<bool>,
    /// Accepted for clients that send it: here every run outlives its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<bool>,
    /// Which messages to return; all if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_return_message_types: Option<Vec<String>>,
    /// Whether calls of the tool that speaks to the user are shown as assistant messages; yes
    /// if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_assistant_message: Option<bool>,
    /// Tools that the client would run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tools: Option<Vec<Value>>,
    /// Another model for this request only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_model: Option<String>,
    /// Other instructions for this request only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_system: Option<String>,
    /// Where to send the result of a run in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// The agent, where the path names a conversation as `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// One message on its way to an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewMessage {
    /// `message` if not said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `user`, `system` or `assistant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The sender's own id for it: its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otid: Option<String>,
    /// The sender's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a message of the type `approval`: what was decided about each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Vec<NewApproval>>,
    /// The older form: the approval request, all of whose calls are decided about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_request_id: Option<String>,
    /// The older form: what was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<bool>,
    /// The older form: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What is decided about one call: a word, or the result of whoever has carried it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewApproval {
    /// `approval` or `tool`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which call.
    pub tool_call_id: String,
    /// Of an approval: whether it may be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<bool>,
    /// Of an approval: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a result: what came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_return: Option<Content>,
    /// Of a result: `success` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The body of a search over messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SearchMessages {
    /// Words to find.
    pub query: String,
    /// Only of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Only in this conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// Only from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// Only up to this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// At most so many; 50 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The body of a search for tools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SearchTools {
    /// Words to find; all tools if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Only of these types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_types: Option<Vec<String>>,
    /// At most so many; 50 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The body of `PATCH …/tools/approval/{tool_name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetApproval {
    /// Whether somebody has to approve each call.
    pub requires_approval: bool,
}

/// The body of `POST …/tools/{tool_name}/run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RunTool {
    /// The arguments.
    pub args: Map<String, Value>,
}

/// Text, or parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "Input should be a string or a list of parts")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts in order.
    Parts(Vec<Part>),
}

/// One part of a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// `text` is what this server understands.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The body of `POST …/messages/cancel`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CancelRuns {
    /// Which runs; all that are going on if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ids: Option<Vec<String>>,
}

/// The body of `POST …/runs/{run_id}/stream`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ResumeStream {
    /// Whose run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Of a conversation: which run; the last one if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Only what comes after this `seq_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_after: Option<u64>,
    /// Whether a stream that has nothing to say says so from time to time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_pings: Option<bool>,
}
