//! One run of an agent: a durable machine that short turns advance.
//!
//! ```text
//!                    ModelAnswered, calls to wait for
//!           ┌───────────────────────────────────────────────┐
//!  Began    │                                               ▼
//!  ─────▶ Asking ◀───────── the last call has ended ───── Calling
//!           │                                               │
//!           │ ModelAnswered, nothing left to do             │ no steps left · Cancelled
//!           │ ModelFailed · no steps left · Cancelled       │
//!           └──────────────────▶ Finished ◀─────────────────┘
//! ```
//!
//! Each turn feeds one input and commits what comes out: this machine's state together with
//! the messages, and the effects that the owner carries out after the commit. So a crash
//! leaves at worst an effect whose result was not recorded; the wake-up then asks a model or
//! an idempotent tool again, and calls any other tool's outcome unknown.
//!
//! Invariants: an effect is asked for only by the step that records it; a call of a tool is
//! closed exactly once, and all are closed before the model is asked again or the run ends;
//! a result that is not of the current attempt changes nothing.

use serde::{Deserialize, Serialize};

mod stop;
#[cfg(test)]
mod tests;

pub use stop::StopReason;

/// Calls of tools that go on at once; further ones of the same answer wait their turn.
pub const CALLS_AT_ONCE_MAX: usize = 8;
/// How often an unanswered question is asked again after crashes: a model whose answer kills
/// the process must not be paid for ever.
pub const ATTEMPTS_MAX: u32 = 10;
/// How long after a turn the first wake-up looks for lost effects.
pub const WAKE_MS_FIRST: u64 = 2_000;
/// The longest time between two such looks.
pub const WAKE_MS_MAX: u64 = 60_000;

/// A run, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Answers that the model may give.
    steps_max: u32,
    /// Wake-ups since the last result: they come ever more slowly.
    wakes: u32,
    /// Where it stands.
    state: State,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It is over.
    Finished {
        /// Why.
        reason: StopReason,
    },
}

/// One call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Whether asking twice with the same key has one effect.
    pub idempotent: bool,
    /// How far it came.
    pub state: CallState,
}

/// How far a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
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
            Self::Planned | Self::Started { .. } => false,
            Self::Succeeded | Self::Failed | Self::Unknown => true,
        }
    }
}

/// A call in an answer, as the shell judged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewCall {
    /// Done within the turn that records the answer; its result is recorded with it.
    Done {
        /// Whether it succeeded.
        ok: bool,
    },
    /// Somebody else carries it out, after the commit.
    Outside {
        /// Whether asking twice with the same key has one effect.
        idempotent: bool,
    },
}

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    },
    /// Somebody wants the run to end.
    Cancelled,
    /// The wake-up came; these effects are being carried out by this process.
    Woken {
        /// See [`Run::owed`].
        in_flight: Vec<Owed>,
    },
}

/// An effect whose result the run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Keep one wake-up at this time (or none), instead of the one before.
    WakeAt(Option<u64>),
    /// Carry out after the commit: ask the model, or a tool.
    Perform(Owed),
    /// The input came late, twice or never should have: nothing has changed. Count it.
    Drop(Late),
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
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Its answer or result is recorded already, or another attempt is under way.
    NotAwaited,
    /// The run is over.
    Finished,
}

impl Run {
    /// A run that has not begun.
    pub fn new(steps_max: u32) -> Self {
        Self { steps_max, wakes: 0, state: State::Asking { step: 0, attempt: 0 } }
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why it ended, if it did.
    pub fn finished(&self) -> Option<StopReason> {
        match self.state {
            State::Finished { reason } => Some(reason),
            State::Asking { .. } | State::Calling { .. } => None,
        }
    }

    /// The effects whose results it waits for.
    pub fn owed(&self) -> Vec<Owed> {
        match &self.state {
            State::Asking { step: 0, .. } | State::Finished { .. } => Vec::new(),
            State::Asking { step, attempt } => vec![Owed::Answer { step: *step, attempt: *attempt }],
            State::Calling { step, calls, .. } => {
                let owed = calls.iter().enumerate().filter_map(|(call, Call { state, .. })| match *state {
                    CallState::Started { attempt } => Some(Owed::Result { step: *step, call, attempt }),
                    CallState::Planned | CallState::Succeeded | CallState::Failed | CallState::Unknown => {
                        None
                    }
                });
                owed.collect()
            }
        }
    }

    /// Advances the run by one input.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        if self.finished().is_some() {
            return vec![Effect::Drop(Late::Finished)];
        }
        match input {
            Input::Began => self.began(now_ms),
            Input::ModelAnswered { step, attempt, calls, then } => {
                self.model_answered(now_ms, step, attempt, &calls, then)
            }
            Input::ModelFailed { step, attempt, reason } => self.model_failed(step, attempt, reason),
            Input::ToolReturned { step, call, attempt, ok } => {
                self.tool_returned(now_ms, step, call, attempt, ok)
            }
            Input::Cancelled => self.cancelled(),
            Input::Woken { in_flight } => self.woken(now_ms, &in_flight),
        }
    }

    fn began(&mut self, now_ms: u64) -> Vec<Effect> {
        match self.state {
            State::Asking { step: 0, .. } => self.ask(now_ms, 1),
            State::Asking { .. } | State::Calling { .. } | State::Finished { .. } => {
                vec![Effect::Drop(Late::NotAwaited)]
            }
        }
    }

    fn model_answered(
        &mut self,
        now_ms: u64,
        step: u32,
        attempt: u32,
        calls: &[NewCall],
        then: Option<StopReason>,
    ) -> Vec<Effect> {
        if !self.asks(step, attempt) {
            return vec![Effect::Drop(Late::NotAwaited)];
        }
        let calls: Vec<Call> = calls.iter().map(Call::new).collect();
        // A failure or an outside result has to be seen, whatever else the answer wanted.
        let unseen = calls.iter().any(|call| call.state != CallState::Succeeded);
        let then = if unseen { None } else { then };
        self.wakes = 0;
        self.state = State::Calling { step, then, calls };
        self.go_on(now_ms)
    }

    fn model_failed(&mut self, step: u32, attempt: u32, reason: StopReason) -> Vec<Effect> {
        if self.asks(step, attempt) { self.finish(reason) } else { vec![Effect::Drop(Late::NotAwaited)] }
    }

    fn tool_returned(&mut self, now_ms: u64, step: u32, call: usize, attempt: u32, ok: bool) -> Vec<Effect> {
        let late = !self.owed().contains(&Owed::Result { step, call, attempt });
        if late && !crate::mutant!("run_late_result_accepted") {
            return vec![Effect::Drop(Late::NotAwaited)];
        }
        let State::Calling { calls, .. } = &mut self.state else {
            return vec![Effect::Drop(Late::NotAwaited)];
        };
        let Some(open) = calls.get_mut(call) else { return vec![Effect::Drop(Late::NotAwaited)] };
        open.state = if ok { CallState::Succeeded } else { CallState::Failed };
        self.wakes = 0;
        self.go_on(now_ms)
    }

    fn cancelled(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !crate::mutant!("run_orphan_call_at_cancel") {
            self.close_open(&mut effects, |call| match call {
                CallState::Planned => Some(Closing::NotRun),
                CallState::Started { .. } => Some(Closing::CancelledUnknown),
                CallState::Succeeded | CallState::Failed | CallState::Unknown => None,
            });
        }
        effects.extend(self.finish(StopReason::Cancelled));
        effects
    }

    fn woken(&mut self, now_ms: u64, in_flight: &[Owed]) -> Vec<Effect> {
        self.wakes = self.wakes.saturating_add(1);
        match &mut self.state {
            State::Asking { step: 0, .. } | State::Finished { .. } => vec![Effect::Drop(Late::NotAwaited)],
            State::Asking { step, attempt } => {
                let owed = Owed::Answer { step: *step, attempt: *attempt };
                if in_flight.contains(&owed) {
                    return vec![self.next_wake(now_ms)];
                }
                if *attempt >= ATTEMPTS_MAX {
                    return self.finish(StopReason::LlmApiError);
                }
                *attempt += 1;
                let again = Owed::Answer { step: *step, attempt: *attempt };
                vec![self.next_wake(now_ms), Effect::Perform(again)]
            }
            State::Calling { step, calls, .. } => {
                let mut effects = Vec::new();
                for (number, call) in calls.iter_mut().enumerate() {
                    effects.extend(call.settle(*step, number, in_flight));
                }
                effects.extend(self.go_on(now_ms));
                // The wake-up stands before what leaves after the commit.
                effects.sort_by_key(|effect| matches!(effect, Effect::Perform(_)));
                effects
            }
        }
    }

    /// Starts planned calls while there is room; goes to the model, or ends, when all calls
    /// are closed.
    fn go_on(&mut self, now_ms: u64) -> Vec<Effect> {
        let State::Calling { step, then, calls } = &mut self.state else { return Vec::new() };
        let (step, then) = (*step, *then);
        if calls.iter().all(|call| call.state.closed()) {
            return match then {
                Some(reason) => self.finish(reason),
                None if step >= self.steps_max => self.finish(StopReason::MaxSteps),
                None => self.ask(now_ms, step + 1),
            };
        }
        let going = calls.iter().filter(|call| matches!(call.state, CallState::Started { .. })).count();
        let room = CALLS_AT_ONCE_MAX.saturating_sub(going);
        let planned = calls.iter_mut().enumerate().filter(|(_, call)| call.state == CallState::Planned);
        let started: Vec<Effect> = planned
            .take(room)
            .map(|(number, call)| {
                call.state = CallState::Started { attempt: 1 };
                Effect::Perform(Owed::Result { step, call: number, attempt: 1 })
            })
            .collect();
        let mut effects = vec![self.next_wake(now_ms)];
        effects.extend(started);
        effects
    }

    fn ask(&mut self, now_ms: u64, step: u32) -> Vec<Effect> {
        self.state = State::Asking { step, attempt: 1 };
        vec![self.next_wake(now_ms), Effect::Perform(Owed::Answer { step, attempt: 1 })]
    }

    /// Ends the run. All calls are closed by now.
    fn finish(&mut self, reason: StopReason) -> Vec<Effect> {
        self.state = State::Finished { reason };
        vec![Effect::Finish(reason), Effect::WakeAt(None)]
    }

    fn asks(&self, step: u32, attempt: u32) -> bool {
        step > 0 && self.state == State::Asking { step, attempt }
    }

    fn close_open(&mut self, effects: &mut Vec<Effect>, why: impl Fn(CallState) -> Option<Closing>) {
        let State::Calling { step, calls, .. } = &mut self.state else { return };
        for (number, call) in calls.iter_mut().enumerate() {
            if let Some(why) = why(call.state) {
                call.state = why.leaves();
                effects.push(Effect::Close { step: *step, call: number, why });
            }
        }
    }

    /// Twice as long after each wake-up that found nothing new.
    fn next_wake(&self, now_ms: u64) -> Effect {
        if crate::mutant!("run_wake_cleared_early") {
            return Effect::WakeAt(None);
        }
        let delay = WAKE_MS_FIRST.saturating_mul(1 << self.wakes.min(16)).min(WAKE_MS_MAX);
        Effect::WakeAt(Some(now_ms.saturating_add(delay)))
    }
}

impl Call {
    fn new(new: &NewCall) -> Self {
        match *new {
            NewCall::Done { ok: true } => Self { idempotent: true, state: CallState::Succeeded },
            NewCall::Done { ok: false } => Self { idempotent: true, state: CallState::Failed },
            NewCall::Outside { idempotent } => Self { idempotent, state: CallState::Planned },
        }
    }

    /// What becomes of a call that was started and that nobody carries out any more.
    fn settle(&mut self, step: u32, number: usize, in_flight: &[Owed]) -> Option<Effect> {
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
    fn leaves(self) -> CallState {
        match self {
            Self::NotRun => CallState::Failed,
            Self::CancelledUnknown | Self::CrashedUnknown => CallState::Unknown,
        }
    }
}
