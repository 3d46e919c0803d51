//! What a read turn works with: the last committed state, and no way to change it.

use std::sync::Arc;

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_core::row;
use kelpie_storage::Transaction;
use tokio::sync::Mutex;

use crate::activation::Activation;
use crate::actor::{RecordRange, TurnError};
use crate::fence::Fence;
use crate::outbox::{self, DeadLetter};
use crate::records;
use crate::reminder::{self, Reminder};

/// Read access to one actor's records, all of one version.
///
/// ```
/// # use futures::future::BoxFuture;
/// # use kelpie::untyped::{Actor, Call, HandlerError, RecordRange, Turn, View};
/// # use kelpie::{ActorId, Bytes, Caller};
/// # use kelpie::Schedule;
/// # struct Diary;
/// # impl Actor for Diary {
/// #     fn actor_type(&self) -> &str {
/// #         "diary"
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
/// turn.set(format!("day/{operation}"), payload.to_vec());
/// let week = Schedule::Every(std::time::Duration::from_secs(604_800));
/// turn.remind("look back", week, "look back", "").await?;
/// Ok(Bytes::new())
/// #         })
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Diary)).start().await?;
/// # let runtime = cluster.runtime();
/// let diary = ActorId::new("default", "diary", "ann")?;
/// runtime.call(Call::new(diary.clone(), "1", "rain")).await?;
/// runtime.call(Call::new(diary.clone(), "2", "sun")).await?;
///
/// // From outside. `Actor::read` is given one, too: all it reads is of one version.
/// let view = runtime.view(&diary);
/// assert_eq!((view.actor(), view.now_ms() > 1_600_000_000_000), (&diary, true));
/// assert_eq!(view.get(b"day/2").await?, Some("sun".into()));
/// assert_eq!(view.range(RecordRange::prefix(b"day/")).await?.len(), 2);
/// assert!(view.reminder("look back").await?.is_some());
/// assert_eq!(view.reminders().await?.len(), 1);
/// assert_eq!(view.dead_letters(10).await?, []);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct View {
    now_ms: u64,
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// An activation, as of this fence; a read after the fence has moved fails.
    Activation(Arc<Activation>, Fence),
    /// The store, at the version of the first read.
    Store(ActorId, Arc<Mutex<Transaction>>),
}

impl View {
    pub(crate) fn of_activation(activation: Arc<Activation>, fence: Fence) -> Self {
        let now_ms = activation.node.env.wall_ms();
        Self { now_ms, source: Source::Activation(activation, fence) }
    }

    pub(crate) fn of_store(actor: ActorId, now_ms: u64, tx: Transaction) -> Self {
        Self { now_ms, source: Source::Store(actor, Arc::new(Mutex::new(tx))) }
    }

    /// Whose records these are.
    ///
    /// Shown at [`View`].
    pub fn actor(&self) -> &ActorId {
        match &self.source {
            Source::Activation(activation, _) => &activation.actor,
            Source::Store(actor, _) => actor,
        }
    }

    /// Wall time in milliseconds when the read began.
    ///
    /// Shown at [`View`].
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// One record.
    ///
    /// Shown at [`View`].
    pub async fn get(&self, record: &[u8]) -> Result<Option<Bytes>, TurnError> {
        match &self.source {
            Source::Activation(activation, fence) => activation.record(fence, record).await,
            Source::Store(actor, tx) => records::read_at(&mut *tx.lock().await, actor, record).await,
        }
    }

    /// An entry of an index of the actor's tenant and type.
    ///
    /// Shown at [`Turn::index_set`](crate::Turn::index_set).
    pub async fn index_get(&self, index: &str, entry: &[u8]) -> Result<Option<Bytes>, TurnError> {
        let actor = self.actor();
        let key = row::index(actor.tenant(), actor.actor_type(), index, entry);
        match &self.source {
            Source::Activation(activation, _) => Ok(activation.node.store.begin().get(&key).await?),
            Source::Store(_, tx) => Ok(tx.lock().await.get(&key).await?),
        }
    }

    /// Records in a range.
    ///
    /// Shown at [`View`].
    pub async fn range(&self, range: RecordRange) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
        match &self.source {
            Source::Activation(activation, fence) => {
                records::read_range(&activation.node.store, &activation.actor, fence, &range).await
            }
            Source::Store(actor, tx) => records::read_range_at(&mut *tx.lock().await, actor, &range).await,
        }
    }

    /// One of the actor's reminders.
    ///
    /// Shown at [`View`].
    pub async fn reminder(&self, name: &str) -> Result<Option<Reminder>, TurnError> {
        match &self.source {
            Source::Activation(activation, fence) => {
                let mut tx = self.fenced(activation, fence).await?;
                reminder::read_at(&mut tx, &activation.actor, name).await
            }
            Source::Store(actor, tx) => reminder::read_at(&mut *tx.lock().await, actor, name).await,
        }
    }

    /// All of the actor's reminders, by name.
    ///
    /// Shown at [`View`].
    pub async fn reminders(&self) -> Result<Vec<Reminder>, TurnError> {
        match &self.source {
            Source::Activation(activation, fence) => {
                let mut tx = self.fenced(activation, fence).await?;
                reminder::read_all_at(&mut tx, &activation.actor).await
            }
            Source::Store(actor, tx) => reminder::read_all_at(&mut *tx.lock().await, actor).await,
        }
    }

    /// Messages of the actor that their receivers refused for good, oldest first, at most
    /// `limit`.
    ///
    /// Shown at [`View`].
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, TurnError> {
        match &self.source {
            Source::Activation(activation, fence) => {
                let mut tx = self.fenced(activation, fence).await?;
                outbox::dead_letters_at(&mut tx, &activation.actor, limit).await
            }
            Source::Store(actor, tx) => outbox::dead_letters_at(&mut *tx.lock().await, actor, limit).await,
        }
    }

    async fn fenced(&self, activation: &Activation, fence: &Fence) -> Result<Transaction, TurnError> {
        let mut tx = activation.node.store.begin();
        if fence.holds(&mut tx, &activation.actor).await? { Ok(tx) } else { Err(TurnError::Moved) }
    }
}
