//! Calls and their answers as they travel between nodes.
//!
//! A call keeps its key and its fingerprint, which were made where it came in; its deadline
//! travels as what is left of it. An error arrives with the code, the advice and the words that
//! it had.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::call::{CallKey, Caller, Fingerprint, TurnId};
use kelpie_core::capacity::Full;
use kelpie_core::id::ActorId;
use kelpie_core::inbox::Mark;
use kelpie_core::limits;
use kelpie_core::ownership::{Myself, Own, Why};
use kelpie_core::probe::{Edge, Probe};
use kelpie_core::trace::TraceContext;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::actor::TurnError;
use crate::call::{CallError, Keep, Outcome, Request};
use crate::leaving::MigrateError;
use crate::load::describe;
use crate::typed::Misfit;

/// What one node asks of another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// To serve a call.
    Call(Box<RemoteCall>),
    /// To refuse a call that waits in its mailbox, so that a circle of waits ends.
    Refuse { edge: Edge, cycle: String },
    /// To give an actor to another process.
    Migrate { actor: ActorId, to: Myself },
    /// To say what an actor does in its memory.
    Look { actor: ActorId },
    /// To stop a turn, and to say within `limit` what came of it.
    Cancel { actor: ActorId, turn: TurnId, limit: Duration },
    /// To have its program say what it knows of an actor beside its records.
    Aside { actor: ActorId, question: Bytes },
    /// To know that the asking node has taken an actor from an owner that lives.
    Taken { actor: ActorId, own: Own },
}

/// What one node tells another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// A probe has come to an actor there.
    Probe(Probe),
}

/// What is to be done for the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RemoteTask {
    /// One of its operations.
    Handle,
    /// Something owed is due.
    Wake,
}

/// A call on its way to the actor's owner.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteCall {
    pub(crate) task: RemoteTask,
    actor: ActorId,
    operation: String,
    payload: Bytes,
    caller: Caller,
    key: CallKey,
    fresh: bool,
    fingerprint: Fingerprint,
    remaining: Duration,
    chain: Vec<ActorId>,
    mark: Option<Mark>,
    keep: Keep,
    trace: Option<TraceContext>,
    /// Why the node that is asked should have the actor, if it has to claim it.
    pub(crate) why: Why,
}

impl RemoteCall {
    /// A request with so much of its time left.
    pub(crate) fn new(request: &Request, task: RemoteTask, remaining: Duration, why: Why) -> Self {
        Self {
            task,
            actor: request.actor.clone(),
            operation: request.operation.clone(),
            payload: request.payload.clone(),
            caller: request.caller.clone(),
            key: request.key,
            fresh: request.fresh,
            fingerprint: request.fingerprint,
            remaining,
            chain: request.chain.clone(),
            mark: request.mark,
            keep: request.keep,
            trace: request.trace.filter(|_| !kelpie_core::mutant!("trace_stays_home")),
            why,
        }
    }

    /// The seeded bug of a key for each way.
    pub(crate) fn rename(&mut self, drawn: u128) {
        self.key = CallKey(drawn.to_be_bytes());
    }

    /// The request, on a node whose clock shows `now`.
    ///
    /// # Errors
    /// When it exceeds limits that the node it came from should have kept to.
    pub(crate) fn into_request(self, now: Duration) -> Result<Request, CallError> {
        let too_large = |what: &'static str, bytes, bytes_max| CallError::TooLarge {
            what: what.into(),
            bytes,
            bytes_max,
        };
        if self.payload.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(too_large("the payload", self.payload.len(), limits::PAYLOAD_BYTES_MAX));
        }
        if self.operation.len() > limits::OPERATION_BYTES_MAX {
            return Err(too_large("the operation's name", self.operation.len(), limits::OPERATION_BYTES_MAX));
        }
        if self.chain.len() > limits::CALL_DEPTH_MAX {
            return Err(CallError::TooDeep);
        }
        Ok(Request {
            actor: self.actor,
            operation: self.operation,
            payload: self.payload,
            caller: self.caller,
            key: self.key,
            fresh: self.fresh,
            fingerprint: self.fingerprint,
            deadline: now.saturating_add(self.remaining),
            chain: self.chain,
            mark: self.mark,
            keep: self.keep,
            trace: self.trace,
        })
    }
}

/// What the node that was asked says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Who owns the actor, as far as it knows.
    pub(crate) own: Option<Own>,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It served the call.
    Reply(Bytes),
    /// It served the call, which has ended like this.
    Error(RemoteError),
    /// It does not own the actor. `begun`: it did for a while, and the call may have run.
    NotOwner { begun: bool },
    /// It takes no calls. Nothing happened.
    NotReady,
    /// It was to move an actor, and did not.
    NotMoved(MigrateError),
    /// The question can't be read.
    Unreadable(String),
}

impl Answer {
    pub(crate) fn of_outcome(own: Option<Own>, outcome: Outcome) -> Self {
        let verdict = match outcome {
            Ok(reply) if reply.len() > REPLY_BYTES_MAX => {
                Verdict::Error(RemoteError::of(&CallError::TooLarge {
                    what: "the reply".into(),
                    bytes: reply.len(),
                    bytes_max: REPLY_BYTES_MAX,
                }))
            }
            Ok(reply) => Verdict::Reply(reply),
            Err(error) => Verdict::Error(RemoteError::of(&error)),
        };
        Self { own, verdict }
    }
}

/// Bytes of a reply that a caller on another node can get: a recorded one has no more.
const REPLY_BYTES_MAX: usize = crate::large::VALUE_BYTES_MAX;

/// A [`CallError`] on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum RemoteError {
    App { code: String, message: String, detail: Option<Bytes> },
    KeyReused,
    NoSuchType { actor_type: String },
    NotARead { operation: String },
    TooLarge { what: String, bytes: u64, bytes_max: u64 },
    Cycle { chain: String },
    Deadlock { cycle: String },
    TooDeep,
    MailboxFull,
    TooMany { of: String, retry_after: Duration },
    TooLate,
    ShuttingDown,
    NotReady { cause: String },
    NotRun { reason: String },
    Panicked,
    Misfit(Misfit),
    Handler { message: String },
    Unknown,
    Full { max: u64 },
}

impl RemoteError {
    pub(crate) fn of(error: &CallError) -> Self {
        match error.clone() {
            CallError::App { code, message, detail } => Self::App { code, message, detail },
            CallError::KeyReused => Self::KeyReused,
            CallError::NoSuchType { actor_type } => Self::NoSuchType { actor_type },
            CallError::NotARead { operation } => Self::NotARead { operation },
            CallError::TooLarge { what, bytes, bytes_max } => {
                Self::TooLarge { what: what.into_owned(), bytes: bytes as u64, bytes_max: bytes_max as u64 }
            }
            CallError::Cycle { chain } => Self::Cycle { chain },
            CallError::Deadlock { cycle } => Self::Deadlock { cycle },
            CallError::TooDeep => Self::TooDeep,
            CallError::MailboxFull => Self::MailboxFull,
            CallError::TooMany { of, retry_after } => Self::TooMany { of: of.into_owned(), retry_after },
            CallError::TooLate => Self::TooLate,
            CallError::ShuttingDown => Self::ShuttingDown,
            CallError::NotReady { cause } => Self::NotReady { cause },
            CallError::NotRun { reason } => Self::NotRun { reason },
            CallError::Panicked => Self::Panicked,
            CallError::Handler(turn) => match turn.misfit() {
                Some(misfit) => Self::Misfit(misfit.clone()),
                None => Self::Handler { message: describe(&*turn) },
            },
            CallError::Unknown => Self::Unknown,
            CallError::Full(Full { max }) => Self::Full { max },
        }
    }

    pub(crate) fn into_error(self) -> CallError {
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        match self {
            Self::App { code, message, detail } => CallError::App { code, message, detail },
            Self::KeyReused => CallError::KeyReused,
            Self::NoSuchType { actor_type } => CallError::NoSuchType { actor_type },
            Self::NotARead { operation } => CallError::NotARead { operation },
            Self::TooLarge { what, bytes, bytes_max } => {
                CallError::TooLarge { what: what.into(), bytes: size(bytes), bytes_max: size(bytes_max) }
            }
            Self::Cycle { chain } => CallError::Cycle { chain },
            Self::Deadlock { cycle } => CallError::Deadlock { cycle },
            Self::TooDeep => CallError::TooDeep,
            Self::MailboxFull => CallError::MailboxFull,
            Self::TooMany { of, retry_after } => CallError::TooMany { of: of.into(), retry_after },
            Self::TooLate => CallError::TooLate,
            Self::ShuttingDown => CallError::ShuttingDown,
            Self::NotReady { cause } => CallError::NotReady { cause },
            Self::NotRun { reason } => CallError::NotRun { reason },
            Self::Panicked => CallError::Panicked,
            Self::Misfit(misfit) => CallError::Handler(Arc::new(misfit.into())),
            Self::Handler { message } => CallError::Handler(Arc::new(TurnError::Remote { message })),
            Self::Unknown => CallError::Unknown,
            Self::Full { max } => CallError::Full(Full { max }),
        }
    }
}

/// Writes what travels.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_allocvec(value).expect("what travels is plain data, and memory grows").into()
}

/// Reads what has travelled.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
