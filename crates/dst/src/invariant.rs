//! What must hold of the rows after every commit, one file for each invariant.
//!
//! The store service tells of each commit that it has carried out, in their order and with
//! who asked for it, whether its client ever hears of it or not. The rows as they were before
//! and the changes are shown to every invariant at once.

mod at_most_once;
mod chain;
mod dead_is_final;
mod heartbeat_status_sync;
mod lease_exclusivity;
mod owed_wakes;
mod placement_consistency;
mod single_activation;
mod transaction_atomicity;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_core::record;
use kelpie_storage::{CommitRequest, Op};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::judge::Violation;
use crate::service::Observer;

/// Rows of the store.
type Rows = BTreeMap<Bytes, Bytes>;

/// A commit that has been carried out.
pub(crate) struct Commit<'a> {
    /// The node that asked for it; nothing for one of the operator's.
    by: Option<&'a str>,
    before: &'a Rows,
    changes: &'a BTreeMap<Bytes, Option<Bytes>>,
}

impl Commit<'_> {
    /// The row before the commit.
    fn before(&self, key: &[u8]) -> Option<&Bytes> {
        self.before.get(key)
    }

    /// The row after it.
    fn after(&self, key: &[u8]) -> Option<&Bytes> {
        match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.before.get(key),
        }
    }

    /// Rows of one kind that changed, by what stands behind the kind in their keys.
    fn changed<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = (&'b [u8], Option<&'b Bytes>)> {
        self.changes
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(kind.as_bytes())?, value.as_ref())))
    }
}

/// Reads a record; what cannot be read is a violation of its own.
fn read<T: DeserializeOwned>(value: Option<&Bytes>) -> Result<Option<T>, String> {
    value
        .map(|value| record::decode(value))
        .transpose()
        .map_err(|error| format!("a record can't be read: {error}"))
}

fn actor(key: &[u8]) -> Result<ActorId, String> {
    ActorId::decode(key).ok_or_else(|| format!("{} names no actor", key.escape_ascii()))
}

/// Something that must hold of each commit.
pub struct Invariant {
    /// Its name, as in the specifications.
    pub name: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
    check: fn(&Commit<'_>) -> Result<(), String>,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "SingleActivation",
        about: "whoever commits a turn of an actor is the node that its ownership record names",
        check: single_activation::check,
    },
    Invariant {
        name: "Chain",
        about: "each commit of an actor follows the one before: none is overwritten, none is left out",
        check: chain::check,
    },
    Invariant {
        name: "LeaseExclusivity",
        about: "an actor's epoch grows by one with each change of its ownership record, which is never deleted",
        check: lease_exclusivity::check,
    },
    Invariant {
        name: "PlacementConsistency",
        about: "a claim names a session that is live when it commits",
        check: placement_consistency::check,
    },
    Invariant {
        name: "TransactionAtomicity",
        about: "state, replies and messages of an actor change only together with its head",
        check: transaction_atomicity::check,
    },
    Invariant {
        name: "AtMostOnce",
        about: "a reply recorded under a key is never replaced by another",
        check: at_most_once::check,
    },
    Invariant {
        name: "OwedWakes",
        about: "an actor that owes something has exactly one wake entry, at the time that its head says",
        check: owed_wakes::check,
    },
    Invariant {
        name: "DeadIsFinal",
        about: "an incarnation that is dead or has left is never live again, and belongs to one process",
        check: dead_is_final::check,
    },
    Invariant {
        name: "HeartbeatStatusSync",
        about: "only a live session renews, and only the lease of its own incarnation",
        check: heartbeat_status_sync::check,
    },
];

/// Watches the commits of a store.
#[derive(Default)]
pub(crate) struct Invariants {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Rows,
    /// Which node has which address.
    machines: BTreeMap<SocketAddr, String>,
    violations: Vec<Violation>,
    /// Names of invariants that were violated: each is told once.
    told: BTreeSet<&'static str>,
}

impl Invariants {
    /// Says under which node's name a process at an address joins; the port does not matter.
    pub(crate) fn know(&self, ip: std::net::IpAddr, machine: &str) {
        self.state.lock().machines.insert(SocketAddr::new(ip, 0), machine.to_owned());
    }

    /// What was violated so far, each invariant once.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.state.lock().violations.clone()
    }
}

impl Observer for Invariants {
    fn committed(&self, client: SocketAddr, request: &CommitRequest) {
        let mut state = self.state.lock();
        let changes = changes(&state.rows, request);
        let State { rows, machines, violations, told } = &mut *state;
        let by = machines.get(&SocketAddr::new(client.ip(), 0)).map(String::as_str);
        let commit = Commit { by, before: rows, changes: &changes };
        for invariant in ALL {
            if let Err(what) = (invariant.check)(&commit)
                && told.insert(invariant.name)
            {
                let by = by.unwrap_or("the operator");
                violations.push(Violation::new(invariant.name, format!("a commit of {by}: {what}")));
            }
        }
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
    }
}

/// What a request makes of the rows.
fn changes(rows: &Rows, request: &CommitRequest) -> BTreeMap<Bytes, Option<Bytes>> {
    let mut changes = BTreeMap::new();
    for range in &request.clears {
        for (key, _) in rows.range(range.begin.clone()..range.end.clone()) {
            changes.insert(key.clone(), None);
        }
    }
    for (key, op) in &request.writes {
        match op {
            Op::Set(value) => changes.insert(key.clone(), Some(value.clone())),
            Op::Clear => changes.insert(key.clone(), None),
            // No row that an invariant is about is changed so.
            Op::Atomic(_) => None,
        };
    }
    changes
}
