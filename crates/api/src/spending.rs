//! What agents have used up in a day, and what they may.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// What was used up today (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spending {
    /// Whose; absent when it is all agents together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// When the day began.
    pub since: Timestamp,
    /// Tokens of prompts and answers together.
    pub tokens: u64,
    /// Answers of models.
    pub steps: u64,
    /// What those of them cost whose models have a price, in millionths of a dollar.
    pub cost_microdollars: u64,
    /// What may be used up.
    pub budget: DayBudget,
}

/// What may be used up in a day (UTC); what is absent has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayBudget {
    /// Tokens of prompts and answers together.
    pub tokens_per_day: Option<u64>,
    /// Answers of models.
    pub steps_per_day: Option<u64>,
    /// What they cost, in millionths of a dollar.
    pub microdollars_per_day: Option<u64>,
}
