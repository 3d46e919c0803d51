//! Where a run stands.

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::stop::StopReason;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The model is being asked.
    Asking {
        /// Which answer, from 1.
        step: u32,
        /// The how-manieth question for it, from 1.
        attempt: u32,
    },
    /// Tools are being called.
    Calling {
        /// The answer that called them.
        step: u32,
        /// What the run ends with when they are done, if the model need not see their results.
        then: Option<StopReason>,
        /// The calls, in the order of the answer.
        calls: Vec<Call>,
    },
    /// Calls wait for somebody's decision; all others are closed.
    Waiting {
        /// The answer that called them.
        step: u32,
        /// The calls, in the order of the answer.
        calls: Vec<Call>,
        /// When they count as denied.
        until_ms: u64,
    },
    /// The agent has asked for a pause, and all calls of its answer are closed.
    Paused {
        /// The answer that asked for it.
        step: u32,
        /// When the model is asked again.
        until_ms: u64,
    },
    /// The model is being asked for a summary of the oldest part.
    Summarizing {
        /// The answer that comes after it.
        step: u32,
        /// The how-manieth question for it, from 1.
        attempt: u32,
        /// Attempts of the answer that it puts off: the next one gets a new number.
        put_off: u32,
    },
    /// It is over.
    Finished {
        /// Why.
        reason: StopReason,
    },
}
