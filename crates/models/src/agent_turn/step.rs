//! What happens at each action. What cannot happen leaves the world as it was.

use kelpie_core::mutant;
use kelpie_core::run::{
    APPROVAL_MS_MAX, CallState, Decision, Effect, Input, NewCall, Owed, Pause, State, StopReason,
};

use super::abs::AbsRun;
use super::{Action, AgentTurn, Id, Kind, World};

/// When everything happens but the end of an approval's time, and of a pause.
const NOW_MS: u64 = 0;

impl World {
    /// Takes one action. Whether it could happen.
    pub(super) fn take(&mut self, bounds: &AgentTurn, action: Action) -> bool {
        match action {
            Action::Began => self.began(),
            Action::ModelAnswered(owed, answer) => self.model_answered(bounds, owed, bounds.answers[answer]),
            Action::ModelFailed(owed) => self.model_failed(bounds, owed),
            Action::Acted(owed) => self.acted(owed),
            Action::ToolReturned(owed, ok, again) => self.tool_returned(bounds, owed, ok, again),
            Action::Decided(yes) => self.decided(yes),
            Action::Overflowed(owed) => self.overflowed(bounds, owed),
            Action::Summarized(owed) => self.summarized(owed),
            Action::Spoken => self.spoken(),
            Action::Cancelled => self.cancelled(bounds),
            Action::Woken(late) => self.woken(late),
            Action::Crashed => self.crashed(bounds),
        }
    }

    fn fault(&mut self, bounds: &AgentTurn) -> bool {
        self.faults += 1;
        self.faults <= bounds.faults_max
    }

    /// One turn: the machine takes one input, and what comes out is committed; then effects begin.
    fn turn(&mut self, now_ms: u64, input: Input) {
        for effect in self.run.step(now_ms, input) {
            match effect {
                Effect::Close { step, call, .. } => *self.closed.entry((step, call)).or_default() += 1,
                Effect::WakeAt(at) => self.wake = at.is_some(),
                Effect::Perform(owed) => {
                    self.flight.insert(owed, false);
                }
                Effect::Finish(_)
                | Effect::Wait { .. }
                | Effect::Pause { .. }
                | Effect::Resume
                | Effect::Drop(_) => {}
            }
        }
    }

    fn began(&mut self) -> bool {
        let is_new = matches!(self.run.state(), State::Asking { step: 0, .. });
        self.turn(NOW_MS, Input::Began);
        is_new
    }

    fn model_answered(&mut self, bounds: &AgentTurn, owed: Owed, answer: &[Kind]) -> bool {
        let Owed::Answer { step, attempt } = owed else { return false };
        let awaited = self.run.owed().contains(&owed);
        // In vain it is one action, whatever the answer is.
        if !awaited && answer != bounds.answers[0] {
            return false;
        }
        self.flight.remove(&owed);
        if awaited {
            for (place, kind) in answer.iter().enumerate() {
                self.made.insert((step, place), *kind);
                if matches!(kind, Kind::Done | Kind::Pauses) {
                    *self.closed.entry((step, place)).or_default() += 1;
                }
            }
        }
        let calls = answer.iter().map(|kind| match kind {
            Kind::Done => NewCall::Done { ok: true },
            Kind::Pauses => NewCall::Pauses(Pause::of_minutes(1).expect("a minute is a pause")),
            Kind::Idempotent => NewCall::Outside { idempotent: true },
            Kind::Plain => NewCall::Outside { idempotent: false },
            Kind::Asks => NewCall::NeedsApproval { idempotent: false },
            Kind::AsksIdempotent => NewCall::NeedsApproval { idempotent: true },
        });
        let then = answer.is_empty().then_some(StopReason::EndTurn);
        self.turn(NOW_MS, Input::ModelAnswered { step, attempt, calls: calls.collect(), then });
        true
    }

    fn model_failed(&mut self, bounds: &AgentTurn, owed: Owed) -> bool {
        let (Owed::Answer { step, attempt } | Owed::Summary { step, attempt }) = owed else { return false };
        self.flight.remove(&owed);
        // What a process carries out it knows the kind of.
        if self.run.owed().contains(&owed) {
            self.turn(NOW_MS, Input::ModelFailed { step, attempt, reason: StopReason::LlmApiError });
        }
        self.fault(bounds)
    }

    /// Only then it can say that it succeeded. A tool that knows keys acts once for each.
    fn acted(&mut self, owed: Owed) -> bool {
        let Owed::Result { step, call, .. } = owed else { return false };
        let id = (step, call);
        let times = self.outside.entry(id).or_default();
        let made = self.made.get(&id);
        match made {
            Some(Kind::Idempotent | Kind::AsksIdempotent) => *times = 1,
            Some(_) => *times += 1,
            None => {
                self.wrong.insert("EffectAfterRecord");
            }
        }
        if matches!(made, Some(Kind::Asks | Kind::AsksIdempotent)) && !self.approved.contains(&id) {
            self.wrong.insert("ApprovedOnly");
        }
        self.flight.insert(owed, true) == Some(false)
    }

    /// It succeeded and has acted, or failed, which it may do either way.
    fn tool_returned(&mut self, bounds: &AgentTurn, owed: Owed, ok: bool, again: bool) -> bool {
        let Owed::Result { step, call, attempt } = owed else { return false };
        let acted = self.flight[&owed];
        let accepted = self.run.owed().contains(&owed)
            || mutant!("run_late_result_accepted")
                && matches!(self.run.state(), State::Calling { step: calling, .. } if *calling == step);
        // In vain it is one action, whether it succeeded or not.
        if ok && !(acted && accepted) {
            return false;
        }
        if !again {
            self.flight.remove(&owed);
        }
        if accepted {
            *self.closed.entry((step, call)).or_default() += 1;
        }
        self.turn(NOW_MS, Input::ToolReturned { step, call, attempt, ok, pause: None });
        !again || self.fault(bounds)
    }

    fn decided(&mut self, yes: bool) -> bool {
        let Some((step, calls)) = self.run.undecided() else { return false };
        let decision = if yes { Decision::Approved } else { Decision::Denied };
        let ids: Vec<Id> = calls.iter().map(|call| (step, *call)).collect();
        self.told.extend(&ids);
        if yes {
            self.approved.extend(&ids);
        }
        let decisions = calls.into_iter().map(|call| (call, decision)).collect();
        self.turn(NOW_MS, Input::Decided { step, decisions });
        true
    }

    /// It is not asked, and a summary is made first, once for each step.
    fn overflowed(&mut self, bounds: &AgentTurn, owed: Owed) -> bool {
        let Owed::Answer { step, .. } = owed else { return false };
        if self.run.owed().contains(&owed) && self.run.may_summarize(step) {
            self.flight.remove(&owed);
            self.turn(NOW_MS, Input::Overflowed { step });
        }
        self.fault(bounds)
    }

    fn summarized(&mut self, owed: Owed) -> bool {
        let Owed::Summary { step, attempt } = owed else { return false };
        self.flight.remove(&owed);
        self.turn(NOW_MS, Input::Summarized { step, attempt });
        true
    }

    fn spoken(&mut self) -> bool {
        let pauses = self.run.pauses();
        self.turn(NOW_MS, Input::Spoken);
        pauses
    }

    fn cancelled(&mut self, bounds: &AgentTurn) -> bool {
        if self.run.finished().is_some() {
            return false;
        }
        self.turn(NOW_MS, Input::Cancelled);
        self.fault(bounds)
    }

    /// One that finds nothing to do only moves the next one, whose time is not looked at here.
    fn woken(&mut self, late: bool) -> bool {
        if !self.wake {
            return false;
        }
        let has_an_end = matches!(self.run.state(), State::Waiting { .. } | State::Paused { .. });
        let (before, flight) = (AbsRun::of(self), self.flight.clone());
        let now_ms = if late { NOW_MS + APPROVAL_MS_MAX } else { NOW_MS };
        let in_flight = self.flight.keys().copied().collect();
        self.turn(now_ms, Input::Woken { in_flight });
        late == has_an_end && (AbsRun::of(self) != before || self.flight != flight)
    }

    /// What is carried out is in the memory of a process.
    fn crashed(&mut self, bounds: &AgentTurn) -> bool {
        let had = !self.flight.is_empty();
        self.flight.clear();
        had && self.fault(bounds)
    }

    // What must hold

    /// Each call has one result at most, and has it before the model is asked again, the run pauses
    /// or ends.
    pub(super) fn calls_have_their_results(&self) -> bool {
        let closed = |id: &Id| self.closed.get(id).copied().unwrap_or(0);
        let must = |id: &Id| match self.run.state() {
            State::Finished { .. } | State::Paused { .. } => true,
            State::Asking { step, .. } => id.0 < *step,
            State::Calling { .. } | State::Waiting { .. } | State::Summarizing { .. } => false,
        };
        self.closed.values().all(|times| *times <= 1)
            && self.made.keys().all(|id| !must(id) || closed(id) == 1)
    }

    pub(super) fn decisions_are_kept(&self) -> bool {
        let State::Waiting { step, calls, .. } = self.run.state() else { return true };
        self.told.iter().all(|(told, call)| told != step || calls[*call].state != CallState::Proposed)
    }
}
