//! Recorded steps with typed results.

use crate::actor::{HandlerError, TurnError};

/// Outside work has failed. `?` makes it of any error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    message: String,
}

impl Failed {
    /// A failure in your own words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::new(crate::load::describe(&error))
    }
}

/// A step has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// Its work failed. Nothing was recorded: when the turn runs again, so does the work. A
    /// handler that passes it on ends its call with the code `step.failed`.
    #[error("step `{step}` failed: {message}")]
    Failed {
        /// Which.
        step: String,
        /// How.
        message: String,
    },
    /// The turn cannot go on.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl StepError {
    pub(super) fn of(step: &str, error: HandlerError) -> Self {
        match error {
            HandlerError::App { message, .. } => Self::Failed { step: step.to_owned(), message },
            HandlerError::Turn(error) => Self::Turn(error),
        }
    }
}

impl From<Failed> for HandlerError {
    fn from(failed: Failed) -> Self {
        Self::app("step.failed", failed.message)
    }
}
