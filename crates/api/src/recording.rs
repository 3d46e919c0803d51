//! What was recorded of a run, and the run once more without its model (Kelpie's own).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::Message;
use crate::response::Usage;
use crate::run::Run;

/// All that was recorded of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunRecording {
    /// The run.
    pub run: Run,
    /// What it cost.
    pub usage: Usage,
    /// What set it off.
    pub heard: Vec<Message>,
    /// Its steps, in order.
    pub steps: Vec<RecordedStep>,
}

/// One answer of the model and what came of its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordedStep {
    /// Which answer, from 1.
    pub step: u32,
    /// What was recorded, oldest first; `send_message` shows as a call.
    pub messages: Vec<Message>,
}

/// A run once more, without its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunReplay {
    /// The run.
    pub run_id: String,
    /// Whether each step turned out as it was recorded.
    pub same: bool,
    /// The steps, up to the first one that turned out otherwise.
    pub steps: Vec<ReplayedStep>,
}

/// One step: what was recorded, and what came out now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedStep {
    /// Which answer of the model, from 1.
    pub step: u32,
    /// Whether it turned out as it was recorded.
    pub same: bool,
    /// Its calls, in order.
    pub calls: Vec<ReplayedCall>,
    /// How the run went on after it, as recorded: `the model is asked again`, `waits for a
    /// decision`, `ends: ` and its stop reason, or `goes on`.
    pub recorded: String,
    /// How it goes on now.
    pub replayed: String,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedCall {
    /// The tool.
    pub name: String,
    /// What became of it then: `made`, `waits for a decision` or `refused`.
    pub recorded: String,
    /// What becomes of it now.
    pub replayed: String,
    /// Why it is refused now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
