//! Who waits for which key to change.
//!
//! Invariant: a watch made before a commit became visible completes when it does. A commit
//! is inserted before it is visible, so a watch made in between is told which version to
//! wait for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::memtable::Mutations;
use crate::contract::Version;

#[derive(Default)]
pub(crate) struct Watches {
    state: Mutex<State>,
    /// Whether anybody waits: spares commits the lock.
    any: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Waiting for a commit.
    idle: BTreeMap<Bytes, Vec<Arc<Cell>>>,
    /// A commit is there and will be visible at that version.
    touched: Vec<(Version, Arc<Cell>)>,
}

#[derive(Default)]
struct Cell {
    done: AtomicBool,
    waker: AtomicWaker,
}

impl Cell {
    fn complete(&self) {
        self.done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// The waiting side; leaves on drop.
pub(crate) struct Waiting {
    cell: Arc<Cell>,
    key: Bytes,
    watches: Weak<Watches>,
}

impl Watches {
    /// Waits for the next change of `key`; `pending` is the version of a commit to it that is
    /// not visible yet. Not beside a writer.
    pub(crate) fn register(self: &Arc<Self>, key: Bytes, pending: Option<Version>) -> Waiting {
        let cell = Arc::<Cell>::default();
        let mut state = self.state.lock();
        match pending {
            Some(version) => state.touched.push((version, cell.clone())),
            None => state.idle.entry(key.clone()).or_default().push(cell.clone()),
        }
        self.any.store(true, Ordering::Release);
        Waiting { cell, key, watches: Arc::downgrade(self) }
    }

    /// Notes what a commit touches. Called by the writer.
    pub(crate) fn touch(&self, version: Version, mutations: &Mutations) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        let State { idle, touched } = &mut *state;
        for (key, _) in &mutations.puts {
            touched.extend(idle.remove(key).into_iter().flatten().map(|cell| (version, cell)));
        }
        for range in &mutations.clears {
            let hit = idle.extract_if(range.begin.clone()..range.end.clone(), |_, _| true);
            touched.extend(hit.flat_map(|(_, cells)| cells).map(|cell| (version, cell)));
        }
    }

    /// Everything up to `version` is visible.
    pub(crate) fn published(&self, version: Version) {
        self.complete(|touched| touched <= version);
    }

    /// Everything in flight was given up: whoever waits for it looks again.
    pub(crate) fn rolled_back(&self) {
        self.complete(|_| true);
    }

    fn complete(&self, wanted: impl Fn(Version) -> bool) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        let done: Vec<_> = state.touched.extract_if(.., |(version, _)| wanted(*version)).collect();
        self.any.store(!(state.idle.is_empty() && state.touched.is_empty()), Ordering::Release);
        drop(state);
        done.into_iter().for_each(|(_, cell)| cell.complete());
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.waker.register(cx.waker());
        if self.cell.done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(watches) = self.watches.upgrade() else { return };
        let mut state = watches.state.lock();
        let others = |cells: &mut Vec<Arc<Cell>>| cells.retain(|cell| !Arc::ptr_eq(cell, &self.cell));
        if let Some(cells) = state.idle.get_mut(&self.key) {
            others(cells);
            if cells.is_empty() {
                state.idle.remove(&self.key);
            }
        }
        state.touched.retain(|(_, cell)| !Arc::ptr_eq(cell, &self.cell));
        watches.any.store(!(state.idle.is_empty() && state.touched.is_empty()), Ordering::Release);
    }
}
