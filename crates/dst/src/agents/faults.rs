//! What models and tools may do to the agents that ask them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is wrong with models and tools: nothing at first. Plain data, for a plan.
///
/// Chances are in millionths, of each request that they could concern.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldFaults {
    /// A model takes the question and never says a word.
    pub model_hang_ppm: u32,
    /// The stream of an answer ends in its midst.
    pub model_cut_ppm: u32,
    /// A model refuses because it was asked too often.
    pub rate_limit_ppm: u32,
    /// A model cannot be reached.
    pub model_down_ppm: u32,
    /// A model thinks for up to [`WorldFaults::model_slow_max`].
    pub model_slow_ppm: u32,
    /// How long a model thinks at most.
    pub model_slow_max: Duration,
    /// A call in an answer has arguments that are no JSON or do not fit, or names a tool that
    /// nobody has.
    pub malformed_call_ppm: u32,
    /// A call stands twice in an answer.
    pub double_call_ppm: u32,
    /// A tool has its effect, and its answer is lost.
    pub tool_answer_lost_ppm: u32,
    /// A tool never answers, and has its effect long after.
    pub tool_hang_ppm: u32,
    /// A tool takes up to [`WorldFaults::tool_slow_max`].
    pub tool_slow_ppm: u32,
    /// How long a tool takes at most.
    pub tool_slow_max: Duration,
    /// A tool fails, without an effect.
    pub tool_failure_ppm: u32,
}

macro_rules! marks {
    ($($mark:ident = $name:literal,)*) => {
        /// Something that happened to who asked a model or a tool.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Mark { $($mark,)* }

        /// The names of all faults that models and tools count. They are stable.
        pub const AGENT_FAULTS: &[&str] = &[$($name,)*];

        impl Mark {
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }
        }
    };
}

marks! {
    ModelTimeOut = "model-time-out",
    StreamCut = "model-stream-cut",
    RateLimit = "model-rate-limit",
    ModelDown = "model-unavailable",
    ModelSlow = "model-slow",
    MalformedCall = "malformed-tool-call",
    DoubleCall = "duplicate-tool-call",
    ToolAnswerLost = "tool-answer-lost",
    ToolHang = "tool-hang",
    ToolSlow = "tool-slow",
    ToolFailure = "tool-failure",
    ApprovalRacingCancel = "approval-racing-cancel",
}
