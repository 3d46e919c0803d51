//! A batch of commits on its way to the disk, and those who wait for it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kelpie_core::log::{Lsn, frame};
use tokio::sync::Notify;

use crate::contract::CommitError;

/// Commits that share one fsync.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<u8>,
    pub(super) commits: u64,
    pub(super) last: Lsn,
    /// When its first commit came.
    pub(super) began: Duration,
    pub(super) flight: Arc<Flight>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a record.
    pub(super) fn append(&mut self, lsn: Lsn, write: impl FnOnce(&mut Vec<u8>)) {
        frame::append(&mut self.frames, lsn, write);
        self.commits += 1;
        self.last = lsn;
    }
}

/// Where the commits of one batch wait for its outcome.
#[derive(Default)]
pub(super) struct Flight {
    outcome: OnceLock<Result<(), CommitError>>,
    landed: Notify,
}

impl Flight {
    /// Tells everybody. Only the first outcome counts.
    pub(super) fn land(&self, outcome: Result<(), CommitError>) {
        self.outcome.get_or_init(|| outcome);
        self.landed.notify_waiters();
    }

    pub(super) async fn wait(&self) -> Result<(), CommitError> {
        loop {
            // Made before the look: who lands in between wakes it.
            let landed = self.landed.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            landed.await;
        }
    }
}
