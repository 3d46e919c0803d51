//! Who cares for an open store beside its commits: one task makes checkpoints, another spare
//! segments, so that a commit that needs a segment never waits for a checkpoint.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::log::Condition;

use super::inner::Inner;
use super::segments::NotLogged;
use crate::contract::Outage;

/// Segments that starts may leave behind before a checkpoint is made for their sake.
const LEFTOVERS_MAX: u64 = 3;
/// Between two checkpoints of which the first has changed too little.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(500);
/// The longest time between two tries: a base that is damaged stays so, and a disk that was full
/// is looked at soon enough.
const RETRY_MAX: Duration = Duration::from_secs(16);

/// Spare segments that a busy log has ready.
const SPARES_AHEAD: usize = 2;

/// A row of tries that failed.
#[derive(Default)]
struct Failing {
    /// Why the last one did; one cause is told once.
    cause: Option<String>,
    /// How long to wait after the next failure, and until when after the last.
    pause: Duration,
    until: Duration,
}

impl Failing {
    /// Logs how a try ended, unless that is known.
    fn tell(&mut self, made: Result<(), Outage>, now: Duration, words: &str) {
        match made {
            Ok(()) if self.made() => tracing::info!("no longer: {words}"),
            Err(outage) if self.failed(&outage, now) => tracing::warn!(%outage, "{words}"),
            Ok(()) | Err(_) => {}
        }
    }

    /// One more failed. Says whether that is news.
    fn failed(&mut self, outage: &Outage, now: Duration) -> bool {
        self.pause = (2 * self.pause).clamp(CHECKPOINT_PAUSE, RETRY_MAX);
        self.until = now + self.pause;
        let cause = outage.to_string();
        self.cause.replace(cause.clone()).is_none_or(|before| before != cause)
    }

    /// One went well. Says whether that is news.
    fn made(&mut self) -> bool {
        std::mem::take(self).cause.is_some()
    }
}

impl Inner {
    /// Makes a checkpoint whenever one is due.
    pub(super) async fn make_checkpoints(self: Arc<Self>) {
        let mut failing = Failing::default();
        loop {
            self.care_work.notified().await;
            if self.is_stopped() {
                return;
            }
            if self.env.now() >= failing.until && self.checkpoint_is_due() {
                let inner = self.clone();
                let made = self.env.blocking(move || inner.checkpoint()).await;
                failing.tell(
                    made,
                    self.env.now(),
                    "no checkpoint: it is tried again, the log keeps everything",
                );
            }
            if self.checkpoint_is_due() {
                // It failed, or somebody still reads what it would have folded.
                self.env.sleep(CHECKPOINT_PAUSE).await;
                self.care_work.notify_one();
            }
        }
    }

    /// Makes spare segments: one at the start, and after each rotation so many that the next
    /// ones find theirs.
    pub(super) async fn make_segments(self: Arc<Self>) {
        let mut failing = Failing::default();
        let mut ahead = 1;
        loop {
            self.spare_work.notified().await;
            if self.is_stopped() {
                return;
            }
            let inner = self.clone();
            let made = self.env.blocking(move || inner.prepare_segments(ahead)).await;
            // The rotation that needs it will find out, and refuse its batch.
            failing.tell(made, self.env.now(), "no spare log segment");
            ahead = SPARES_AHEAD;
        }
    }

    /// Whether the log is long, by what was logged or by its files, or memory is half full. A
    /// process that is killed leaves a whole segment, however little is in it, and the next
    /// start reads them all.
    fn checkpoint_is_due(&self) -> bool {
        let retired = self.segments.retired_bytes();
        let writer = self.writer.lock();
        let much = writer.logged.max(retired) >= self.checkpoint_bytes
            || self.engine.memtable.bytes() >= self.memtable_bytes_max / 2;
        much && writer.log.condition() == Condition::Open
    }

    /// Folds what earlier starts have left, before anyone is served: a store that dies soon
    /// after each start never comes to it otherwise.
    pub(super) fn clear_leftovers(&self) {
        let most = self.checkpoint_bytes + LEFTOVERS_MAX * self.segments.segment_bytes();
        if self.segments.retired_bytes() > most
            && let Err(outage) = self.checkpoint()
        {
            tracing::warn!(%outage, "what earlier starts left of the log stays");
        }
    }

    fn prepare_segments(&self, ahead: usize) -> Result<(), Outage> {
        // Held meanwhile, so that the directory is not released beside it; afterwards its
        // files are somebody else's.
        let held = self.lock.lock();
        if held.is_none() {
            return Ok(());
        }
        self.segments.prepare(ahead).map_err(|error| match error {
            NotLogged::Refused(outage) => outage,
            NotLogged::Unknown => {
                self.writer.lock().log.sync_failed();
                Outage::Poisoned
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_tried_again_at_longer_and_longer_times() {
        let mut failing = Failing::default();
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for n in 0..8 {
            assert_eq!(failing.failed(&Outage::DiskFull, now), n == 0);
            pauses.push((failing.until - now).as_millis());
            now = failing.until;
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
        assert!(failing.failed(&Outage::Closed, now), "another cause is news");
        assert!(failing.made() && !failing.made());
        assert!(failing.failed(&Outage::DiskFull, now));
        assert_eq!(failing.until - now, CHECKPOINT_PAUSE);
    }
}
