//! Runs: one request being worked on by one agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// A run as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Whose run.
    pub agent_id: String,
    /// The conversation, unless it is the one that every agent has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// `created`, `running`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Until when its agent pauses after it, or when that pause ended early (a field of Kelpie's);
    /// absent unless it ended with `pause_heartbeats`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// The run after whose pause it began by itself (a field of Kelpie's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
}

/// What a run has cost, summed over its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunUsage {
    /// Tokens that the model read.
    pub prompt_tokens: u64,
    /// Tokens that the model wrote.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// More about what it read.
    pub prompt_tokens_details: PromptTokens,
    /// More about what it wrote.
    pub completion_tokens_details: CompletionTokens,
    /// Calls of the model.
    pub step_count: u64,
    /// What they cost, in millionths of a dollar (a field of Kelpie's); absent when a model that
    /// was asked has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_microdollars: Option<u64>,
}

/// More about what a model read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromptTokens {
    /// Tokens that the provider read from its cache.
    pub cached_tokens: u64,
}

/// More about what a model wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompletionTokens {
    /// Tokens spent on thoughts.
    pub reasoning_tokens: u64,
}

/// What became of each run that was to be cancelled, by its id.
pub type Cancelled = BTreeMap<String, String>;
