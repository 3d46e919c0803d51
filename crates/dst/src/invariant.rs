//! What must always hold, one file for each invariant: of the rows, of the store that keeps
//! them, of what the processes have in memory, and of the answers that leave them.
//!
//! The store service tells of each commit in the order in which the store took them, with who
//! asked for it, whether its client ever hears of it or not. The rows as they were before and
//! the changes are shown to every invariant of rows at once. A store that was opened anew is
//! asked for all that it holds; which commits a crash has let through is found by comparing.
//! Processes are looked at after each turn of one of their tasks.

mod acked_kept;
mod at_most_once;
mod chain;
mod checkpoint_atomicity;
mod dead_is_final;
mod epoch_held_once;
mod heartbeat_status_sync;
mod lease_exclusivity;
mod lease_validity_if_active;
mod ledger;
mod memory_not_ahead;
mod nothing_after_left;
mod owed_wakes;
mod placement_consistency;
mod single_activation;
mod transaction_atomicity;
mod wal_durability;
mod wal_idempotency_guarantee;
mod wal_monotonicity;
mod wal_recovery_completeness;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::record;
use kelpie_storage::Version;
use serde::de::DeserializeOwned;

use ledger::{Difference, Ledger};
pub(crate) use watch::Invariants;

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

/// How far a store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reach {
    /// Its last visible version.
    version: Version,
    /// Up to where its checkpoint goes.
    position: Version,
}

/// A look at a store that keeps a log.
struct Look<'a> {
    /// It has just been opened.
    opened: bool,
    now: Reach,
    /// The furthest that was ever seen.
    seen: Reach,
    /// The last commit that was acknowledged.
    acknowledged: Option<Version>,
    /// The last two of them.
    numbers: Option<(Version, Version)>,
    /// No commit is on its way.
    quiet: bool,
    /// Where its rows are not those of any number of commits.
    differs: Option<&'a Difference>,
    /// Why it cannot be opened.
    refused: Option<&'a str>,
}

impl Look<'_> {
    fn told(&self, differs: &Difference) -> String {
        let Difference { key, written, expected, found } = differs;
        let how = match (expected, found) {
            (true, false) => "is gone",
            (false, true) => "is there",
            (true, true) | (false, false) => "has another value",
        };
        let Reach { version, position } = self.now;
        format!(
            "{key}, written last by commit {written}, {how} (at version {version}, checkpoint {position})"
        )
    }
}

/// An actor as a process has it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    actor: ActorId,
    own: Own,
    seq: Seq,
}

/// A look at the memory of a process.
struct Memory<'a> {
    machine: &'a str,
    held: &'a Held,
    /// Of all machines whose processes live.
    all: &'a BTreeMap<String, Vec<Held>>,
    ledger: &'a Ledger,
}

impl Memory<'_> {
    /// What other processes have in memory.
    fn others(&self) -> impl Iterator<Item = (&str, &Held)> {
        let others = self.all.iter().filter(|(machine, _)| *machine != self.machine);
        others.flat_map(|(machine, held)| held.iter().map(|held| (machine.as_str(), held)))
    }
}

/// A process that admits calls.
struct Standing<'a> {
    machine: &'a str,
    /// By the clock of its machine, as the next.
    now: Duration,
    /// When the last renewal that was carried out had reached the store.
    renewed_at: Option<Duration>,
}

/// An answer that is about to leave its machine.
struct Answer<'a> {
    /// The row under which it has to be recorded.
    row: &'a Bytes,
    ledger: &'a Ledger,
}

/// What an invariant is about.
enum Check {
    /// Each commit.
    Commit(fn(&Commit<'_>) -> Result<(), String>),
    /// The store, whenever one looks at it.
    Store(fn(&Look<'_>) -> Result<(), String>),
    /// Each actor in the memory of a process, whenever it changes there.
    Memory(fn(&Memory<'_>) -> Result<(), String>),
    /// Each process that admits calls, after each turn of one of its tasks.
    Standing(fn(&Standing<'_>) -> Result<(), String>),
    /// Each answer to a call that has to be recorded.
    Answer(fn(&Answer<'_>) -> Result<(), String>),
}

/// Something that must always hold.
pub struct Invariant {
    /// Its name, as in the specifications.
    pub name: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
    check: Check,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "SingleActivation",
        about: "whoever commits a turn of an actor is the node that its ownership record names",
        check: Check::Commit(single_activation::check),
    },
    Invariant {
        name: "Chain",
        about: "each commit of an actor follows the one before: none is overwritten, none is left out",
        check: Check::Commit(chain::check),
    },
    Invariant {
        name: "LeaseExclusivity",
        about: "an actor's epoch grows by one with each change of its ownership record, which is never deleted",
        check: Check::Commit(lease_exclusivity::check),
    },
    Invariant {
        name: "PlacementConsistency",
        about: "a claim names a session that is live when it commits",
        check: Check::Commit(placement_consistency::check),
    },
    Invariant {
        name: "TransactionAtomicity",
        about: "state, replies and messages of an actor change only together with its head",
        check: Check::Commit(transaction_atomicity::check),
    },
    Invariant {
        name: "AtMostOnce",
        about: "a reply recorded under a key is never replaced by another",
        check: Check::Commit(at_most_once::check),
    },
    Invariant {
        name: "OwedWakes",
        about: "an actor that owes something has exactly one wake entry, at the time that its head says",
        check: Check::Commit(owed_wakes::check),
    },
    Invariant {
        name: "DeadIsFinal",
        about: "an incarnation that is dead or has left is never live again, and belongs to one process",
        check: Check::Commit(dead_is_final::check),
    },
    Invariant {
        name: "NothingAfterLeft",
        about: "no turn commits under a session that has left",
        check: Check::Commit(nothing_after_left::check),
    },
    Invariant {
        name: "HeartbeatStatusSync",
        about: "only a live session renews, and only the lease of its own incarnation, which each live one has",
        check: Check::Commit(heartbeat_status_sync::check),
    },
    Invariant {
        name: "WAL_Durability",
        about: "what a store has acknowledged is there when it is opened anew",
        check: Check::Store(wal_durability::check),
    },
    Invariant {
        name: "WAL_Monotonicity",
        about: "the versions of a store only grow, over all its lives: what was visible stays",
        check: Check::Store(wal_monotonicity::check),
    },
    Invariant {
        name: "WAL_IdempotencyGuarantee",
        about: "a commit is in the log of a store once",
        check: Check::Store(wal_idempotency_guarantee::check),
    },
    Invariant {
        name: "WAL_RecoveryCompleteness",
        about: "a store that is opened anew holds each commit of its log, whole, and no other",
        check: Check::Store(wal_recovery_completeness::check),
    },
    Invariant {
        name: "CheckpointAtomicity",
        about: "a checkpoint is the old one or the new one, with all that it stands for",
        check: Check::Store(checkpoint_atomicity::check),
    },
    Invariant {
        name: "LeaseValidityIfActive",
        about: "a process admits calls only within a term of when a renewal reached the store that carried it out, by its own clock",
        check: Check::Standing(lease_validity_if_active::check),
    },
    Invariant {
        name: "EpochHeldOnce",
        about: "no two processes have an actor in memory under one epoch",
        check: Check::Memory(epoch_held_once::check),
    },
    Invariant {
        name: "MemoryNotAhead",
        about: "no process has a commit in memory that the store has not",
        check: Check::Memory(memory_not_ahead::check),
    },
    Invariant {
        name: "AckedKept",
        about: "an answer leaves its machine only once its record is in the store",
        check: Check::Answer(acked_kept::check),
    },
];
