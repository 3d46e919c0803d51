//! A run goes on: inputs are fed to its machine, and what comes out is recorded and owed.

use std::collections::VecDeque;

use kelpie_core::protocol::Step;
use kelpie_core::record;
use kelpie_core::run::{Closing, Effect, Input, NewCall, Owed, Run, StopReason};
use kelpie_memory::recall::{CallMade, Entry, Said};
use kelpie_runtime::{HandlerError, Turn};

use super::builtin::Done;
use super::desk::Desk;
use super::judge::{self, Meaning, Onward};
use super::perform::{Ask, Invoke, Job};
use super::rows::{self, Current};
use super::talk::lost;
use super::{Answered, NotAnswered, Returned, builtin, closing, perform};
use crate::budget::Spent;
use crate::outcome::{RunFailure, RunRecord, RunStatus};
use crate::prompt::{self, Context};
use crate::provider::{ModelAnswer, ToolCall};
use crate::rules;
use crate::show::{self, CALLS_MAX};
use crate::tool;
use crate::tool::builtin::BuiltIn;
use crate::tool::runner::{Invocation, ToolOutcome};

impl Desk<'_> {
    /// Records the model's answer with all that it changes here and now.
    pub(super) async fn model_answered(&mut self, input: Answered) -> Result<(), HandlerError> {
        let Answered { conversation, run_id, step, attempt, mut answer, microdollars } = input;
        // Also when it comes too late: it was paid for.
        self.spend(answer.usage, microdollars);
        let Some(mut run) = self.awaited(conversation, &run_id, Owed::Answer { step, attempt }).await? else {
            return Ok(());
        };
        run.usage.add(answer.usage, microdollars);
        let number = self.current()?.number;
        self.save_run(number, &run);
        if answer.tool_calls.len() > CALLS_MAX {
            // What is sent back to the provider has to be what stands in the history.
            answer.tool_calls.truncate(CALLS_MAX);
            answer.raw = None;
        }
        let calls = std::mem::take(&mut answer.tool_calls);
        let mut called = self.called();
        let meanings = self.judge().meanings(&mut called, &calls);
        self.current_mut()?.called = called;
        let then = self.judge().ending(&answer, &calls, &meanings);
        let text = answer.text.clone().unwrap_or_default();
        self.record_answer(&run_id, step, answer, &calls, &meanings)?;
        let mut new_calls = Vec::new();
        for (call, meaning) in calls.iter().zip(meanings) {
            new_calls.push(self.record_inner_result(&run_id, step, call, &meaning).await?);
        }
        let Onward { then, told } = self.judge().onward(&self.called(), then, &new_calls, &text);
        if let Some(told) = told {
            self.tell(&run_id, step, told);
        }
        self.feed(Input::ModelAnswered { step, attempt, calls: new_calls, then }).await
    }

    fn record_answer(
        &mut self,
        run_id: &str,
        step: u32,
        answer: ModelAnswer,
        calls: &[ToolCall],
        meanings: &[Meaning],
    ) -> Result<(), HandlerError> {
        let made = calls.iter().zip(meanings).map(|(call, meaning)| CallMade {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            says: match meaning {
                Meaning::BuiltIn(BuiltIn::SendMessage, arguments) => builtin::speech(arguments),
                Meaning::BuiltIn(..)
                | Meaning::Outside { .. }
                | Meaning::NeedsApproval { .. }
                | Meaning::Refused(_) => None,
            },
            asks: matches!(meaning, Meaning::NeedsApproval { .. }),
        });
        let said = prompt::said(answer, made.collect());
        let answer_at = self.current()?.answer_at;
        self.write(answer_at, run_id, step, said);
        Ok(())
    }

    /// Carries out what is done within this turn; says what the call is for the machine.
    async fn record_inner_result(
        &mut self,
        run_id: &str,
        step: u32,
        call: &ToolCall,
        meaning: &Meaning,
    ) -> Result<NewCall, HandlerError> {
        let (Done { outcome, pause }, of_speech) = match meaning {
            Meaning::Outside { .. } | Meaning::NeedsApproval { .. } => {
                return Ok(judge::new_call(meaning, true, None));
            }
            Meaning::Refused(why) => {
                self.write_result(run_id, step, &call.id, &call.name, ToolOutcome::failed(why), false);
                return Ok(judge::new_call(meaning, false, None));
            }
            Meaning::BuiltIn(tool, arguments) => {
                (self.built_in(*tool, arguments.clone()).await?, *tool == BuiltIn::SendMessage)
            }
        };
        metrics::counter!("kelpie_agent_tool_calls_total", "kind" => "built_in").increment(1);
        let ok = outcome.ok;
        self.record_result(run_id, step, &call.id, &call.name, outcome, of_speech && ok);
        Ok(judge::new_call(meaning, ok, pause))
    }

    /// Records what came of a call that was made.
    pub(super) fn record_result(
        &mut self,
        run_id: &str,
        step: u32,
        call_id: &str,
        name: &str,
        outcome: ToolOutcome,
        of_speech: bool,
    ) {
        if let Some(current) = &mut self.talk.current {
            current.called.returned(&self.agent.rules, name, &outcome.text, outcome.ok);
        }
        self.write_result(run_id, step, call_id, name, outcome, of_speech);
    }

    fn write_result(
        &mut self,
        run_id: &str,
        step: u32,
        call_id: &str,
        name: &str,
        outcome: ToolOutcome,
        of_speech: bool,
    ) {
        let ToolOutcome { text, ok } = outcome;
        let (call_id, name) = (call_id.to_owned(), name.to_owned());
        self.append(run_id, step, Said::Result { call_id, name, text, is_error: !ok, of_speech });
    }

    /// Ends the run when the model has no answer.
    pub(super) async fn model_failed(&mut self, input: NotAnswered) -> Result<(), HandlerError> {
        let NotAnswered { conversation, run_id, step, attempt, code, message } = input;
        if self.awaited(conversation, &run_id, Owed::Answer { step, attempt }).await?.is_none() {
            return Ok(());
        }
        self.failure = Some(RunFailure { code, message });
        self.feed(Input::ModelFailed { step, attempt, reason: StopReason::LlmApiError }).await
    }

    /// Records a tool's result.
    pub(super) async fn tool_returned(&mut self, input: Returned) -> Result<(), HandlerError> {
        let Returned { conversation, run_id, step, call, attempt, outcome } = input;
        let owed = Owed::Result { step, call, attempt };
        let accepts_late = kelpie_core::mutant!("run_late_result_accepted");
        let awaited = self.awaited(conversation, &run_id, owed).await?;
        if !accepts_late && awaited.is_none() {
            return Ok(());
        }
        let Some(made) = self.call_made(call).await? else { return Ok(()) };
        let ok = outcome.ok;
        self.record_result(&run_id, step, &made.id, &made.name, outcome.bounded(), false);
        self.feed(Input::ToolReturned { step, call, attempt, ok, pause: None }).await
    }

    /// The agent wakes up: what is owed and not under way is asked for again, or settled, in
    /// each conversation whose time has come.
    pub(super) async fn wake(&mut self) -> Result<(), HandlerError> {
        let now_ms = self.turn.now_ms();
        let due: Vec<u64> =
            self.progress.wakes.iter().filter(|(_, at)| **at <= now_ms).map(|(number, _)| *number).collect();
        for number in due {
            self.go_to(number).await?;
            self.wake_talk().await?;
        }
        Ok(())
    }

    async fn wake_talk(&mut self) -> Result<(), HandlerError> {
        let Some(current) = &self.talk.current else {
            self.wake_talk_at(None);
            return Ok(());
        };
        let run_id = show::run_id(&self.agent.id, current.number);
        let owed = current.machine.owed();
        let in_flight = owed.into_iter().filter(|owed| self.turn.in_flight(&perform::key(&run_id, *owed)));
        let in_flight = in_flight.collect();
        self.feed(Input::Woken { in_flight }).await
    }

    /// The run's record, if it goes on and waits for this; else the input comes late and is
    /// counted. Puts its conversation on the desk.
    pub(super) async fn awaited(
        &mut self,
        conversation: u64,
        run_id: &str,
        owed: Owed,
    ) -> Result<Option<RunRecord>, HandlerError> {
        if self.conversation(conversation).await?.is_some() {
            self.go_to(conversation).await?;
            let current = self.talk.current.as_ref();
            let current = current.filter(|current| show::run_id(&self.agent.id, current.number) == run_id);
            if let Some(current) = current.filter(|current| current.machine.owed().contains(&owed)) {
                let number = current.number;
                return Ok(Some(self.run(number).await?.ok_or_else(|| lost("run"))?));
            }
        }
        metrics::counter!("kelpie_agent_late_inputs_total").increment(1);
        Ok(None)
    }

    pub(super) fn current(&self) -> Result<&Current, HandlerError> {
        self.talk.current.as_ref().ok_or_else(|| lost("current run"))
    }

    /// A call of the answer whose calls are being made.
    pub(super) async fn call_made(&mut self, call: usize) -> Result<Option<CallMade>, HandlerError> {
        let Some(answer_at) = self.talk.current.as_ref().map(|current| current.answer_at) else {
            return Ok(None);
        };
        match self.entry(answer_at).await?.map(|entry| entry.said) {
            Some(Said::Answer { mut calls, .. }) if call < calls.len() => Ok(Some(calls.swap_remove(call))),
            Some(_) | None => Ok(None),
        }
    }

    /// Feeds the run that goes on, and does what comes out.
    pub(super) async fn feed(&mut self, input: Input) -> Result<(), HandlerError> {
        if self.talk.current.is_none() {
            return Ok(());
        }
        let effects = self.machine_step(input)?;
        self.carry_out(effects.into()).await
    }

    /// Does what a machine wants, in order; a run that ends lets the next one begin.
    pub(super) async fn carry_out(&mut self, mut effects: VecDeque<Effect>) -> Result<(), HandlerError> {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::WakeAt(at) => self.wake_talk_at(at),
                Effect::Drop(_) => metrics::counter!("kelpie_agent_late_inputs_total").increment(1),
                Effect::Close { step, call, why } => self.close_call(step, call, why).await?,
                Effect::Wait { .. } => self.wait_for_decisions().await?,
                Effect::Pause { until_ms } => {
                    self.begin_pause(until_ms).await?;
                    if !self.talk.waiting.is_empty() {
                        effects.extend(self.machine_step(Input::Spoken)?);
                    }
                }
                Effect::Resume => self.resume().await?,
                Effect::Finish(reason) => {
                    self.finish(reason).await?;
                    if kelpie_core::mutant!("run_next_not_begun") {
                        continue;
                    }
                    // What the ended run still wants comes before what the next one wants.
                    let more = self.begin_next().await?;
                    effects.extend(more);
                }
                Effect::Perform(Owed::Answer { step, attempt }) => {
                    effects.extend(self.ask(step, attempt).await?);
                }
                Effect::Perform(Owed::Result { step, call, attempt }) => {
                    effects.extend(self.invoke(step, call, attempt).await?);
                }
                Effect::Perform(Owed::Summary { step, attempt }) => {
                    effects.extend(self.summarize(step, attempt).await?);
                }
            }
        }
        Ok(())
    }

    /// Leaves the question to the model as an effect. When there is no room for a question, the
    /// run ends.
    async fn ask(&mut self, step: u32, attempt: u32) -> Result<Vec<Effect>, HandlerError> {
        let number = self.current()?.number;
        let run = self.run(number).await?.ok_or_else(|| lost("run"))?;
        if let Some(reason) = self.ends_instead(&run.id, step, attempt).await? {
            return self.machine_step(Input::ModelFailed { step, attempt, reason });
        }
        let specs = self.tool_specs();
        let agent = self.talking_agent();
        let Some(room) = prompt::room(&agent, &specs) else {
            let message = "instructions and memory alone are longer than the model can read".to_owned();
            self.failure = Some(RunFailure { code: "model.context_overflow".to_owned(), message });
            let reason = StopReason::ContextWindowOverflowInSystemPrompt;
            return self.machine_step(Input::ModelFailed { step, attempt, reason });
        };
        let Context { mut entries, summary } = self.context().await?;
        let room = room.saturating_sub(summary.as_ref().map_or(0, Entry::prompt_bytes));
        let start = prompt::start(&entries, self.talk.context_from, room);
        if start != self.talk.context_from && self.current()?.machine.may_summarize(step) {
            self.current_mut()?.summary_to = start;
            return self.machine_step(Input::Overflowed { step });
        }
        self.talk.context_from = start;
        entries.retain(|(position, _)| *position >= start);
        let asks = self.asking_tools();
        let format = agent.response_format().ok().flatten();
        let mut request = prompt::request(&agent, specs, summary.as_ref(), &entries, format);
        request.require_tool = rules::forces(&self.agent.rules, &self.called());
        let answer_at = self.reserve();
        self.current_mut()?.answer_at = answer_at;
        let conversation = self.talk.number;
        if kelpie_core::mutant!("budget_counted_when_asked") {
            self.spend_for_tenant(Spent { steps: 1, ..Spent::default() });
        }
        let price = self.shared.spending.prices.of(&request.model);
        let run_id = run.id.clone();
        let job = Job::Ask(Ask { conversation, run_id, step, attempt, answer_at, asks, request, price });
        self.turn.perform(perform::key(&run.id, Owed::Answer { step, attempt }), record::encode(&job));
        Ok(Vec::new())
    }

    pub(super) fn current_mut(&mut self) -> Result<&mut Current, HandlerError> {
        self.talk.current.as_mut().ok_or_else(|| lost("current run"))
    }

    /// Feeds the run that goes on; what comes out is left to the caller.
    pub(super) fn machine_step(&mut self, input: Input) -> Result<Vec<Effect>, HandlerError> {
        let current = self.talk.current.as_mut().ok_or_else(|| lost("current run"))?;
        Ok(stepped(self.turn, current.number, &mut current.machine, input))
    }

    /// What the prompt is made of.
    pub(super) async fn context(&mut self) -> Result<Context, HandlerError> {
        let mut entries = Vec::new();
        for span in self.talk.spans(self.talk.context_from, u64::MAX) {
            entries.extend(rows::entries(self.turn.range(rows::log_range(span.from, span.to)).await?)?);
        }
        let summary = match self.talk.summary_at {
            Some(position) => self.entry(position).await?,
            None => None,
        };
        Ok(Context { entries, summary })
    }

    /// Leaves the call of a tool outside as an effect. One that the agent does itself, and that
    /// had to be approved first, is done here and now.
    async fn invoke(&mut self, step: u32, call: usize, attempt: u32) -> Result<Vec<Effect>, HandlerError> {
        let run_id = show::run_id(&self.agent.id, self.current()?.number);
        let made = self.call_made(call).await?.ok_or_else(|| lost("call"))?;
        if let Some(tool) = BuiltIn::from_name(&made.name) {
            let Done { outcome, pause } = match tool::arguments(&made.arguments) {
                Ok(arguments) => self.built_in(tool, arguments).await?,
                Err(problem) => Done::from(ToolOutcome::failed(problem)),
            };
            let ok = outcome.ok;
            self.record_result(&run_id, step, &made.id, &made.name, outcome, false);
            return self.machine_step(Input::ToolReturned { step, call, attempt, ok, pause });
        }
        // An empty text was taken for an empty object when the call was judged.
        let arguments = if made.arguments.trim().is_empty() { "{}".to_owned() } else { made.arguments };
        let invocation = Invocation {
            tool: made.name,
            arguments,
            agent_id: self.agent.id.clone(),
            call_id: made.id,
            // Without the attempt: a repetition is the same call.
            idempotency_key: format!("{}/{run_id}/{step}/{call}", self.agent.id),
            run_id: run_id.clone(),
        };
        let conversation = self.talk.number;
        let job = Job::Invoke(Invoke { conversation, step, call, attempt, invocation });
        self.turn.perform(perform::key(&run_id, Owed::Result { step, call, attempt }), record::encode(&job));
        Ok(Vec::new())
    }

    /// Records a result for a call that gets none of its own.
    async fn close_call(&mut self, step: u32, call: usize, why: Closing) -> Result<(), HandlerError> {
        let run_id = show::run_id(&self.agent.id, self.current()?.number);
        let made = self.call_made(call).await?.ok_or_else(|| lost("call"))?;
        let text = closing::text(why, self.reasons.get(&made.id));
        self.write_result(&run_id, step, &made.id, &made.name, ToolOutcome::failed(text), false);
        Ok(())
    }

    /// Records the end of the run.
    async fn finish(&mut self, reason: StopReason) -> Result<(), HandlerError> {
        let Some(current) = self.talk.current.take() else { return Ok(()) };
        let mut run = self.run(current.number).await?.ok_or_else(|| lost("run"))?;
        if run.stop_reason == Some(StopReason::PauseHeartbeats) {
            self.end_pause(current.number, run);
            return Ok(());
        }
        run.failure = self.failure_for(reason);
        run.status = if reason == StopReason::Cancelled {
            RunStatus::Cancelled
        } else if reason.failed() {
            RunStatus::Failed
        } else {
            RunStatus::Completed
        };
        run.stop_reason = Some(reason);
        run.completed_ms = Some(self.turn.now_ms());
        run.end = Some(self.talk.log_next);
        self.save_run(current.number, &run);
        self.announce_end(&run.id);
        metrics::counter!("kelpie_agent_runs_ended_total", "reason" => reason.word()).increment(1);
        Ok(())
    }

    /// Tells who waits, after the commit.
    pub(super) fn announce_end(&mut self, run_id: &str) {
        let job = Job::Ended { run_id: run_id.to_owned() };
        self.turn.perform(format!("ended/{run_id}"), record::encode(&job));
    }
}

/// Feeds a machine, and says so where steps are written down.
pub(super) fn stepped(turn: &mut Turn, number: u64, machine: &mut Run, input: Input) -> Vec<Effect> {
    let now_ms = turn.now_ms();
    if !turn.records() {
        return machine.step(now_ms, input);
    }
    let (actor, before) = (turn.actor().to_string(), machine.clone());
    let effects = machine.step(now_ms, input.clone());
    let (run, mut closed, mut wakes) = (number.to_string(), Vec::new(), None);
    for effect in &effects {
        match effect {
            Effect::Close { call, .. } => closed.push(*call),
            Effect::WakeAt(at) => wakes = Some(at.is_some()),
            Effect::Finish(_)
            | Effect::Wait { .. }
            | Effect::Pause { .. }
            | Effect::Resume
            | Effect::Perform(_)
            | Effect::Drop(_) => {}
        }
    }
    turn.record_protocol(Step::Run { actor, run, input, closed, wakes, before, after: machine.clone() });
    effects
}
