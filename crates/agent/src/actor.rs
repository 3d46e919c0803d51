//! The agent as an actor: its operations, each a short turn.
//!
//! ```text
//!   message ─▶ turn: log + run begins ─▶ commit ─▶ effect: ask the model
//!                                                       │ model_answered
//!              turn: answer, memory, results ◀──────────┘
//!                 └▶ commit ─▶ effects: call tools ─▶ tool_returned ─▶ turn … until the run ends
//! ```
//!
//! No turn waits for a model or a tool. Whatever a crash loses is owed by the recorded run;
//! the wake entry, kept while a run goes on, brings it back.
//!
//! Invariant: an answer, the memory edits that it makes, the results that they have and the
//! intents of the next effects are one commit.

mod advance;
mod builtin;
mod desk;
mod judge;
mod manage;
mod perform;
pub(crate) mod rows;
mod talk;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::record;
use kelpie_memory::block::{BlockChange, NewBlock};
use kelpie_runtime::typed::STATE_OPERATION;
use kelpie_runtime::{Actor, EffectContext, HandlerError, PendingEffect, Turn, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::message::NewMessage;
use crate::models::Models;
use crate::provider::ModelAnswer;
use crate::query::SendOptions;
use crate::tool::runner::{OutsideTool, ToolOutcome, ToolRunner};
use desk::Desk;

/// The name of the actor type.
pub(crate) const ACTOR_TYPE: &str = "agent";

/// What all agents of this process share.
pub(crate) struct Shared {
    pub(crate) models: Models,
    pub(crate) runner: Arc<dyn ToolRunner>,
    /// The runner's tools, by name, as they were at the start.
    pub(crate) outside: BTreeMap<String, OutsideTool>,
    pub(crate) hub: Hub,
}

/// The behaviour of all agents.
pub(crate) struct AgentActor {
    pub(crate) shared: Arc<Shared>,
}

/// The operations of an agent.
pub(crate) mod operation {
    pub(crate) const CREATE: &str = "create";
    pub(crate) const UPDATE: &str = "update";
    pub(crate) const DELETE: &str = "delete";
    pub(crate) const ADD_BLOCK: &str = "add_block";
    pub(crate) const UPDATE_BLOCK: &str = "update_block";
    pub(crate) const REMOVE_BLOCK: &str = "remove_block";
    pub(crate) const MESSAGE: &str = "message";
    pub(crate) const CANCEL: &str = "cancel";
    pub(crate) const MODEL_ANSWERED: &str = "model_answered";
    pub(crate) const MODEL_FAILED: &str = "model_failed";
    pub(crate) const TOOL_RETURNED: &str = "tool_returned";
}

/// Codes of an agent's own refusals. What stands after the slash names a field.
pub(crate) mod code {
    pub(crate) const NOT_FOUND: &str = "agent.not_found";
    pub(crate) const NO_BLOCK: &str = "agent.no_block";
    pub(crate) const NO_RUN: &str = "agent.no_run";
    pub(crate) const EXISTS: &str = "agent.exists";
    pub(crate) const BUSY: &str = "agent.busy";
    pub(crate) const INVALID: &str = "agent.invalid";
}

/// A field of the request cannot be used.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> HandlerError {
    HandlerError::app(format!("{}/{field}", code::INVALID), message)
}

/// A change of a block.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpdateBlock {
    pub(crate) label: String,
    pub(crate) change: BlockChange,
}

/// Something said to an agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) options: SendOptions,
}

/// The run that a message sets off.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) run_id: String,
}

/// The model's answer comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    pub(crate) answer: ModelAnswer,
}

/// The model has no answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotAnswered {
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A tool's result comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Returned {
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) call: usize,
    pub(crate) attempt: u32,
    pub(crate) outcome: ToolOutcome,
}

fn request<T: DeserializeOwned>(payload: &[u8]) -> Result<T, HandlerError> {
    record::decode(payload).map_err(|error| invalid("payload", error.to_string()))
}

fn reply<T: Serialize>(value: &T) -> Bytes {
    record::encode(value)
}

impl AgentActor {
    async fn turn(&self, turn: &mut Turn, operation: &str, payload: &[u8]) -> Result<Bytes, HandlerError> {
        use operation::*;
        if operation == CREATE {
            return Ok(reply(&manage::create(turn, &self.shared, request(payload)?).await?));
        }
        let mut desk = Desk::open(turn, &self.shared).await?;
        let reply = match operation {
            UPDATE => reply(&desk.update(request(payload)?)?),
            DELETE => {
                desk.delete();
                return Ok(reply(&()));
            }
            ADD_BLOCK => reply(&desk.add_block(request::<NewBlock>(payload)?)?),
            UPDATE_BLOCK => reply(&desk.update_block(&request(payload)?)?),
            REMOVE_BLOCK => {
                desk.remove_block(&request::<String>(payload)?)?;
                reply(&())
            }
            MESSAGE => reply(&desk.message(request(payload)?).await?),
            CANCEL => reply(&desk.cancel(&request::<String>(payload)?).await?),
            MODEL_ANSWERED => reply(&desk.model_answered(request(payload)?).await?),
            MODEL_FAILED => reply(&desk.model_failed(request(payload)?).await?),
            TOOL_RETURNED => reply(&desk.tool_returned(request(payload)?).await?),
            unknown => return Err(invalid("operation", format!("an agent has no operation `{unknown}`"))),
        };
        desk.close();
        Ok(reply)
    }
}

impl Actor for AgentActor {
    fn actor_type(&self) -> &str {
        ACTOR_TYPE
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == STATE_OPERATION
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        self.turn(turn, operation, payload).boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            if operation != STATE_OPERATION {
                return Err(invalid(
                    "operation",
                    format!("`{operation}` is no read: agents are read from the store"),
                ));
            }
            let agent = rows::viewed(view).await?;
            serde_json::to_vec(&agent).map(Bytes::from).map_err(|error| invalid("state", error.to_string()))
        }
        .boxed()
    }

    fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            if !rows::is_alive(turn).await? {
                turn.wake_at(None);
                return Ok(());
            }
            let mut desk = Desk::open(turn, &self.shared).await?;
            desk.wake().await?;
            desk.close();
            Ok(())
        }
        .boxed()
    }

    fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
        perform::perform(self.shared.clone(), context, effect).boxed()
    }
}
