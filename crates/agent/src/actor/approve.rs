//! Calls that wait for somebody's decision: the run tells its end and stands still; whoever
//! decides sets off the run in which it goes on.

use std::collections::BTreeMap;

use kelpie_core::run::{Decision, Input, StopReason};
use kelpie_memory::recall::{CallMade, Ruling, Said, Verdict};
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::talk::lost;
use super::{Accepted, Decide, code, invalid};
use crate::outcome::{RunRecord, RunStatus};
use crate::query::Overrides;
use crate::show;
use crate::tool::builtin::BuiltIn;
use crate::tool::runner::ToolOutcome;

impl Desk<'_> {
    /// Records that the run waits: for whoever sent the message it has ended.
    pub(super) async fn wait_for_decisions(&mut self) -> Result<(), HandlerError> {
        let number = self.talk.current.as_ref().ok_or_else(|| lost("current run"))?.number;
        let run = self.run(number).await?.ok_or_else(|| lost("run"))?;
        let waits = RunRecord {
            status: RunStatus::Completed,
            stop_reason: Some(StopReason::RequiresApproval),
            completed_ms: Some(self.turn.now_ms()),
            end: Some(self.talk.log_next),
            ..run
        };
        self.save_run(number, &waits);
        self.announce_end(&waits.id);
        metrics::counter!("kelpie_agent_approvals_asked_total").increment(1);
        Ok(())
    }

    /// Takes decisions in, about all calls that wait; the run goes on as another one.
    pub(super) async fn decide(&mut self, decide: Decide) -> Result<Accepted, HandlerError> {
        let Decide { verdicts, options } = decide;
        self.checked_client_tools(&options.client_tools)?;
        self.checked_overrides(&options.overrides)?;
        self.go_to(options.conversation).await?;
        let (step, waiting) = self.waiting_calls().await?;
        let rulings = matched(&waiting, verdicts.clone())?;
        for (call, ruling) in waiting.values().zip(&rulings) {
            let known =
                BuiltIn::from_name(&call.name).is_some() || self.shared.outside.contains_key(&call.name);
            if !known && *ruling == Ruling::Approved {
                let message =
                    format!("{:?} runs in the client: send its result, with type \"tool\"", call.name);
                return Err(invalid("messages.0.approvals", message));
            }
        }
        let number = self.progress.runs;
        self.progress.runs += 1;
        let first = Some(self.talk.log_next);
        let run = RunRecord { status: RunStatus::Running, first, ..self.new_run(number, &options) };
        self.save_run(number, &run);
        metrics::counter!("kelpie_agent_runs_total").increment(1);
        let current = self.talk.current.as_mut().ok_or_else(|| lost("current run"))?;
        current.number = number;
        current.client_tools = options.client_tools;
        if options.overrides != Overrides::default() {
            current.overrides = options.overrides;
        }
        self.append(&run.id, 0, Said::Decided { verdicts });
        let mut decisions = Vec::new();
        for ((place, call), ruling) in waiting.iter().zip(rulings) {
            decisions.push((*place, self.ruled(&run.id, step, call, ruling)));
        }
        if !kelpie_core::mutant!("run_approval_lost") {
            self.feed(Input::Decided { step, decisions }).await?;
        }
        Ok(Accepted { run_id: run.id })
    }

    /// Records what a ruling brings, and what it is for the run.
    fn ruled(&mut self, run_id: &str, step: u32, call: &CallMade, ruling: Ruling) -> Decision {
        match ruling {
            Ruling::Approved => Decision::Approved,
            Ruling::Denied { reason } => {
                self.reasons.extend(reason.map(|reason| (call.id.clone(), reason)));
                Decision::Denied
            }
            Ruling::Answered { text, ok } => {
                let outcome = ToolOutcome { text, ok }.bounded();
                self.record_result(run_id, step, &call.id, &call.name, outcome, false);
                Decision::Answered { ok }
            }
        }
    }

    /// The calls that wait, by their place in the answer of a step.
    async fn waiting_calls(&mut self) -> Result<(u32, BTreeMap<usize, CallMade>), HandlerError> {
        let waiting = self.talk.current.as_ref().and_then(|current| current.machine.undecided());
        let Some((step, places)) = waiting else {
            let message = "Cannot process approval response: No tool call is currently awaiting approval.";
            return Err(HandlerError::app(code::NOTHING_PENDING, message));
        };
        let mut calls = BTreeMap::new();
        for place in places {
            calls.insert(place, self.call_made(place).await?.ok_or_else(|| lost("call"))?);
        }
        Ok((step, calls))
    }
}

/// The ruling on each of the calls, in their order: one for each and none for others.
fn matched(waiting: &BTreeMap<usize, CallMade>, verdicts: Vec<Verdict>) -> Result<Vec<Ruling>, HandlerError> {
    let expected: Vec<&str> = waiting.values().map(|call| call.id.as_str()).collect();
    let given: Vec<String> = verdicts.iter().map(|verdict| verdict.call_id.clone()).collect();
    let mut by_call: BTreeMap<String, Ruling> =
        verdicts.into_iter().map(|verdict| (verdict.call_id, verdict.ruling)).collect();
    let fits = given.len() == expected.len() && by_call.len() == expected.len();
    let rulings: Vec<Ruling> = expected.iter().filter_map(|id| by_call.remove(*id)).collect();
    if fits && rulings.len() == expected.len() {
        return Ok(rulings);
    }
    let message = format!("Invalid tool call IDs. Expected '{expected:?}', but received '{given:?}'.");
    Err(invalid("messages.0.approvals", message))
}

impl RunRecord {
    /// The id of the conversation, unless it is the one that every agent has.
    pub fn conversation_id(&self) -> Option<String> {
        (self.conversation > 0).then(|| show::conversation_id(&self.agent_id, self.conversation))
    }
}
