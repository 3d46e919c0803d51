//! A batch of commits on its way to the disk, and those who wait for it.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::log::{Lsn, frame};
use parking_lot::Mutex;

use super::body;
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

    /// The keys that its commits write.
    pub(super) fn keys(&self) -> impl Iterator<Item = Bytes> {
        frame::bodies(&self.frames).flat_map(|body| {
            let mutations = body::decode(body).expect("encoded by this process");
            mutations.puts.into_iter().map(|(key, _)| key)
        })
    }
}

/// Where the commits of one batch wait for its outcome.
#[derive(Default)]
pub(super) struct Flight {
    outcome: OnceLock<Result<(), CommitError>>,
    waiting: Mutex<Vec<Waker>>,
}

impl Flight {
    /// Tells everybody. Only the first outcome counts.
    pub(super) fn land(&self, outcome: Result<(), CommitError>) {
        self.outcome.get_or_init(|| outcome);
        let waiting = mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Waits for the outcome of a batch. Whoever goes away leaves a waker behind, which is woken
/// for nothing when the batch lands.
pub(super) struct Landing {
    flight: Arc<Flight>,
    left: Option<Waker>,
}

impl Landing {
    pub(super) fn new(flight: Arc<Flight>) -> Self {
        Self { flight, left: None }
    }
}

impl Future for Landing {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { flight, left } = &mut *self;
        if let Some(outcome) = flight.outcome.get() {
            return Poll::Ready(outcome.clone());
        }
        if left.as_ref().is_some_and(|left| left.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let mut waiting = flight.waiting.lock();
        // Under the lock: who lands takes the wakers after it has told the outcome.
        if let Some(outcome) = flight.outcome.get() {
            return Poll::Ready(outcome.clone());
        }
        waiting.push(cx.waker().clone());
        *left = Some(cx.waker().clone());
        Poll::Pending
    }
}
