//! Notes the commits of a store as they are carried out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::sim::Node;
use kelpie_storage::{CommitError, CommitRequest, Committed, OpenError, Stats};
use parking_lot::Mutex;

use crate::invariant::Invariants;
use crate::service::Observer;

/// How much of a key is shown.
const KEY_MAX: usize = 60;
/// How many keys are.
const KEYS_MAX: usize = 6;

/// A commit that was carried out.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) client: SocketAddr,
    /// The rows that it changes.
    pub(crate) what: String,
    /// The invariants that do not hold since.
    pub(crate) violates: Option<String>,
}

/// Notes commits, and passes them on to the invariants.
pub(crate) struct Commits {
    store: Node,
    invariants: Arc<Invariants>,
    /// Those on their way, by their numbers: who asks for what.
    begun: Mutex<BTreeMap<u64, (SocketAddr, String)>>,
    seen: Mutex<Vec<Seen>>,
}

impl Commits {
    pub(crate) fn new(store: Node, invariants: Arc<Invariants>) -> Self {
        Self { store, invariants, begun: Mutex::default(), seen: Mutex::default() }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

impl Observer for Commits {
    fn begins(&self, number: u64, client: SocketAddr, request: &CommitRequest) {
        self.begun.lock().insert(number, (client, rows(request)));
        self.invariants.begins(number, client, request);
    }

    fn ended(&self, number: u64, ended: &Result<Committed, CommitError>) {
        let before = self.invariants.violations().len();
        self.invariants.ended(number, ended);
        let Some((client, what)) = self.begun.lock().remove(&number) else { return };
        if ended.is_ok() {
            let violations = self.invariants.violations();
            let new: Vec<_> = violations.iter().skip(before).map(|found| found.invariant).collect();
            let violates = (!new.is_empty()).then(|| new.join(", "));
            self.seen.lock().push(Seen { at: self.store.elapsed(), client, what, violates });
        }
    }

    fn opened(&self, stats: &Stats, rows: BTreeMap<Bytes, Bytes>) {
        self.begun.lock().clear();
        self.invariants.opened(stats, rows);
    }

    fn refused(&self, error: &OpenError) {
        self.invariants.refused(error);
    }
}

/// The rows that a request changes, in a few words.
fn rows(request: &CommitRequest) -> String {
    let shown = |key: &[u8]| {
        let text = key.escape_ascii().to_string();
        text.chars().take(KEY_MAX).collect::<String>()
    };
    let mut rows: Vec<String> = request.writes.iter().take(KEYS_MAX).map(|(key, _)| shown(key)).collect();
    let more = request.writes.len().saturating_sub(KEYS_MAX) + request.clears.len() + request.stamped.len();
    if more > 0 {
        rows.push(format!("and {more} more"));
    }
    rows.join(", ")
}
