//! Conversations: several with one agent, which share its memory.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// A conversation as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// With whom.
    pub agent_id: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it is put away.
    pub archived: bool,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// Its model, if it is not its agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of context to use at most, if not as many as its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window_limit: Option<u32>,
    /// When it began.
    pub created_at: Timestamp,
    /// When what is kept with it was last changed.
    pub updated_at: Timestamp,
    /// When somebody last said something in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message_at: Option<Timestamp>,
}

/// A conversation to begin, or what to change about one. What is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChangeConversation {
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether lists leave it out; only when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// Whether it is put away; only later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// `provider/name` of its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of context to use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window_limit: Option<u32>,
    /// All other fields, for the server to refuse or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What became of a compaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompactionResponse {
    /// What stands in the prompt for the oldest part.
    pub summary: String,
    /// Messages in the prompt before.
    pub num_messages_before: u64,
    /// Messages in the prompt after.
    pub num_messages_after: u64,
}
