//! Notes the commits of a store as they are carried out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::sim::Node;
use kelpie_storage::CommitRequest;
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

/// Notes commits, and passes them on to the invariants if those watch.
pub(crate) struct Commits {
    store: Node,
    watching: Option<Arc<Invariants>>,
    seen: Mutex<Vec<Seen>>,
}

impl Commits {
    pub(crate) fn new(store: Node, watching: Option<Arc<Invariants>>) -> Self {
        Self { store, watching, seen: Mutex::default() }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

impl Observer for Commits {
    fn committed(&self, client: SocketAddr, request: &CommitRequest) {
        let violates = self.watching.as_ref().and_then(|invariants| {
            let before = invariants.violations().len();
            invariants.committed(client, request);
            let new: Vec<_> =
                invariants.violations().iter().skip(before).map(|found| found.invariant).collect();
            (!new.is_empty()).then(|| new.join(", "))
        });
        let seen = Seen { at: self.store.elapsed(), client, what: rows(request), violates };
        self.seen.lock().push(seen);
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
