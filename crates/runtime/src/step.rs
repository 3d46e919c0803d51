//! Recorded steps: outside work whose result survives a crash of its turn.
//!
//! ```text
//!   step:       work ─▶ record ─▶ go on            a crash before the record runs work again,
//!                                                  with the same key
//!   step_once:  intent ─▶ work ─▶ record ─▶ go on  a crash in between is `unknown`, for ever
//! ```
//!
//! The first record of a turn also writes `running/<actor>`, so that the next activation
//! finishes the turn before it admits anything else. A turn that has looked at its time or chance
//! writes it before its first step or call, which may depend on them.
//!
//! Invariant: a step's transaction holds its own record and never the actor's state, outbox
//! or timers: those leave with the turn's last commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kelpie_core::limits::STEP_KEY_BYTES_MAX;
use kelpie_core::protocol::{self, Owner, Step};
use kelpie_core::{record, row};
use kelpie_registry::Head;
use kelpie_storage::CommitError;

use crate::actor::{HandlerError, TurnError};
use crate::fence::Fence;
use crate::large;
use crate::load::describe;
use crate::node::COMMIT_ATTEMPTS_MAX;
use crate::replay::{Asked, Told};
use crate::stored::{Running, StepRecord};
use crate::turn::Turn;
use crate::waits::Wait;
use crate::wake;

/// Bytes of results of parallel steps that share one commit; a larger one is alone in its.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What names a step within its turn: a name, and for steps in a loop or side by side an
/// index or a key of their own. `("charge", 2)` is the step `charge[2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepKey(String);

impl StepKey {
    /// The key as text, as errors and outside work see it.
    ///
    /// ```
    /// use kelpie_runtime::StepKey;
    ///
    /// assert_eq!(StepKey::from(("charge", 2)).as_str(), "charge[2]");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StepKey {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<String> for StepKey {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<(&str, usize)> for StepKey {
    fn from((name, index): (&str, usize)) -> Self {
        Self(format!("{name}[{index}]"))
    }
}

impl From<(&str, &str)> for StepKey {
    fn from((name, key): (&str, &str)) -> Self {
        Self(format!("{name}[{key}]"))
    }
}

/// The recorded steps of one run of a turn, shared by those that run side by side.
#[derive(Debug)]
pub(crate) struct Steps {
    /// What the next commit compares: the turn's own records move it.
    pub(crate) fence: Fence,
    /// What stands in the store of a turn that has recorded something.
    pub(crate) running: Option<Running>,
    recorded: BTreeMap<String, StepRecord>,
    taken: BTreeSet<String>,
    /// Records that wait for the next commit.
    waiting: BTreeMap<String, StepRecord>,
    /// Why nothing can be recorded any more.
    failed: Option<TurnError>,
    /// What its handler was told, if it is to run a second time.
    pub(crate) told: Option<Box<Told>>,
}

impl Steps {
    pub(crate) fn new(fence: Fence, resumed: Option<(Running, BTreeMap<String, StepRecord>)>) -> Self {
        let (running, recorded) =
            resumed.map_or((None, BTreeMap::new()), |(running, steps)| (Some(running), steps));
        let (taken, waiting) = (BTreeSet::new(), BTreeMap::new());
        Self { fence, running, recorded, taken, waiting, failed: None, told: None }
    }

    fn take(&mut self, key: &str, input: [u8; 32]) -> Result<Option<StepRecord>, TurnError> {
        if key.len() > STEP_KEY_BYTES_MAX {
            let (what, bytes, bytes_max) = ("a step's key", key.len(), STEP_KEY_BYTES_MAX);
            return Err(TurnError::TooLarge { what, bytes, bytes_max });
        }
        if !self.taken.insert(key.to_owned()) {
            return Err(TurnError::StepTaken { step: key.to_owned() });
        }
        match self.recorded.get(key) {
            Some(step) if step.input != input => Err(TurnError::StepDiverged { step: key.to_owned() }),
            step => Ok(step.cloned()),
        }
    }

    /// What is to be committed together with the record of `key`: it, and what else waits as
    /// far as there is room. Nothing, if another step's commit took it along.
    fn batch(&mut self, key: &str) -> Vec<(String, StepRecord)> {
        let Some(first) = self.waiting.remove_entry(key) else { return Vec::new() };
        let size = |step: &StepRecord| step.result.as_ref().map_or(0, Bytes::len);
        let mut bytes = size(&first.1);
        let mut batch = vec![first];
        while let Some(next) = self.waiting.first_entry()
            && bytes + size(next.get()) <= BATCH_BYTES_MAX
        {
            bytes += size(next.get());
            batch.push(next.remove_entry());
        }
        batch
    }
}

/// What the store made of a step's record.
enum Recorded {
    Yes,
    Again,
}

impl Turn {
    /// Outside work that is recorded once. `work` gets the key to carry along: the same if
    /// it has to run again, because a crash came before its record. Anything it depends on
    /// belongs into `input`: another input for a recorded step is an error.
    ///
    /// Steps may run side by side (`futures::join!`, `try_join_all`); their results are
    /// recorded together where they come together. A recorded step runs `work` no more and
    /// gives what was recorded.
    ///
    /// ```
    /// # use futures::future::BoxFuture;
    /// # use kelpie::untyped::{Actor, Call, HandlerError, RecordRange, Turn, View};
    /// # use kelpie::{ActorId, Bytes, Caller};
    /// # struct Till;
    /// # impl Actor for Till {
    /// #     fn actor_type(&self) -> &str {
    /// #         "till"
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
    ///     "pay" => {
    ///         // Recorded once; after a crash before that, it runs again with the same key.
    ///         let receipt = turn.step("charge", payload, |key| async move { Ok(Bytes::from(key)) }).await?;
    ///         assert_eq!(receipt, format!("{}.charge", turn.turn_id()));
    ///         // This one runs at most once, whatever happens.
    ///         turn.step_once("print", b"", |_key| async { Ok(Bytes::new()) }).await?;
    ///         // The other actor's answer; the call has its effect once, also when this turn runs again.
    ///         let bank = ActorId::new("default", "till", "the bank").map_err(|_| HandlerError::app("name", "none"))?;
    ///         let sum = turn.call("book", bank.clone(), "add", payload.to_vec()).await?;
    ///         turn.send(bank, "add", "1"); // delivered after the commit, its answer is not seen
    ///         Ok(sum)
    ///     }
    ///     _ => {
    ///         let sum = turn.get(b"sum").await?.map_or(0, |sum| sum.len()) + payload.len();
    ///         turn.set("sum", vec![b'|'; sum]);
    ///         Ok(Bytes::from(sum.to_string()))
    ///     }
    /// }
    /// #         })
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Till)).start().await?;
    /// # let runtime = cluster.runtime();
    /// let till = |key: &str| ActorId::new("default", "till", key);
    /// assert_eq!(runtime.call(Call::new(till("front")?, "pay", "||")).await?, "2");
    /// while runtime.view(&till("the bank")?).get(b"sum").await?.is_none_or(|sum| sum.len() < 3) {
    ///     runtime.env().sleep(std::time::Duration::from_millis(1)).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` gives is not recorded when it is an error: the turn ends with it unless
    /// the handler takes it, and the step runs again when the turn does.
    /// [`TurnError::StepTaken`] for a key that this turn used already,
    /// [`TurnError::StepDiverged`] for a recorded step with another input.
    pub async fn step<F>(
        &self,
        key: impl Into<StepKey>,
        input: &[u8],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let StepKey(key) = key.into();
        let input = *blake3::hash(input).as_bytes();
        let asked = || Asked::Step(key.clone());
        self.told_or(asked, input, self.step_for_real(&key, input, work)).await
    }

    async fn step_for_real<F>(
        &self,
        key: &str,
        input: [u8; 32],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let recorded = self.steps.lock().take(key, input)?;
        if let Some(StepRecord { result: Some(result), .. }) = recorded {
            return Ok(result);
        }
        self.not_cancelled()?;
        self.record_beginning().await?;
        let result = self.work(key, work).await?;
        self.record_step(key, StepRecord { input, result: Some(result.clone()) }).await?;
        self.not_cancelled()?;
        Ok(result)
    }

    /// Outside work that must not run a second time. Its intent is recorded first.
    ///
    /// Shown at [`Turn::step`].
    ///
    /// # Errors
    /// As [`Turn::step`]. [`TurnError::StepUnknown`] when a crash, or an error of `work`, came
    /// between intent and result, now and whenever the turn runs again: `work` runs no more. A
    /// handler that passes it on ends its call with the code `step.unknown`.
    pub async fn step_once<F>(
        &self,
        key: impl Into<StepKey>,
        input: &[u8],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let StepKey(key) = key.into();
        let input = *blake3::hash(input).as_bytes();
        let asked = || Asked::Step(key.clone());
        self.told_or(asked, input, self.step_once_for_real(&key, input, work)).await
    }

    async fn step_once_for_real<F>(
        &self,
        key: &str,
        input: [u8; 32],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let recorded = self.steps.lock().take(key, input)?;
        if let Some(step) = recorded {
            return Ok(step.result.ok_or_else(|| TurnError::StepUnknown { step: key.to_owned() })?);
        }
        self.not_cancelled()?;
        if !kelpie_core::mutant!("step_once_without_intent") {
            self.record_step(key, StepRecord { input, result: None }).await?;
        }
        let result = self.work(key, work).await?;
        self.record_step(key, StepRecord { input, result: Some(result.clone()) }).await?;
        self.not_cancelled()?;
        Ok(result)
    }

    async fn work<F>(&self, key: &str, work: impl FnOnce(String) -> F) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let _waiting = self.activation.waiting(Wait::Step(key.to_owned()));
        // A process whose session is over has the actor no more.
        self.activation.node.may_begin().await.map_err(|_over| TurnError::Moved)?;
        self.not_cancelled()?;
        work(self.turn_id().step_key(key)).await
    }

    /// Whether the turn may go on.
    pub(crate) fn not_cancelled(&self) -> Result<(), TurnError> {
        if self.activation.is_cancelled(&self.request) { Err(TurnError::Cancelled) } else { Ok(()) }
    }

    /// Notes that a turn which had recorded steps is begun once more.
    pub(crate) async fn begin_again(&self) -> Result<(), TurnError> {
        let Some(mut running) = self.steps.lock().running.clone() else { return Ok(()) };
        running.attempts += 1;
        self.record(&[], running).await
    }

    /// Waits until the record is durable. One commit takes along what waits beside it.
    async fn record_step(&self, key: &str, step: StepRecord) -> Result<(), TurnError> {
        if let Some(bytes) = step.result.as_ref().map(Bytes::len).filter(|&len| len > large::VALUE_BYTES_MAX)
        {
            return Err(TurnError::TooLarge {
                what: "a step's result",
                bytes,
                bytes_max: large::VALUE_BYTES_MAX,
            });
        }
        self.steps.lock().waiting.insert(key.to_owned(), step);
        self.record_next(|steps| Some(steps.batch(key)).filter(|batch| !batch.is_empty())).await
    }

    /// What leaves the turn before its commit may depend on its time and chance: they are recorded
    /// before, so that it is the same when the turn runs again.
    pub(crate) async fn record_beginning(&self) -> Result<(), TurnError> {
        let drawn = self.drawn.load(Ordering::Relaxed);
        if !drawn || self.steps.lock().running.is_some() || kelpie_core::mutant!("beginning_not_recorded") {
            return Ok(());
        }
        self.record_next(|steps| steps.running.is_none().then(Vec::new)).await
    }

    /// Commits what `next` takes from what waits, after whatever is on its way.
    async fn record_next(
        &self,
        next: impl FnOnce(&mut Steps) -> Option<Vec<(String, StepRecord)>>,
    ) -> Result<(), TurnError> {
        let _recorder = self.recorder.lock().await;
        let (batch, running) = {
            let mut steps = self.steps.lock();
            if let Some(failed) = &steps.failed {
                return Err(failed.clone());
            }
            let Some(batch) = next(&mut steps) else { return Ok(()) };
            // Until the outcome is known. If this future is dropped meanwhile, nobody knows
            // what became of the commit, and only the next activation can find out.
            steps.failed = Some(TurnError::Moved);
            (batch, steps.running.clone())
        };
        let recorded = self.record(&batch, running.unwrap_or_else(|| self.new_running())).await;
        let mut steps = self.steps.lock();
        steps.failed = recorded.as_ref().err().cloned();
        if recorded.is_ok() {
            steps.recorded.extend(batch);
        }
        recorded
    }

    /// The fence that the turn's own records have left. A record under way is waited for when
    /// `seen` is no longer what stands in the store. `None`: nobody here has moved it.
    pub(crate) async fn moved_fence(&self, seen: &Fence) -> Option<Fence> {
        let _recorder = self.recorder.lock().await;
        Some(self.fence()).filter(|fence| fence != seen)
    }

    fn new_running(&self) -> Running {
        let request = &self.request;
        let remaining = request.deadline.saturating_sub(self.activation.node.env.now());
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        Running {
            operation: request.operation.clone(),
            payload: request.payload.clone(),
            caller: request.caller.clone(),
            key: request.key,
            fingerprint: request.fingerprint,
            now_ms: self.now_ms,
            seed: self.seed,
            deadline_ms: self.activation.node.env.wall_ms().saturating_add(remaining_ms),
            attempts: 1,
            chain: request.chain.clone(),
            origin: self.origin.clone(),
            mark: request.mark,
            keep: request.keep,
            trace: request.trace,
        }
    }

    /// Commits records of steps, conditional on the fence, and moves the fence.
    async fn record(&self, batch: &[(String, StepRecord)], running: Running) -> Result<(), TurnError> {
        for attempt in 0..COMMIT_ATTEMPTS_MAX {
            self.activation.node.give_way(attempt).await;
            match self.try_record(batch, &running).await? {
                Recorded::Yes => {
                    self.steps.lock().running = Some(running);
                    return Ok(());
                }
                Recorded::Again => {}
            }
        }
        Err(TurnError::NotRecorded { reason: "the store kept answering conflict".to_owned() })
    }

    async fn try_record(
        &self,
        batch: &[(String, StepRecord)],
        running: &Running,
    ) -> Result<Recorded, TurnError> {
        let activation = self.activation.clone();
        let actor = &activation.actor;
        let head = activation.head();
        let resume_at = activation.node.env.wall_ms().saturating_add(wake::RUNNING_RETRY_MS);
        let due = head.wake_ms.map_or(resume_at, |due| due.min(resume_at));
        let next = Head { seq: head.seq.next(), running: true, wake_ms: Some(due), ..head.clone() };
        let mut tx = activation.node.store.begin();
        if !activation.compare(&mut tx, &self.fence()).await? {
            return Err(TurnError::Moved);
        }
        let turn = self.turn_id();
        for (key, step) in batch {
            if !kelpie_core::mutant!("step_result_lost") {
                large::put(&mut tx, &row::step(actor, turn, key), &record::encode(step));
            }
        }
        large::put(&mut tx, &row::running(actor), &record::encode(running));
        if kelpie_core::mutant!("step_commits_state") {
            for (record, value) in
                self.work.writes.iter().filter_map(|(record, value)| Some((record, value.as_ref()?)))
            {
                large::put(&mut tx, &row::state(actor, record), value);
            }
        }
        activation.move_wake(&mut tx, head.wake_ms, next.wake_ms);
        tx.set(row::head(actor), record::encode(&next));
        tx.record(|| Step::Recorded {
            actor: actor.to_string(),
            owner: Owner::from(&self.fence().own.own),
            seq: next.seq.0,
            key: protocol::key(self.request.key),
            steps: batch.len() as u64,
            wake: next.wake_ms.is_some(),
        });
        match tx.commit().await {
            Ok(_) => {
                self.moved_to(Fence { head: next, ..self.fence() });
                Ok(Recorded::Yes)
            }
            Err(CommitError::Conflict | CommitError::TooOld) => Ok(Recorded::Again),
            Err(CommitError::Unknown(_)) => self.settle_record(&head, next).await,
            Err(error @ (CommitError::Unavailable(_) | CommitError::Limit(_))) => {
                Err(TurnError::NotRecorded { reason: describe(&error) })
            }
        }
    }

    async fn settle_record(&self, before: &Head, written: Head) -> Result<Recorded, TurnError> {
        let settled = self.activation.settled(&self.fence().own.own).await;
        let Some((own, head)) = settled.filter(|(_, head)| *head == written || head == before) else {
            self.activation.has_begun(self.request.key);
            return Err(TurnError::Moved);
        };
        let landed = head == written;
        self.moved_to(Fence { own: self.activation.node.owners.share(own), head });
        Ok(if landed { Recorded::Yes } else { Recorded::Again })
    }

    /// The turn has moved the fence itself; the actor's state is as it was.
    fn moved_to(&self, fence: Fence) {
        let activation = &self.activation;
        let wake_ms = fence.head.wake_ms;
        self.steps.lock().fence = fence.clone();
        let mut state = activation.state.lock();
        if let Some(loaded) = &mut state.loaded {
            loaded.own = fence.own;
            loaded.head = fence.head.into();
        }
        drop(state);
        if let Some(due_ms) = wake_ms {
            activation.node.waker.expect(&activation.actor, due_ms, activation.node.env.wall_ms());
        }
    }
}
