//! What an exclusive turn works with: a copy of its actor's state, and what is to leave with
//! the commit.

mod index;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, IdempotencyKey, OutboxPosition, TurnId};
use kelpie_core::id::ActorId;
use kelpie_core::limits::{RECORD_KEY_BYTES_MAX, STEP_KEY_BYTES_MAX};
use kelpie_core::probe::Edge;
use kelpie_core::protocol::Step;
use kelpie_core::trace::TraceContext;
use parking_lot::Mutex;

use crate::activation::Activation;
use crate::actor::{HandlerError, RecordRange, TurnError};
use crate::call::{Call, CallError, Request};
use crate::effect::PendingEffect;
use crate::fence::Fence;
use crate::large;
use crate::records;
use crate::reminder::{Change, Firing, Reminders};
use crate::replay::Asked;
use crate::step::{StepKey, Steps};
use crate::stored::{Message, Origin, Running, StepRecord};
use crate::waits::Wait;
pub use index::counters;

/// What a turn leaves for its commit.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Records that change; absent: cleared.
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Ranges of records that become empty, before the writes.
    pub(crate) cleared: Vec<RecordRange>,
    /// Index rows that change, by their whole key.
    pub(crate) index: BTreeMap<Bytes, Option<Bytes>>,
    /// What is added to the counters of index rows, by their whole key.
    pub(crate) added: BTreeMap<Bytes, Vec<u64>>,
    /// Index rows that were read, as they were: the commit stands only if they still are.
    pub(crate) read_index: BTreeMap<Bytes, Option<Bytes>>,
    /// The actor's own wake time, if it changes.
    pub(crate) own_wake_ms: Option<Option<u64>>,
    /// Messages to other actors.
    pub(crate) messages: Vec<Message>,
    /// Messages that have been delivered.
    pub(crate) delivered: Vec<OutboxPosition>,
    /// Of those, the ones that will never be taken.
    pub(crate) dead: Vec<(OutboxPosition, Bytes)>,
    /// What changes of its reminders.
    pub(crate) reminders: Reminders,
    /// Effects to carry out after the commit.
    pub(crate) effects: Vec<PendingEffect>,
    /// What the turn does, in the words of a specification, if somebody wants to know.
    pub(crate) steps: Vec<Step>,
    /// The first problem met while collecting the above; it fails the turn.
    pub(crate) problem: Option<TurnError>,
}

impl Work {
    /// Whether there is anything to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            writes,
            cleared,
            index,
            added,
            read_index: _,
            own_wake_ms,
            messages,
            delivered,
            dead: _,
            reminders,
            effects,
            steps: _,
            problem: _,
        } = self;
        writes.is_empty()
            && cleared.is_empty()
            && index.is_empty()
            && added.is_empty()
            && own_wake_ms.is_none()
            && messages.is_empty()
            && delivered.is_empty()
            && reminders.is_empty()
            && effects.is_empty()
    }
}

/// An exclusive turn. Everything set here commits together with the reply, or not at all.
///
/// ```
/// # use futures::future::BoxFuture;
/// # use kelpie::untyped::{Actor, Call, HandlerError, RecordRange, Turn, View};
/// # use kelpie::{ActorId, Bytes, Caller};
/// # struct Notes;
/// # impl Actor for Notes {
/// #     fn actor_type(&self) -> &str {
/// #         "notes"
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
/// // In `Actor::handle`: the page that is in `payload` goes into a record of its own.
/// let count = turn.get(b"count").await?.map_or(0, |count| count.len());
/// turn.set("count", vec![b'|'; count + 1]);
/// turn.set(format!("page/{count:03}"), payload.to_vec());
/// let drawn = turn.random_u64();
/// turn.set(format!("drawn/{count:03}"), drawn.to_le_bytes().to_vec());
/// if operation == "end" {
///     turn.clear("count");
///     turn.clear_range(RecordRange::prefix(b"drawn/"));
/// }
/// // It reads what it has written. All of it commits with the reply, or nothing.
/// let pages = turn.range(RecordRange::prefix(b"page/")).await?;
/// assert_eq!(pages.len(), count + 1);
/// assert!(turn.now_ms() > 1_600_000_000_000, "when it began; the same when it runs again");
/// assert!(matches!(turn.caller(), Caller::Principal { .. }) && turn.trace().is_none());
/// println!("{} of {}", turn.turn_id(), turn.actor());
/// Ok(Bytes::from(pages.len().to_string()))
/// #         })
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Notes)).start().await?;
/// # let runtime = cluster.runtime();
/// let notes = ActorId::new("default", "notes", "a")?;
/// assert_eq!(runtime.call(Call::new(notes.clone(), "add", "milk")).await?, "1");
/// assert_eq!(runtime.call(Call::new(notes.clone(), "end", "bread")).await?, "2");
/// assert_eq!(runtime.view(&notes).get(b"count").await?, None);
/// assert_eq!(runtime.view(&notes).range(RecordRange::prefix(b"drawn/")).await?, []);
/// # Ok(())
/// # }
/// ```
pub struct Turn {
    pub(crate) activation: Arc<Activation>,
    pub(crate) request: Arc<Request>,
    pub(crate) now_ms: u64,
    pub(crate) seed: u64,
    pub(crate) random: u64,
    pub(crate) work: Work,
    /// The low-water mark of its sender, if it grows with this turn's commit.
    pub(crate) raised: Option<OutboxPosition>,
    /// Whether another actor may have done something for it.
    pub(crate) called: AtomicBool,
    /// Whether its handler has looked at its time or its chance.
    pub(crate) drawn: AtomicBool,
    /// Why it runs.
    pub(crate) origin: Origin,
    /// The reminder's occurrence that it runs for, and how the reminder goes on.
    pub(crate) firing: Option<(Firing, Change)>,
    pub(crate) steps: Mutex<Steps>,
    /// Held by whoever commits records of steps.
    pub(crate) recorder: tokio::sync::Mutex<()>,
}

impl Turn {
    /// A turn of `request`; `resumed` with the steps that it has recorded already.
    pub(crate) fn new(
        activation: Arc<Activation>,
        request: Arc<Request>,
        origin: Origin,
        fence: Fence,
        resumed: Option<(Running, BTreeMap<String, StepRecord>)>,
    ) -> Self {
        let env = &activation.node.env;
        let running = resumed.as_ref().map(|(running, _)| running);
        let running = running.filter(|_| !kelpie_core::mutant!("resumed_turn_begins_anew"));
        let now_ms = running.map_or_else(|| env.wall_ms(), |running| running.now_ms);
        let seed = running.map_or_else(|| env.random_u64(), |running| running.seed);
        Self {
            activation,
            request,
            now_ms,
            seed,
            random: seed,
            work: Work::default(),
            raised: None,
            called: AtomicBool::new(false),
            drawn: AtomicBool::new(false),
            origin,
            firing: None,
            steps: Mutex::new(Steps::new(fence, resumed)),
            recorder: tokio::sync::Mutex::new(()),
        }
    }

    /// Takes back what the handler has left; a reminder goes on all the same.
    pub(crate) fn roll_back(&mut self) {
        self.work = Work::default();
        self.advance_reminder();
    }

    /// What stands in the place of a turn that was lent out.
    pub(crate) fn placeholder(&self) -> Self {
        Self {
            activation: self.activation.clone(),
            request: self.request.clone(),
            now_ms: self.now_ms,
            seed: self.seed,
            random: self.random,
            work: Work::default(),
            raised: None,
            called: AtomicBool::new(false),
            drawn: AtomicBool::new(false),
            origin: self.origin.clone(),
            firing: None,
            steps: Mutex::new(Steps::new(self.fence(), None)),
            recorder: tokio::sync::Mutex::new(()),
        }
    }

    /// What the turn's next commit compares.
    pub(crate) fn fence(&self) -> Fence {
        self.steps.lock().fence.clone()
    }

    /// Whose turn it is.
    ///
    /// Shown at [`Turn`].
    pub fn actor(&self) -> &ActorId {
        &self.request.actor
    }

    /// The turn's id: the same after a crash and on every node.
    ///
    /// Shown at [`Turn`].
    pub fn turn_id(&self) -> TurnId {
        self.request.turn()
    }

    /// The part of a request that this turn is, if it belongs to one: what goes along to programs
    /// outside as their `traceparent`.
    ///
    /// Shown at [`Turn`].
    pub fn trace(&self) -> Option<TraceContext> {
        self.request.turn_trace()
    }

    /// Who called.
    ///
    /// Shown at [`Turn`].
    pub fn caller(&self) -> &Caller {
        &self.request.caller
    }

    /// Wall time in milliseconds when the turn began; the same when it runs again.
    ///
    /// Shown at [`Turn`].
    pub fn now_ms(&self) -> u64 {
        self.drawn.store(true, Ordering::Relaxed);
        self.now_ms
    }

    /// The next random number; the same when the turn runs again. (SplitMix64, Steele et
    /// al., OOPSLA 2014.)
    ///
    /// Shown at [`Turn`].
    pub fn random_u64(&mut self) -> u64 {
        *self.drawn.get_mut() = true;
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of the actor's records, as this turn has left it.
    ///
    /// Shown at [`Turn`].
    pub async fn get(&self, record: &[u8]) -> Result<Option<Bytes>, TurnError> {
        if let Some(written) = self.work.writes.get(record) {
            return Ok(written.clone());
        }
        if self.work.cleared.iter().any(|range| range.contains(record)) {
            return Ok(None);
        }
        let mut fence = self.fence();
        loop {
            match self.activation.record(&fence, record).await {
                Err(TurnError::Moved) => {
                    fence = self.moved_fence(&fence).await.ok_or(TurnError::Moved)?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Records in a range, as this turn has left them.
    ///
    /// Shown at [`Turn`].
    pub async fn range(&self, range: RecordRange) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
        let hidden = self.work.writes.keys().filter(|record| range.contains(record)).count();
        // A cleared range can hide any number of rows: then the whole range is looked at.
        let limit =
            if self.work.cleared.is_empty() { range.limit.saturating_add(hidden) } else { usize::MAX };
        let stored = RecordRange { limit, ..range.clone() };
        let rows = self.stored_range(&stored).await?;
        let mut merged: BTreeMap<Bytes, Bytes> = rows
            .into_iter()
            .filter(|(record, _)| !self.work.cleared.iter().any(|cleared| cleared.contains(record)))
            .collect();
        for (record, value) in self.work.writes.iter().filter(|(record, _)| range.contains(record)) {
            match value {
                Some(value) => merged.insert(record.clone(), value.clone()),
                None => merged.remove(record),
            };
        }
        if range.reverse {
            Ok(merged.into_iter().rev().take(range.limit).collect())
        } else {
            Ok(merged.into_iter().take(range.limit).collect())
        }
    }

    /// A row of this actor, if the fence still holds.
    pub(crate) async fn stored_row(&self, key: &Bytes) -> Result<Option<Bytes>, TurnError> {
        let mut fence = self.fence();
        loop {
            match fence.get(&mut self.activation.node.store.begin(), self.actor(), key).await {
                Err(TurnError::Moved) => {
                    fence = self.moved_fence(&fence).await.ok_or(TurnError::Moved)?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn stored_range(&self, range: &RecordRange) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
        let mut fence = self.fence();
        loop {
            match records::read_range(&self.activation.node.store, self.actor(), &fence, range).await {
                Err(TurnError::Moved) => {
                    fence = self.moved_fence(&fence).await.ok_or(TurnError::Moved)?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Sets one of the actor's records.
    ///
    /// Shown at [`Turn`].
    pub fn set(&mut self, record: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (record, value) = (record.into(), value.into());
        self.check("a record's key", record.len(), RECORD_KEY_BYTES_MAX);
        self.check("a record", value.len(), large::VALUE_BYTES_MAX);
        self.work.writes.insert(record, Some(value));
    }

    /// Clears one of the actor's records.
    ///
    /// Shown at [`Turn`].
    pub fn clear(&mut self, record: impl Into<Bytes>) {
        self.work.writes.insert(record.into(), None);
    }

    /// Clears all records in a range; its limit does not count.
    ///
    /// Shown at [`Turn`].
    pub fn clear_range(&mut self, range: RecordRange) {
        self.work.writes.retain(|record, _| !range.contains(record));
        self.work.cleared.push(range);
    }

    /// When the actor wants to be woken (wall time), instead of any time it gave before.
    ///
    /// Shown at [`Actor`](crate::Actor).
    pub fn wake_at(&mut self, due_ms: Option<u64>) {
        self.work.own_wake_ms = Some(due_ms);
    }

    /// Leaves an effect to be carried out after this commit. Dropped when one with the same
    /// key is being carried out by this process.
    ///
    /// Shown at [`Actor`](crate::Actor).
    pub fn perform(&mut self, key: impl Into<String>, payload: impl Into<Bytes>) {
        self.work.effects.push(PendingEffect { key: key.into(), payload: payload.into() });
    }

    /// Whether the store writes down protocol steps: what is only for that can be left out else.
    #[doc(hidden)]
    pub fn records(&self) -> bool {
        self.activation.node.store.records()
    }

    /// Says what the turn does, in the words of a specification: written down with its commit, if
    /// the store records.
    #[doc(hidden)]
    pub fn record_protocol(&mut self, step: Step) {
        self.work.steps.push(step);
    }

    /// Whether this process is carrying out an effect with that key right now.
    ///
    /// Shown at [`Actor`](crate::Actor).
    pub fn in_flight(&self, key: &str) -> bool {
        self.activation.node.effects.in_flight(self.actor(), key)
    }

    /// Sends a message: it leaves with the commit, and its call has its effect once.
    ///
    /// Shown at [`Turn::step`].
    pub fn send(&mut self, to: ActorId, operation: &str, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.check("a message", payload.len(), kelpie_core::limits::PAYLOAD_BYTES_MAX);
        let index = u32::try_from(self.work.messages.len()).expect("a transaction holds far fewer messages");
        let key = self.turn_id().message_key(index);
        let trace = self.trace();
        self.work.messages.push(Message { to, operation: operation.to_owned(), payload, key, trace });
    }

    /// Calls another actor and waits for its reply. `name` stands for the call in this turn:
    /// its key derives from it, so that the call has its effect once even if the turn runs
    /// again. Calls may run side by side, each under a name of its own.
    ///
    /// Shown at [`Turn::step`].
    ///
    /// # Errors
    /// [`TurnError::Call`] with what became of the call: a cycle, a deadline, the other
    /// actor's refusal.
    pub async fn call(
        &self,
        name: impl Into<StepKey>,
        to: ActorId,
        operation: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, TurnError> {
        let (name, payload) = (name.into(), payload.into());
        let mut hasher = blake3::Hasher::new();
        for part in [to.encoded(), operation.as_bytes(), &payload] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let asked = || Asked::Call(name.as_str().to_owned());
        let called = async { Ok(self.call_for_real(&name, to, operation, payload).await?) };
        match self.told_or(asked, *hasher.finalize().as_bytes(), called).await {
            Ok(reply) => Ok(reply),
            Err(HandlerError::Turn(error)) => Err(error),
            Err(error) => unreachable!("a call ends with an error of its turn: {error}"),
        }
    }

    async fn call_for_real(
        &self,
        name: &StepKey,
        to: ActorId,
        operation: &str,
        payload: Bytes,
    ) -> Result<Bytes, TurnError> {
        let mut chain = self.request.chain.clone();
        chain.push(self.actor().clone());
        let key = IdempotencyKey::new(&self.turn_id().step_key(name.as_str())).map_err(|_| {
            TurnError::TooLarge {
                what: "a call's name",
                bytes: name.as_str().len(),
                bytes_max: STEP_KEY_BYTES_MAX,
            }
        })?;
        self.not_cancelled()?;
        self.record_beginning().await?;
        let caller = Caller::Actor(self.actor().clone());
        let edge = self.edge(CallKey::new(&caller, &key), to.clone());
        let node = &self.activation.node;
        let remaining = self.request.deadline.saturating_sub(node.env.now());
        let (keep, trace) = (Some(self.request.keep), self.trace());
        let call = Call { chain, keep, trace, ..Call::new(to, operation, payload) }
            .key(key)
            .caller(caller)
            .deadline(remaining);
        let _waiting = self.activation.waiting(Wait::Call(edge.clone()));
        let called = node.clone().call(call, crate::node::Admission::Owed);
        let outcome: Result<Bytes, CallError> = node.watch(&edge, called).await;
        if outcome.as_ref().err().map(CallError::advice) != Some(Advice::NotRun) {
            self.called.store(true, Ordering::Relaxed);
        }
        outcome.map_err(|error| TurnError::Call(Box::new(error)))
    }

    fn edge(&self, call: CallKey, to: ActorId) -> Edge {
        Edge { from: self.actor().clone(), epoch: self.fence().own.own.epoch, turn: self.turn_id(), call, to }
    }

    fn check(&mut self, what: &'static str, bytes: usize, bytes_max: usize) {
        if bytes > bytes_max && self.work.problem.is_none() {
            self.work.problem = Some(TurnError::TooLarge { what, bytes, bytes_max });
        }
    }
}
