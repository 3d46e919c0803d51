//! Whether a fold has changed the base since a read of it began.
//!
//! What is kept of a read must be what the base holds from then on. A cache asks
//! [`Began::still_holds`] under the lock under which a fold takes out what it changes: if no
//! fold has begun by then, one that begins later takes it out again.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts folds.
#[derive(Default)]
pub(super) struct Folds {
    /// Changes when a fold begins and when it ends: odd while one runs.
    count: AtomicU64,
}

/// When a read began.
#[derive(Clone, Copy)]
pub(super) struct Began<'a> {
    folds: &'a Folds,
    count: u64,
}

/// A fold, until dropped.
pub(super) struct Folding<'a>(&'a Folds);

impl Folds {
    /// To be called before the base is read.
    pub(super) fn begin(&self) -> Began<'_> {
        Began { folds: self, count: self.count.load(Ordering::Acquire) }
    }

    /// A fold begins. Not two at a time.
    pub(super) fn fold(&self) -> Folding<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        Folding(self)
    }
}

impl Began<'_> {
    /// Whether no fold ran then, and none has begun.
    pub(super) fn still_holds(self) -> bool {
        self.count.is_multiple_of(2) && self.folds.begin().count == self.count
    }
}

impl Drop for Folding<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }
}
