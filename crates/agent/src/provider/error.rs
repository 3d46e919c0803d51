//! Why there is no answer, and whether to ask again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A model gave no answer. Plain data, so that it can be recorded as the outcome of a step.
/// Messages are the provider's words, cut to a bounded length and without keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ModelError {
    /// Too many requests or tokens in a short time.
    #[error("rate limited by the model provider: {message}")]
    RateLimited {
        /// How long the provider wants to be left alone, if it said so.
        retry_after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// The provider is down, overloaded or cannot be reached.
    #[error("the model provider is not available{}: {message}", status_text(*status))]
    Unavailable {
        /// The HTTP status, if there was an answer at all.
        status: Option<u16>,
        /// How long the provider wants to be left alone, if it said so.
        retry_after: Option<Duration>,
        /// What went wrong.
        message: String,
    },
    /// No answer, or no further piece of it, within the time given.
    #[error("the model did not {what} within {limit:?}")]
    TimedOut {
        /// What was waited for.
        what: Awaited,
        /// How long.
        limit: Duration,
    },
    /// The stream ended in the middle of the answer.
    #[error("the model's answer was cut off: {message}")]
    Cut {
        /// How it ended.
        message: String,
    },
    /// The provider's bytes are not what its protocol promises.
    #[error("the model provider sent something that is no answer: {message}")]
    Malformed {
        /// What was wrong with them.
        message: String,
    },
    /// The key is missing or not accepted.
    #[error("the model provider refused the key (HTTP {status}): {message}")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The request itself is refused and would be again.
    #[error("the model provider refused the request (HTTP {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The conversation is longer than the model can read.
    #[error("the conversation is too long for the model: {message}")]
    ContextOverflow {
        /// What the provider said.
        message: String,
    },
    /// Nobody has a model of that name.
    #[error("no model {model:?}: {message}")]
    NoSuchModel {
        /// The name asked for.
        model: String,
        /// Why not, and what there is.
        message: String,
    },
    /// It was asked again as often as allowed.
    #[error("gave up after {attempts} attempts: {last}")]
    Exhausted {
        /// How often it was asked.
        attempts: u32,
        /// How the last attempt ended.
        last: Box<ModelError>,
    },
}

/// What was waited for when the time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// The head of the response.
    Start,
    /// The next piece of a stream.
    Continue,
    /// The end of the answer.
    Finish,
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start its answer",
            Self::Continue => "continue its answer",
            Self::Finish => "finish its answer",
        })
    }
}

impl ModelError {
    /// Whether asking again in a while can help. A model's answer has no effect of its own, so
    /// whatever may have happened, asking again costs money and nothing else.
    pub fn worth_repeating(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Malformed { .. } => true,
            Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::ContextOverflow { .. }
            | Self::NoSuchModel { .. }
            | Self::Exhausted { .. } => false,
        }
    }

    /// How long the provider asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Exhausted { last, .. } => last.retry_after(),
            Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Malformed { .. }
            | Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::ContextOverflow { .. }
            | Self::NoSuchModel { .. } => None,
        }
    }

    /// What went wrong, without the count of attempts around it.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Exhausted { last, .. } => last.cause(),
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Malformed { .. }
            | Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::ContextOverflow { .. }
            | Self::NoSuchModel { .. } => self,
        }
    }

    /// A stable name of the cause, for clients and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "model.rate_limited",
            Self::Unavailable { .. } => "model.unavailable",
            Self::TimedOut { .. } => "model.timed_out",
            Self::Cut { .. } => "model.cut",
            Self::Malformed { .. } => "model.malformed",
            Self::Unauthorized { .. } => "model.unauthorized",
            Self::Refused { .. } => "model.refused",
            Self::ContextOverflow { .. } => "model.context_overflow",
            Self::NoSuchModel { .. } => "model.no_such_model",
            Self::Exhausted { last, .. } => last.code(),
        }
    }
}

fn status_text(status: Option<u16>) -> String {
    status.map(|status| format!(" (HTTP {status})")).unwrap_or_default()
}
