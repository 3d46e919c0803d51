//! A turn: its handler on a copy, its commit, and what follows from it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::call::{Caller, OutboxPosition};
use kelpie_core::limits::{KEY_MARGIN, KEY_RETENTION};
use kelpie_core::ownership::Own;
use kelpie_core::turn::{CallNo, Input};
use kelpie_core::{record, row};
use kelpie_registry::{Head, Settled};
use kelpie_storage::{CommitError, RangeQuery, Transaction};

use crate::activation::{Activation, Task};
use crate::actor::{HandlerError, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::effect::Effects;
use crate::large;
use crate::load::describe;
use crate::outbox::Fate;
use crate::records::Fence;
use crate::stored::{Dedup, Reply, Running};
use crate::turn::{Turn, Work};
use crate::view::View;
use crate::wake;

/// Optimistic conflicts that one commit works off. The fence decides the real ones at once;
/// what remains are brushes with neighbours in the store.
const ATTEMPTS_MAX: u32 = 16;
/// How often a turn with recorded steps is begun before it is given up.
const TURN_ATTEMPTS_MAX: u32 = 10;
/// Every so many commits of an actor look at as many of its old dedup rows twice over.
const SWEEP_EVERY: u64 = 32;
const SWEEP_ROWS: usize = 64;

/// A handler's end, on its way through the commit.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) request: Arc<Request>,
    pub(crate) outcome: Outcome,
    pub(crate) work: Work,
    pub(crate) dedup: Option<Dedup>,
    pub(crate) running: Option<Running>,
    pub(crate) now_ms: u64,
    /// The fence that the commit compares: the turn's own steps have moved it.
    pub(crate) fence: Fence,
    /// What the commit wrote, once it has been sent.
    pub(crate) written: Option<Head>,
    /// Why the store did not take it.
    pub(crate) refused: Option<CallError>,
}

impl Activation {
    /// Runs a call's handler; what it leaves waits in `finished`.
    pub(crate) async fn run(self: &Arc<Self>, call: CallNo) -> Input {
        let (request, task) = self.slot(call);
        let (fence, resumed, recovering) = {
            let mut state = self.state.lock();
            let loaded = state.loaded.as_mut().expect("a turn runs on a loaded activation");
            let resumed = loaded.resumed.take_if(|(running, _)| running.key == request.key);
            let recovering = loaded.recovering && task == Task::Wake;
            loaded.recovering &= task != Task::Wake;
            (loaded.fence.clone(), resumed, recovering)
        };
        if resumed.is_none() && request.may_be_recorded() {
            match self.recorded(&request, &fence).await {
                Ok(None) => {}
                Ok(Some(dedup)) => {
                    let same = dedup.fingerprint == request.fingerprint;
                    let outcome = if same { dedup.reply.outcome() } else { Err(CallError::KeyReused) };
                    metrics::counter!("kelpie_dedup_hits_total").increment(1);
                    return self.finish(Finished::without_work(request, outcome, fence));
                }
                Err(error) => return self.failed(request, fence, error),
            }
        }
        let mut turn = Turn::new(self.clone(), request.clone(), fence, resumed);
        if let Err(error) = turn.begin_again().await {
            return self.failed(request, turn.fence, error);
        }
        let given_up = turn.running.as_ref().and_then(|running| running.given_up(self.node.env.wall_ms()));
        let handled = match given_up {
            Some(error) => Ok(Err(error)),
            None => AssertUnwindSafe(self.handle(&mut turn, &task, recovering)).catch_unwind().await,
        };
        match handled {
            Ok(result) => self.handled(turn, result).await,
            Err(_) => {
                metrics::counter!("kelpie_turn_panics_total", "type" => self.actor.actor_type().to_owned())
                    .increment(1);
                tracing::error!(actor = %self.actor, operation = request.operation, "a handler panicked");
                Input::Panicked
            }
        }
    }

    async fn handle(&self, turn: &mut Turn, task: &Task, recovering: bool) -> Result<Bytes, HandlerError> {
        match task {
            Task::Handle if self.behaviour.is_read(&turn.request.operation) => {
                let view = View::of_activation(turn.activation.clone(), turn.fence.clone());
                let request = turn.request.clone();
                self.behaviour.read(&view, &request.operation, &request.payload).await
            }
            Task::Handle => {
                let request = turn.request.clone();
                self.behaviour.handle(turn, &request.operation, &request.payload).await
            }
            Task::Wake => {
                self.wake(turn, recovering).await?;
                Ok(Bytes::new())
            }
            Task::Delivered(fates) => {
                self.delivered(turn, fates).await?;
                Ok(Bytes::new())
            }
        }
    }

    async fn wake(&self, turn: &mut Turn, recovering: bool) -> Result<(), HandlerError> {
        let due = self.head().own_wake_ms;
        let is_due = due.is_some_and(|due| due <= turn.now_ms);
        if is_due {
            turn.wake_at(None);
        }
        if self.head().outbox > 0 && !std::mem::replace(&mut self.state.lock().delivering, true) {
            turn.activation.clone().deliver();
        }
        if is_due || (recovering && due.is_some()) {
            self.behaviour.wake(turn).await?;
        }
        Ok(())
    }

    /// Counts only those that are still there: the same news may come twice.
    async fn delivered(&self, turn: &mut Turn, fates: &[Fate]) -> Result<(), TurnError> {
        let mut tx = self.node.store.begin();
        for (position, refused) in fates {
            let key = row::outbox(&self.actor, *position);
            let Some(stored) = tx.get_snapshot(&key).await? else { continue };
            turn.work.delivered.push(*position);
            if refused.is_some() {
                let message = large::value(&mut tx, &key, stored).await?;
                turn.work.dead.push((*position, message));
            }
        }
        Ok(())
    }

    /// The head that the running turn began with, or that its last step wrote.
    pub(crate) fn head(&self) -> Head {
        let state = self.state.lock();
        state.loaded.as_ref().expect("a turn runs on a loaded activation").head.clone()
    }

    /// What was answered to this call before. Read together with the fence, so that it is
    /// valid for what runs next.
    async fn recorded(&self, request: &Request, fence: &Fence) -> Result<Option<Dedup>, TurnError> {
        let mut tx = self.node.store.begin();
        if !fence.holds(&mut tx, &self.actor).await? {
            return Err(TurnError::Moved);
        }
        let key = row::dedup(&self.actor, request.key);
        let Some(stored) = tx.get_snapshot(&key).await? else { return Ok(None) };
        let dedup: Dedup = record::decode(&large::value(&mut tx, &key, stored).await?)?;
        let now = self.node.env.wall_ms();
        Ok(Some(dedup).filter(|dedup| dedup.expires_ms.is_none_or(|expires| expires > now)))
    }

    async fn handled(self: &Arc<Self>, mut turn: Turn, result: Result<Bytes, HandlerError>) -> Input {
        let result = match turn.work.problem.take() {
            Some(problem) if result.is_ok() => Err(HandlerError::Turn(problem)),
            Some(_) | None => result,
        };
        let reply = match result {
            Ok(bytes) => Reply::Done(bytes),
            Err(HandlerError::App { code, message }) => {
                turn.work = Work::default();
                Reply::App { code, message }
            }
            Err(HandlerError::Turn(error)) => return self.turn_failed(turn, error),
        };
        let Turn { request, now_ms, fence, work, running, .. } = turn;
        let recorded = request.may_be_recorded() || (!request.is_own() && !work.is_empty());
        let commits = !work.is_empty() || recorded || running.is_some();
        if !commits && !self.node.single_process {
            match fence.holds(&mut self.node.store.begin(), &self.actor).await {
                Ok(true) => {}
                Ok(false) => return Input::Moved,
                Err(error) => return self.failed(request, fence, error.into()),
            }
        }
        let dedup = recorded.then(|| Dedup {
            fingerprint: request.fingerprint,
            reply: reply.clone(),
            expires_ms: request.expires_ms(self.node.env.wall_ms(), self.node.env.now()),
        });
        let outcome = reply.outcome();
        self.finish(Finished {
            request,
            outcome,
            work,
            dedup,
            running,
            now_ms,
            fence,
            written: None,
            refused: None,
        })
    }

    /// A handler could not go on. What it had recorded stays, and is resumed or cleared.
    fn turn_failed(&self, turn: Turn, error: TurnError) -> Input {
        let Turn { request, now_ms, fence, running, .. } = turn;
        match error {
            TurnError::Moved => Input::Moved,
            // The next activation resumes it.
            TurnError::Read(_) | TurnError::NotRecorded { .. } if running.is_some() => Input::Moved,
            error => {
                let outcome = Err(self.refusal(error));
                let work = Work::default();
                self.finish(Finished {
                    running,
                    now_ms,
                    work,
                    ..Finished::without_work(request, outcome, fence)
                })
            }
        }
    }

    fn failed(&self, request: Arc<Request>, fence: Fence, error: TurnError) -> Input {
        if matches!(error, TurnError::Moved) {
            return Input::Moved;
        }
        let outcome = Err(self.refusal(error));
        self.finish(Finished::without_work(request, outcome, fence))
    }

    fn refusal(&self, error: TurnError) -> CallError {
        match error {
            TurnError::Moved | TurnError::Read(_) | TurnError::NotRecorded { .. } => {
                CallError::NotRun { reason: describe(&error) }
            }
            TurnError::Call(error) => CallError::Handler(Arc::new(TurnError::Call(error))),
            error => {
                tracing::error!(actor = %self.actor, error = &error as &dyn std::error::Error, "a handler failed");
                CallError::Handler(Arc::new(error))
            }
        }
    }

    fn finish(&self, finished: Finished) -> Input {
        let commits = finished.dedup.is_some() || finished.running.is_some() || !finished.work.is_empty();
        self.state.lock().finished = Some(finished);
        Input::HandlerFinished { commits }
    }

    /// Commits what the handler left.
    pub(crate) async fn commit(&self) -> Input {
        let (mut finished, own, head, swept) = {
            let mut state = self.state.lock();
            let finished = state.finished.take().expect("a commit follows a finished handler");
            let loaded = state.loaded.as_ref().expect("a turn runs on a loaded activation");
            (finished, loaded.own.clone(), loaded.head.clone(), loaded.swept.clone())
        };
        let next = self.next_head(&own, &head, &finished);
        finished.written = Some(next.clone());
        let mut swept_to = None;
        let input = 'attempts: {
            for _ in 0..ATTEMPTS_MAX {
                let mut tx = self.node.store.begin();
                match self.fill(&mut tx, &finished, (&own, &head, &next), swept.as_ref()).await {
                    Ok(Some(swept)) => swept_to = swept,
                    Ok(None) => break 'attempts Input::CommitConflicted,
                    Err(error) => {
                        finished.refused = Some(self.refusal(error));
                        break 'attempts Input::CommitRefused;
                    }
                }
                match tx.commit().await {
                    Ok(_) => break 'attempts Input::CommitSucceeded,
                    Err(CommitError::Conflict | CommitError::TooOld) => {}
                    Err(CommitError::Unknown(_)) => break 'attempts Input::CommitUnknown,
                    Err(error @ CommitError::Unavailable(_)) => {
                        finished.refused = Some(CallError::NotRun { reason: describe(&error) });
                        break 'attempts Input::CommitRefused;
                    }
                    Err(CommitError::Limit(limit)) => {
                        finished.refused = Some(too_large(limit));
                        break 'attempts Input::CommitRefused;
                    }
                }
            }
            finished.refused =
                Some(CallError::NotRun { reason: "the store kept answering conflict".to_owned() });
            Input::CommitRefused
        };
        let mut state = self.state.lock();
        if let Some(loaded) = &mut state.loaded {
            loaded.swept = swept_to;
        }
        state.finished = Some(finished);
        input
    }

    /// The head after this commit.
    fn next_head(&self, own: &Own, head: &Head, finished: &Finished) -> Head {
        let work = &finished.work;
        let count = |items: usize| u32::try_from(items).expect("a transaction holds far fewer");
        let outbox = (head.outbox + count(work.messages.len())).saturating_sub(count(work.delivered.len()));
        let own_wake_ms = work.own_wake_ms.unwrap_or(head.own_wake_ms);
        let outbox_due = (outbox > 0).then(|| finished.now_ms.saturating_add(wake::OUTBOX_RETRY_MS));
        let large = head.large || work.writes.values().flatten().any(|value| large::needs_chunks(value));
        let wake_ms = if kelpie_core::mutant!("wake_cleared_early") {
            own_wake_ms
        } else {
            [own_wake_ms, outbox_due].into_iter().flatten().min()
        };
        tracing::trace!(actor = %self.actor, epoch = own.epoch.0, seq = head.seq.0 + 1, "commit");
        Head { seq: head.seq.next(), wake_ms, own_wake_ms, running: false, outbox, large }
    }

    /// Fills the one transaction of a turn. `None`: the fence has moved. Else where the
    /// sweep has come to.
    async fn fill(
        &self,
        tx: &mut Transaction,
        finished: &Finished,
        (own, head, next): (&Own, &Head, &Head),
        swept: Option<&Bytes>,
    ) -> Result<Option<Option<Bytes>>, TurnError> {
        if !self.compare(tx, &finished.fence).await? {
            return Ok(None);
        }
        let work = &finished.work;
        self.fill_state(tx, work, head.large).await?;
        if kelpie_core::mutant!("CommitTransaction_StateOnly") {
            self.dedup_apart(finished).await;
        } else if let Some(dedup) = &finished.dedup {
            large::put(tx, &row::dedup(&self.actor, finished.request.key), &record::encode(dedup));
        }
        for (key, value) in &work.index {
            match value {
                Some(value) => tx.set(key.clone(), value.clone()),
                None => tx.clear(key.clone()),
            }
        }
        for (index, message) in (0_u32..).zip(&work.messages) {
            let position = OutboxPosition { epoch: own.epoch, seq: next.seq, index };
            large::put(tx, &row::outbox(&self.actor, position), &record::encode(message));
        }
        for &position in &work.delivered {
            let key = row::outbox(&self.actor, position);
            large::clear_chunks(tx, &key);
            tx.clear(key);
        }
        for (position, message) in &work.dead {
            large::put(tx, &row::dead_letter(&self.actor, *position), message);
        }
        if let Some(running) = &finished.running {
            self.clear_running(tx, running);
        }
        self.move_wake(tx, head.wake_ms, next.wake_ms);
        tx.set(row::head(&self.actor), record::encode(next));
        self.sweep(tx, next.seq.0, swept).await.map(Some)
    }

    /// Reads the two rows that every commit reads, and notes them as read.
    pub(crate) async fn compare(&self, tx: &mut Transaction, fence: &Fence) -> Result<bool, TurnError> {
        let own = tx.get(&row::own(&self.actor)).await?;
        let head = tx.get(&row::head(&self.actor)).await?;
        let same_own = own.as_ref() == Some(&fence.own) || kelpie_core::mutant!("commit_without_owner_check");
        let same_head =
            head.as_ref() == Some(&fence.head) || kelpie_core::mutant!("commit_without_seq_check");
        Ok(same_own && same_head)
    }

    async fn fill_state(&self, tx: &mut Transaction, work: &Work, large: bool) -> Result<(), TurnError> {
        for range in &work.cleared {
            let begin = row::state(&self.actor, &range.begin);
            let end = if range.end.is_empty() {
                row::after(&row::state(&self.actor, b""))
            } else {
                row::state(&self.actor, &range.end)
            };
            if large {
                large::clear_chunks_range(tx, &begin, &end);
            }
            tx.clear_range(begin, end);
        }
        for (record, value) in &work.writes {
            let key = row::state(&self.actor, record);
            if large && tx.get_snapshot(&key).await?.is_some_and(|stored| large::is_chunked(&stored)) {
                large::clear_chunks(tx, &key);
            }
            match value {
                Some(value) => large::put(tx, &key, value),
                None => tx.clear(key),
            }
        }
        Ok(())
    }

    /// Replaces the actor's one wake entry.
    pub(crate) fn move_wake(&self, tx: &mut Transaction, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        if let Some(due) = before {
            tx.clear(row::wake(&self.actor, due));
        }
        if let Some(due) = after {
            tx.set(row::wake(&self.actor, due), Bytes::new());
        }
    }

    fn clear_running(&self, tx: &mut Transaction, running: &Running) {
        let key = row::running(&self.actor);
        large::clear_chunks(tx, &key);
        tx.clear(key);
        let steps = row::steps(&self.actor, running.key.turn(&self.actor));
        let end = row::after(&steps);
        large::clear_chunks_range(tx, &steps, &end);
        tx.clear_range(steps, end);
    }

    /// Clears dedup rows whose time is over, a page at a time, on the way of a commit.
    async fn sweep(
        &self,
        tx: &mut Transaction,
        seq: u64,
        swept: Option<&Bytes>,
    ) -> Result<Option<Bytes>, TurnError> {
        if !seq.is_multiple_of(SWEEP_EVERY) {
            return Ok(swept.cloned());
        }
        let prefix = row::dedups(&self.actor);
        let end = row::after(&prefix);
        let begin = swept.cloned().unwrap_or(prefix);
        let page = tx.get_range(RangeQuery::new(begin, end).limit(SWEEP_ROWS).snapshot()).await?;
        let now = self.node.env.wall_ms();
        for (key, stored) in page.rows {
            let dedup: Dedup = record::decode(&large::value(tx, &key, stored.clone()).await?)?;
            if dedup.expires_ms.is_some_and(|expires| expires <= now) {
                if large::is_chunked(&stored) {
                    large::clear_chunks(tx, &key);
                }
                tx.clear(key);
            }
        }
        Ok(page.more.map(|more| more.begin))
    }

    /// The seeded bug of recording the reply in a transaction of its own.
    async fn dedup_apart(&self, finished: &Finished) {
        let Some(dedup) = &finished.dedup else { return };
        let mut tx = self.node.store.begin();
        large::put(&mut tx, &row::dedup(&self.actor, finished.request.key), &record::encode(dedup));
        drop(tx.commit().await);
    }

    /// Makes a lost commit's outcome final, however long the store takes.
    pub(crate) async fn settle(&self) -> Input {
        let (own, head, written) = {
            let state = self.state.lock();
            let loaded = state.loaded.as_ref().expect("a turn runs on a loaded activation");
            let written = state.finished.as_ref().and_then(|finished| finished.written.clone());
            (loaded.own.clone(), loaded.head.clone(), written.expect("what is settled has been sent"))
        };
        let Some((own, settled)) = self.settled(&own).await else { return Input::CommitConflicted };
        let landed = settled == written;
        if !landed && settled != head {
            return Input::CommitConflicted;
        }
        let mut state = self.state.lock();
        if let Some(loaded) = &mut state.loaded {
            loaded.own = own.clone();
            loaded.fence = Fence { own: record::encode(&own), head: record::encode(&settled) };
            loaded.head = settled;
        }
        Input::Settled { landed }
    }

    /// The owner record and head after a settling write. `None`: another node has the actor.
    pub(crate) async fn settled(&self, own: &Own) -> Option<(Own, Head)> {
        let mut backoff = wake::BACKOFF_MIN;
        loop {
            match self.node.ownership.settle(&self.actor, own).await {
                Ok(Settled::Ours { own, head }) => return Some((own, head)),
                Ok(Settled::Elsewhere) => return None,
                Err(error) => {
                    tracing::warn!(actor = %self.actor, error = describe(&error), "a lost commit is not settled");
                    self.node.env.sleep(backoff).await;
                    backoff = (backoff * 2).min(wake::BACKOFF_MAX);
                }
            }
        }
    }

    /// The commit is in: the copy becomes the state, and what was left for after begins.
    pub(crate) fn publish(self: &Arc<Self>) {
        let effects = {
            let mut state = self.state.lock();
            let Some(mut finished) = state.finished.take() else { return };
            let loaded = state.loaded.as_mut().expect("a turn runs on a loaded activation");
            if let Some(head) = finished.written.clone() {
                loaded.fence = Fence { own: record::encode(&loaded.own), head: record::encode(&head) };
                loaded.head = head;
            }
            let work = std::mem::take(&mut finished.work);
            work.cleared.iter().for_each(|range| loaded.cache.forget(range));
            for (record, value) in work.writes {
                loaded.cache.put(record, value);
            }
            let head = loaded.head.clone();
            state.finished = Some(finished);
            if let Some(due_ms) = head.wake_ms {
                self.node.waker.expect(&self.actor, due_ms);
            }
            if head.outbox > 0 && !std::mem::replace(&mut state.delivering, true) {
                self.clone().deliver();
            }
            work.effects
        };
        for effect in effects {
            Effects::start(&self.node, self.behaviour.clone(), &self.actor, effect);
        }
    }
}

impl Finished {
    fn without_work(request: Arc<Request>, outcome: Outcome, fence: Fence) -> Self {
        Self {
            request,
            outcome,
            work: Work::default(),
            dedup: None,
            running: None,
            now_ms: 0,
            fence,
            written: None,
            refused: None,
        }
    }
}

impl Request {
    /// Whether the runtime itself asks: its requests are harmless to repeat.
    fn is_own(&self) -> bool {
        self.caller == Caller::Runtime
    }

    /// Whether an answer may already stand under its key.
    fn may_be_recorded(&self) -> bool {
        !self.fresh && !self.is_own()
    }

    /// When its key counts as new again.
    fn expires_ms(&self, wall_ms: u64, now: std::time::Duration) -> Option<u64> {
        let keep = match &self.caller {
            // Another actor says itself when it is done with a key.
            Caller::Actor(_) => return None,
            Caller::Principal { .. } | Caller::Runtime if self.fresh => {
                self.deadline.saturating_sub(now).saturating_add(KEY_MARGIN)
            }
            Caller::Principal { .. } | Caller::Runtime => KEY_RETENTION,
        };
        Some(wall_ms.saturating_add(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Running {
    /// Whether the turn has been begun too often or for too long.
    fn given_up(&self, now_ms: u64) -> Option<HandlerError> {
        let why = if self.attempts > TURN_ATTEMPTS_MAX {
            format!("the turn was begun {TURN_ATTEMPTS_MAX} times and never ended")
        } else if self.deadline_ms < now_ms {
            "the turn's deadline passed before it could be resumed".to_owned()
        } else {
            return None;
        };
        Some(HandlerError::app("turn.given_up", why))
    }
}

fn too_large(limit: kelpie_storage::LimitError) -> CallError {
    use kelpie_storage::LimitError::{Key, Transaction, Value, Versionstamp};
    use kelpie_storage::limits;
    let (what, bytes, bytes_max) = match limit {
        Key { bytes } | Versionstamp { bytes, .. } => ("a row's key", bytes, limits::KEY_BYTES_MAX),
        Value { bytes } => ("a row", bytes, limits::VALUE_BYTES_MAX),
        Transaction { bytes } => ("what the turn leaves", bytes, limits::TRANSACTION_BYTES_MAX),
    };
    CallError::TooLarge { what, bytes, bytes_max }
}
