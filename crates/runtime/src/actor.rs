//! What an actor type does: the untyped seam under every actor.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_core::record::RecordError;
use kelpie_core::reminder::ScheduleError;
use kelpie_env::Env;
use kelpie_storage::ReadError;

use crate::call::CallError;
use crate::effect::{EffectContext, PendingEffect};
use crate::turn::Turn;
use crate::view::View;

/// The behaviour of one actor type.
///
/// ```
/// use std::time::Duration;
///
/// use futures::future::BoxFuture;
/// use kelpie::untyped::{Actor, Call, EffectContext, HandlerError, PendingEffect, PlacementWish, Turn, View};
/// use kelpie::{ActorId, Bytes, Env};
///
/// /// Has things fetched, outside of its turns, until they are here.
/// struct Shelf;
///
/// impl Actor for Shelf {
///     fn actor_type(&self) -> &str {
///         "shelf"
///     }
///     fn is_read(&self, operation: &str) -> bool {
///         operation == "look"
///     }
///     fn takes_json(&self) -> bool {
///         false
///     }
///     fn wish(&self, _actor: &ActorId) -> PlacementWish {
///         PlacementWish { label: Some("zone=a".to_owned()), ..PlacementWish::default() }
///     }
///     fn handle<'a>(
///         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         Box::pin(async move {
///             if operation == "order" {
///                 turn.set("owed", payload.to_vec());
///                 turn.wake_at(Some(turn.now_ms())); // at once
///             } else {
///                 turn.clear("owed");
///                 turn.set("here", payload.to_vec());
///                 turn.wake_at(None);
///             }
///             Ok(Bytes::new())
///         })
///     }
///     fn read<'a>(
///         &'a self, view: &'a View, _: &'a str, _: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         Box::pin(async move { Ok(view.get(b"here").await?.unwrap_or_default()) })
///     }
///     fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
///         Box::pin(async move {
///             let Some(owed) = turn.get(b"owed").await? else { return Ok(()) };
///             if !turn.in_flight("fetch") {
///                 turn.perform("fetch", owed);
///             }
///             // A crash may lose the effect: it is asked for again while it is owed.
///             turn.wake_at(Some(turn.now_ms() + 1_000));
///             Ok(())
///         })
///     }
///     fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
///         Box::pin(async move {
///             context.env().sleep(Duration::from_millis(1)).await; // a call of the world outside
///             let owed = context.view().get(b"owed").await;
///             assert_eq!(owed.ok().flatten().as_ref(), Some(&effect.payload), "{}", context.actor());
///             // Its result is a call like others.
///             drop(context.call_back("came", effect.payload, &effect.key).await);
///         })
///     }
///     fn asked(&self, _env: Env, actor: ActorId, _question: Bytes) -> BoxFuture<'static, Bytes> {
///         Box::pin(async move { Bytes::from(format!("{actor} is here")) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Shelf)).start().await?;
/// let runtime = cluster.runtime();
/// let shelf = ActorId::new("default", "shelf", "a")?;
/// runtime.call(Call::new(shelf.clone(), "order", "a lamp")).await?;
/// while runtime.call(Call::new(shelf.clone(), "look", "")).await? != "a lamp" {
///     runtime.env().sleep(Duration::from_millis(1)).await;
/// }
/// # Ok(())
/// # }
/// ```
pub trait Actor: Send + Sync + 'static {
    /// The name of the type: the second part of its actors' ids.
    ///
    /// Shown at [`Actor`].
    fn actor_type(&self) -> &str;

    /// Whether an operation is a read turn: it writes nothing, may run beside a turn that
    /// waits, and sees the last committed version.
    ///
    /// Shown at [`Actor`].
    fn is_read(&self, operation: &str) -> bool;

    /// Whether operations take and give JSON, so that a program in another language can call
    /// them as they are.
    ///
    /// Shown at [`Actor`].
    fn takes_json(&self) -> bool {
        false
    }

    /// An exclusive turn. What it sets on `turn` commits together with the reply, or not at
    /// all; after an error nothing of it remains. Between steps its course may depend only
    /// on committed state, recorded results and what `turn` gives it: after a crash it runs
    /// again.
    ///
    /// Shown at [`Actor`].
    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>>;

    /// Where an actor of this type would like to be. Asked when it is placed; a wish that cannot
    /// be had is passed over.
    ///
    /// Shown at [`Actor`].
    fn wish(&self, _actor: &ActorId) -> PlacementWish {
        PlacementWish::default()
    }

    /// A read turn.
    ///
    /// Shown at [`Actor`].
    fn read<'a>(
        &'a self,
        view: &'a View,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>>;

    /// An exclusive turn that nobody called for: the time set by [`Turn::wake_at`] has come.
    /// It may come early after a restart and more than once, so it looks at the time itself.
    ///
    /// Shown at [`Actor`].
    fn wake<'a>(&'a self, _turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async { Ok(()) })
    }

    /// Carries out one effect that a committed turn has left ([`Turn::perform`]), outside of
    /// any turn. A crash may lose it: the actor's state says that it is owed, and
    /// [`Actor::wake`] asks for it again.
    ///
    /// Shown at [`Actor`].
    fn perform(&self, _context: EffectContext, _effect: PendingEffect) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    /// Answers what another node's program asks ([`Runtime::ask_owner`](crate::Runtime::ask_owner))
    /// about an actor that this node owns: from what its process has in memory beside the actor's
    /// records, outside of any turn. It may wait for news; whoever asked may have gone meanwhile.
    ///
    /// Shown at [`Actor`].
    fn asked(&self, _env: Env, _actor: ActorId, _question: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async { Bytes::new() })
    }
}

/// Where an actor would like to be, among the nodes of its store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlacementWish {
    /// On the node that has this actor, if one has.
    pub near: Option<ActorId>,
    /// On a node with this label. It goes before company.
    pub label: Option<String>,
}

/// Why a handler has no result.
///
/// ```
/// use kelpie::untyped::HandlerError;
///
/// let refused = HandlerError::app("door.locked", "it is locked"); // the same key gets the same answer
/// assert_eq!(refused.to_string(), "door.locked: it is locked");
/// let later = HandlerError::not_now("door.busy", "somebody is in it"); // the same key may be let in later
/// assert!(matches!(later, HandlerError::NotNow { .. }));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandlerError {
    /// The actor's own answer. It is recorded under the call's key; state is rolled back.
    #[error("{code}: {message}")]
    App {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
        /// What a typed layer makes of it: its own error, in the encoding of its replies.
        detail: Option<Bytes>,
    },
    /// The actor's own refusal of what it would take at another time. It is not recorded: the same
    /// call under the same key may be taken later. State is rolled back.
    #[error("{code}: {message}")]
    NotNow {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
    },
    /// The turn cannot go on here; nothing of it remains.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl HandlerError {
    /// The actor's own refusal.
    ///
    /// Shown at [`HandlerError`].
    pub fn app(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::App { code: code.into(), message: message.into(), detail: None }
    }

    /// The actor's own refusal of what it would take at another time.
    ///
    /// Shown at [`HandlerError`].
    pub fn not_now(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::NotNow { code: code.into(), message: message.into() }
    }
}

/// Why a turn cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TurnError {
    /// The actor was committed to by somebody else since it was loaded.
    #[error("the actor has moved")]
    Moved,
    /// An index entry that the turn has read was changed by another actor before the commit.
    #[error("what the turn has read was changed meanwhile")]
    IndexMoved,
    /// The store did not answer.
    #[error("cannot read the actor's records")]
    Read(#[from] ReadError),
    /// The store did not take a step's record.
    #[error("the step was not recorded: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
    /// A stored record can't be read.
    #[error("a stored record can't be read")]
    Record(#[source] Arc<RecordError>),
    /// Two steps of one turn have the same key.
    #[error("step `{step}` was already taken in this turn: give each a name, an index or a key of its own")]
    StepTaken {
        /// The key.
        step: String,
    },
    /// A recorded step was asked with another input.
    #[error("step `{step}` was recorded with another input: the handler does not repeat itself")]
    StepDiverged {
        /// The key.
        step: String,
    },
    /// A step that must not run twice was begun, and a crash or an error came before its result.
    #[error("whether step `{step}` happened is not known")]
    StepUnknown {
        /// Its key.
        step: String,
    },
    /// A record's key or value is larger than allowed.
    #[error("{what} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Somebody has cancelled the turn. A handler that does not pass it on ends as if nobody had.
    #[error("the turn was cancelled")]
    Cancelled,
    /// A reminder's schedule can't be kept.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A call to another actor failed.
    #[error("a call failed")]
    Call(#[source] Box<CallError>),
    /// It was so on another node.
    #[error("{message}")]
    Remote {
        /// The error there, with its causes.
        message: String,
    },
    /// The actor's behaviour cannot serve the call: no such operation, arguments that do not
    /// fit, state that it cannot read.
    #[error("the actor's code cannot serve the call")]
    Behaviour(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl From<RecordError> for TurnError {
    fn from(error: RecordError) -> Self {
        Self::Record(Arc::new(error))
    }
}

/// A range of an actor's records.
///
/// ```
/// use kelpie::untyped::RecordRange;
///
/// let newest = RecordRange::prefix(b"page/").limit(10).reversed();
/// assert_eq!((newest.begin.as_ref(), newest.end.as_ref()), (&b"page/"[..], &b"page0"[..]));
/// assert_eq!((newest.limit, newest.reverse), (10, true));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRange {
    /// First record.
    pub begin: Bytes,
    /// First record after the range; empty: to the end.
    pub end: Bytes,
    /// At most so many rows.
    pub limit: usize,
    /// From the end towards the beginning.
    pub reverse: bool,
}

impl RecordRange {
    /// All records that start with `prefix` (empty: all there are).
    ///
    /// Shown at [`RecordRange`].
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { begin: Bytes::copy_from_slice(prefix), end: end.into(), limit: usize::MAX, reverse: false }
    }

    /// At most `limit` rows.
    ///
    /// Shown at [`RecordRange`].
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// From the end towards the beginning.
    ///
    /// Shown at [`RecordRange`].
    pub fn reversed(self) -> Self {
        Self { reverse: true, ..self }
    }

    /// Whether a record lies in it.
    pub(crate) fn contains(&self, record: &[u8]) -> bool {
        *self.begin <= *record && (self.end.is_empty() || *record < *self.end)
    }
}
