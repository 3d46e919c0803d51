//! Messages come in and runs begin: in each conversation one after the other.

use std::collections::VecDeque;

use kelpie_core::record;
use kelpie_core::run::{Effect, Input, Run, StopReason};
use kelpie_memory::recall::{Said, Speaker};
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::manage::served;
use super::rows::{self, Current, Queued};
use super::{Accepted, Say, advance, code, invalid};
use crate::message::{MESSAGES_MAX, NewMessage, Role};
use crate::outcome::{RunRecord, RunStatus, RunUsage};
use crate::provider::ToolSpec;
use crate::query::{Overrides, SendOptions};
use crate::record::MAX_STEPS_MAX;
use crate::rules::Called;
use crate::show;
use crate::tool::builtin::BuiltIn;

/// Runs that wait for one conversation; a further one is refused, so that the sender learns of
/// the overload at once.
pub(super) const RUNS_WAITING_MAX: usize = 64;
/// Tools that one request may bring.
const CLIENT_TOOLS_MAX: usize = 128;

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
        self.checked_client_tools(&options.client_tools)?;
        self.checked_overrides(&options.overrides)?;
        self.go_to(options.conversation).await?;
        self.refuse_while_pending()?;
        if options.refuse_when_busy && !self.pauses() {
            self.refuse_while_busy()?;
        }
        if self.talk.waiting.len() >= RUNS_WAITING_MAX {
            let message =
                format!("the agent is currently being processed: {RUNS_WAITING_MAX} messages wait already");
            return Err(HandlerError::not_now(code::BUSY, message));
        }
        let (client_tools, overrides) = (options.client_tools.clone(), options.overrides.clone());
        let queued = Queued { messages, client_tools, overrides };
        self.take_in(&options, &queued).await
    }

    /// Records a run and what it is to work on; it begins at once if none goes on, and ends a pause.
    /// A run that is to summarize brings no messages.
    pub(super) async fn take_in(
        &mut self,
        options: &SendOptions,
        queued: &Queued,
    ) -> Result<Accepted, HandlerError> {
        if let Some(about) = self.talk.about.as_mut().filter(|_| !queued.messages.is_empty()) {
            about.last_message_ms = Some(self.turn.now_ms());
        }
        let number = self.progress.runs;
        self.progress.runs += 1;
        let run = self.new_run(number, options);
        self.save_run(number, &run);
        self.turn.set(rows::waiting(number), record::encode(queued));
        self.talk.waiting.push(number);
        metrics::counter!("kelpie_agent_runs_total").increment(1);
        if self.talk.current.is_none() {
            let effects = self.begin_next().await?;
            self.carry_out(effects).await?;
        } else if self.pauses() {
            self.feed(Input::Spoken).await?;
        }
        Ok(Accepted { run_id: run.id })
    }

    /// A run that waits.
    pub(super) fn new_run(&self, number: u64, options: &SendOptions) -> RunRecord {
        RunRecord {
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
            conversation: self.talk.number,
            paused_until_ms: None,
            continues: None,
        }
    }

    /// Another model has to be one that somebody here serves.
    pub(super) fn checked_overrides(&self, overrides: &Overrides) -> Result<(), HandlerError> {
        match &overrides.model {
            Some(handle) => served(self.shared, handle),
            None => Ok(()),
        }
    }

    /// The names of the sender's tools must not hide the agent's own.
    pub(super) fn checked_client_tools(&self, tools: &[ToolSpec]) -> Result<(), HandlerError> {
        if tools.len() > CLIENT_TOOLS_MAX {
            return Err(invalid("client_tools", format!("at most {CLIENT_TOOLS_MAX} tools")));
        }
        let own = |name: &String| {
            self.agent.tools.contains(name)
                && (BuiltIn::from_name(name).is_some() || self.shared.outside.contains_key(name))
        };
        match tools.iter().find(|tool| own(&tool.name)) {
            Some(taken) => Err(invalid(
                "client_tools",
                format!("the agent has a tool of its own named {:?}", taken.name),
            )),
            None => Ok(()),
        }
    }

    /// Nothing may come between a call and its result, so nothing is said while calls wait.
    pub(super) fn refuse_while_pending(&self) -> Result<(), HandlerError> {
        let pending = self.talk.current.as_ref().filter(|current| current.machine.undecided().is_some());
        let Some(current) = pending else { return Ok(()) };
        let run_id = show::run_id(&self.agent.id, current.number);
        let message = "Cannot send a new message: The agent is waiting for approval on a tool call. Please approve \
                       or deny the pending request before continuing.";
        Err(HandlerError::not_now(format!("{}/{run_id}", code::PENDING_APPROVAL), message))
    }

    /// Refuses while a run goes on.
    pub(super) fn refuse_while_busy(&self) -> Result<(), HandlerError> {
        let Some(current) = &self.talk.current else { return Ok(()) };
        let run_id = show::run_id(&self.agent.id, current.number);
        let message = format!(
            "Cannot send a new message: Another request is currently being processed for this conversation \
             (run_id={run_id}). Wait for its end, or cancel it."
        );
        Err(HandlerError::not_now(format!("{}/{run_id}", code::IN_USE), message))
    }

    /// Begins the first run that waits, if any.
    pub(super) async fn begin_next(&mut self) -> Result<VecDeque<Effect>, HandlerError> {
        if self.talk.waiting.is_empty() {
            return Ok(VecDeque::new());
        }
        let number = self.talk.waiting.remove(0);
        let Some(mut run) = self.run(number).await? else { return Err(lost("run")) };
        let queued: Option<Queued> = rows::decoded(self.turn.get(&rows::waiting(number)).await?)?;
        let Queued { messages, client_tools, overrides } = queued.ok_or_else(|| lost("message"))?;
        self.turn.clear(rows::waiting(number));
        run.first = Some(self.talk.log_next);
        run.status = RunStatus::Running;
        let mut machine = if messages.is_empty() {
            Run::summary()
        } else {
            Run::new(run.max_steps.unwrap_or(self.agent.max_steps))
        };
        for message in messages {
            self.append(&run.id, 0, heard(message));
        }
        self.save_run(number, &run);
        let effects = advance::stepped(self.turn, number, &mut machine, Input::Began);
        let (answer_at, summary_to, called) = (0, 0, Called::default());
        self.talk.current =
            Some(Current { number, machine, answer_at, summary_to, client_tools, overrides, called });
        Ok(effects.into())
    }

    /// Ends a run, whether it goes on or waits. One that has ended stays as it is.
    pub(super) async fn cancel(&mut self, run_id: &str) -> Result<RunRecord, HandlerError> {
        let gone = || HandlerError::app(code::NO_RUN, "Run not found");
        let number = show::run_number(&self.agent.id, run_id).ok_or_else(gone)?;
        let run = self.run(number).await?.ok_or_else(gone)?;
        if self.conversation(run.conversation).await?.is_none() {
            return Ok(run);
        }
        self.go_to(run.conversation).await?;
        // One that waits for an approval has told its end already, and goes on all the same.
        if self.talk.current.as_ref().is_some_and(|current| current.number == number) {
            self.feed(Input::Cancelled).await?;
        } else if !run.status.ended() {
            self.talk.waiting.retain(|waiting| *waiting != number);
            self.cancel_waiting(number, run);
        } else {
            return Ok(run);
        }
        self.run(number).await?.ok_or_else(gone)
    }

    /// Ends all that goes on or waits in a conversation, or in all of them.
    pub(super) async fn cancel_all(
        &mut self,
        conversation: Option<u64>,
    ) -> Result<Vec<RunRecord>, HandlerError> {
        let numbers: Vec<u64> = match conversation {
            Some(number) => vec![number],
            // Whatever goes on has a wake entry.
            None => self.progress.wakes.keys().copied().collect(),
        };
        let mut ended = Vec::new();
        for number in numbers {
            self.go_to(number).await?;
            let waiting = std::mem::take(&mut self.talk.waiting);
            let current = self.talk.current.as_ref().map(|current| current.number);
            for number in &waiting {
                let run = self.run(*number).await?.ok_or_else(|| lost("run"))?;
                self.cancel_waiting(*number, run);
            }
            if current.is_some() {
                self.feed(Input::Cancelled).await?;
            }
            for number in current.into_iter().chain(waiting) {
                ended.push(self.run(number).await?.ok_or_else(|| lost("run"))?);
            }
        }
        Ok(ended)
    }

    /// A run that waited leaves nothing in the history.
    fn cancel_waiting(&mut self, number: u64, run: RunRecord) {
        self.turn.clear(rows::waiting(number));
        let now_ms = self.turn.now_ms();
        let ended = RunRecord {
            status: RunStatus::Cancelled,
            stop_reason: Some(StopReason::Cancelled),
            completed_ms: Some(now_ms),
            first: Some(self.talk.log_next),
            end: Some(self.talk.log_next),
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
