//! The parts of an open embedded store, and who cares for them.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kelpie_core::log::Condition;
use kelpie_env::{DirectoryLock, Env};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::commit::{Tail, Writer};
use super::meters::Meters;
use super::redb_base::RedbBase;
use super::segments::Segments;
use super::steps::LogStep;
use crate::contract::{CloseError, Outage, Stats, Version};
use crate::engine::{Engine, Forgetting};

pub(super) struct Inner {
    pub(super) env: Env,
    pub(super) engine: Engine,
    pub(super) base: Arc<RedbBase>,
    pub(super) segments: Segments,
    pub(super) writer: Mutex<Writer>,
    pub(super) tail: Mutex<Tail>,
    pub(super) checkpoint_bytes: u64,
    pub(super) memtable_bytes_max: u64,
    /// Wakes the log thread.
    pub(super) log_work: Notify,
    /// Wakes who makes checkpoints.
    pub(super) care_work: Notify,
    /// Wakes who makes spare segments.
    pub(super) spare_work: Notify,
    /// Nobody flushes any more.
    pub(super) idle: Notify,
    /// Held during a checkpoint.
    pub(super) checkpointing: Mutex<()>,
    pub(super) meters: Meters,
    pub(super) stopped: AtomicBool,
    pub(super) lock: Mutex<Option<Box<dyn DirectoryLock>>>,
}

impl Inner {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether commits are refused until a checkpoint has made room.
    pub(super) fn is_memory_full(&self) -> bool {
        self.engine.memtable.bytes() > self.memtable_bytes_max
    }

    /// Ends the log thread and the two carers, after what they are at.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.log_work.notify_one();
        self.care_work.notify_one();
        self.spare_work.notify_one();
    }

    /// Folds what it can into the base, then lets go of it in memory and in the log.
    pub(super) fn checkpoint(&self) -> Result<(), Outage> {
        let _one = self.checkpointing.lock();
        let logged = {
            let mut writer = self.writer.lock();
            if writer.log.condition() == Condition::Poisoned {
                return Err(Outage::Poisoned);
            }
            mem::take(&mut writer.logged)
        };
        if kelpie_core::mutant!("wal_cut_before_checkpoint_durable") {
            let published = self.engine.readers.published();
            self.segments.cut(|last| last <= published).map_err(|error| Outage::Disk(Arc::new(error)))?;
        }
        if kelpie_core::mutant!("memtable_forgotten_before_fold") {
            self.engine.memtable.raise_base(self.engine.readers.published());
            self.forget();
        }
        let began = self.env.now();
        let position = self.fold(began, logged)?;
        // Only now, with the checkpoint durable.
        let cut = self.segments.cut(|last| self.writer.lock().log.may_cut(last));
        if let Err(error) = cut {
            tracing::warn!(%error, "a log segment stays although it is needed no more");
        }
        let took = self.env.now().saturating_sub(began);
        self.meters.checkpointed(took);
        self.set_gauges();
        tracing::debug!(position, ?took, "checkpoint");
        Ok(())
    }

    /// Folds, and notes how far it came; after a failure the `logged` bytes are owed again.
    fn fold(&self, now: Duration, logged: u64) -> Result<Version, Outage> {
        let before = self.engine.memtable.base();
        let folded = self.engine.fold(now);
        {
            let mut writer = self.writer.lock();
            match &folded {
                Ok(position) => {
                    if *position > before {
                        self.segments.steps.tell(LogStep::Folded { position: *position });
                    }
                    writer.log.checkpoint(*position);
                    writer.unfolded.folded(*position);
                }
                Err(outage) => {
                    writer.logged += logged;
                    if matches!(outage, Outage::Poisoned) {
                        writer.log.sync_failed();
                    }
                }
            }
        }
        if folded.as_ref().is_ok_and(|position| *position > before) {
            self.forget();
        }
        folded
    }

    /// Drops from memory what the base holds, a step at a time between the commits.
    fn forget(&self) {
        let mut next = Some(Forgetting::default());
        while let Some(from) = next {
            let _writer = self.writer.lock();
            next = self.engine.memtable.forget_some(from);
        }
    }

    /// Refuses further commits, waits for those in flight, folds, releases.
    pub(super) async fn close(self: Arc<Self>) -> Result<(), CloseError> {
        self.writer.lock().log.close();
        loop {
            let idle = self.idle.notified();
            if !self.writer.lock().flushing {
                break;
            }
            idle.await;
        }
        let inner = self.clone();
        self.env
            .blocking(move || {
                if inner.lock.lock().is_none() {
                    return Ok(());
                }
                let folded = inner.checkpoint();
                inner.stop();
                inner.base.close();
                drop(inner.lock.lock().take());
                folded.map_err(CloseError)
            })
            .await
    }

    pub(super) fn stats(&self) -> Stats {
        let Meters { fsyncs, waits, checkpoints, .. } = &self.meters;
        let log_bytes = self.tail.lock().active.used() + self.segments.retired_bytes();
        let checkpoint_times = checkpoints.times();
        Stats {
            log_bytes,
            checkpoints: checkpoint_times.count,
            conflicts: self.engine.conflicts(),
            commit_times: waits.times(),
            fsync_times: fsyncs.times(),
            checkpoint_times,
            ..self.holdings()
        }
    }

    /// What needs no look at the log's tail, which an fsync may hold.
    pub(super) fn holdings(&self) -> Stats {
        let writer = self.writer.lock();
        let unfolded = writer.unfolded.amount();
        Stats {
            version: self.engine.readers.published(),
            checkpoint: writer.log.position(),
            memtable_keys: self.engine.memtable.keys(),
            memtable_bytes: self.engine.memtable.bytes(),
            batches: writer.batches,
            commits: writer.commits,
            unfolded_commits: unfolded.commits,
            unfolded_bytes: unfolded.bytes,
            ..Stats::default()
        }
    }
}
