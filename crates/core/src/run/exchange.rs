//! What goes in and out of a run: what the shell observed, and what it has to do.

use serde::{Deserialize, Serialize};

use super::call::{Closing, Decision, NewCall};
use super::pause::Pause;
use super::stop::StopReason;

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The run's turn has come.
    Began,
    /// The model gave a whole answer.
    ModelAnswered {
        /// To which question.
        step: u32,
        /// In which attempt.
        attempt: u32,
        /// The tools that it calls, in order.
        calls: Vec<NewCall>,
        /// What the run ends with, if the model need not see the results of these calls.
        then: Option<StopReason>,
    },
    /// The model gave no answer, however often its provider was asked.
    ModelFailed {
        /// To which question.
        step: u32,
        /// In which attempt.
        attempt: u32,
        /// What the run ends with.
        reason: StopReason,
    },
    /// A tool answered.
    ToolReturned {
        /// The step of its call.
        step: u32,
        /// The call's place in the answer.
        call: usize,
        /// In which attempt.
        attempt: u32,
        /// Whether it succeeded.
        ok: bool,
        /// The pause that the agent has asked for with it. No tool but the one for it brings any.
        #[serde(default)]
        pause: Option<Pause>,
    },
    /// Somebody decided about calls that wait for it.
    Decided {
        /// The step of the calls.
        step: u32,
        /// The call's place in the answer, and what was decided.
        decisions: Vec<(usize, Decision)>,
    },
    /// What is to be asked does not fit: the oldest part has to become a summary first.
    Overflowed {
        /// What was to be asked.
        step: u32,
    },
    /// The summary is recorded; or there is none, and the oldest part was left out.
    Summarized {
        /// Before which answer.
        step: u32,
        /// In which attempt.
        attempt: u32,
    },
    /// Somebody has spoken to the agent, whose run is to begin now if this one pauses.
    Spoken,
    /// Somebody wants the run to end.
    Cancelled,
    /// The wake-up came; these effects are being carried out by this process.
    Woken {
        /// See [`super::Run::owed`].
        in_flight: Vec<Owed>,
    },
}

/// An effect whose result the run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owed {
    /// An answer of the model.
    Answer {
        /// To which question.
        step: u32,
        /// In which attempt.
        attempt: u32,
    },
    /// The result of a tool.
    Result {
        /// The step of its call.
        step: u32,
        /// The call's place in the answer.
        call: usize,
        /// In which attempt.
        attempt: u32,
    },
    /// A summary of the oldest part.
    Summary {
        /// Before which answer.
        step: u32,
        /// In which attempt.
        attempt: u32,
    },
}

/// What the shell has to do, in order. Everything before the first effect outside (asking,
/// calling) is part of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Record a result for a call that will not get one of its own.
    Close {
        /// The step of the call.
        step: u32,
        /// The call's place in the answer.
        call: usize,
        /// Why.
        why: Closing,
    },
    /// Record the end of the run.
    Finish(StopReason),
    /// Record that the run waits for decisions about calls.
    Wait {
        /// The step of the calls.
        step: u32,
        /// Their places in the answer.
        calls: Vec<usize>,
    },
    /// Record that the run pauses.
    Pause {
        /// When the model is asked again.
        until_ms: u64,
    },
    /// Record that a run goes on that paused. What comes now is of another one for whoever looks.
    Resume,
    /// Keep one wake-up at this time (or none), instead of the one before.
    WakeAt(Option<u64>),
    /// Carry out after the commit: ask the model, or a tool.
    Perform(Owed),
    /// The input came late, twice or never should have: nothing has changed. Count it.
    Drop(Late),
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Its answer or result is recorded already, or another attempt is under way.
    NotAwaited,
    /// The run is over.
    Finished,
}
