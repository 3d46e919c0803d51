//! Durable reminders: operations that an actor wants to run later, though nobody calls.
//!
//! ```text
//!   reminder/<actor>/<name>      what runs, which setting of the name, how often it has fired
//!   due/<actor>/<due>/<name>     the same reminders in the order of their times
//!   head/<actor>                 the earliest of these times; the wake entry follows from it
//! ```
//!
//! Reminders are set and cancelled by turns and committed with them. A firing is a turn of
//! its own: it reads its row first and does nothing if the row is another setting or another
//! occurrence, and the row goes on to its next time in the commit of what the firing did. So
//! each occurrence has its effect once, and an idle reminder costs three rows and nothing
//! else.
//!
//! Invariant: the head's reminder time is the first of the actor's due rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kelpie_core::advice::Advice;
use kelpie_core::id::ActorId;
use kelpie_core::limits::{OPERATION_BYTES_MAX, REMINDER_NAME_BYTES_MAX, REMINDER_PAYLOAD_BYTES_MAX};
use kelpie_core::reminder::{Repeat, Schedule};
use kelpie_core::{record, row};
use kelpie_storage::{Store, Transaction};
use serde::{Deserialize, Serialize};

use crate::activation::{Activation, Task};
use crate::actor::TurnError;
use crate::call::{CallError, Outcome};
use crate::fence::Fence;
use crate::load::describe;
use crate::node::Node;
use crate::records::pages;
use crate::stored::ReminderRecord;
use crate::turn::Turn;

/// Due reminders of one actor that are read at once.
const FIRINGS_PER_ROUND: usize = 64;

/// A reminder as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    /// Its name within its actor.
    pub name: String,
    /// When it fires next, in milliseconds of wall time.
    pub due_ms: u64,
    /// How it goes on then.
    pub repeat: Repeat,
    /// How often it has fired.
    pub fired: u64,
    /// Which operation runs.
    pub operation: String,
    /// With what.
    pub payload: Bytes,
}

/// One time that a reminder fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The reminder's name.
    pub name: String,
    /// Which setting of the name it is.
    pub(crate) generation: u64,
    /// How often it has fired before.
    pub occurrence: u64,
    /// When it was due, in milliseconds of wall time; it may be long ago.
    pub due_ms: u64,
}

/// How a turn leaves one reminder.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// When the stored one is due, if there is one.
    before_ms: Option<u64>,
    after: Option<ReminderRecord>,
}

/// What a turn leaves of reminders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reminders {
    changes: BTreeMap<String, Change>,
    /// The earliest due time after the changes, once it has been looked up.
    pub(crate) earliest_ms: Option<Option<u64>>,
}

impl Reminders {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn change(&mut self, name: String, change: Change) {
        self.changes.insert(name, change);
    }

    /// Whether it leaves the same reminders, whatever the commits are that they count from.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let of = |change: &Change| {
            let after = change.after.clone().map(|after| ReminderRecord { generation: 0, ..after });
            (change.before_ms, after)
        };
        let all = |reminders: &Self| -> Vec<_> {
            reminders.changes.iter().map(|(name, change)| (name.clone(), of(change))).collect()
        };
        all(self) == all(other)
    }

    /// Writes the rows of what has changed.
    pub(crate) fn fill(&self, tx: &mut Transaction, actor: &ActorId) {
        for (name, change) in &self.changes {
            if let Some(due_ms) = change.before_ms {
                tx.clear(row::due(actor, due_ms, name));
            }
            match &change.after {
                Some(reminder) => {
                    tx.set(row::reminder(actor, name), record::encode(reminder));
                    tx.set(row::due(actor, reminder.due_ms, name), Bytes::new());
                }
                None => tx.clear(row::reminder(actor, name)),
            }
        }
    }

    /// Looks up the earliest due time of what this leaves.
    pub(crate) async fn find_earliest(
        &mut self,
        store: &Store,
        actor: &ActorId,
        fence: &Fence,
    ) -> Result<(), TurnError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut tx = store.begin();
        if !fence.holds(&mut tx, actor).await? {
            return Err(TurnError::Moved);
        }
        let limit = self.changes.len() + 1;
        let stored = dues(&mut tx, actor, None, limit).await?;
        let kept =
            stored.iter().find(|(_, name)| !self.changes.contains_key(name)).map(|(due_ms, _)| *due_ms);
        let changed =
            self.changes.values().filter_map(|change| change.after.as_ref()).map(|after| after.due_ms);
        self.earliest_ms = Some(changed.chain(kept).min());
        Ok(())
    }
}

/// The actor's first reminders by due time, up to `until_ms` inclusive.
async fn dues(
    tx: &mut Transaction,
    actor: &ActorId,
    until_ms: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, String)>, TurnError> {
    let prefix = row::dues(actor);
    let end = match until_ms.and_then(|until_ms| until_ms.checked_add(1)) {
        Some(end_ms) => row::due(actor, end_ms, ""),
        None => row::after(&prefix),
    };
    let rows = pages(tx, prefix.clone(), end, limit, false).await?;
    let parsed = rows.iter().filter_map(|(key, _)| row::parse_due(&key[prefix.len()..]));
    Ok(parsed.map(|(due_ms, name)| (due_ms, name.to_owned())).collect())
}

/// One reminder, at the version of `tx`.
pub(crate) async fn read_at(
    tx: &mut Transaction,
    actor: &ActorId,
    name: &str,
) -> Result<Option<Reminder>, TurnError> {
    match tx.get_snapshot(&row::reminder(actor, name)).await? {
        None => Ok(None),
        Some(stored) => Ok(Some(reminder(name, record::decode(&stored)?))),
    }
}

/// All reminders, at the version of `tx`, by name.
pub(crate) async fn read_all_at(tx: &mut Transaction, actor: &ActorId) -> Result<Vec<Reminder>, TurnError> {
    let prefix = row::reminder(actor, "");
    let rows = pages(tx, prefix.clone(), row::after(&prefix), usize::MAX, false).await?;
    rows.iter()
        .map(|(key, stored)| {
            Ok(reminder(&String::from_utf8_lossy(&key[prefix.len()..]), record::decode(stored)?))
        })
        .collect()
}

fn reminder(name: &str, record: ReminderRecord) -> Reminder {
    let ReminderRecord { generation: _, occurrence, due_ms, repeat, operation, payload } = record;
    Reminder { name: name.to_owned(), due_ms, repeat, fired: occurrence, operation, payload }
}

impl Turn {
    /// Has an operation of this actor run later, as a turn of its own, though nobody calls:
    /// each time once, also after crashes; what was missed while nobody ran counts as one
    /// time. Set with this turn's commit, in place of what has that name. Returns when it is
    /// due first, in milliseconds of wall time.
    ///
    /// The operation runs with [`kelpie_core::call::Caller::Runtime`] as its caller; what it
    /// fires for is [`Turn::firing`]. Its own refusal, or an error that would come again, ends
    /// that occurrence: the reminder goes on with the next.
    ///
    /// ```
    /// # use futures::future::BoxFuture;
    /// # use kelpie::untyped::{Actor, Call, HandlerError, RecordRange, Turn, View};
    /// # use kelpie::{ActorId, Bytes, Caller};
    /// # use kelpie::Schedule;
    /// # use std::time::Duration;
    /// # struct Clock;
    /// # impl Actor for Clock {
    /// #     fn actor_type(&self) -> &str {
    /// #         "clock"
    /// #     }
    /// #     fn is_read(&self, operation: &str) -> bool {
    /// #         operation == "read"
    /// #     }
    /// #     fn read<'a>(
    /// #         &'a self, _view: &'a View, _: &'a str, _: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move { Ok(Bytes::new()) })
    /// #     }
    /// #     fn handle<'a>(
    /// #         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move {
    /// // In `Actor::handle`.
    /// match operation {
    ///     "wind" => {
    ///         let due_ms = turn.remind("noon", Schedule::After(Duration::from_millis(5)), "strike", "12").await?;
    ///         turn.remind("evening", Schedule::Every(Duration::from_secs(60)), "strike", "6").await?;
    ///         assert_eq!(turn.reminder("noon").await?.map(|noon| noon.due_ms), Some(due_ms));
    ///     }
    ///     _ => {
    ///         // It fires for its first time, which is due.
    ///         let firing = turn.firing().map(|firing| (firing.name.clone(), firing.occurrence));
    ///         assert_eq!(firing, Some(("noon".to_owned(), 0)));
    ///         turn.set("struck", payload.to_vec());
    ///         assert!(turn.cancel_reminder("evening").await?, "there was one");
    ///     }
    /// }
    /// Ok(Bytes::new())
    /// #         })
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Clock)).start().await?;
    /// # let runtime = cluster.runtime();
    /// let clock = ActorId::new("default", "clock", "tower")?;
    /// runtime.call(Call::new(clock.clone(), "wind", "")).await?;
    /// while runtime.view(&clock).get(b"struck").await?.is_none() {
    ///     runtime.env().sleep(Duration::from_millis(1)).await;
    /// }
    /// assert_eq!(runtime.view(&clock).reminders().await?, []);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TurnError::Schedule`] for a schedule that can't be kept, [`TurnError::TooLarge`] for a
    /// name, an operation or a payload beyond its limit.
    pub async fn remind(
        &mut self,
        name: &str,
        schedule: Schedule,
        operation: &str,
        payload: impl Into<Bytes>,
    ) -> Result<u64, TurnError> {
        let payload = payload.into();
        for (what, bytes, bytes_max) in [
            ("a reminder's name", name.len(), REMINDER_NAME_BYTES_MAX),
            ("a reminder's operation", operation.len(), OPERATION_BYTES_MAX),
            ("a reminder's payload", payload.len(), REMINDER_PAYLOAD_BYTES_MAX),
        ] {
            if bytes > bytes_max {
                return Err(TurnError::TooLarge { what, bytes, bytes_max });
            }
        }
        let (due_ms, repeat) = schedule.begin(self.now_ms)?;
        let before_ms = self.stored_due(name).await?;
        // No two commits leave the same sequence behind, so no two settings share it.
        let generation = self.activation.head().seq.0;
        let operation = operation.to_owned();
        let after = ReminderRecord { generation, occurrence: 0, due_ms, repeat, operation, payload };
        self.work.reminders.change(name.to_owned(), Change { before_ms, after: Some(after) });
        Ok(due_ms)
    }

    /// Takes a reminder back, with this turn's commit. Returns whether there was one. A firing
    /// of it that has not begun does nothing any more.
    ///
    /// Shown at [`Turn::remind`].
    ///
    /// # Errors
    /// When the store does not answer, or the actor has moved.
    pub async fn cancel_reminder(&mut self, name: &str) -> Result<bool, TurnError> {
        let before_ms = self.stored_due(name).await?;
        let there = match self.work.reminders.changes.get(name) {
            Some(change) => change.after.is_some(),
            None => before_ms.is_some(),
        };
        self.work.reminders.change(name.to_owned(), Change { before_ms, after: None });
        Ok(there)
    }

    /// One of the actor's reminders, as this turn has left it.
    ///
    /// Shown at [`Turn::remind`].
    ///
    /// # Errors
    /// When the store does not answer, or the actor has moved.
    pub async fn reminder(&self, name: &str) -> Result<Option<Reminder>, TurnError> {
        if let Some(change) = self.work.reminders.changes.get(name) {
            return Ok(change.after.clone().map(|after| reminder(name, after)));
        }
        Ok(self.stored_reminder(name).await?.map(|stored| reminder(name, stored)))
    }

    /// The occurrence that this turn runs for, if it is a reminder's.
    ///
    /// Shown at [`Turn::remind`].
    pub fn firing(&self) -> Option<&Firing> {
        self.firing.as_ref().map(|(firing, _)| firing)
    }

    async fn stored_reminder(&self, name: &str) -> Result<Option<ReminderRecord>, TurnError> {
        let stored = self.stored_row(&row::reminder(self.actor(), name)).await?;
        Ok(stored.map(|stored| record::decode(&stored)).transpose()?)
    }

    async fn stored_due(&self, name: &str) -> Result<Option<u64>, TurnError> {
        match self.work.reminders.changes.get(name) {
            Some(change) => Ok(change.before_ms),
            None => Ok(self.stored_reminder(name).await?.map(|stored| stored.due_ms)),
        }
    }

    /// Makes this turn the firing, unless its row is gone or has moved on. Whatever comes of
    /// the turn, the row goes on with its commit.
    pub(crate) async fn begin_firing(&mut self, firing: &Firing, skips: bool) -> Result<bool, TurnError> {
        let Some(stored) = self.stored_reminder(&firing.name).await? else { return Ok(false) };
        if (stored.generation, stored.occurrence) != (firing.generation, firing.occurrence) {
            return Ok(false);
        }
        let before_ms = Some(stored.due_ms);
        // By the present, not by the turn's own time: a turn that was resumed late has missed
        // what came due meanwhile.
        let next_ms = stored.repeat.next(stored.due_ms, self.activation.node.env.wall_ms());
        let occurrence = stored.occurrence + 1;
        let after = if kelpie_core::mutant!("reminder_fired_twice") && !skips {
            Some(stored)
        } else {
            next_ms.map(|due_ms| ReminderRecord { due_ms, occurrence, ..stored })
        };
        self.firing = Some((firing.clone(), Change { before_ms, after }));
        self.advance_reminder();
        Ok(true)
    }

    /// Has the row of the firing go on with this turn's commit.
    pub(crate) fn advance_reminder(&mut self) {
        if let Some((firing, change)) = &self.firing {
            self.work.reminders.change(firing.name.clone(), change.clone());
        }
    }
}

impl Activation {
    /// Whether a reminder is due.
    pub(crate) fn is_reminded(&self, now_ms: u64) -> bool {
        let state = self.state.lock();
        let due_ms = state.loaded.as_ref().and_then(|loaded| loaded.head.get().reminder_ms);
        due_ms.is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// Fires what is due, one after the other, until nothing is or one cannot run now: its
    /// wake entry stays.
    pub(crate) async fn fire_due(self: Arc<Self>) {
        loop {
            let now_ms = self.node.env.wall_ms();
            let due = match self.due_firings(now_ms).await {
                Ok(due) if due.is_empty() => return,
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(actor = %self.actor, error = describe(&error), "the reminders cannot be read");
                    return;
                }
            };
            for (firing, record) in due {
                if let Err(error) = self.fire(&firing, record).await {
                    tracing::warn!(
                        actor = %self.actor,
                        reminder = firing.name,
                        error = describe(&error),
                        "a reminder could not fire; it is tried again"
                    );
                    return;
                }
            }
        }
    }

    async fn due_firings(&self, now_ms: u64) -> Result<Vec<(Firing, ReminderRecord)>, TurnError> {
        let mut tx = self.node.store.begin();
        let mut firings = Vec::new();
        for (_, name) in dues(&mut tx, &self.actor, Some(now_ms), FIRINGS_PER_ROUND).await? {
            if let Some(stored) = tx.get_snapshot(&row::reminder(&self.actor, &name)).await? {
                let record: ReminderRecord = record::decode(&stored)?;
                let ReminderRecord { generation, occurrence, due_ms, .. } = record;
                firings.push((Firing { name, generation, occurrence, due_ms }, record));
            }
        }
        Ok(firings)
    }

    /// Runs one occurrence to its end, whatever that is.
    async fn fire(&self, firing: &Firing, record: ReminderRecord) -> Result<(), CallError> {
        metrics::counter!("kelpie_reminders_fired_total").increment(1);
        let task = Task::Remind(firing.clone());
        let outcome = self.enter_firing("remind", firing, &record.operation, record.payload, task).await;
        if kelpie_core::mutant!("reminder_fired_twice") && outcome.is_ok() {
            return self.skip(firing).await;
        }
        let Err(error) = outcome else { return Ok(()) };
        match error.advice() {
            Advice::NotRun | Advice::Unknown => Err(error),
            Advice::App | Advice::Fix => {
                metrics::counter!("kelpie_reminders_failed_total").increment(1);
                tracing::error!(
                    actor = %self.actor,
                    reminder = firing.name,
                    occurrence = firing.occurrence,
                    error = describe(&error),
                    "a reminder failed; it goes on with its next time"
                );
                // After a panic nothing of the turn is left, so the row has not gone on yet.
                self.skip(firing).await
            }
        }
    }

    /// Lets the reminder go on without running anything, if it has not gone on yet.
    async fn skip(&self, firing: &Firing) -> Result<(), CallError> {
        let task = Task::Skip(firing.clone());
        self.enter_firing("skip", firing, "", Bytes::new(), task).await.map(drop)
    }

    async fn enter_firing(
        &self,
        what: &str,
        firing: &Firing,
        operation: &str,
        payload: Bytes,
        task: Task,
    ) -> Outcome {
        let Firing { name, generation, occurrence, .. } = firing;
        let hash = blake3::hash(name.as_bytes()).to_hex();
        let name = format!("{what} {generation}.{occurrence}.{hash}");
        let request = self.node.owed_request(&self.actor, &name, operation, payload);
        Node::enter(self.node.clone(), request, task).await
    }
}
