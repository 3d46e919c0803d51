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
//!
//!  Asking ── Overflowed ─▶ Summarizing ── Summarized ─▶ Asking (the same step)
//!  Calling ─ only calls that need approval are left ─▶ Waiting ── Decided ─▶ Calling
//!                                                        └─ its time is over · Cancelled ─▶ Finished
//!  Calling ─ all are closed, and one asked for a pause ─▶ Paused ── its time is over ─▶ Asking
//!                                                        └─ Spoken · Cancelled ─▶ Finished
//! ```
//!
//! Each turn feeds one input and commits what comes out: this machine's state together with
//! the messages, and the effects that the owner carries out after the commit. So a crash
//! leaves at worst an effect whose result was not recorded; the wake-up then asks a model or
//! an idempotent tool again, and calls any other tool's outcome unknown.
//!
//! Invariants: an effect is asked for only by the step that records it; a call of a tool is
//! closed exactly once, and all are closed before the model is asked again or the run ends;
//! a result that is not of the current attempt changes nothing; a call that needs approval is
//! asked for only after somebody approved it, and a run that waits for that wakes up when the
//! time for it is over; so does one that pauses, and no text begins or ends a pause.

use serde::{Deserialize, Serialize};

mod call;
mod exchange;
mod pause;
mod state;
mod stop;
#[cfg(test)]
mod tests;

pub use call::{Call, CallState, Closing, Decision, NewCall};
pub use exchange::{Effect, Input, Late, Owed};
pub use pause::Pause;
pub use state::State;
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
/// How long a call waits for its approval: a day, so that people may sleep; after that it counts
/// as denied, so that an agent is never stuck.
pub const APPROVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// A run, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Answers that the model may give; none in a run that only makes a summary.
    steps_max: u32,
    /// The step before which a summary was made: one is made once, whatever room it leaves.
    #[serde(default)]
    summarized: u32,
    /// Wake-ups since the last result: they come ever more slowly.
    wakes: u32,
    /// Where it stands.
    state: State,
}

impl Run {
    /// A run that has not begun.
    pub fn new(steps_max: u32) -> Self {
        Self { steps_max, summarized: 0, wakes: 0, state: State::Asking { step: 0, attempt: 0 } }
    }

    /// A run that makes a summary of the oldest part and nothing else.
    pub fn summary() -> Self {
        Self::new(0)
    }

    /// Answers that the model may give.
    pub fn steps_max(&self) -> u32 {
        self.steps_max
    }

    /// Whether it makes a summary and nothing else.
    pub fn only_summarizes(&self) -> bool {
        self.steps_max == 0
    }

    /// Whether a summary may be made before this step.
    pub fn may_summarize(&self, step: u32) -> bool {
        self.summarized < step
    }

    /// The calls that wait for a decision: their step and places.
    pub fn undecided(&self) -> Option<(u32, Vec<usize>)> {
        match &self.state {
            State::Waiting { step, calls, .. } => Some((*step, call::proposed(calls))),
            State::Asking { .. }
            | State::Calling { .. }
            | State::Paused { .. }
            | State::Summarizing { .. }
            | State::Finished { .. } => None,
        }
    }

    /// Whether it pauses until a time, or until somebody speaks to the agent.
    pub fn pauses(&self) -> bool {
        matches!(self.state, State::Paused { .. })
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why it ended, if it did.
    pub fn finished(&self) -> Option<StopReason> {
        match self.state {
            State::Finished { reason } => Some(reason),
            State::Asking { .. }
            | State::Calling { .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Summarizing { .. } => None,
        }
    }

    /// The effects whose results it waits for.
    pub fn owed(&self) -> Vec<Owed> {
        match &self.state {
            State::Asking { step: 0, .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Finished { .. } => Vec::new(),
            State::Asking { step, attempt } => vec![Owed::Answer { step: *step, attempt: *attempt }],
            State::Summarizing { step, attempt, .. } => {
                vec![Owed::Summary { step: *step, attempt: *attempt }]
            }
            State::Calling { step, calls, .. } => {
                let owed = calls.iter().enumerate().filter_map(|(call, Call { state, .. })| match *state {
                    CallState::Started { attempt } => Some(Owed::Result { step: *step, call, attempt }),
                    CallState::Proposed
                    | CallState::Planned
                    | CallState::Succeeded
                    | CallState::Failed
                    | CallState::Unknown => None,
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
            Input::ToolReturned { step, call, attempt, ok, pause } => {
                let left = if ok { CallState::Succeeded } else { CallState::Failed };
                let until_ms = pause.filter(|_| ok).map(|pause| pause.until_ms(now_ms));
                self.tool_returned(now_ms, Owed::Result { step, call, attempt }, left, until_ms)
            }
            Input::Decided { step, decisions } => self.decided(now_ms, step, &decisions),
            Input::Overflowed { step } => self.overflowed(now_ms, step),
            Input::Summarized { step, attempt } => self.summarized(now_ms, step, attempt),
            Input::Spoken => self.spoken(),
            Input::Cancelled => self.cancelled(),
            Input::Woken { in_flight } => self.woken(now_ms, &in_flight),
        }
    }

    fn began(&mut self, now_ms: u64) -> Vec<Effect> {
        match self.state {
            State::Asking { step: 0, .. } if self.only_summarizes() => self.summarize(now_ms, 1, 0),
            State::Asking { step: 0, .. } => self.ask(now_ms, 1, 1),
            State::Asking { .. }
            | State::Calling { .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Summarizing { .. }
            | State::Finished { .. } => vec![Effect::Drop(Late::NotAwaited)],
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
        let calls: Vec<Call> = calls.iter().map(|call| Call::new(now_ms, call)).collect();
        // A failure or an outside result has to be seen, whatever else the answer wanted.
        let unseen = calls.iter().any(|call| call.state != CallState::Succeeded);
        let then = if unseen { None } else { then };
        self.wakes = 0;
        self.state = State::Calling { step, then, calls };
        self.go_on(now_ms)
    }

    fn model_failed(&mut self, step: u32, attempt: u32, reason: StopReason) -> Vec<Effect> {
        let summary = matches!(self.state, State::Summarizing { step: before, attempt: tried, .. }
            if (before, tried) == (step, attempt));
        if self.asks(step, attempt) || summary {
            self.finish(reason)
        } else {
            vec![Effect::Drop(Late::NotAwaited)]
        }
    }

    fn tool_returned(
        &mut self,
        now_ms: u64,
        result: Owed,
        left: CallState,
        pauses_until_ms: Option<u64>,
    ) -> Vec<Effect> {
        let late = !self.owed().contains(&result);
        if late && !crate::mutant!("run_late_result_accepted") {
            return vec![Effect::Drop(Late::NotAwaited)];
        }
        let (State::Calling { calls, .. }, Owed::Result { call, .. }) = (&mut self.state, result) else {
            return vec![Effect::Drop(Late::NotAwaited)];
        };
        let Some(open) = calls.get_mut(call) else { return vec![Effect::Drop(Late::NotAwaited)] };
        open.state = left;
        open.pauses_until_ms = pauses_until_ms;
        self.wakes = 0;
        self.go_on(now_ms)
    }

    fn decided(&mut self, now_ms: u64, step: u32, decisions: &[(usize, Decision)]) -> Vec<Effect> {
        let calls = match &mut self.state {
            State::Waiting { step: waiting, calls, .. } if *waiting == step => calls,
            State::Waiting { .. }
            | State::Asking { .. }
            | State::Calling { .. }
            | State::Paused { .. }
            | State::Summarizing { .. }
            | State::Finished { .. } => return vec![Effect::Drop(Late::NotAwaited)],
        };
        let awaited = call::proposed(calls);
        let mut effects = Vec::new();
        for (number, decision) in decisions.iter().filter(|(number, _)| awaited.contains(number)) {
            let call = &mut calls[*number];
            call.state = decision.leaves();
            if *decision == Decision::Denied {
                effects.push(Effect::Close { step, call: *number, why: Closing::Denied });
            }
        }
        let calls = std::mem::take(calls);
        self.wakes = 0;
        self.state = State::Calling { step, then: None, calls };
        effects.extend(self.go_on(now_ms));
        effects
    }

    fn overflowed(&mut self, now_ms: u64, step: u32) -> Vec<Effect> {
        match self.state {
            State::Asking { step: asked, attempt } if asked == step && self.may_summarize(step) => {
                self.summarize(now_ms, step, attempt)
            }
            State::Asking { .. }
            | State::Calling { .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Summarizing { .. }
            | State::Finished { .. } => vec![Effect::Drop(Late::NotAwaited)],
        }
    }

    fn summarized(&mut self, now_ms: u64, step: u32, attempt: u32) -> Vec<Effect> {
        let put_off = match self.state {
            State::Summarizing { step: before, attempt: tried, put_off }
                if (before, tried) == (step, attempt) =>
            {
                put_off
            }
            State::Summarizing { .. }
            | State::Asking { .. }
            | State::Calling { .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Finished { .. } => return vec![Effect::Drop(Late::NotAwaited)],
        };
        self.wakes = 0;
        self.summarized = step;
        if self.only_summarizes() {
            self.finish(StopReason::EndTurn)
        } else {
            self.ask(now_ms, step, put_off + 1)
        }
    }

    fn summarize(&mut self, now_ms: u64, step: u32, put_off: u32) -> Vec<Effect> {
        self.state = State::Summarizing { step, attempt: 1, put_off };
        vec![self.next_wake(now_ms), Effect::Perform(Owed::Summary { step, attempt: 1 })]
    }

    /// What was said begins a run of its own: it must not wait until the agent has had its rest.
    fn spoken(&mut self) -> Vec<Effect> {
        if self.pauses() {
            self.finish(StopReason::PauseHeartbeats)
        } else {
            vec![Effect::Drop(Late::NotAwaited)]
        }
    }

    fn cancelled(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !crate::mutant!("run_orphan_call_at_cancel") {
            self.close_open(&mut effects, |call| match call {
                CallState::Proposed | CallState::Planned => Some(Closing::NotRun),
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
            State::Waiting { until_ms, .. } if now_ms < *until_ms => vec![Effect::WakeAt(Some(*until_ms))],
            State::Waiting { .. } => {
                let mut effects = Vec::new();
                self.close_open(&mut effects, |call| {
                    (call == CallState::Proposed).then_some(Closing::Expired)
                });
                effects.extend(self.finish(StopReason::Cancelled));
                effects
            }
            State::Paused { until_ms, .. } if now_ms < *until_ms => vec![Effect::WakeAt(Some(*until_ms))],
            State::Paused { step, .. } => {
                let next = *step + 1;
                self.wakes = 0;
                let asks = self.ask(now_ms, next, 1);
                std::iter::once(Effect::Resume).chain(asks).collect()
            }
            State::Summarizing { step, attempt, .. } => {
                let (step, tried) = (*step, *attempt);
                if in_flight.contains(&Owed::Summary { step, attempt: tried }) {
                    return vec![self.next_wake(now_ms)];
                }
                if tried >= ATTEMPTS_MAX {
                    return self.finish(StopReason::LlmApiError);
                }
                *attempt += 1;
                let again = Owed::Summary { step, attempt: tried + 1 };
                vec![self.next_wake(now_ms), Effect::Perform(again)]
            }
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

    /// Starts planned calls while there is room; goes to the model, pauses, or ends, when all
    /// calls are closed.
    fn go_on(&mut self, now_ms: u64) -> Vec<Effect> {
        let State::Calling { step, then, calls } = &mut self.state else { return Vec::new() };
        let (step, then) = (*step, *then);
        if calls.iter().all(|call| call.state.closed()) {
            return match then {
                Some(reason) => self.finish(reason),
                None if step >= self.steps_max => self.finish(StopReason::MaxSteps),
                None => match calls.iter().filter_map(|call| call.pauses_until_ms).max() {
                    Some(until_ms) => self.pause(step, until_ms),
                    None => self.ask(now_ms, step + 1, 1),
                },
            };
        }
        let open = |call: &Call| matches!(call.state, CallState::Planned | CallState::Started { .. });
        if !calls.iter().any(open) {
            return self.wait(now_ms);
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

    /// Waits for decisions: only calls that need one are open.
    fn wait(&mut self, now_ms: u64) -> Vec<Effect> {
        let State::Calling { step, calls, .. } = &mut self.state else { return Vec::new() };
        let (step, calls) = (*step, std::mem::take(calls));
        let until_ms = now_ms.saturating_add(APPROVAL_MS_MAX);
        let undecided = call::proposed(&calls);
        self.wakes = 0;
        self.state = State::Waiting { step, calls, until_ms };
        let wake = (!crate::mutant!("run_approval_never_expires")).then_some(until_ms);
        vec![Effect::WakeAt(wake), Effect::Wait { step, calls: undecided }]
    }

    /// Pauses: all calls are closed. That may already be over, when others took longer.
    fn pause(&mut self, step: u32, until_ms: u64) -> Vec<Effect> {
        self.wakes = 0;
        self.state = State::Paused { step, until_ms };
        let wake = (!crate::mutant!("run_pause_forgotten")).then_some(until_ms);
        vec![Effect::WakeAt(wake), Effect::Pause { until_ms }]
    }

    fn ask(&mut self, now_ms: u64, step: u32, attempt: u32) -> Vec<Effect> {
        self.state = State::Asking { step, attempt };
        vec![self.next_wake(now_ms), Effect::Perform(Owed::Answer { step, attempt })]
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
        let (State::Calling { step, calls, .. } | State::Waiting { step, calls, .. }) = &mut self.state
        else {
            return;
        };
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
