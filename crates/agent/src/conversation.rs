//! Conversations of an agent: each has its own messages and runs; memory, tools and settings
//! are the agent's.

use serde::{Deserialize, Serialize};

/// What people keep with a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationRecord {
    /// `conv-…`.
    pub id: String,
    /// Whose.
    pub agent_id: String,
    /// What it is about, as people have it in lists.
    pub summary: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// Whether it is put away.
    pub archived: bool,
    /// The handle of its model, if it is not its agent's.
    pub model: Option<String>,
    /// Tokens that prompt and answer may have together, if not as many as its agent's.
    pub context_window: Option<u32>,
    /// When it began, in milliseconds of Unix time.
    pub created_ms: u64,
    /// When its description was last changed.
    pub updated_ms: u64,
    /// When somebody last said something in it.
    pub last_message_ms: Option<u64>,
}

/// A conversation to be begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewConversation {
    /// What it is about.
    pub summary: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// The handle of its model, if it is not its agent's.
    pub model: Option<String>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u32>,
}

/// What changes in a conversation; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConversation {
    /// What it is about.
    pub summary: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is put away.
    pub archived: Option<bool>,
    /// The handle of its model.
    pub model: Option<String>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u32>,
}

/// Which conversations to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationQuery {
    /// Which page of them, by time of creation.
    pub page: crate::query::Page,
    /// Only of this agent.
    pub agent_id: Option<String>,
    /// Only those put away, or only the others; all when absent.
    pub archived: Option<bool>,
    /// Only with this in the summary, whatever the case.
    pub summary: Option<String>,
}

/// One conversation: its agent, and its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationName {
    /// Whose.
    pub agent_id: String,
    /// 0 is the one that every agent has.
    pub number: u64,
}
