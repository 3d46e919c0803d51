//! Calls and what can become of them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, Fingerprint, IdempotencyKey, TurnId};
use kelpie_core::capacity::Full;
use kelpie_core::id::ActorId;
use kelpie_core::inbox::Mark;
use kelpie_core::limits;
use kelpie_core::row;
use kelpie_core::trace::TraceContext;
use serde::{Deserialize, Serialize};

use crate::actor::TurnError;
use crate::typed::Misfit;

/// A call to an actor.
///
/// ```
/// use std::time::Duration;
///
/// use kelpie::untyped::{Call, IdempotencyKey};
/// use kelpie::{ActorId, Caller};
///
/// let note = ActorId::new("default", "note", "a")?;
/// let call = Call::new(note.clone(), "write", "milk")
///     .key(IdempotencyKey::new("monday's list")?)
///     .caller(Caller::Principal { tenant: "default".to_owned(), principal: "ann".to_owned() })
///     .trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?)
///     .deadline(Duration::from_secs(2));
/// assert_eq!((call.actor(), call.operation(), call.payload().as_ref()), (&note, "write", &b"milk"[..]));
/// assert_eq!(call.idempotency_key().map(IdempotencyKey::as_str), Some("monday's list"));
///
/// let look = Call::new(note, "read", "").stale_ok();
/// assert_eq!(look.idempotency_key(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) actor: ActorId,
    pub(crate) operation: String,
    pub(crate) payload: Bytes,
    /// Nothing: somebody anonymous.
    pub(crate) caller: Option<Caller>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) deadline: Duration,
    pub(crate) chain: Vec<ActorId>,
    pub(crate) stale_ok: bool,
    pub(crate) mark: Option<Mark>,
    pub(crate) keep: Option<Keep>,
    pub(crate) trace: Option<TraceContext>,
}

impl Call {
    /// A call without a key of its own, by an anonymous caller, with the default deadline.
    ///
    /// Shown at [`Call`].
    pub fn new(actor: ActorId, operation: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            actor,
            operation: operation.into(),
            payload: payload.into(),
            caller: None,
            key: None,
            deadline: limits::CALL_DEADLINE_DEFAULT,
            chain: Vec::new(),
            stale_ok: false,
            mark: None,
            keep: None,
            trace: None,
        }
    }

    /// Says which request it belongs to: its turn, and what that calls and sends, are part of it.
    ///
    /// Shown at [`Call`].
    #[must_use]
    pub fn trace(self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self }
    }

    /// Names the intent: the same key has its effect once and gets the same reply.
    ///
    /// Shown at [`Call`].
    #[must_use]
    pub fn key(self, key: IdempotencyKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Says who calls.
    ///
    /// Shown at [`Call`].
    #[must_use]
    pub fn caller(self, caller: Caller) -> Self {
        Self { caller: Some(caller), ..self }
    }

    /// How long it may take from now.
    ///
    /// Shown at [`Call`].
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Who calls.
    pub(crate) fn who(&self) -> Cow<'_, Caller> {
        match &self.caller {
            Some(caller) => Cow::Borrowed(caller),
            None => {
                let (tenant, principal) = (self.actor.tenant().to_owned(), "anonymous".to_owned());
                Cow::Owned(Caller::Principal { tenant, principal })
            }
        }
    }

    /// Whom it calls.
    ///
    /// Shown at [`Call`].
    pub fn actor(&self) -> &ActorId {
        &self.actor
    }

    /// What it calls.
    ///
    /// Shown at [`Call`].
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// With what.
    ///
    /// Shown at [`Call`].
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The key that its caller has given it.
    ///
    /// Shown at [`Call`].
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// A read turn may be answered from what this node knows, without a question to the owner
    /// or the store: from its activation, which another node may have taken over since, or
    /// from the last commit. It activates nothing. Means nothing to other operations.
    ///
    /// Shown at [`Call`].
    #[must_use]
    pub fn stale_ok(self) -> Self {
        Self { stale_ok: true, ..self }
    }
}

/// A call on its way through this node.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) actor: ActorId,
    pub(crate) operation: String,
    pub(crate) payload: Bytes,
    pub(crate) caller: Caller,
    pub(crate) key: CallKey,
    /// The key was drawn here a moment ago: nothing can be recorded under it.
    pub(crate) fresh: bool,
    pub(crate) fingerprint: Fingerprint,
    /// On the node's monotonic clock.
    pub(crate) deadline: Duration,
    pub(crate) chain: Vec<ActorId>,
    /// Where it stands in its sender's outbox, if it is a message.
    pub(crate) mark: Option<Mark>,
    pub(crate) keep: Keep,
    /// Which request it belongs to: the part of it that has called.
    pub(crate) trace: Option<TraceContext>,
}

/// How long the reply to a call, and to the calls that its turn makes, has to be remembered:
/// for as long as the same call may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keep {
    /// Its key was drawn for it: until its deadline, and a margin for every re-route.
    Deadline,
    /// A user named it: for the published retention.
    Retention,
    /// It is owed, and comes again after any outage.
    Owed,
}

impl Keep {
    /// How long from now on, when so much of the call's time is left.
    pub(crate) fn lasts(self, remaining: Duration) -> Duration {
        let kept = match self {
            Self::Deadline => Duration::ZERO,
            Self::Retention => limits::KEY_RETENTION,
            Self::Owed => limits::KEY_RETENTION_OWED,
        };
        kept.saturating_add(remaining.min(KEPT_DEADLINE_MAX)).saturating_add(limits::KEY_MARGIN)
    }
}

/// A turn that is resumed has no deadline of its own.
const KEPT_DEADLINE_MAX: Duration = Duration::from_hours(24);

impl Request {
    /// The turn that it runs as.
    pub(crate) fn turn(&self) -> TurnId {
        self.key.turn(&self.actor)
    }

    /// The part of the request that it belongs to that its turn is. A turn that is begun again
    /// is the same part.
    pub(crate) fn turn_trace(&self) -> Option<TraceContext> {
        let TurnId(turn) = self.turn();
        let mut span = [0; 8];
        span.copy_from_slice(&turn[..8]);
        Some(self.trace?.child(u64::from_be_bytes(span)))
    }

    /// Where the reply to it stands.
    pub(crate) fn reply_row(&self) -> Bytes {
        match self.sender() {
            Some((sender, mark)) => row::inbox(&self.actor, sender, mark.position),
            None => row::dedup(&self.actor, self.key),
        }
    }

    /// Whose message it is, if it is one.
    pub(crate) fn sender(&self) -> Option<(&ActorId, &Mark)> {
        match (&self.caller, &self.mark) {
            (Caller::Actor(sender), Some(mark)) => Some((sender, mark)),
            _ => None,
        }
    }
}

/// A reply, or why there is none. Shared by all calls with one key.
pub(crate) type Outcome = Result<Bytes, CallError>;

/// What a call that gave way says before the cycle.
pub(crate) const GAVE_WAY: &str = "turns wait for each other, and this call gave way: ";

/// A call has no reply.
///
/// ```
/// use kelpie::untyped::{Call, CallError};
/// use kelpie::{ActorId, Advice};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").start().await?;
/// let called = cluster.runtime().call(Call::new(ActorId::new("default", "note", "a")?, "read", "")).await;
/// let Err(error) = called else { return Err("there are no such actors".into()) };
/// assert!(matches!(error, CallError::NoSuchType { .. }));
/// assert_eq!((error.code(), error.advice()), ("call.no_such_type", Advice::Fix));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The actor's own answer.
    #[error("{code}: {message}")]
    App {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
        /// What a typed layer makes of it: its own error, in the encoding of its replies.
        detail: Option<Bytes>,
    },
    /// The key is in use for another request.
    #[error("the idempotency key was used for another request: use a new key")]
    KeyReused,
    /// No such actor type on this node.
    #[error("there is no actor type `{actor_type}`")]
    NoSuchType {
        /// What was asked for.
        actor_type: String,
    },
    /// The operation may change the actor, and only a read can be answered like that.
    #[error("`{operation}` does not only read")]
    NotARead {
        /// What was asked for.
        operation: String,
    },
    /// Something about the request is too large.
    #[error("{what} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Which part.
        what: Cow<'static, str>,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The call would wait for itself.
    #[error("the call would wait for itself: {chain}")]
    Cycle {
        /// The chain of calls, in order.
        chain: String,
    },
    /// The call waited for an actor whose turn waits for the caller's: one of them had to give
    /// way, and it was this one.
    #[error("{GAVE_WAY}{cycle}")]
    Deadlock {
        /// The actors that wait, in order.
        cycle: String,
    },
    /// Too many actors call each other.
    #[error("the call chain is deeper than {} actors", limits::CALL_DEPTH_MAX)]
    TooDeep,
    /// Too many calls wait for the actor.
    #[error("the actor's mailbox is full: try again later")]
    MailboxFull,
    /// More calls than are allowed.
    #[error("too many {of}: try again in {} ms", .retry_after.as_millis())]
    TooMany {
        /// Of what.
        of: Cow<'static, str>,
        /// When there is room again, if nobody else comes.
        retry_after: Duration,
    },
    /// The deadline passed before the call began.
    #[error("the deadline passed before the call began")]
    TooLate,
    /// This node is shutting down.
    #[error("this node is shutting down: ask another, or try again later")]
    ShuttingDown,
    /// This node cannot renew its lease, so it admits nothing.
    #[error("this node does not admit calls: {cause}")]
    NotReady {
        /// Why.
        cause: String,
    },
    /// This node has no room for one more actor.
    #[error(transparent)]
    Full(#[from] Full),
    /// The store or the actor's owner could not serve it; nothing happened.
    #[error("nothing happened: {reason}")]
    NotRun {
        /// Why.
        reason: String,
    },
    /// The handler panicked; its state was thrown away.
    #[error("the actor's handler panicked; nothing of this call was kept")]
    Panicked,
    /// The handler did something that it must not do, or its records can't be read.
    #[error("the actor cannot handle this call")]
    Handler(#[source] Arc<TurnError>),
    /// The deadline passed while it ran: it may have happened.
    #[error("the deadline passed while the call ran: ask again with the same key")]
    Unknown,
}

impl CallError {
    /// What the caller should do about it.
    ///
    /// Shown at [`CallError`].
    pub fn advice(&self) -> Advice {
        match self {
            Self::App { .. } => Advice::App,
            Self::KeyReused
            | Self::NoSuchType { .. }
            | Self::NotARead { .. }
            | Self::TooLarge { .. }
            | Self::Cycle { .. }
            | Self::TooDeep
            | Self::Panicked
            | Self::Handler(_) => Advice::Fix,
            Self::MailboxFull
            | Self::TooMany { .. }
            | Self::Deadlock { .. }
            | Self::TooLate
            | Self::ShuttingDown
            | Self::NotReady { .. }
            | Self::Full(_)
            | Self::NotRun { .. } => Advice::NotRun,
            Self::Unknown => Advice::Unknown,
        }
    }

    /// A stable name, for programs.
    ///
    /// Shown at [`CallError`].
    pub fn code(&self) -> &str {
        match self {
            Self::App { code, .. } => code,
            Self::KeyReused => "call.key_reused",
            Self::NoSuchType { .. } => "call.no_such_type",
            Self::NotARead { .. } => "call.not_a_read",
            Self::TooLarge { .. } => "call.too_large",
            Self::Cycle { .. } => "call.cycle",
            Self::Deadlock { .. } => "call.deadlock",
            Self::TooDeep => "call.too_deep",
            Self::MailboxFull => "call.mailbox_full",
            Self::TooMany { .. } => "call.too_many",
            Self::TooLate => "call.too_late",
            Self::ShuttingDown => "node.shutting_down",
            Self::NotReady { .. } => "node.not_ready",
            Self::Full(_) => "node.full",
            Self::NotRun { .. } => "call.not_run",
            Self::Panicked => "call.panicked",
            Self::Handler(error) => error.misfit().map_or("call.handler", Misfit::code),
            Self::Unknown => "call.unknown",
        }
    }
}
