//! Group commit: one fsync for all commits that arrived during the one before.
//!
//! ```text
//!   caller: lock ─ resolve ─ number ─ encode into the forming batch ─ insert, invisible ─ unlock
//!              │
//!              ├─ log idle:  the caller flushes the batch itself
//!              └─ log busy:  waits; whoever flushes hands the next batch to the log thread
//!
//!   flush:  take the batch ─ write ─ fsync ─ publish ─ acknowledge
//! ```
//!
//! Invariant: `flushing` is true exactly while somebody is bound to flush; whoever leaves
//! before hands over to the log thread. Batches are flushed one after the other, in the
//! order of their numbers.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::log::frame::Header;
use kelpie_core::log::{Condition, Log};
use parking_lot::MutexGuard;

use super::body;
use super::flight::{Batch, Flight, Landing};
use super::inner::Inner;
use super::segments::{Active, NotLogged};
use super::steps::LogStep;
use super::unfolded::{Amount, Unfolded};
use crate::contract::{CommitError, CommitRequest, Committed, Op, Outage, Version};
use crate::engine::ReadAhead;

/// A batch this large is refused further commits: the disk is far behind.
const FORMING_BYTES_MAX: usize = 64 << 20;
/// After the disk was found full commits are refused at once for so long.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// What callers change under the one short lock.
pub(super) struct Writer {
    pub(super) log: Log,
    pub(super) forming: Batch,
    pub(super) flushing: bool,
    /// Until when not to try the full disk again.
    pub(super) full_until: Option<Duration>,
    /// Bytes logged since the last checkpoint began.
    pub(super) logged: u64,
    pub(super) unfolded: Unfolded,
    pub(super) commits: u64,
    pub(super) batches: u64,
    /// A buffer to use again.
    pub(super) spare: Vec<u8>,
}

/// The end of the log; only the flusher touches it.
pub(super) struct Tail {
    pub(super) active: Active,
    pub(super) generation: u64,
}

/// Bound to flush; dropped before it has, it hands over.
struct FlushTurn<'a> {
    inner: &'a Inner,
    taken: bool,
}

impl Drop for FlushTurn<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.inner.log_work.notify_one();
        }
    }
}

impl Inner {
    /// Commits what was read at `read_version`, if anything was.
    pub(super) async fn commit(
        &self,
        request: CommitRequest,
        read_version: Option<Version>,
    ) -> Result<Committed, CommitError> {
        let ahead = if request.writes.iter().any(|(_, op)| matches!(op, Op::Atomic(_))) {
            let read = self.env.inline(|| self.engine.read_ahead(&request)).await;
            read.map_err(CommitError::Unavailable)?
        } else {
            ReadAhead::default()
        };
        let (version, flight, lead) = self.enter(request, read_version, &ahead)?;
        if lead {
            let mut turn = FlushTurn { inner: self, taken: false };
            self.env
                .inline(|| {
                    turn.taken = true;
                    self.flush();
                })
                .await;
        }
        Landing::new(flight).await.map(|()| Committed { version: Some(version) })
    }

    /// All that happens under the lock. The last part says whether the caller has to flush.
    fn enter(
        &self,
        request: CommitRequest,
        read_version: Option<Version>,
        ahead: &ReadAhead,
    ) -> Result<(Version, Arc<Flight>, bool), CommitError> {
        let mut writer = self.writer.lock();
        self.admit(&writer).map_err(CommitError::Unavailable)?;
        self.engine.resolve(&request, read_version)?;
        let version = writer.log.next();
        let early = read_version.filter(|_| kelpie_core::mutant!("versionstamp_drawn_early"));
        let stamp = early.map_or(version, |read| read + 1);
        let mutations = self.engine.mutations(request, stamp, ahead).map_err(CommitError::Unavailable)?;
        let version =
            writer.log.append().map_err(|condition| CommitError::Unavailable(refusal(condition)))?;
        if writer.forming.is_empty() {
            writer.forming.began = self.env.now();
        }
        self.segments.steps.tell(LogStep::Appended { lsn: version });
        writer.forming.append(version, |out| body::encode(&mutations, out));
        if kelpie_core::mutant!("Append_DuplicateIdempotency")
            && let Ok(again) = writer.log.append()
        {
            self.segments.steps.tell(LogStep::Appended { lsn: again });
            writer.forming.append(again, |out| body::encode(&mutations, out));
        }
        let replaced = self.engine.insert(version, mutations);
        let flight = writer.forming.flight.clone();
        let lead = !mem::replace(&mut writer.flushing, true);
        drop(writer);
        // Freed here and not under the lock.
        drop(replaced);
        Ok((version, flight, lead))
    }

    fn admit(&self, writer: &Writer) -> Result<(), Outage> {
        match writer.log.condition() {
            Condition::Open => {}
            refused @ (Condition::Poisoned | Condition::Closed) => return Err(refusal(refused)),
        }
        if writer.full_until.is_some_and(|until| self.env.now() < until) {
            return Err(Outage::DiskFull);
        }
        if self.is_memory_full() {
            // The last checkpoint may have been held up by a reader, and with every commit
            // refused no other one would ever become due.
            self.care_work.notify_one();
            return Err(Outage::Overloaded);
        }
        if writer.forming.frames.len() > FORMING_BYTES_MAX { Err(Outage::Overloaded) } else { Ok(()) }
    }

    /// The log thread: flushes what others hand over.
    pub(super) async fn flush_for_others(self: Arc<Self>) {
        loop {
            self.log_work.notified().await;
            while self.writer.lock().flushing {
                self.env.inline(|| self.flush()).await;
            }
            if self.is_stopped() {
                return;
            }
        }
    }

    /// Makes the forming batch durable, visible and acknowledged, and settles who flushes the
    /// next one.
    fn flush(&self) {
        let mut tail = self.tail.lock();
        let (mut batch, synced) = {
            let mut writer = self.writer.lock();
            let frames = mem::take(&mut writer.spare);
            let empty = Batch { frames, ..Batch::default() };
            (mem::replace(&mut writer.forming, empty), writer.log.synced())
        };
        let began = self.env.now();
        if batch.is_empty() {
            return self.hand_over(&mut self.writer.lock(), batch.frames);
        }
        self.segments
            .steps
            .tell(LogStep::BatchTaken { records: batch.commits, bytes: batch.frames.len() as u64 });
        if kelpie_core::mutant!("wal_ack_before_fsync") {
            self.segments.steps.tell(LogStep::BatchLanded { through: batch.last });
            self.visible(&mut self.writer.lock(), &batch);
            batch.flight.land(Ok(()));
        }
        if kelpie_core::mutant!("version_published_before_fsync") {
            self.engine.publish(batch.last);
        }
        let logged = self.write(&mut tail, &mut batch, synced);
        if logged.is_ok() {
            // First, so that nothing acknowledged is without it.
            tail.active.mark();
        }
        let ended = self.env.now();
        self.meters.synced(ended.saturating_sub(began));
        match logged {
            Ok(()) => self.landed(tail, batch, ended),
            Err(NotLogged::Refused(outage)) => self.refused(batch, &outage),
            Err(NotLogged::Unknown) => self.poisoned(batch),
        }
    }

    fn write(&self, tail: &mut Tail, batch: &mut Batch, synced: Version) -> Result<(), NotLogged> {
        if !tail.active.has_room(&batch.frames) {
            let header = Header {
                store: tail.active.header.store,
                bytes: tail.active.header.bytes,
                generation: tail.generation + 1,
                first: synced + 1,
                previous: tail.active.header.generation,
                cut_after: synced,
            };
            tail.generation += 1;
            let next = self.segments.begin(header, batch.frames.len())?;
            self.segments.retire(mem::replace(&mut tail.active, next));
            self.care_work.notify_one();
            self.spare_work.notify_one();
        }
        tail.active.append(&mut batch.frames, synced, batch.last, &self.segments.steps)
    }

    /// The batch is durable: everybody may see it, then those who wait may know. The log's end
    /// is held until it is visible, so that no later batch lands before.
    fn landed(&self, tail: MutexGuard<'_, Tail>, batch: Batch, now: Duration) {
        self.segments.steps.tell(LogStep::BatchLanded { through: batch.last });
        let Batch { commits, began, .. } = batch;
        let flight = batch.flight.clone();
        {
            let mut writer = self.writer.lock();
            self.visible(&mut writer, &batch);
            self.hand_over(&mut writer, batch.frames);
        }
        drop(tail);
        flight.land(Ok(()));
        self.meters.landed(commits, now.saturating_sub(began));
        self.gauges(now);
    }

    fn visible(&self, writer: &mut Writer, batch: &Batch) {
        writer.full_until = None;
        writer.log.sync(batch.last);
        let visible = writer.log.publish();
        // Under the lock: a watch made beside it is either told to wait for this version
        // or sees it.
        self.engine.publish(visible);
        let bytes = batch.frames.len() as u64;
        writer.logged += bytes;
        writer.unfolded.logged(batch.last, Amount { commits: batch.commits, bytes });
        writer.commits += batch.commits;
        writer.batches += 1;
        if writer.logged >= self.checkpoint_bytes
            || self.engine.memtable.bytes() >= self.memtable_bytes_max / 2
        {
            self.care_work.notify_one();
        }
    }

    /// The batch is not in the log: it and those that were resolved against it never
    /// happened.
    fn refused(&self, batch: Batch, outage: &Outage) {
        let mut writer = self.writer.lock();
        let later = mem::take(&mut writer.forming);
        if !kelpie_core::mutant!("refused_batch_stays") {
            // Only these two have commits that nobody has seen.
            self.engine.roll_back(batch.keys().chain(later.keys()));
        }
        if matches!(outage, Outage::DiskFull) {
            if writer.full_until.is_none() {
                tracing::warn!(%outage, "commits are refused");
            }
            writer.full_until = Some(self.env.now() + FULL_PAUSE);
        }
        self.hand_over(&mut writer, batch.frames);
        drop(writer);
        metrics::counter!("kelpie_storage_batches_refused_total").increment(1);
        for flight in [&batch.flight, &later.flight] {
            flight.land(Err(CommitError::Unavailable(outage.clone())));
        }
    }

    /// What the disk holds is unknown. What was not written yet never will be.
    fn poisoned(&self, batch: Batch) {
        let later = {
            let mut writer = self.writer.lock();
            writer.log.sync_failed();
            let later = mem::take(&mut writer.forming);
            self.hand_over(&mut writer, batch.frames);
            later
        };
        metrics::counter!("kelpie_storage_poisoned_total").increment(1);
        tracing::error!("the store takes no more commits: restart to replay the log");
        batch.flight.land(Err(CommitError::Unknown(Outage::Poisoned)));
        later.flight.land(Err(CommitError::Unavailable(Outage::Poisoned)));
    }

    /// Whoever flushed is done: with commits waiting the log thread goes on.
    fn hand_over(&self, writer: &mut Writer, mut frames: Vec<u8>) {
        frames.clear();
        writer.spare = frames;
        if writer.forming.is_empty() {
            writer.flushing = false;
            self.idle.notify_waiters();
        } else {
            self.log_work.notify_one();
        }
    }
}

fn refusal(condition: Condition) -> Outage {
    match condition {
        Condition::Open => Outage::Overloaded,
        Condition::Poisoned => Outage::Poisoned,
        Condition::Closed => Outage::Closed,
    }
}
