//! What an answer of the model means: which calls are made, and whether the run may end.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_core::run::{NewCall, Pause, StopReason};
use kelpie_runtime::HandlerError;
use serde_json::{Map, Value};

use super::desk::Desk;
use crate::provider::{ModelAnswer, Stop, ToolCall, ToolSpec};
use crate::record::{AgentRecord, AgentType};
use crate::rules::{self, Called};
use crate::tool;
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::{CustomTool, NO_SANDBOX};
use crate::tool::foreign;
use crate::tool::runner::{OutsideTool, ToolOutcome};
use crate::tool::schema::Schema;

/// What a call means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// A change of the agent's own state.
    BuiltIn(BuiltIn, Map<String, Value>),
    /// Somebody outside carries it out.
    Outside {
        /// Whether asking twice with the same key has one effect.
        idempotent: bool,
    },
    /// Somebody has to approve it first, or carries it out in the client.
    NeedsApproval {
        /// Whether asking twice with the same key has one effect.
        idempotent: bool,
    },
    /// It is not made; the model is told why.
    Refused(String),
}

/// Who judges: the agent as it is, what is on offer, and what the sender carries out.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) agent: &'a AgentRecord,
    pub(crate) outside: &'a BTreeMap<String, OutsideTool>,
    /// Those of the agent's tools that are source code.
    pub(crate) custom: &'a BTreeMap<String, CustomTool>,
    /// The tools that whoever sent the message carries out.
    pub(crate) client: &'a [ToolSpec],
}

/// How a run goes on after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Onward {
    /// What it ends with, if the model need not see anything first.
    pub(crate) then: Option<StopReason>,
    /// What the model is told before it is asked again.
    pub(crate) told: Option<String>,
}

impl Desk<'_> {
    /// Judges by what is on this desk.
    pub(super) fn judge(&self) -> Judge<'_> {
        let (agent, outside, custom) = (&self.agent, &self.shared.outside, &self.custom);
        let client = self.talk.current.as_ref().map_or(&[][..], |current| &current.client_tools);
        Judge { agent, outside, custom, client }
    }

    /// The names of all tools whose calls wait for somebody.
    pub(super) fn asking_tools(&self) -> BTreeSet<String> {
        let client = self.talk.current.iter().flat_map(|current| &current.client_tools);
        client.map(|tool| &tool.name).chain(&self.agent.approvals).cloned().collect()
    }

    /// Carries out a built-in tool for a person or program, as the agent would.
    pub(super) async fn run_tool(&mut self, call: &ToolCall) -> Result<ToolOutcome, HandlerError> {
        match self.judge().meaning(call) {
            Meaning::Refused(why) => Ok(ToolOutcome::failed(why)),
            Meaning::BuiltIn(..) | Meaning::Outside { .. } | Meaning::NeedsApproval { .. } => {
                match (BuiltIn::from_name(&call.name), tool::arguments(&call.arguments)) {
                    // Nobody but the agent itself can send it to rest.
                    (Some(BuiltIn::PauseHeartbeats), Ok(_)) => {
                        Ok(ToolOutcome::failed("only the agent itself can pause, in a run"))
                    }
                    (Some(tool), Ok(arguments)) => Ok(self.built_in(tool, arguments).await?.outcome),
                    (_, Err(problem)) => Ok(ToolOutcome::failed(problem)),
                    (None, Ok(_)) => Ok(ToolOutcome::failed("the tool is not a built-in one")),
                }
            }
        }
    }
}

impl Judge<'_> {
    /// What the calls of an answer mean, each with those before it.
    pub(crate) fn meanings(self, called: &mut Called, calls: &[ToolCall]) -> Vec<Meaning> {
        let meaning = |call: &ToolCall| {
            let meaning = self.meaning(call);
            if matches!(meaning, Meaning::Refused(_)) {
                return meaning;
            }
            // Not only hidden: a model may call what it was not shown.
            let allowed = rules::allows(&self.agent.rules, called, &call.name);
            if let Err(why) = allowed
                && !kelpie_core::mutant!("tool_rule_only_hides")
            {
                return Meaning::Refused(not_called(&call.name, &why));
            }
            called.call(&call.name);
            meaning
        };
        calls.iter().map(meaning).collect()
    }

    /// What the run ends with if nothing in this answer has to be seen by the model first.
    pub(crate) fn ending(
        self,
        answer: &ModelAnswer,
        calls: &[ToolCall],
        meanings: &[Meaning],
    ) -> Option<StopReason> {
        let goes_on = calls.iter().zip(meanings).any(|(call, meaning)| {
            !matches!(meaning, Meaning::Refused(_)) && rules::continues(&self.agent.rules, &call.name)
        });
        if goes_on { None } else { ending(self.agent.agent_type, answer, meanings) }
    }

    /// What the run ends with after all, now that the answer is recorded: it may be over because
    /// a rule says so, or have to go on. The model is told what it still has to do.
    pub(crate) fn onward(
        self,
        called: &Called,
        then: Option<StopReason>,
        calls: &[NewCall],
        text: &str,
    ) -> Onward {
        let then = if called.ended() { Some(StopReason::ToolRule) } else { then };
        let by_itself = [StopReason::EndTurn, StopReason::NoToolCall, StopReason::ToolRule];
        let all_done =
            calls.iter().all(|call| matches!(call, NewCall::Done { ok: true } | NewCall::Pauses(_)));
        let Some(reason) = then.filter(|then| all_done && by_itself.contains(then)) else {
            return Onward { then, told: None };
        };
        let missing = self.missing(called);
        if !missing.is_empty() {
            return Onward { then: None, told: Some(before_you_end(&missing)) };
        }
        // Of what is said by a tool, the tool's schema says what it looks like.
        let format = self.agent.response_format().ok().flatten().filter(|_| calls.is_empty());
        match format.map(|format| format.check(text)) {
            Some(Err(problem)) => {
                let told =
                    format!("Your answer does not have the form that is asked for: {problem}. Answer again.");
                Onward { then: None, told: Some(told) }
            }
            Some(Ok(())) | None => Onward { then: Some(reason), told: None },
        }
    }

    /// Whether the run ends although the model could be asked, because a tool that was called has
    /// ended it.
    pub(crate) fn ended_by_tool(self, called: &Called) -> Onward {
        if !called.ended() {
            return Onward { then: None, told: None };
        }
        let missing = self.missing(called);
        if missing.is_empty() {
            return Onward { then: Some(StopReason::ToolRule), told: None };
        }
        Onward { then: None, told: Some(before_you_end(&missing)) }
    }

    /// The tools that the run has to call before it may end. One that is not on offer any more
    /// keeps nobody.
    fn missing(self, called: &Called) -> Vec<String> {
        let mut missing = rules::missing(&self.agent.rules, called);
        missing.retain(|name| {
            BuiltIn::from_name(name).is_some() || self.outside.contains_key(name) || self.is_client(name)
        });
        missing
    }

    fn is_client(self, name: &str) -> bool {
        self.client.iter().any(|tool| tool.name == *name)
    }

    /// What a call means for this agent.
    pub(crate) fn meaning(self, call: &ToolCall) -> Meaning {
        let ToolCall { name, arguments, .. } = call;
        if self.is_client(name) {
            return match tool::arguments(arguments) {
                Ok(_) => Meaning::NeedsApproval { idempotent: false },
                Err(problem) => Meaning::Refused(not_called(name, &problem)),
            };
        }
        if !self.agent.tools.contains(name) {
            return Meaning::Refused(not_called(name, "it is not granted to this agent"));
        }
        let arguments = match tool::arguments(arguments) {
            Ok(arguments) => arguments,
            Err(problem) => return Meaning::Refused(not_called(name, &problem)),
        };
        let (schema, meaning): (&Schema, _) = match (BuiltIn::from_name(name), self.outside.get(name)) {
            (Some(tool), _) => (tool.schema(), Meaning::BuiltIn(tool, arguments.clone())),
            (None, Some(tool)) => (&tool.schema, Meaning::Outside { idempotent: tool.idempotent }),
            (None, None) if self.custom.contains_key(name) => {
                return Meaning::Refused(not_called(name, NO_SANDBOX));
            }
            (None, None) if foreign::is(name) => {
                return Meaning::Refused(not_called(name, foreign::NOT_HERE));
            }
            (None, None) => {
                return Meaning::Refused(not_called(name, "it is not on offer here any more"));
            }
        };
        match schema.check(&Value::Object(arguments)) {
            Ok(()) if self.agent.approvals.contains(name) => Meaning::NeedsApproval {
                idempotent: !matches!(meaning, Meaning::Outside { idempotent: false }),
            },
            Ok(()) => meaning,
            Err(problem) => {
                Meaning::Refused(not_called(name, &format!("the arguments do not fit: {problem}")))
            }
        }
    }
}

/// What the result of a refused call begins with.
fn refusal(name: &str) -> String {
    format!("the tool {name:?} was not called: ")
}

/// What a model is told about a call that was not made.
fn not_called(name: &str, why: &str) -> String {
    format!("{}{why}", refusal(name))
}

/// Whether a result says that its call was not made.
pub(crate) fn was_refused(name: &str, text: &str) -> bool {
    text.starts_with(&refusal(name))
}

fn before_you_end(missing: &[String]) -> String {
    format!("Before you end, call {}.", missing.join(" and "))
}

/// What the run ends with, rules apart.
///
/// An agent that talks by calling `send_message` is done having done that, unless the same answer
/// calls for something whose result it wants to read. Plain text without a call is what it says,
/// too: many models forget the tool. Any other agent is done when it calls nothing.
fn ending(agent_type: AgentType, answer: &ModelAnswer, meanings: &[Meaning]) -> Option<StopReason> {
    if meanings.is_empty() {
        let empty = answer.text.as_ref().is_none_or(|text| text.trim().is_empty());
        return Some(match answer.stop {
            Stop::MaxTokens => StopReason::MaxTokensExceeded,
            Stop::EndTurn | Stop::ToolUse | Stop::Refusal | Stop::Other(_) if empty => StopReason::NoToolCall,
            Stop::EndTurn | Stop::ToolUse | Stop::Refusal | Stop::Other(_) => StopReason::EndTurn,
        });
    }
    if !agent_type.talks_by_tool() {
        return None;
    }
    let speaks = meanings.iter().any(|meaning| matches!(meaning, Meaning::BuiltIn(BuiltIn::SendMessage, _)));
    let wants_more = meanings.iter().any(|meaning| match meaning {
        Meaning::BuiltIn(tool, _) => tool.result_matters(),
        Meaning::Outside { .. } | Meaning::NeedsApproval { .. } | Meaning::Refused(_) => true,
    });
    (speaks && !wants_more).then_some(StopReason::EndTurn)
}

/// What the machine has to know of a call that succeeded, or not, and brought a pause or none.
pub(crate) fn new_call(meaning: &Meaning, ok: bool, pause: Option<Pause>) -> NewCall {
    match (meaning, pause.filter(|_| ok)) {
        (Meaning::BuiltIn(..), Some(pause)) => NewCall::Pauses(pause),
        (Meaning::BuiltIn(..) | Meaning::Refused(_), _) => NewCall::Done { ok },
        (Meaning::Outside { idempotent }, _) => NewCall::Outside { idempotent: *idempotent },
        (Meaning::NeedsApproval { idempotent }, _) => NewCall::NeedsApproval { idempotent: *idempotent },
    }
}
