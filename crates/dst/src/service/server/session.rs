//! What the server knows of one client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kelpie_storage::Snapshot;
use kelpie_storage::limits::TRANSACTION_TIME_MAX;
use tokio::sync::oneshot;

use super::super::window::Window;
use super::super::wire::Said;

/// How long a snapshot is held for a client that says nothing: a transaction's time, and a
/// second because its client began to count after the request had arrived.
const LEASE: Duration = TRANSACTION_TIME_MAX.saturating_add(Duration::from_secs(1));
/// How long it is remembered how a request ended; longer than anybody asks again. After that
/// it is refused.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a watch stands without being renewed.
const WATCH_LEASE: Duration = Duration::from_secs(10);

const _: () = assert!(REMEMBERED.as_millis() > 4 * LEASE.as_millis(), "retries end long before");

/// A snapshot of the backend that is being read.
pub(super) type Held = Arc<HeldSnapshot>;

pub(super) struct HeldSnapshot(Box<dyn Snapshot>);

impl HeldSnapshot {
    pub(super) fn new(snapshot: Box<dyn Snapshot>) -> Self {
        Self(snapshot)
    }

    pub(super) fn get(&self) -> &dyn Snapshot {
        &*self.0
    }

    pub(super) fn into_inner(self) -> Box<dyn Snapshot> {
        self.0
    }
}

/// How a snapshot stands.
pub(super) enum Lease {
    Open(Held),
    /// Forgotten, committed or too old.
    Over,
}

/// How a commit request stands.
pub(super) enum Execution {
    Running,
    /// It is answered like this.
    Ended(Said),
    /// It is never answered.
    Silent,
}

pub(super) struct WatchState {
    pub(super) changed: bool,
    renewed: Duration,
    /// Ends the task that waits for the change.
    _waiting: oneshot::Sender<()>,
}

impl WatchState {
    pub(super) fn new(now: Duration, waiting: oneshot::Sender<()>) -> Self {
        Self { changed: false, renewed: now, _waiting: waiting }
    }
}

pub(super) struct Session {
    pub(super) snapshots: Window<Lease>,
    pub(super) commits: Window<Execution>,
    pub(super) watches: BTreeMap<u64, WatchState>,
}

impl Default for Session {
    fn default() -> Self {
        Self { snapshots: Window::new(), commits: Window::new(), watches: BTreeMap::new() }
    }
}

impl Session {
    /// How a watch stands, which is renewed by being asked for.
    pub(super) fn renew(&mut self, watch: u64, now: Duration) -> Option<bool> {
        let state = self.watches.get_mut(&watch)?;
        state.renewed = now;
        Some(state.changed)
    }

    /// Ends what is over, and returns the snapshots that were held until now.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<Lease> {
        let mut over = Vec::new();
        for (lease, since) in self.snapshots.iter_mut() {
            if matches!(lease, Lease::Open(_)) && now.saturating_sub(*since) > LEASE {
                over.push(std::mem::replace(lease, Lease::Over));
                *since = now;
            }
        }
        let before = now.saturating_sub(REMEMBERED);
        self.snapshots.forget(before, |lease| matches!(lease, Lease::Over));
        self.commits.forget(before, |execution| !matches!(execution, Execution::Running));
        self.watches.retain(|_, watch| now.saturating_sub(watch.renewed) <= WATCH_LEASE);
        over
    }
}
