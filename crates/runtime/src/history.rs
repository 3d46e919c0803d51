//! What the store keeps of an actor, for people who want to know what has happened to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use kelpie_core::call::{CallKey, Caller, OutboxPosition, TurnId};
use kelpie_core::id::{ActorId, Epoch, NodeId, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::{record, row};
use kelpie_registry::Head;
use kelpie_storage::Transaction;

use crate::actor::TurnError;
use crate::fence::fence_keys;
use crate::large;
use crate::load;
use crate::outbox::{self, DeadLetter};
use crate::records::pages;
use crate::reminder::{self, Reminder};
use crate::runtime::Runtime;
use crate::stored::{Dedup, Message, Reply, Running, StepRecord};

/// Messages of one sender that are counted; beyond that there are "more".
const COUNTED_MAX: usize = 1_000;

/// What the store keeps of an actor, all of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Who may commit for it. Nothing: it was never called.
    pub owner: Option<NodeId>,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// How many commits it has seen.
    pub commits: Seq,
    /// Its records, by name.
    pub records: Kept<KeptRecord>,
    /// Replies that a call with the same key would get again. Their order means nothing: a key
    /// is kept as its hash.
    pub replies: Kept<KeptReply>,
    /// The turn that has recorded a step and has not ended.
    pub running: Option<KeptTurn>,
    /// Messages that it has sent and that are not noted as delivered, oldest first.
    pub messages: Kept<KeptMessage>,
    /// Messages that their receivers refused for good, oldest first.
    pub dead_letters: Kept<DeadLetter>,
    /// Its reminders, by name.
    pub reminders: Kept<Reminder>,
    /// Whose messages it has had, by sender.
    pub inbox: Kept<KeptInbox>,
}

/// The first of what is kept, and whether there is more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept<T> {
    /// The first ones.
    pub first: Vec<T>,
    /// Whether others follow.
    pub more: bool,
}

/// One of an actor's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its name within the actor.
    pub name: Bytes,
    /// The bytes of its value.
    pub bytes: usize,
}

/// The reply to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReply {
    /// The hash of caller and idempotency key.
    pub key: CallKey,
    /// The code of the actor's refusal; nothing when it was done.
    pub refusal: Option<String>,
    /// The bytes of the reply.
    pub bytes: usize,
    /// When the key counts as new again, in milliseconds of wall time.
    pub expires_ms: Option<u64>,
}

/// A turn that has recorded a step and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTurn {
    /// Names it, for [`Runtime::cancel`].
    pub turn: TurnId,
    /// What was called. Empty: what the runtime does for the actor.
    pub operation: String,
    /// By whom.
    pub caller: Caller,
    /// When it was begun first, in milliseconds of wall time.
    pub begun_ms: u64,
    /// When it is given up, in milliseconds of wall time.
    pub deadline_ms: u64,
    /// How often it was begun.
    pub attempts: u32,
    /// Its steps, by key: the bytes of a result, or nothing when only the intent is recorded.
    pub steps: BTreeMap<String, Option<usize>>,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place in the outbox.
    pub position: OutboxPosition,
    /// For whom.
    pub to: ActorId,
    /// What it calls.
    pub operation: String,
    /// The bytes of its payload.
    pub bytes: usize,
}

/// What is kept of one sender's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInbox {
    /// The sender.
    pub sender: ActorId,
    /// Below it all of the sender's messages have been had, and nothing is kept of them.
    pub low: Option<OutboxPosition>,
    /// Messages above it that have been had.
    pub had: usize,
    /// Whether there are more than were counted.
    pub more: bool,
}

impl Runtime {
    /// What the store keeps of an actor: of each kind the first `limit`. Activates nothing.
    ///
    /// ```
    /// # use futures::future::BoxFuture;
    /// # use kelpie::untyped::{Actor, Call, HandlerError, Turn, View};
    /// # use kelpie::{ActorId, Bytes};
    /// # struct Note;
    /// # impl Actor for Note {
    /// #     fn actor_type(&self) -> &str {
    /// #         "note"
    /// #     }
    /// #     fn is_read(&self, operation: &str) -> bool {
    /// #         operation == "read"
    /// #     }
    /// #     fn read<'a>(
    /// #         &'a self, view: &'a View, _: &'a str, _: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move { Ok(view.get(b"text").await?.unwrap_or_default()) })
    /// #     }
    /// #     fn handle<'a>(
    /// #         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move {
    /// # match operation {
    /// #     "write" => turn.set("text", payload.to_vec()),
    /// #     _ => turn.send(turn.actor().clone(), "write", payload.to_vec()),
    /// # }
    /// # Ok(Bytes::new())
    /// #         })
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Note)).start().await?;
    /// # let runtime = cluster.runtime();
    /// use kelpie::untyped::IdempotencyKey;
    /// use kelpie::{History, KeptRecord};
    ///
    /// let note = ActorId::new("default", "note", "a")?;
    /// let call = Call::new(note.clone(), "write", "milk").key(IdempotencyKey::new("monday")?);
    /// runtime.call(call).await?;
    /// let kept: History = runtime.history(&note, 10).await?;
    /// assert_eq!(kept.records.first, [KeptRecord { name: "text".into(), bytes: 4 }]);
    /// assert_eq!((kept.replies.first.len(), kept.replies.more), (1, false));
    /// assert_eq!((kept.commits.0, kept.running, kept.messages.first), (1, None, vec![]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store does not answer, or a record cannot be read.
    pub async fn history(&self, actor: &ActorId, limit: usize) -> Result<History, TurnError> {
        let mut tx = self.node.store.begin();
        let tx = &mut tx;
        let stored = tx.get_many_snapshot(&fence_keys(actor)).await?;
        let [own, head] = [stored.first(), stored.get(1)].map(|row| row.cloned().flatten());
        let own: Option<Own> = own.map(|own| record::decode(&own)).transpose()?;
        let head: Head = head.map(|head| record::decode(&head)).transpose()?.unwrap_or_default();
        Ok(History {
            epoch: own.as_ref().map_or(Epoch(0), |own| own.epoch),
            owner: own.map(|own| own.node),
            commits: head.seq,
            records: records(tx, actor, limit).await?,
            replies: replies(tx, actor, limit).await?,
            running: running(tx, actor).await?,
            messages: messages(tx, actor, limit).await?,
            dead_letters: Kept::of(outbox::dead_letters_at(tx, actor, limit.saturating_add(1)).await?, limit),
            reminders: Kept::of(reminder::read_all_at(tx, actor).await?, limit),
            inbox: inbox(tx, actor, limit).await?,
        })
    }
}

impl<T> Kept<T> {
    /// Of one more than are wanted, if there are that many.
    fn of(mut all: Vec<T>, limit: usize) -> Self {
        let more = all.len() > limit;
        all.truncate(limit);
        Self { first: all, more }
    }
}

/// The first rows that start with `prefix`: without it, and their values in place or not. One
/// more than are wanted.
async fn rows(tx: &mut Transaction, prefix: &Bytes, limit: usize) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
    pages(tx, prefix.clone(), row::after(prefix), limit.saturating_add(1), false).await
}

async fn records(tx: &mut Transaction, actor: &ActorId, limit: usize) -> Result<Kept<KeptRecord>, TurnError> {
    let prefix = row::state(actor, b"");
    let rows = rows(tx, &prefix, limit).await?.into_iter();
    let kept = rows.map(|(key, stored)| {
        let bytes = large::bytes(&stored);
        KeptRecord { name: key.slice(prefix.len()..), bytes }
    });
    Ok(Kept::of(kept.collect(), limit))
}

async fn replies(tx: &mut Transaction, actor: &ActorId, limit: usize) -> Result<Kept<KeptReply>, TurnError> {
    let prefix = row::dedups(actor);
    let mut replies = Vec::new();
    for (key, stored) in rows(tx, &prefix, limit).await? {
        let Ok(call) = key[prefix.len()..].try_into() else { continue };
        let dedup: Dedup = record::decode(&large::value(tx, &key, stored).await?)?;
        let (refusal, bytes) = match dedup.reply {
            Reply::Done(reply) => (None, reply.len()),
            Reply::App { code, message, detail } => {
                (Some(code), message.len() + detail.map_or(0, |detail| detail.len()))
            }
        };
        replies.push(KeptReply { key: CallKey(call), refusal, bytes, expires_ms: dedup.expires_ms });
    }
    Ok(Kept::of(replies, limit))
}

async fn running(tx: &mut Transaction, actor: &ActorId) -> Result<Option<KeptTurn>, TurnError> {
    let key = row::running(actor);
    let Some(stored) = tx.get_snapshot(&key).await? else { return Ok(None) };
    let running: Running = record::decode(&large::value(tx, &key, stored).await?)?;
    let steps = load::steps(tx, actor, &running).await?.into_iter();
    let bytes = |StepRecord { result, .. }: StepRecord| result.map(|result| result.len());
    Ok(Some(KeptTurn {
        turn: running.key.turn(actor),
        steps: steps.map(|(key, step)| (key, bytes(step))).collect(),
        operation: running.operation,
        caller: running.caller,
        begun_ms: running.now_ms,
        deadline_ms: running.deadline_ms,
        attempts: running.attempts,
    }))
}

async fn messages(
    tx: &mut Transaction,
    actor: &ActorId,
    limit: usize,
) -> Result<Kept<KeptMessage>, TurnError> {
    let mut messages = Vec::new();
    for (key, stored) in rows(tx, &row::outboxes(actor), limit).await? {
        let Some(position) = row::parse_outbox(&key) else { continue };
        let message: Message = record::decode(&large::value(tx, &key, stored).await?)?;
        let Message { to, operation, payload, key: _, trace: _ } = message;
        messages.push(KeptMessage { position, to, operation, bytes: payload.len() });
    }
    Ok(Kept::of(messages, limit))
}

/// Goes from sender to sender, not from message to message.
async fn inbox(tx: &mut Transaction, actor: &ActorId, limit: usize) -> Result<Kept<KeptInbox>, TurnError> {
    let prefix = row::all_inboxes(actor);
    let end = row::after(&prefix);
    let (mut begin, mut senders) = (prefix.clone(), Vec::new());
    while senders.len() <= limit {
        let first = pages(tx, begin, end.clone(), 1, false).await?;
        let Some(sender) = first.first().and_then(|(key, _)| ActorId::decode(&key[prefix.len()..])) else {
            break;
        };
        let of_sender = row::inboxes(actor, &sender);
        let had = rows(tx, &of_sender, COUNTED_MAX).await?.len();
        let low = tx.get_snapshot(&row::low(actor, &sender)).await?;
        let low = low.map(|low| record::decode(&low)).transpose()?;
        begin = row::after(&of_sender);
        senders.push(KeptInbox { sender, low, had: had.min(COUNTED_MAX), more: had > COUNTED_MAX });
    }
    Ok(Kept::of(senders, limit))
}
