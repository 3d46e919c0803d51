//! What the store measures of itself: a few figures per batch, none per commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::inner::Inner;
use crate::contract::Stats;
use crate::engine::Latency;

/// How often the gauges are set.
const GAUGES_EVERY: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct Meters {
    /// How long writing and syncing a batch takes.
    pub(super) fsyncs: Latency,
    /// How long the first commit of each batch waited.
    pub(super) waits: Latency,
    /// How long checkpoints take.
    pub(super) checkpoints: Latency,
    /// When the gauges were set, in nanoseconds of the environment's clock.
    gauges_set: AtomicU64,
}

impl Meters {
    /// A batch of `commits` is durable.
    pub(super) fn landed(&self, commits: u64, waited: Duration) {
        self.waits.record(waited);
        metrics::histogram!("kelpie_storage_commit_seconds").record(waited.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^52 commits")]
        metrics::histogram!("kelpie_storage_batch_commits").record(commits as f64);
        metrics::counter!("kelpie_storage_commits_total").increment(commits);
    }

    /// A batch was written and synced, or was to be.
    pub(super) fn synced(&self, took: Duration) {
        self.fsyncs.record(took);
        metrics::histogram!("kelpie_storage_fsync_seconds").record(took.as_secs_f64());
    }

    /// A checkpoint is durable and its log cut.
    pub(super) fn checkpointed(&self, took: Duration) {
        self.checkpoints.record(took);
        metrics::histogram!("kelpie_storage_checkpoint_seconds").record(took.as_secs_f64());
    }

    fn gauges_due(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let every = u64::try_from(GAUGES_EVERY.as_nanos()).expect("less than 500 years");
        let due = now >= self.gauges_set.load(Ordering::Relaxed).saturating_add(every);
        if due {
            self.gauges_set.store(now, Ordering::Relaxed);
        }
        due
    }
}

impl Inner {
    /// Sets the gauges, unless that was done a moment ago. Holds no lock of the caller's.
    pub(super) fn gauges(&self, now: Duration) {
        if self.meters.gauges_due(now) {
            self.set_gauges();
        }
    }

    /// Sets the gauges.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; sizes are below 2^52")]
    pub(super) fn set_gauges(&self) {
        let Stats {
            version,
            checkpoint,
            memtable_keys,
            memtable_bytes,
            unfolded_commits,
            unfolded_bytes,
            ..
        } = self.holdings();
        metrics::gauge!("kelpie_storage_memtable_keys").set(memtable_keys as f64);
        metrics::gauge!("kelpie_storage_memtable_bytes").set(memtable_bytes as f64);
        metrics::gauge!("kelpie_storage_unfolded_commits").set(unfolded_commits as f64);
        metrics::gauge!("kelpie_storage_unfolded_bytes").set(unfolded_bytes as f64);
        metrics::gauge!("kelpie_storage_version").set(version as f64);
        metrics::gauge!("kelpie_storage_checkpoint_version").set(checkpoint as f64);
    }
}
