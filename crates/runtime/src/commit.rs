//! The one transaction of a turn, and what follows from it.

use std::sync::Arc;

use bytes::Bytes;
use kelpie_core::call::OutboxPosition;
use kelpie_core::ownership::Own;
use kelpie_core::protocol::{self, Kept, Left, Owner, Step};
use kelpie_core::turn::Input;
use kelpie_core::{record, row};
use kelpie_registry::{Head, Settled};
use kelpie_storage::{AtomicOp, CommitError, RangeQuery, Transaction};

use crate::activation::{Activation, State};
use crate::actor::TurnError;
use crate::call::CallError;
use crate::effect::PendingEffect;
use crate::fence::{Fence, fence_keys};
use crate::handler::Finished;
use crate::large;
use crate::load::describe;
use crate::node::COMMIT_ATTEMPTS_MAX;
use crate::stored::{Dedup, Running};
use crate::turn::Work;
use crate::wake;

/// Every so many commits of an actor look at as many of its old dedup rows twice over.
const SWEEP_EVERY: u64 = 32;
const SWEEP_ROWS: usize = 64;
/// At every so many commits, the records of a sender's messages that it has noted as delivered
/// go: so that most deliveries write one row.
const LOW_EVERY: u64 = 8;

/// What a commit records about its call.
#[derive(Default)]
struct Replied {
    /// The reply.
    reply: Option<Kept>,
    /// The mark of a message's sender.
    low: Option<OutboxPosition>,
}

impl Activation {
    /// Commits what the handler left.
    pub(crate) async fn commit(&self) -> Input {
        let (mut finished, owned, head, swept) = {
            let mut state = self.state.lock();
            let finished = state.busy().finished.take().expect("a commit follows a finished handler");
            let loaded = state.loaded.as_ref().expect("a turn runs on a loaded activation");
            (finished, loaded.own.clone(), loaded.head.get(), loaded.swept.clone())
        };
        let own = &owned.own;
        let mut next = self.next_head(own, &head, &finished);
        finished.written = Some(next.clone());
        let mut swept_to = None;
        let input = 'attempts: {
            for attempt in 0..COMMIT_ATTEMPTS_MAX {
                self.node.give_way(attempt).await;
                let mut tx = self.node.store.begin();
                match self.fill(&mut tx, &finished, (own, &head, &next), swept.as_deref()).await {
                    Ok(Some(swept)) => swept_to = swept,
                    Ok(None) => break 'attempts Input::CommitConflicted,
                    Err(error) => {
                        finished.refused = Some(self.refusal(error));
                        break 'attempts Input::CommitRefused;
                    }
                }
                match tx.commit().await {
                    Ok(_) => {
                        if kelpie_core::mutant!("dedup_outside_commit") {
                            self.dedup_apart(&finished).await;
                        }
                        break 'attempts Input::CommitSucceeded;
                    }
                    Err(CommitError::Conflict | CommitError::TooOld) => {}
                    Err(CommitError::Unknown(_))
                        if kelpie_core::mutant!("drop_in_flight_without_seq_check") =>
                    {
                        break 'attempts Input::CommitConflicted;
                    }
                    Err(CommitError::Unknown(_)) if kelpie_core::mutant!("unknown_taken_for_done") => {
                        break 'attempts Input::CommitSucceeded;
                    }
                    Err(CommitError::Unknown(_)) => break 'attempts Input::CommitUnknown,
                    Err(error @ CommitError::Unavailable(_)) => {
                        finished.refused = Some(CallError::NotRun { reason: describe(&error) });
                        break 'attempts Input::CommitRefused;
                    }
                    // The same would come again: the turn ends with this error, and its steps with it.
                    Err(CommitError::Limit(limit)) if finished.running.is_some() => {
                        let error = too_large(limit);
                        self.went_wrong(&error);
                        finished.fail(error);
                        next = self.next_head(own, &head, &finished);
                        finished.written = Some(next.clone());
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
        self.attempted(finished, swept_to, input)
    }

    /// Keeps what a commit has come to.
    fn attempted(&self, finished: Box<Finished>, swept_to: Option<Bytes>, input: Input) -> Input {
        if let Some(error) = &finished.refused {
            self.went_wrong(error);
        }
        let input = if matches!(input, Input::CommitRefused) { finished.not_landed(input) } else { input };
        let mut state = self.state.lock();
        if matches!(input, Input::CommitConflicted) && finished.has_begun() {
            state.busy().begun = Some(finished.request.key);
        }
        if let Some(loaded) = &mut state.loaded {
            loaded.swept = swept_to.map(Box::new);
        }
        state.busy().finished = Some(finished);
        input
    }

    /// The head after this commit.
    fn next_head(&self, own: &Own, head: &Head, finished: &Finished) -> Head {
        let work = &finished.work;
        let count = |items: usize| u32::try_from(items).expect("a transaction holds far fewer");
        let outbox = (head.outbox + count(work.messages.len())).saturating_sub(count(work.delivered.len()));
        let own_wake_ms = work.own_wake_ms.unwrap_or(head.own_wake_ms);
        let reminder_ms = work.reminders.earliest_ms.unwrap_or(head.reminder_ms);
        let outbox_due = (outbox > 0).then(|| finished.now_ms.saturating_add(wake::OUTBOX_RETRY_MS));
        let large = head.large || work.writes.values().flatten().any(|value| large::needs_chunks(value));
        let wake_ms = if kelpie_core::mutant!("wake_cleared_early") {
            own_wake_ms
        } else {
            [own_wake_ms, reminder_ms, outbox_due].into_iter().flatten().min()
        };
        tracing::trace!(actor = %self.actor, epoch = own.epoch.0, seq = head.seq.0 + 1, "commit");
        Head { seq: head.seq.next(), wake_ms, own_wake_ms, reminder_ms, running: false, outbox, large }
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
        self.compare_index(tx, work).await?;
        self.fill_state(tx, work, head.large).await?;
        let replied = if kelpie_core::mutant!("CommitTransaction_StateOnly") {
            Replied::default()
        } else {
            self.fill_left(tx, finished, own, next)
        };
        for (key, value) in &work.index {
            match value {
                Some(value) => tx.set(key.clone(), value.clone()),
                None => tx.clear(key.clone()),
            }
        }
        for (key, amounts) in &work.added {
            let operand: Vec<u8> = amounts.iter().flat_map(|amount| amount.to_le_bytes()).collect();
            tx.atomic(AtomicOp::Add, key.clone(), operand);
        }
        for &position in &work.delivered {
            let key = row::outbox(&self.actor, position);
            large::clear_chunks(tx, &key);
            tx.clear(key);
        }
        if let Some(running) = &finished.running {
            self.clear_running(tx, running);
        }
        self.move_wake(tx, head.wake_ms, next.wake_ms);
        tx.set(row::head(&self.actor), record::encode(next));
        for step in &work.steps {
            tx.record(|| step.clone());
        }
        tx.record(|| self.committed(finished, own, next, replied));
        self.sweep(tx, next.seq.0, swept).await.map(Some)
    }

    /// What a turn leaves beside its actor's state: its reply, its messages and dead letters, its
    /// reminders.
    fn fill_left(&self, tx: &mut Transaction, finished: &Finished, own: &Own, next: &Head) -> Replied {
        let work = &finished.work;
        work.reminders.fill(tx, &self.actor);
        for (index, message) in (0_u32..).zip(&work.messages) {
            let position = OutboxPosition { epoch: own.epoch, seq: next.seq, index };
            large::put(tx, &row::outbox(&self.actor, position), &record::encode(message));
        }
        for (position, message) in &work.dead {
            large::put(tx, &row::dead_letter(&self.actor, *position), message);
        }
        match &finished.dedup {
            Some(dedup) if !kelpie_core::mutant!("dedup_outside_commit") => {
                let low = self.fill_reply(tx, finished, dedup, next);
                Replied { reply: Some(Kept { until_ms: dedup.expires_ms }), low }
            }
            Some(_) | None => Replied::default(),
        }
    }

    /// Reads the two rows that every commit reads, in one question, and notes them as read.
    pub(crate) async fn compare(&self, tx: &mut Transaction, fence: &Fence) -> Result<bool, TurnError> {
        let stored = tx.get_many(&fence_keys(&self.actor)).await?;
        let [same_own, same_head] = fence.compared(&stored);
        let compares_nothing = kelpie_core::mutant!("commit_without_fence");
        let same_own = same_own || compares_nothing || kelpie_core::mutant!("LeaseExpires_Racy");
        let same_head =
            same_head || compares_nothing || kelpie_core::mutant!("drop_in_flight_without_seq_check");
        Ok(same_own && same_head)
    }

    /// Reads the index rows once more that the turn has read, in one question, and notes them as
    /// read: whoever changes one of them meanwhile conflicts.
    async fn compare_index(&self, tx: &mut Transaction, work: &Work) -> Result<(), TurnError> {
        if work.read_index.is_empty() {
            return Ok(());
        }
        let keys: Vec<Bytes> = work.read_index.keys().cloned().collect();
        let stored = tx.get_many(&keys).await?;
        if stored.iter().eq(work.read_index.values()) { Ok(()) } else { Err(TurnError::IndexMoved) }
    }

    /// Records the reply; for a message, now and then also what its sender has noted as
    /// delivered, and forgets what lies below.
    fn fill_reply(
        &self,
        tx: &mut Transaction,
        finished: &Finished,
        dedup: &Dedup,
        next: &Head,
    ) -> Option<OutboxPosition> {
        let (key, reply) = (finished.request.reply_row(), record::encode(dedup));
        let Some((sender, _)) = finished.request.sender() else {
            large::put(tx, &key, &reply);
            return None;
        };
        tx.set(key, reply);
        let low = finished.raised.filter(|_| next.seq.0.is_multiple_of(LOW_EVERY))?;
        tx.clear_range(row::inboxes(&self.actor, sender), row::inbox(&self.actor, sender, low));
        tx.set(row::low(&self.actor, sender), record::encode(&low));
        Some(low)
    }

    /// The commit of a turn, as a step of the protocol.
    fn committed(&self, finished: &Finished, own: &Own, next: &Head, replied: Replied) -> Step {
        let (request, work) = (&finished.request, &finished.work);
        let place = |index| OutboxPosition { epoch: own.epoch, seq: next.seq, index };
        Step::Commit {
            actor: self.actor.to_string(),
            owner: Owner::from(own),
            seq: next.seq.0,
            key: protocol::key(request.key),
            print: protocol::print(&request.fingerprint),
            own: request.is_own(),
            outbox: next.outbox,
            wake: next.wake_ms.is_some(),
            resumed: finished.running.is_some(),
            left: Left {
                reply: replied.reply,
                message: request.sender().map(|(sender, mark)| protocol::Message {
                    sender: sender.to_string(),
                    position: protocol::place(mark.position),
                    low: protocol::place(mark.low),
                }),
                low: replied.low.map(protocol::place),
                sent: (0_u32..).zip(&work.messages).map(|(index, _)| protocol::place(place(index))).collect(),
                delivered: work.delivered.iter().copied().map(protocol::place).collect(),
            },
        }
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

    /// The seeded bug of recording the reply in a transaction of its own, after the commit.
    async fn dedup_apart(&self, finished: &Finished) {
        let Some(dedup) = &finished.dedup else { return };
        let mut tx = self.node.store.begin();
        let (key, reply) = (finished.request.reply_row(), record::encode(dedup));
        match finished.request.sender() {
            Some(_) => tx.set(key, reply),
            None => large::put(&mut tx, &key, &reply),
        }
        drop(tx.commit().await);
    }

    /// Makes a lost commit's outcome final, however long the store takes.
    pub(crate) async fn settle(&self) -> Input {
        let (owned, head, written) = {
            let mut state = self.state.lock();
            let busy = state.busy();
            let finished = busy.finished.as_ref().expect("what is settled has been sent");
            let written = finished.written.clone().expect("what is settled has been sent");
            // Until it is known.
            busy.begun = Some(finished.request.key);
            let loaded = state.loaded.as_ref().expect("a turn runs on a loaded activation");
            (loaded.own.clone(), loaded.head.get(), written)
        };
        let Some((own, settled)) = self.settled(&owned.own).await else { return Input::CommitConflicted };
        let landed = settled == written;
        if !landed && settled != head {
            return Input::CommitConflicted;
        }
        if !landed {
            self.went_wrong(&lost());
        }
        let mut state = self.state.lock();
        if let Some(loaded) = &mut state.loaded {
            loaded.own = self.node.owners.share(own);
            loaded.head = settled.into();
        }
        let busy = state.busy();
        // Now it is, but for the steps that were recorded before, and what others have done.
        busy.begun = busy.begun.filter(|_| busy.finished.as_ref().is_some_and(|f| f.has_begun()));
        let settled = Input::Settled { landed };
        match &busy.finished {
            Some(finished) if !landed => finished.not_landed(settled),
            Some(_) | None => settled,
        }
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
    pub(crate) fn publish(self: &Arc<Self>, state: &mut State) -> Vec<PendingEffect> {
        let Some(mut finished) = state.busy().finished.take() else { return Vec::new() };
        let loaded = state.loaded.as_mut().expect("a turn runs on a loaded activation");
        if let Some(head) = finished.written.take() {
            loaded.head = head.into();
        }
        let work = std::mem::take(&mut finished.work);
        work.cleared.iter().for_each(|range| loaded.cache.forget(range));
        for (record, value) in work.writes {
            loaded.cache.put(record, value);
        }
        let head = loaded.head.get();
        state.busy().finished = Some(finished);
        if let Some(due_ms) = head.wake_ms {
            self.node.waker.expect(&self.actor, due_ms, self.node.env.wall_ms());
        }
        if head.outbox > 0 && !std::mem::replace(&mut state.delivering, true) {
            self.clone().deliver();
        }
        work.effects
    }
}

/// A commit has not landed, and never will.
pub(crate) fn lost() -> CallError {
    CallError::NotRun { reason: "the commit was lost".to_owned() }
}

fn too_large(limit: kelpie_storage::LimitError) -> CallError {
    use kelpie_storage::LimitError::{Key, Transaction, Value, Versionstamp};
    use kelpie_storage::limits;
    let (what, bytes, bytes_max) = match limit {
        Key { bytes, max } => ("a row's key", bytes, max),
        Versionstamp { bytes, .. } => ("a row's key", bytes, limits::KEY_BYTES_MAX),
        Value { bytes } => ("a row", bytes, limits::VALUE_BYTES_MAX),
        Transaction { bytes } => ("what the turn leaves", bytes, limits::TRANSACTION_BYTES_MAX),
    };
    CallError::TooLarge { what: what.into(), bytes, bytes_max }
}
