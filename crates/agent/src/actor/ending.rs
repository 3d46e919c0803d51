//! Whether a run ends or has to go on: rules about tools, the form of an answer, the budget.

use kelpie_core::run::{NewCall, StopReason};

use super::desk::Desk;
use crate::outcome::RunFailure;
use crate::query::Overrides;
use crate::record::{AgentRecord, ModelChoice};

/// Why a run failed that would have cost more than its agent may.
const BUDGET_EXCEEDED: &str = "budget_exceeded";

fn before_you_end(missing: &[String]) -> String {
    format!("Before you end, call {}.", missing.join(" and "))
}

impl Desk<'_> {
    /// What the run ends with after all, now that the answer is recorded: it may be over because
    /// a rule says so, or have to go on. The model is told what it still has to do.
    pub(super) fn may_end(
        &mut self,
        run_id: &str,
        step: u32,
        then: Option<StopReason>,
        calls: &[NewCall],
        text: &str,
    ) -> Option<StopReason> {
        let then = if self.called().ended() { Some(StopReason::ToolRule) } else { then };
        let by_itself = [StopReason::EndTurn, StopReason::NoToolCall, StopReason::ToolRule];
        let all_done = calls.iter().all(|call| matches!(call, NewCall::Done { ok: true }));
        let Some(reason) = then.filter(|then| all_done && by_itself.contains(then)) else { return then };
        let missing = self.missing();
        if !missing.is_empty() {
            self.tell(run_id, step, before_you_end(&missing));
            return None;
        }
        // Of what is said by a tool, the tool's schema says what it looks like.
        let format = self.agent.response_format().ok().flatten().filter(|_| calls.is_empty());
        match format.map(|format| format.check(text)) {
            Some(Err(problem)) => {
                let told =
                    format!("Your answer does not have the form that is asked for: {problem}. Answer again.");
                self.tell(run_id, step, told);
                None
            }
            Some(Ok(())) | None => Some(reason),
        }
    }

    /// Why the run ends although the model could be asked: a tool has ended it, or there is no
    /// budget left.
    pub(super) fn ends_instead(&mut self, run_id: &str, step: u32, attempt: u32) -> Option<StopReason> {
        if self.called().ended() {
            let missing = self.missing();
            if missing.is_empty() {
                return Some(StopReason::ToolRule);
            }
            if attempt == 1 {
                self.tell(run_id, step, before_you_end(&missing));
            }
        }
        self.over_budget().then_some(StopReason::Error)
    }

    /// Whether the agent has used up what it may today; the run's failure says so.
    pub(super) fn over_budget(&mut self) -> bool {
        match self.agent.budget.allows(self.progress.spent, self.turn.now_ms()) {
            Ok(()) => false,
            Err(message) => {
                self.failure = Some(RunFailure { code: BUDGET_EXCEEDED.to_owned(), message });
                true
            }
        }
    }

    /// The agent as this conversation has it, with a model of its own, and as this run has it.
    pub(super) fn talking_agent(&self) -> AgentRecord {
        let mut agent = self.agent.clone();
        if let Some(about) = &self.talk.about {
            let ModelChoice { handle, context_window, .. } = &mut agent.model;
            if let Some(own) = &about.model {
                own.clone_into(handle);
            }
            *context_window = about.context_window.unwrap_or(*context_window);
        }
        let Some(Overrides { model, system }) = self.talk.current.as_ref().map(|current| &current.overrides)
        else {
            return agent;
        };
        if let Some(handle) = model {
            let window = self.shared.models.context_window(handle);
            agent.model.context_window = window.unwrap_or(agent.model.context_window);
            handle.clone_into(&mut agent.model.handle);
        }
        if let Some(system) = system {
            system.clone_into(&mut agent.system);
        }
        agent
    }
}
