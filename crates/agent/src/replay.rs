//! A recorded run once more, without its model: what the code and the agent's settings of today
//! make of the answers of then.
//!
//! ```text
//!   the log: answers, results, decisions ─▶ judge (tools, rules, form) ─▶ inputs ─▶ core::run::Run
//!                                                   └──────── each step's outcome beside the recorded one
//! ```
//!
//! The same judge and the same machine as in production; results, decisions, crashes and cancels
//! are taken from the log. Nothing is written and no tool is called. A step that turns out
//! otherwise is the last one: what came after it is not comparable.

use kelpie_core::run::{Closing, Decision, Input, NewCall, Owed, Pause, Run, State, StopReason};
use kelpie_memory::recall::{CallMade, Entry, Ruling, Said, Verdict};

use crate::actor::judge::{Judge, Meaning, new_call, was_refused};
use crate::actor::{builtin, closing};
use crate::outcome::RunRecord;
use crate::provider::{ModelAnswer, Stop, ToolCall, Usage};
use crate::rules::Called;
use crate::tool;
use crate::tool::builtin::BuiltIn;

/// A run, replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The run.
    pub run_id: String,
    /// Its steps, up to the first one that turned out otherwise.
    pub steps: Vec<StepReplay>,
}

impl Replay {
    /// Whether each step turned out as it was recorded.
    pub fn same(&self) -> bool {
        self.steps.iter().all(StepReplay::same)
    }
}

/// One step: what was recorded, and what came out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReplay {
    /// Which answer of the model, from 1.
    pub step: u32,
    /// Its calls, in order.
    pub calls: Vec<CallReplay>,
    /// How the run went on after it, as recorded.
    pub recorded: String,
    /// How it goes on now.
    pub replayed: String,
}

/// What became of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReplay {
    /// The tool.
    pub name: String,
    /// What became of it then.
    pub recorded: Fate,
    /// What becomes of it now.
    pub replayed: Fate,
    /// Why it is refused, if it is now.
    pub why: Option<String>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is made.
    Made,
    /// Somebody has to decide about it first.
    Asked,
    /// It is not made, and the model is told why.
    Refused,
}

impl Fate {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Asked => "waits for a decision",
            Self::Refused => "refused",
        }
    }
}

impl StepReplay {
    /// Whether it turned out as it was recorded.
    pub fn same(&self) -> bool {
        self.recorded == self.replayed && self.calls.iter().all(|call| call.recorded == call.replayed)
    }
}

/// Later than any time that a run waits until.
const LATER_MS: u64 = 1 << 53;

const ASKS: &str = "the model is asked again";
const WAITS: &str = "waits for a decision";
const PAUSES: &str = "pauses";
const GOES_ON: &str = "goes on";

/// What was recorded of a run.
pub(crate) struct Recording<'a> {
    pub(crate) run: &'a RunRecord,
    /// Its entries, oldest first, and those of the runs before it whose decision it brought, or after
    /// whose pause it began.
    pub(crate) entries: &'a [Entry],
    /// Answers that it may have.
    pub(crate) steps_max: u32,
}

/// Replays a run.
pub(crate) fn replay(judge: Judge<'_>, recording: &Recording<'_>) -> Replay {
    let Recording { run, entries, steps_max } = *recording;
    let heard = entries.iter().any(|entry| entry.step == 0 && matches!(entry.said, Said::Heard { .. }));
    let mut machine = if heard { Run::new(steps_max) } else { Run::summary() };
    machine.step(0, Input::Began);
    let answers: Vec<usize> =
        (0..entries.len()).filter(|at| matches!(entries[*at].said, Said::Answer { .. })).collect();
    let mut replaying = Replaying { judge, run, machine, called: Called::default() };
    let mut steps = Vec::new();
    replaying.in_between(&entries[..answers.first().copied().unwrap_or(entries.len())], &[]);
    for (place, at) in answers.iter().enumerate() {
        let next = answers.get(place + 1).copied();
        let step =
            replaying.answer(&entries[*at], &entries[at + 1..next.unwrap_or(entries.len())], next.is_none());
        let same = step.same();
        steps.push(step);
        if !same {
            break;
        }
    }
    if answers.is_empty() {
        replaying.without_answer();
        let (recorded, replayed) = (replaying.recorded(true), replaying.outcome(0));
        steps.push(StepReplay { step: 1, calls: Vec::new(), recorded, replayed });
    }
    Replay { run_id: run.id.clone(), steps }
}

struct Replaying<'a> {
    judge: Judge<'a>,
    run: &'a RunRecord,
    machine: Run,
    called: Called,
}

/// A recorded call: what it was, and what it means now.
struct Judged<'a> {
    made: &'a CallMade,
    meaning: Meaning,
}

impl Replaying<'_> {
    /// Feeds an answer and what was recorded until the next one.
    fn answer(&mut self, entry: &Entry, after: &[Entry], is_last: bool) -> StepReplay {
        let Said::Answer { text, calls: made, .. } = &entry.said else {
            unreachable!("only answers are replayed as such")
        };
        let step = entry.step;
        let recorded = self.recorded(is_last);
        let attempt = match self.machine.state() {
            State::Asking { step: asked, attempt } if *asked == step => *attempt,
            State::Asking { .. }
            | State::Calling { .. }
            | State::Waiting { .. }
            | State::Paused { .. }
            | State::Summarizing { .. }
            | State::Finished { .. } => {
                return StepReplay { step, calls: Vec::new(), recorded, replayed: self.outcome(step) };
            }
        };
        let calls: Vec<ToolCall> = made.iter().map(call).collect();
        let meanings = self.judge.meanings(&mut self.called, &calls);
        let answer = self.model_answer(text.clone(), is_last && made.is_empty());
        let then = self.judge.ending(&answer, &calls, &meanings);
        let judged: Vec<Judged<'_>> =
            made.iter().zip(meanings).map(|(made, meaning)| Judged { made, meaning }).collect();
        let new_calls: Vec<NewCall> = judged.iter().map(|judged| self.done_within(judged, after)).collect();
        let text = text.as_deref().unwrap_or_default();
        let then = self.judge.onward(&self.called, then, &new_calls, text).then;
        self.machine.step(0, Input::ModelAnswered { step, attempt, calls: new_calls, then });
        self.in_between(after, &judged);
        if is_last {
            self.without_answer();
        } else {
            self.pause_is_over();
            self.ends_by_tool();
        }
        let calls = judged.iter().map(|judged| judged.replayed(after)).collect();
        StepReplay { step, calls, recorded, replayed: self.outcome(step) }
    }

    /// The answer as the judge knows it. Why the model stopped shows only in how the run ended.
    fn model_answer(&self, text: Option<String>, ends: bool) -> ModelAnswer {
        let cut = ends && self.run.stop_reason == Some(StopReason::MaxTokensExceeded);
        ModelAnswer {
            model: String::new(),
            text,
            reasoning: None,
            tool_calls: Vec::new(),
            stop: if cut { Stop::MaxTokens } else { Stop::EndTurn },
            usage: Usage::default(),
            raw: None,
        }
    }

    /// What a call is for the machine. One that is done within the turn has its recorded result.
    fn done_within(&mut self, judged: &Judged<'_>, after: &[Entry]) -> NewCall {
        let Judged { made, meaning } = judged;
        if !matches!(meaning, Meaning::BuiltIn(..)) {
            return new_call(meaning, false, None);
        }
        let pause = pause(made);
        let Some((text, ok)) = result(after, &made.id) else { return new_call(meaning, true, pause) };
        self.called.returned(&self.judge.agent.rules, &made.name, text, ok);
        new_call(meaning, ok, pause)
    }

    /// Feeds what was recorded between two answers.
    fn in_between(&mut self, entries: &[Entry], judged: &[Judged<'_>]) {
        for entry in entries {
            match &entry.said {
                Said::Result { call_id, text, is_error, .. } => {
                    let place = judged.iter().position(|judged| judged.made.id == *call_id);
                    if let Some(place) = place {
                        self.returned(place, judged[place].made, text, !is_error);
                    }
                }
                Said::Decided { verdicts } => self.decided(verdicts, judged),
                Said::Summary { .. } => self.summary(),
                Said::Heard { .. } | Said::Answer { .. } => {}
            }
        }
    }

    fn returned(&mut self, place: usize, made: &CallMade, text: &str, ok: bool) {
        let owed = self.machine.owed();
        let result =
            owed.iter().copied().find(|owed| matches!(owed, Owed::Result { call, .. } if *call == place));
        match closing::why(text) {
            // Both come out of the decision.
            Some(Closing::Denied) => {}
            Some(Closing::Expired) => {
                drop(self.machine.step(LATER_MS, Input::Woken { in_flight: Vec::new() }))
            }
            Some(Closing::NotRun | Closing::CancelledUnknown) => drop(self.machine.step(0, Input::Cancelled)),
            Some(Closing::CrashedUnknown) => {
                let in_flight = owed.into_iter().filter(|owed| Some(*owed) != result).collect();
                self.machine.step(0, Input::Woken { in_flight });
            }
            None => {
                let Some(Owed::Result { step, call, attempt }) = result else { return };
                self.called.returned(&self.judge.agent.rules, &made.name, text, ok);
                let pause = pause(made);
                self.machine.step(0, Input::ToolReturned { step, call, attempt, ok, pause });
            }
        }
    }

    fn decided(&mut self, verdicts: &[Verdict], judged: &[Judged<'_>]) {
        let Some((step, places)) = self.machine.undecided() else { return };
        let mut decisions = Vec::new();
        for place in places {
            let Some(made) = judged.get(place).map(|judged| judged.made) else { continue };
            let verdict = verdicts.iter().find(|verdict| verdict.call_id == made.id);
            let decision = match verdict.map(|verdict| &verdict.ruling) {
                Some(Ruling::Approved) => Decision::Approved,
                Some(Ruling::Answered { text, ok }) => {
                    self.called.returned(&self.judge.agent.rules, &made.name, text, *ok);
                    Decision::Answered { ok: *ok }
                }
                Some(Ruling::Denied { .. }) => Decision::Denied,
                None => continue,
            };
            decisions.push((place, decision));
        }
        self.machine.step(0, Input::Decided { step, decisions });
    }

    /// Part of the prompt became a summary before the model was asked.
    fn summary(&mut self) {
        if let State::Asking { step, .. } = *self.machine.state() {
            self.machine.step(0, Input::Overflowed { step });
        }
        if let State::Summarizing { step, attempt, .. } = *self.machine.state() {
            self.machine.step(0, Input::Summarized { step, attempt });
        }
    }

    /// The model was asked again: the pause before that had ended.
    fn pause_is_over(&mut self) {
        if self.machine.pauses() {
            self.machine.step(LATER_MS, Input::Woken { in_flight: Vec::new() });
        }
    }

    fn ends_by_tool(&mut self) {
        let ends = self.judge.ended_by_tool(&self.called).then;
        if let (Some(reason), State::Asking { step, attempt }) = (ends, self.machine.state().clone()) {
            self.machine.step(0, Input::ModelFailed { step, attempt, reason });
        }
    }

    /// Nothing more was recorded: what a tool, the model's silence or a cancel made of it.
    fn without_answer(&mut self) {
        self.ends_by_tool();
        let reason = self.run.stop_reason;
        match (self.machine.state().clone(), reason) {
            (_, Some(StopReason::Cancelled)) => drop(self.machine.step(0, Input::Cancelled)),
            (State::Asking { step, attempt } | State::Summarizing { step, attempt, .. }, Some(reason))
                if reason.failed() =>
            {
                drop(self.machine.step(0, Input::ModelFailed { step, attempt, reason }))
            }
            // A summary that nobody needed leaves no entry.
            (State::Summarizing { step, attempt, .. }, Some(StopReason::EndTurn)) => {
                self.machine.step(0, Input::Summarized { step, attempt });
            }
            _ => {}
        }
    }

    /// How the run went on, as recorded.
    fn recorded(&self, is_last: bool) -> String {
        if !is_last {
            return ASKS.to_owned();
        }
        match self.run.stop_reason {
            Some(StopReason::RequiresApproval) => WAITS.to_owned(),
            Some(StopReason::PauseHeartbeats) => PAUSES.to_owned(),
            Some(reason) => ends(reason),
            None => GOES_ON.to_owned(),
        }
    }

    /// How it goes on now, after this step.
    fn outcome(&self, step: u32) -> String {
        match self.machine.state() {
            State::Finished { reason } => ends(*reason),
            State::Waiting { .. } => WAITS.to_owned(),
            State::Paused { .. } => PAUSES.to_owned(),
            _ if self.run.stop_reason.is_none() => GOES_ON.to_owned(),
            State::Asking { step: asked, .. } | State::Summarizing { step: asked, .. } if *asked > step => {
                ASKS.to_owned()
            }
            State::Asking { .. } | State::Summarizing { .. } | State::Calling { .. } => GOES_ON.to_owned(),
        }
    }
}

impl Judged<'_> {
    fn replayed(&self, after: &[Entry]) -> CallReplay {
        let Self { made, meaning } = self;
        let recorded = match result(after, &made.id) {
            _ if made.asks => Fate::Asked,
            Some((text, false)) if was_refused(&made.name, text) => Fate::Refused,
            Some(_) | None => Fate::Made,
        };
        let (replayed, why) = match meaning {
            Meaning::Refused(why) => (Fate::Refused, Some(why.clone())),
            Meaning::NeedsApproval { .. } => (Fate::Asked, None),
            Meaning::BuiltIn(..) | Meaning::Outside { .. } => (Fate::Made, None),
        };
        CallReplay { name: made.name.clone(), recorded, replayed, why }
    }
}

fn ends(reason: StopReason) -> String {
    format!("ends: {}", reason.word())
}

/// The pause that a call asks for, if it is one that can.
fn pause(made: &CallMade) -> Option<Pause> {
    let arguments = tool::arguments(&made.arguments).ok()?;
    builtin::pause(BuiltIn::from_name(&made.name)?, &arguments)
}

fn call(made: &CallMade) -> ToolCall {
    ToolCall { id: made.id.clone(), name: made.name.clone(), arguments: made.arguments.clone() }
}

/// The recorded result of a call.
fn result<'e>(entries: &'e [Entry], id: &str) -> Option<(&'e str, bool)> {
    entries.iter().find_map(|entry| match &entry.said {
        Said::Result { call_id, text, is_error, .. } if call_id == id => Some((text.as_str(), !is_error)),
        Said::Result { .. }
        | Said::Heard { .. }
        | Said::Answer { .. }
        | Said::Decided { .. }
        | Said::Summary { .. } => None,
    })
}
