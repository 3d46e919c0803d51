//! Messages that an agent gets later, though nobody sends them then.

use kelpie_core::reminder::{Schedule, ScheduleError};
use serde::{Deserialize, Serialize};

use crate::message::{MESSAGES_MAX, NewMessage};
use crate::record::MAX_STEPS_MAX;

/// Schedules that one agent may have.
pub const SCHEDULES_MAX: usize = 64;
/// Bytes of the texts of one schedule, with the names and ids of its messages.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// When.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Once, at this wall time in milliseconds.
    Once {
        /// Of Unix time.
        at_ms: u64,
    },
    /// Whenever the expression matches, in UTC: minute, hour, day of month, month, day of week.
    Recurring {
        /// Of cron, with five fields.
        cron: String,
    },
}

/// What is to be said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSchedule {
    /// What is said each time.
    pub messages: Vec<NewMessage>,
    /// When.
    pub when: When,
    /// Steps of each run; the agent's own limit when absent.
    pub max_steps: Option<u32>,
    /// The number of the conversation; 0 is the one that every agent has.
    pub conversation: u64,
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledMessage {
    /// `schedule-…`, unique within its agent.
    pub id: String,
    /// What is said when.
    pub what: NewSchedule,
    /// When it was made.
    pub created_ms: u64,
    /// When it comes next.
    pub next_ms: u64,
    /// The number of the run that it began last.
    pub(crate) last_run: Option<u64>,
}

/// A schedule that can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// Nothing is to be said, or more than one request may bring.
    #[error("there must be 1 to {MESSAGES_MAX} messages")]
    Messages,
    /// Too much is to be said.
    #[error("{bytes} bytes of text, of {TEXT_BYTES_MAX} allowed")]
    TooLong {
        /// Of how much.
        bytes: usize,
    },
    /// No run has so many steps.
    #[error("must be between 1 and {MAX_STEPS_MAX}")]
    Steps,
    /// The time is over.
    #[error("the time has passed already")]
    Past,
    /// Seconds or years are not scheduled.
    #[error("`{cron}` does not have five fields: minute, hour, day of month, month, day of week")]
    Fields {
        /// What was given.
        cron: String,
    },
    /// The expression can't be used.
    #[error(transparent)]
    Cron(#[from] ScheduleError),
    /// There are too many.
    #[error("the agent has {SCHEDULES_MAX} schedules already: cancel one first")]
    TooMany,
}

impl BadSchedule {
    /// The field of the request that is to blame.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Messages | Self::TooLong { .. } => "messages",
            Self::Steps => "max_steps",
            Self::Past => "schedule.scheduled_at",
            Self::Fields { .. } | Self::Cron(_) => "schedule.cron_expression",
            Self::TooMany => "schedule",
        }
    }
}

impl NewSchedule {
    /// How the runtime is told, if it can be kept.
    pub(crate) fn checked(&self, now_ms: u64) -> Result<Schedule, BadSchedule> {
        if self.messages.is_empty() || self.messages.len() > MESSAGES_MAX {
            return Err(BadSchedule::Messages);
        }
        let texts = self.messages.iter().flat_map(|message| {
            let NewMessage { role: _, text, name, otid } = message;
            [Some(text), name.as_ref(), otid.as_ref()].into_iter().flatten()
        });
        let bytes: usize = texts.map(String::len).sum();
        if bytes > TEXT_BYTES_MAX {
            return Err(BadSchedule::TooLong { bytes });
        }
        if self.max_steps.is_some_and(|steps| !(1..=MAX_STEPS_MAX).contains(&steps)) {
            return Err(BadSchedule::Steps);
        }
        match &self.when {
            When::Once { at_ms } if *at_ms <= now_ms => Err(BadSchedule::Past),
            When::Once { at_ms } => Ok(Schedule::At(*at_ms)),
            When::Recurring { cron } if cron.split_whitespace().count() != 5 => {
                Err(BadSchedule::Fields { cron: cron.clone() })
            }
            When::Recurring { cron } => {
                let schedule = Schedule::Cron(cron.clone());
                schedule.clone().begin(now_ms)?;
                Ok(schedule)
            }
        }
    }
}
