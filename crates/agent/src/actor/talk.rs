//! Messages come in and runs begin: one after the other.

use std::collections::VecDeque;

use kelpie_core::record;
use kelpie_core::run::{Effect, Input, Run, StopReason};
use kelpie_memory::recall::{Said, Speaker};
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::rows::{self, Current};
use super::{Accepted, Say, code, invalid};
use crate::message::{NewMessage, Role};
use crate::outcome::{RunRecord, RunStatus, RunUsage};
use crate::record::MAX_STEPS_MAX;
use crate::show;

/// Runs that wait for one agent; a further one is refused, so that the sender learns of the
/// overload at once.
const RUNS_WAITING_MAX: usize = 64;
/// Messages that one request may bring.
const MESSAGES_MAX: usize = 64;

impl Desk<'_> {
    /// Takes messages in: their run begins now, or when those before it have ended.
    pub(super) async fn message(&mut self, say: Say) -> Result<Accepted, HandlerError> {
        let Say { messages, options } = say;
        if messages.is_empty() || messages.len() > MESSAGES_MAX {
            return Err(invalid("messages", format!("there must be 1 to {MESSAGES_MAX} messages")));
        }
        if options.max_steps.is_some_and(|steps| !(1..=MAX_STEPS_MAX).contains(&steps)) {
            return Err(invalid("max_steps", format!("must be between 1 and {MAX_STEPS_MAX}")));
        }
        if self.progress.waiting.len() >= RUNS_WAITING_MAX {
            let message =
                format!("the agent is currently being processed: {RUNS_WAITING_MAX} messages wait already");
            return Err(HandlerError::app(code::BUSY, message));
        }
        let number = self.progress.runs;
        self.progress.runs += 1;
        let run = RunRecord {
            id: show::run_id(&self.agent.id, number),
            agent_id: self.agent.id.clone(),
            status: RunStatus::Created,
            stop_reason: None,
            failure: None,
            usage: RunUsage::default(),
            created_ms: self.turn.now_ms(),
            completed_ms: None,
            first: None,
            end: None,
            max_steps: options.max_steps,
            tool_calls_verbatim: options.tool_calls_verbatim,
        };
        self.save_run(number, &run);
        self.turn.set(rows::waiting(number), record::encode(&messages));
        self.progress.waiting.push(number);
        metrics::counter!("kelpie_agent_runs_total").increment(1);
        if self.progress.current.is_none() {
            let effects = self.begin_next().await?;
            self.carry_out(effects).await?;
        }
        Ok(Accepted { run_id: run.id })
    }

    /// Begins the first run that waits, if any.
    pub(super) async fn begin_next(&mut self) -> Result<VecDeque<Effect>, HandlerError> {
        if self.progress.waiting.is_empty() {
            return Ok(VecDeque::new());
        }
        let number = self.progress.waiting.remove(0);
        let Some(mut run) = self.run(number).await? else { return Err(lost("run")) };
        let messages: Option<Vec<NewMessage>> = rows::decoded(self.turn.get(&rows::waiting(number)).await?)?;
        self.turn.clear(rows::waiting(number));
        run.first = Some(self.progress.log_next);
        run.status = RunStatus::Running;
        for message in messages.ok_or_else(|| lost("message"))? {
            self.append(&run.id, 0, heard(message));
        }
        self.save_run(number, &run);
        let mut machine = Run::new(run.max_steps.unwrap_or(self.agent.max_steps));
        let effects = machine.step(self.turn.now_ms(), Input::Began);
        self.progress.current = Some(Current { number, machine, answer_at: 0 });
        Ok(effects.into())
    }

    /// Ends a run, whether it goes on or waits. One that has ended stays as it is.
    pub(super) async fn cancel(&mut self, run_id: &str) -> Result<RunRecord, HandlerError> {
        let gone = || HandlerError::app(code::NO_RUN, "Run not found");
        let number = show::run_number(&self.agent.id, run_id).ok_or_else(gone)?;
        let run = self.run(number).await?.ok_or_else(gone)?;
        if run.status.ended() {
            return Ok(run);
        }
        if self.progress.current.as_ref().is_some_and(|current| current.number == number) {
            self.feed(Input::Cancelled).await?;
        } else {
            self.progress.waiting.retain(|waiting| *waiting != number);
            self.cancel_waiting(number, run);
        }
        self.run(number).await?.ok_or_else(gone)
    }

    /// A run that waited leaves nothing in the history.
    fn cancel_waiting(&mut self, number: u64, run: RunRecord) {
        self.turn.clear(rows::waiting(number));
        let now_ms = self.turn.now_ms();
        let ended = RunRecord {
            status: RunStatus::Cancelled,
            stop_reason: Some(StopReason::Cancelled),
            completed_ms: Some(now_ms),
            first: Some(self.progress.log_next),
            end: Some(self.progress.log_next),
            ..run
        };
        self.save_run(number, &ended);
        self.announce_end(&ended.id);
    }
}

/// A record that must be there is not: our own bug, told and not papered over.
pub(super) fn lost(what: &str) -> HandlerError {
    HandlerError::app("agent.lost_record", format!("the agent's {what} record is missing"))
}

fn heard(message: NewMessage) -> Said {
    let NewMessage { role, text, name, otid } = message;
    let by = match role {
        Role::User => Speaker::User,
        Role::System => Speaker::System,
        Role::Assistant => Speaker::Assistant,
    };
    Said::Heard { by, text, name, otid }
}
