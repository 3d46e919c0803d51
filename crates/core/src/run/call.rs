//! One call of a tool: how far it came, and what may become of it.

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, Effect, Owed, Pause};

/// One call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Call {
    /// Whether asking twice with the same key has one effect.
    pub idempotent: bool,
    /// How far it came.
    pub state: CallState,
    /// Until when the agent pauses once all calls are closed, if this one asked for it with success.
    #[serde(default)]
    pub pauses_until_ms: Option<u64>,
}

/// How far a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Waits for somebody's decision: it has had no effect.
    Proposed,
    /// Recorded and not yet asked for: it has had no effect.
    Planned,
    /// Asked for: it may have had its effect.
    Started {
        /// The how-manieth time, from 1.
        attempt: u32,
    },
    /// Its result is recorded.
    Succeeded,
    /// Its failure is recorded.
    Failed,
    /// Nobody will ever know, and that is recorded.
    Unknown,
}

impl CallState {
    /// Whether a result stands in the history.
    pub fn closed(self) -> bool {
        match self {
            Self::Proposed | Self::Planned | Self::Started { .. } => false,
            Self::Succeeded | Self::Failed | Self::Unknown => true,
        }
    }
}

/// A call in an answer, as the shell judged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewCall {
    /// Done within the turn that records the answer; its result is recorded with it.
    Done {
        /// Whether it succeeded.
        ok: bool,
    },
    /// The same, with success; and the agent has asked for a pause with it.
    Pauses(Pause),
    /// Somebody else carries it out, after the commit.
    Outside {
        /// Whether asking twice with the same key has one effect.
        idempotent: bool,
    },
    /// The same, after somebody has approved it.
    NeedsApproval {
        /// Whether asking twice with the same key has one effect.
        idempotent: bool,
    },
}

/// What somebody decided about a call that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It may be asked for.
    Approved,
    /// It must not.
    Denied,
    /// Whoever decides has carried it out; the result is recorded with the decision.
    Answered {
        /// Whether it succeeded.
        ok: bool,
    },
}

/// Why a call gets a result that its tool did not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The run ended before it was asked for: it had no effect.
    NotRun,
    /// The run was cancelled while it went on: it may have had its effect.
    CancelledUnknown,
    /// The process ended while it went on: it may have had its effect.
    CrashedUnknown,
    /// Somebody decided against it: it had no effect.
    Denied,
    /// Nobody decided in time: it had no effect.
    Expired,
}

impl Call {
    pub(super) fn new(now_ms: u64, new: &NewCall) -> Self {
        let call = |idempotent, state| Self { idempotent, state, pauses_until_ms: None };
        match *new {
            NewCall::Done { ok: true } => call(true, CallState::Succeeded),
            NewCall::Done { ok: false } => call(true, CallState::Failed),
            NewCall::Pauses(pause) => {
                Self { pauses_until_ms: Some(pause.until_ms(now_ms)), ..call(true, CallState::Succeeded) }
            }
            NewCall::Outside { idempotent } => call(idempotent, CallState::Planned),
            NewCall::NeedsApproval { idempotent } => {
                let unasked = crate::mutant!("run_approval_not_asked_for");
                call(idempotent, if unasked { CallState::Planned } else { CallState::Proposed })
            }
        }
    }

    /// What becomes of a call that was started and that nobody carries out any more.
    pub(super) fn settle(&mut self, step: u32, number: usize, in_flight: &[Owed]) -> Option<Effect> {
        let CallState::Started { attempt } = self.state else { return None };
        if in_flight.contains(&Owed::Result { step, call: number, attempt }) {
            return None;
        }
        if self.idempotent && attempt < ATTEMPTS_MAX {
            self.state = CallState::Started { attempt: attempt + 1 };
            return Some(Effect::Perform(Owed::Result { step, call: number, attempt: attempt + 1 }));
        }
        self.state = CallState::Unknown;
        Some(Effect::Close { step, call: number, why: Closing::CrashedUnknown })
    }
}

impl Closing {
    pub(super) fn leaves(self) -> CallState {
        match self {
            Self::NotRun | Self::Denied | Self::Expired => CallState::Failed,
            Self::CancelledUnknown | Self::CrashedUnknown => CallState::Unknown,
        }
    }
}

impl Decision {
    pub(super) fn leaves(self) -> CallState {
        match self {
            Self::Approved => CallState::Planned,
            Self::Denied | Self::Answered { ok: false } => CallState::Failed,
            Self::Answered { ok: true } => CallState::Succeeded,
        }
    }
}

/// The places of the calls that wait for a decision.
pub(super) fn proposed(calls: &[Call]) -> Vec<usize> {
    let proposed = calls.iter().enumerate().filter(|(_, call)| call.state == CallState::Proposed);
    proposed.map(|(number, _)| number).collect()
}
