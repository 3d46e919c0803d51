//! Messages that come to an agent later.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::request::NewMessage;
use crate::timestamp::Timestamp;

/// What is to be said, and when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateSchedule {
    /// What is said each time.
    pub messages: Vec<NewMessage>,
    /// When.
    pub schedule: Schedule,
    /// Steps of each run; the agent's own limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<f64>,
    /// Whom to call with what the agent says: refused, nobody is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

/// When something is to be said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Schedule {
    /// `one-time`, also if not said, or `recurring`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of one time: milliseconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<f64>,
    /// Of a recurring one: minute, hour, day of month, month, day of week, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_expression: Option<String>,
}

/// A schedule was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedSchedule {
    /// Its id.
    pub id: String,
    /// When it comes first.
    pub next_scheduled_at: Timestamp,
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduledMessage {
    /// Its id, unique within its agent.
    pub id: String,
    /// Whose it is.
    pub agent_id: String,
    /// What is said each time.
    pub message: ScheduledText,
    /// When it comes next.
    pub next_scheduled_time: Timestamp,
    /// When it comes.
    pub schedule: Schedule,
}

/// What is said each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduledText {
    /// The messages.
    pub messages: Vec<NewMessage>,
    /// Steps of each run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
}

/// A page of schedules, what comes next first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedules {
    /// Whether there are more.
    pub has_next_page: bool,
    /// The schedules.
    pub scheduled_messages: Vec<ScheduledMessage>,
}
