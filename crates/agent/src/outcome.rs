//! What a run is and how it ended, as it is shown.

use kelpie_core::run::StopReason;
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::provider::Usage;

/// Tokens and steps that a run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunUsage {
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub completion_tokens: u64,
    /// Tokens of prompts that the provider read from its cache.
    pub cached_tokens: u64,
    /// Tokens of answers spent on thoughts.
    pub reasoning_tokens: u64,
    /// Answers of the model.
    pub steps: u32,
    /// What those of them cost whose models have a price, in millionths of a dollar.
    pub microdollars: u64,
    /// Answers of models without a price.
    pub unpriced: u32,
}

impl RunUsage {
    /// Counts an answer, and what it cost if its model has a price.
    pub(crate) fn add(&mut self, answer: Usage, microdollars: Option<u64>) {
        self.prompt_tokens += answer.input_tokens;
        self.completion_tokens += answer.output_tokens;
        self.cached_tokens += answer.cached_tokens;
        self.reasoning_tokens += answer.reasoning_tokens;
        self.steps += 1;
        match microdollars {
            Some(cost) => self.microdollars = self.microdollars.saturating_add(cost),
            None => self.unpriced += 1,
        }
    }

    /// What all of it cost, in millionths of a dollar; not known when a model had no price.
    ///
    /// ```
    /// use kelpie_agent::outcome::RunUsage;
    ///
    /// assert_eq!(RunUsage { microdollars: 7, ..RunUsage::default() }.cost(), Some(7));
    /// assert_eq!(RunUsage { microdollars: 7, unpriced: 1, ..RunUsage::default() }.cost(), None);
    /// ```
    pub fn cost(&self) -> Option<u64> {
        (self.unpriced == 0).then_some(self.microdollars)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It waits for an earlier run of its agent.
    Created,
    /// It goes on.
    Running,
    /// It ended by itself.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl RunStatus {
    /// Whether it has ended.
    pub fn ended(self) -> bool {
        match self {
            Self::Created | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// A stable name of the cause, such as `model.rate_limited`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// One run of an agent: from a message to the end of what it set off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// `run-…`.
    pub id: String,
    /// Whose.
    pub agent_id: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it ended; absent while it goes on.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// Why it failed, if it did.
    #[serde(default)]
    pub failure: Option<RunFailure>,
    /// What it cost so far.
    #[serde(default)]
    pub usage: RunUsage,
    /// When its message came, in milliseconds of Unix time.
    pub created_ms: u64,
    /// When it ended.
    #[serde(default)]
    pub completed_ms: Option<u64>,
    /// Where its entries start in the log; absent while it waits.
    #[serde(default)]
    pub first: Option<u64>,
    /// Where its entries end in the log, exclusive; absent until it ended.
    #[serde(default)]
    pub end: Option<u64>,
    /// Steps that it may take, if not as many as its agent allows.
    #[serde(default)]
    pub max_steps: Option<u32>,
    /// Whether `send_message` shows as a call.
    #[serde(default)]
    pub tool_calls_verbatim: bool,
    /// The number of its conversation.
    #[serde(default)]
    pub conversation: u64,
    /// Until when its agent pauses after it, if it has asked for that; a pause that ended earlier says
    /// when it did.
    #[serde(default)]
    pub paused_until_ms: Option<u64>,
    /// The run after whose pause it began by itself.
    #[serde(default)]
    pub continues: Option<String>,
}

/// The answer to a message, once its run has ended. A pure function of committed records: the
/// same bytes however often it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The run.
    pub run_id: String,
    /// What the agent did and said, oldest first; without the messages that set it off.
    pub messages: Vec<Message>,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Why it failed, if it did.
    pub failure: Option<RunFailure>,
    /// What it cost.
    pub usage: RunUsage,
}

/// What became of a compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compacted {
    /// A summary stands in the prompt. Nothing had to be done when all of it is empty.
    Done {
        /// The summary.
        summary: String,
        /// Entries in the prompt before.
        before: usize,
        /// Entries in the prompt after.
        after: usize,
    },
    /// The model made none; nothing has changed.
    Failed {
        /// The run that tried.
        run_id: String,
        /// Why.
        failure: RunFailure,
    },
}
