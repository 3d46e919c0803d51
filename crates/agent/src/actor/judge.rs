//! What an answer of the model means: which calls are made, and whether the run may end.

use std::collections::BTreeSet;

use kelpie_core::run::{NewCall, StopReason};
use kelpie_runtime::HandlerError;
use serde_json::{Map, Value};

use super::desk::Desk;
use crate::provider::{ModelAnswer, Stop, ToolCall};
use crate::record::AgentType;
use crate::rules::{self, Called};
use crate::tool;
use crate::tool::builtin::BuiltIn;
use crate::tool::custom::NO_SANDBOX;
use crate::tool::runner::ToolOutcome;
use crate::tool::schema::Schema;

/// What a call means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
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

impl Desk<'_> {
    /// Whether whoever sent the message carries out this tool.
    pub(super) fn client_tool(&self, name: &str) -> bool {
        let client = self.talk.current.iter().flat_map(|current| &current.client_tools);
        client.into_iter().any(|tool| tool.name == name)
    }

    /// The names of all tools whose calls wait for somebody.
    pub(super) fn asking_tools(&self) -> BTreeSet<String> {
        let client = self.talk.current.iter().flat_map(|current| &current.client_tools);
        client.map(|tool| tool.name.clone()).chain(self.agent.approvals.iter().cloned()).collect()
    }

    /// Carries out a built-in tool for a person or program, as the agent would.
    pub(super) async fn run_tool(&mut self, call: &ToolCall) -> Result<ToolOutcome, HandlerError> {
        match self.meaning(call) {
            Meaning::Refused(why) => Ok(ToolOutcome::failed(why)),
            Meaning::BuiltIn(..) | Meaning::Outside { .. } | Meaning::NeedsApproval { .. } => {
                match (BuiltIn::from_name(&call.name), tool::arguments(&call.arguments)) {
                    (Some(tool), Ok(arguments)) => Ok(self.built_in(tool, arguments).await?),
                    (_, Err(problem)) => Ok(ToolOutcome::failed(problem)),
                    (None, Ok(_)) => Ok(ToolOutcome::failed("the tool is not a built-in one")),
                }
            }
        }
    }

    /// What the calls of an answer mean, each with those before it.
    pub(super) fn meanings(&self, called: &mut Called, calls: &[ToolCall]) -> Vec<Meaning> {
        let meaning = |call: &ToolCall| {
            let meaning = self.meaning(call);
            if matches!(meaning, Meaning::Refused(_)) {
                return meaning;
            }
            if let Err(why) = rules::allows(&self.agent.rules, called, &call.name) {
                return Meaning::Refused(format!("the tool {:?} was not called: {why}", call.name));
            }
            called.call(&call.name);
            meaning
        };
        calls.iter().map(meaning).collect()
    }

    /// What the run ends with if nothing in this answer has to be seen by the model first.
    pub(super) fn ending(
        &self,
        answer: &ModelAnswer,
        calls: &[ToolCall],
        meanings: &[Meaning],
    ) -> Option<StopReason> {
        let goes_on = calls.iter().zip(meanings).any(|(call, meaning)| {
            !matches!(meaning, Meaning::Refused(_)) && rules::continues(&self.agent.rules, &call.name)
        });
        if goes_on { None } else { ending(self.agent.agent_type, answer, meanings) }
    }

    /// What a call means for this agent.
    pub(super) fn meaning(&self, call: &ToolCall) -> Meaning {
        let ToolCall { name, arguments, .. } = call;
        if self.client_tool(name) {
            return match tool::arguments(arguments) {
                Ok(_) => Meaning::NeedsApproval { idempotent: false },
                Err(problem) => Meaning::Refused(format!("the tool {name:?} was not called: {problem}")),
            };
        }
        if !self.agent.tools.contains(name) {
            return Meaning::Refused(format!(
                "the tool {name:?} is not granted to this agent; it was not called"
            ));
        }
        let arguments = match tool::arguments(arguments) {
            Ok(arguments) => arguments,
            Err(problem) => return Meaning::Refused(format!("the tool {name:?} was not called: {problem}")),
        };
        let (schema, meaning): (&Schema, _) = match (BuiltIn::from_name(name), self.shared.outside.get(name))
        {
            (Some(tool), _) => (tool.schema(), Meaning::BuiltIn(tool, arguments.clone())),
            (None, Some(tool)) => (&tool.schema, Meaning::Outside { idempotent: tool.idempotent }),
            (None, None) if self.custom.contains_key(name) => {
                return Meaning::Refused(format!("the tool {name:?} was not called: {NO_SANDBOX}"));
            }
            (None, None) => {
                return Meaning::Refused(format!("the tool {name:?} is not on offer here any more"));
            }
        };
        match schema.check(&Value::Object(arguments)) {
            Ok(()) if self.agent.approvals.contains(name) => Meaning::NeedsApproval {
                idempotent: !matches!(meaning, Meaning::Outside { idempotent: false }),
            },
            Ok(()) => meaning,
            Err(problem) => Meaning::Refused(format!(
                "the tool {name:?} was not called: the arguments do not fit: {problem}"
            )),
        }
    }
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

/// What the machine has to know of a call.
pub(super) fn new_call(meaning: &Meaning, ok: bool) -> NewCall {
    match meaning {
        Meaning::BuiltIn(..) | Meaning::Refused(_) => NewCall::Done { ok },
        Meaning::Outside { idempotent } => NewCall::Outside { idempotent: *idempotent },
        Meaning::NeedsApproval { idempotent } => NewCall::NeedsApproval { idempotent: *idempotent },
    }
}
