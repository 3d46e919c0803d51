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
mod approve;
mod archives;
pub(crate) mod blocks;
pub(crate) mod builtin;
pub(crate) mod closing;
mod conversations;
mod desk;
mod ending;
pub(crate) mod fork;
pub(crate) mod index;
pub(crate) mod judge;
mod manage;
mod passages;
mod pause;
mod perform;
pub(crate) mod rows;
pub(crate) mod schedule;
mod summarize;
mod talk;
mod tools;
pub(crate) mod undo;
pub(crate) mod working;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_core::record;
use kelpie_env::Env;
use kelpie_memory::block::{BlockChange, NewBlock};
use kelpie_memory::embedding::Embeddings;
use kelpie_memory::recall::Verdict;
use kelpie_runtime::typed::STATE_OPERATION;
use kelpie_runtime::{Actor, EffectContext, HandlerError, PendingEffect, Turn, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::budget::Spending;
use crate::conversation::UpdateConversation;
use crate::follow;
use crate::hub::Hub;
use crate::message::NewMessage;
use crate::models::Models;
use crate::provider::{ModelAnswer, Usage};
use crate::query::SendOptions;
use crate::tool::custom::NewTool;
use crate::tool::runner::{OutsideTool, ToolOutcome, ToolRunner};
pub(crate) use conversations::position_of;
use desk::Desk;

/// The name of the actor type.
pub(crate) const ACTOR_TYPE: &str = "agent";

/// What all agents of this process share.
pub(crate) struct Shared {
    pub(crate) models: Models,
    pub(crate) runner: Arc<dyn ToolRunner>,
    /// The runner's tools, by name, as they were at the start.
    pub(crate) outside: BTreeMap<String, OutsideTool>,
    /// What gives passages and questions their vectors, if there is any.
    pub(crate) embeddings: Option<Arc<Embeddings>>,
    /// What models cost, and what a tenant may use up.
    pub(crate) spending: Spending,
    pub(crate) hub: Hub,
}

/// The behaviour of all agents.
pub(crate) struct AgentActor {
    pub(crate) shared: Arc<Shared>,
}

/// The operations of an agent.
pub(crate) mod operation {
    pub(crate) const CREATE: &str = "create";
    /// Of an actor that is to become an agent like another.
    pub(crate) const COPY_ROWS: &str = "copy_rows";
    pub(crate) const PUBLISH_FORK: &str = "publish_fork";
    pub(crate) const UPDATE: &str = "update";
    pub(crate) const DELETE: &str = "delete";
    pub(crate) const ADD_BLOCK: &str = "add_block";
    pub(crate) const UPDATE_BLOCK: &str = "update_block";
    pub(crate) const UNDO_BLOCK: &str = "undo_block";
    pub(crate) const REMOVE_BLOCK: &str = "remove_block";
    pub(crate) const SHARE_BLOCK: &str = "share_block";
    pub(crate) const ATTACH_BLOCK: &str = "attach_block";
    pub(crate) const DETACH_BLOCK: &str = "detach_block";
    /// Of a block that belongs to no agent.
    pub(crate) const CREATE_OWN_BLOCK: &str = "create_own_block";
    pub(crate) const CHANGE_OWN_BLOCK: &str = "change_own_block";
    pub(crate) const UNDO_OWN_BLOCK: &str = "undo_own_block";
    pub(crate) const DELETE_OWN_BLOCK: &str = "delete_own_block";
    pub(crate) const MESSAGE: &str = "message";
    pub(crate) const DECIDE: &str = "decide";
    pub(crate) const CANCEL: &str = "cancel";
    pub(crate) const CANCEL_ALL: &str = "cancel_all";
    pub(crate) const COMPACT: &str = "compact";
    pub(crate) const RESET: &str = "reset";
    pub(crate) const SET_TOOL: &str = "set_tool";
    pub(crate) const RUN_TOOL: &str = "run_tool";
    pub(crate) const SET_WORKING: &str = "set_working";
    pub(crate) const DELETE_WORKING: &str = "delete_working";
    pub(crate) const SCHEDULE: &str = "schedule";
    pub(crate) const CANCEL_SCHEDULE: &str = "cancel_schedule";
    /// Of a schedule whose time has come.
    pub(crate) const SCHEDULED: &str = "scheduled";
    pub(crate) const INSERT_PASSAGE: &str = "insert_passage";
    pub(crate) const DELETE_PASSAGE: &str = "delete_passage";
    /// Of whatever has passages: to make their rows for searches again.
    pub(crate) const RENEW_INDEX: &str = "renew_index";
    /// Of a tool that is source code.
    pub(crate) const KEEP_TOOL: &str = "keep_tool";
    pub(crate) const CHANGE_TOOL: &str = "change_tool";
    pub(crate) const DELETE_TOOL: &str = "delete_tool";
    /// Of an archive.
    pub(crate) const CREATE_ARCHIVE: &str = "create_archive";
    pub(crate) const CHANGE_ARCHIVE: &str = "change_archive";
    pub(crate) const DELETE_ARCHIVE: &str = "delete_archive";
    pub(crate) const INSERT_IN_ARCHIVE: &str = "insert_in_archive";
    pub(crate) const DELETE_IN_ARCHIVE: &str = "delete_in_archive";
    pub(crate) const FIND_IN_ARCHIVE: &str = "find_in_archive";
    pub(crate) const ATTACH_ARCHIVE: &str = "attach_archive";
    pub(crate) const DETACH_ARCHIVE: &str = "detach_archive";
    pub(crate) const BEGIN_CONVERSATION: &str = "begin_conversation";
    pub(crate) const UPDATE_CONVERSATION: &str = "update_conversation";
    pub(crate) const DELETE_CONVERSATION: &str = "delete_conversation";
    pub(crate) const FORK_CONVERSATION: &str = "fork_conversation";
    pub(crate) const MODEL_ANSWERED: &str = "model_answered";
    pub(crate) const MODEL_FAILED: &str = "model_failed";
    pub(crate) const TOOL_RETURNED: &str = "tool_returned";
    pub(crate) const SUMMARY_MADE: &str = "summary_made";
}

/// Codes of an agent's own refusals. What stands after the slash names a field.
pub(crate) mod code {
    pub(crate) const NOT_FOUND: &str = "agent.not_found";
    pub(crate) const NO_BLOCK: &str = "agent.no_block";
    pub(crate) const NO_RUN: &str = "agent.no_run";
    pub(crate) const NO_CONVERSATION: &str = "agent.no_conversation";
    pub(crate) const NO_PASSAGE: &str = "agent.no_passage";
    pub(crate) const NO_NOTE: &str = "agent.no_note";
    pub(crate) const NO_SCHEDULE: &str = "agent.no_schedule";
    pub(crate) const NO_MESSAGE: &str = "agent.no_message";
    pub(crate) const NO_TOOL: &str = "agent.no_tool";
    pub(crate) const NO_ARCHIVE: &str = "agent.no_archive";
    /// A name belongs to something else.
    pub(crate) const TAKEN: &str = "agent.taken";
    /// What stands after the slash is the run that goes on.
    pub(crate) const IN_USE: &str = "agent.in_use";
    /// What stands after the slash is the run that waits.
    pub(crate) const PENDING_APPROVAL: &str = "agent.pending_approval";
    pub(crate) const NOTHING_PENDING: &str = "agent.nothing_pending";
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

/// A block that belongs to no agent is to be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateBlock {
    pub(crate) block: NewBlock,
    pub(crate) kept: BTreeMap<String, serde_json::Value>,
}

/// A change of a block that belongs to no agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangeBlock {
    pub(crate) change: BlockChange,
    pub(crate) kept: BTreeMap<String, serde_json::Value>,
}

/// Something said to an agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) options: SendOptions,
}

/// Somebody decides about calls that wait for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Decide {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) options: SendOptions,
}

/// How a tool of the agent's is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetTool {
    pub(crate) name: String,
    /// Whether the agent has it.
    pub(crate) attached: Option<bool>,
    /// Whether somebody has to approve each call.
    pub(crate) requires_approval: Option<bool>,
}

/// A tool of source code to be kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeepTool {
    pub(crate) tool: NewTool,
    /// Whether it takes the place of one of that name.
    pub(crate) replaces: bool,
}

/// A conversation to be begun from another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForkConversation {
    pub(crate) number: u64,
    /// The last message that it takes over; all if absent.
    pub(crate) to: Option<u64>,
    pub(crate) hidden: bool,
}

/// A change of a conversation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangeConversation {
    pub(crate) number: u64,
    pub(crate) change: UpdateConversation,
}

/// The run that a message sets off.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) run_id: String,
}

/// The model's answer comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    #[serde(default)]
    pub(crate) conversation: u64,
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    pub(crate) answer: ModelAnswer,
    /// What it cost, if its model has a price.
    #[serde(default)]
    pub(crate) microdollars: Option<u64>,
}

/// The model has no answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotAnswered {
    #[serde(default)]
    pub(crate) conversation: u64,
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A tool's result comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Returned {
    #[serde(default)]
    pub(crate) conversation: u64,
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) call: usize,
    pub(crate) attempt: u32,
    pub(crate) outcome: ToolOutcome,
}

/// A summary comes in, or that there is none.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summarized {
    pub(crate) conversation: u64,
    pub(crate) run_id: String,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    /// The summary, what it used and what that cost, or why there is none.
    pub(crate) outcome: Result<(String, Usage, Option<u64>), String>,
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
        match operation {
            COPY_ROWS => return Ok(reply(&fork::copy(turn, request(payload)?).await?)),
            PUBLISH_FORK => return Ok(reply(&fork::publish(turn, request(payload)?).await?)),
            CREATE_OWN_BLOCK => return Ok(reply(&blocks::create(turn, request(payload)?).await?)),
            CHANGE_OWN_BLOCK => return Ok(reply(&blocks::change(turn, request(payload)?).await?)),
            UNDO_OWN_BLOCK => return Ok(reply(&blocks::undo(turn).await?)),
            DELETE_OWN_BLOCK => return Ok(reply(&blocks::delete(turn).await?)),
            KEEP_TOOL => return Ok(reply(&tools::keep(turn, &self.shared, request(payload)?).await?)),
            CHANGE_TOOL => return Ok(reply(&tools::change(turn, request(payload)?).await?)),
            DELETE_TOOL => return Ok(reply(&tools::delete(turn).await?)),
            CREATE_ARCHIVE => return Ok(reply(&archives::create(turn, request(payload)?).await?)),
            CHANGE_ARCHIVE => return Ok(reply(&archives::change(turn, request(payload)?).await?)),
            DELETE_ARCHIVE => return Ok(reply(&archives::delete(turn).await?)),
            INSERT_IN_ARCHIVE => {
                return Ok(reply(&archives::insert(turn, &self.shared, request(payload)?).await?));
            }
            RENEW_INDEX => return Ok(reply(&index::renew(turn, &self.shared, request(payload)?).await?)),
            DELETE_IN_ARCHIVE => {
                let id = request::<String>(payload)?;
                return Ok(reply(&archives::delete_passage(turn, &id).await?));
            }
            _ => {}
        }
        let mut desk = Desk::open(turn, &self.shared).await?;
        if operation == DELETE {
            desk.delete().await?;
            return Ok(reply(&()));
        }
        let reply = match keep(&mut desk, operation, payload).await? {
            Some(reply) => reply,
            None => talk(&mut desk, operation, payload).await?,
        };
        desk.close();
        Ok(reply)
    }
}

/// What is about the agent itself: its settings, its blocks, its tools, its passages.
async fn keep(desk: &mut Desk<'_>, operation: &str, payload: &[u8]) -> Result<Option<Bytes>, HandlerError> {
    use operation::*;
    Ok(Some(match operation {
        UPDATE => reply(&desk.update(request(payload)?).await?),
        ADD_BLOCK => reply(&desk.add_block(request::<NewBlock>(payload)?)?),
        UPDATE_BLOCK => reply(&desk.update_block(&request(payload)?).await?),
        UNDO_BLOCK => reply(&desk.undo_block(&request::<String>(payload)?).await?),
        REMOVE_BLOCK => {
            desk.remove_block(&request::<String>(payload)?).await?;
            reply(&())
        }
        SHARE_BLOCK => reply(&desk.share_block(&request::<String>(payload)?).await?),
        ATTACH_BLOCK => reply(&desk.attach_block(&request::<String>(payload)?).await?),
        DETACH_BLOCK => reply(&desk.detach_block(&request::<String>(payload)?).await?),
        ATTACH_ARCHIVE => reply(&desk.attach_archive(&request::<String>(payload)?).await?),
        DETACH_ARCHIVE => reply(&desk.detach_archive(&request::<String>(payload)?)?),
        SET_TOOL => reply(&desk.set_tool(request(payload)?).await?),
        RUN_TOOL => reply(&desk.run_tool(&request(payload)?).await?),
        SET_WORKING => reply(&desk.set_working(request(payload)?).await?),
        DELETE_WORKING => reply(&desk.delete_working(&request::<String>(payload)?).await?),
        SCHEDULE => reply(&desk.schedule(request(payload)?).await?),
        CANCEL_SCHEDULE => reply(&desk.cancel_schedule(&request::<String>(payload)?).await?),
        INSERT_PASSAGE => reply(&desk.keep(request(payload)?).await?),
        DELETE_PASSAGE => reply(&desk.delete_passage(&request::<String>(payload)?).await?),
        _ => return Ok(None),
    }))
}

/// What is about its conversations and their runs.
async fn talk(desk: &mut Desk<'_>, operation: &str, payload: &[u8]) -> Result<Bytes, HandlerError> {
    use operation::*;
    Ok(match operation {
        MESSAGE => reply(&desk.message(request(payload)?).await?),
        SCHEDULED => reply(&desk.say_scheduled(&String::from_utf8_lossy(payload)).await?),
        DECIDE => reply(&desk.decide(request(payload)?).await?),
        COMPACT => reply(&desk.compact(request(payload)?).await?),
        RESET => reply(&desk.reset(request(payload)?).await?),
        CANCEL => reply(&desk.cancel(&request::<String>(payload)?).await?),
        CANCEL_ALL => reply(&desk.cancel_all(request(payload)?).await?),
        BEGIN_CONVERSATION => reply(&desk.begin_conversation(request(payload)?)?),
        UPDATE_CONVERSATION => reply(&desk.update_conversation(request(payload)?).await?),
        DELETE_CONVERSATION => reply(&desk.delete_conversation(request(payload)?).await?),
        FORK_CONVERSATION => reply(&desk.fork_conversation(request(payload)?).await?),
        MODEL_ANSWERED => reply(&desk.model_answered(request(payload)?).await?),
        MODEL_FAILED => reply(&desk.model_failed(request(payload)?).await?),
        TOOL_RETURNED => reply(&desk.tool_returned(request(payload)?).await?),
        SUMMARY_MADE => reply(&desk.summary_made(request(payload)?).await?),
        unknown => return Err(invalid("operation", format!("an agent has no operation `{unknown}`"))),
    })
}

impl Actor for AgentActor {
    fn actor_type(&self) -> &str {
        ACTOR_TYPE
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == STATE_OPERATION || operation == operation::FIND_IN_ARCHIVE
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
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            if operation == operation::FIND_IN_ARCHIVE {
                return archives::find(view, &self.shared, &request(payload)?).await;
            }
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

    fn asked(&self, env: Env, actor: ActorId, question: Bytes) -> BoxFuture<'static, Bytes> {
        follow::tell(self.shared.clone(), env, actor, question).boxed()
    }
}
