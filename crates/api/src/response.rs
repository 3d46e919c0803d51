//! What an agent did with a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::Message;

/// The answer of `POST …/messages` that is not streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LettaResponse {
    /// What the agent did, in order.
    pub messages: Vec<Message>,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// What it cost.
    pub usage: Usage,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopReason {
    /// `stop_reason`.
    pub message_type: StopReasonTag,
    /// Such as `end_turn`.
    pub stop_reason: String,
}

/// The tag of a [`StopReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum StopReasonTag {
    /// The only value.
    #[serde(rename = "stop_reason")]
    StopReason,
}

impl StopReason {
    /// A run ended for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { message_type: StopReasonTag::StopReason, stop_reason: reason.into() }
    }
}

/// What a run cost, summed over its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// `usage_statistics`.
    pub message_type: UsageTag,
    /// Tokens that the model wrote.
    pub completion_tokens: u64,
    /// Tokens that the model read.
    pub prompt_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// Tokens that the provider read from its cache.
    pub cached_input_tokens: u64,
    /// Tokens spent on thoughts.
    pub reasoning_tokens: u64,
    /// Calls of the model.
    pub step_count: u64,
    /// What they cost, in millionths of a dollar (a field of Kelpie's); absent when a model that
    /// was asked has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_microdollars: Option<u64>,
    /// The runs that this is about.
    #[serde(default)]
    pub run_ids: Vec<String>,
}

/// The tag of a [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum UsageTag {
    /// The only value.
    #[serde(rename = "usage_statistics")]
    UsageStatistics,
}
