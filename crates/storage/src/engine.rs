//! Multi-version concurrency control in memory: what the memory backend and the embedded
//! one have in common.
//!
//! ```text
//!   commit ─▶ resolve ─▶ mutations (atomics applied, stamps filled in) ─▶ insert ─▶ publish
//!                                                                           │
//!   get, scan at a version ◀── memtable over base ◀──── fold ───────────────┘
//! ```
//!
//! Invariant: resolve, mutations and insert of one commit happen under the caller's one
//! lock; what is inserted is invisible until it is published.

mod base;
mod chain;
mod hash;
mod latency;
mod memtable;
mod ranges;
mod readers;
mod row;
mod scan;
mod watches;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::contract::{
    CommitError, CommitRequest, Conflicts, ExportError, Op, Outage, ReadError, RowBatch, Rows, Scan, Stamped,
    Version, Watch,
};
use crate::keys::{KeyRange, end_of_keys, successor};
use crate::limits::PAGE_ROWS_MAX;
pub(crate) use base::{Base, MapBase};
pub(crate) use hash::SeededHash;
pub(crate) use latency::Latency;
pub(crate) use memtable::{Forgetting, Found, Memtable, Mutations, Replaced};
pub(crate) use readers::{Reader, Readers};
use watches::Watches;

pub(crate) struct Engine {
    pub(crate) memtable: Memtable,
    pub(crate) readers: Readers,
    pub(crate) base: Box<dyn Base>,
    watches: Arc<Watches>,
    conflicts: ConflictCounts,
}

/// What [`Engine::read_ahead`] has found, in the order of the keys.
#[derive(Default)]
pub(crate) struct ReadAhead {
    base: Version,
    values: Vec<(Bytes, Option<Bytes>)>,
}

impl ReadAhead {
    fn of(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let at = self.values.binary_search_by(|(known, _)| known[..].cmp(key)).ok()?;
        Some(&self.values[at].1)
    }
}

#[derive(Default)]
struct ConflictCounts {
    point_reads: AtomicU64,
    range_reads: AtomicU64,
    too_old: AtomicU64,
}

impl Engine {
    /// An engine over a base that stands at `version`.
    pub(crate) fn new(base: Box<dyn Base>, version: Version, seed: u64) -> Self {
        Self {
            memtable: Memtable::new(version, seed),
            readers: Readers::new(version),
            base,
            watches: Arc::default(),
            conflicts: ConflictCounts::default(),
        }
    }

    /// Looks in memory; with nothing there, [`Engine::get_below`] has the answer.
    pub(crate) fn get(&self, version: Version, key: &[u8]) -> Option<Result<Option<Bytes>, ReadError>> {
        let found = match self.memtable.get(key, version) {
            Found::Value(value) => Some(value),
            Found::Gone => None,
            Found::Below => self.base.cached(key)?,
        };
        Some(self.check_age(version).map(|()| found))
    }

    /// Looks in the base, after the memtable.
    pub(crate) fn get_below(&self, version: Version, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let found = self.base.get(key).map_err(ReadError::Unavailable)?;
        self.check_age(version).map(|()| found)
    }

    pub(crate) fn scan(&self, version: Version, scan: &Scan) -> Result<Rows, ReadError> {
        let found =
            scan::merged(&self.memtable, &*self.base, version, scan).map_err(ReadError::Unavailable)?;
        self.check_age(version).map(|()| found)
    }

    /// Some rows from `from` on and where to go on; nothing behind the last one. For a version
    /// that nobody folds over meanwhile.
    pub(crate) fn export_page(
        &self,
        version: Version,
        from: Bytes,
    ) -> Result<Option<(RowBatch, Bytes)>, ExportError> {
        let range = KeyRange { begin: from, end: end_of_keys() };
        let scan = Scan { range, limit: PAGE_ROWS_MAX, reverse: false };
        let found = scan::merged(&self.memtable, &*self.base, version, &scan);
        let rows = found.map_err(ExportError::Unavailable)?.rows;
        let next = rows.last().map(|(key, _)| successor(key));
        Ok(next.map(|next| (rows.into_iter().collect(), next)))
    }

    /// After a read: a fold that passed the version may have changed the answer.
    fn check_age(&self, version: Version) -> Result<(), ReadError> {
        if self.readers.is_too_old(version) { Err(ReadError::TooOld) } else { Ok(()) }
    }

    /// Whether nothing that was read has been written since, published or not.
    pub(crate) fn resolve(
        &self,
        request: &CommitRequest,
        read_version: Option<Version>,
    ) -> Result<(), CommitError> {
        let Some(version) = read_version.filter(|_| request.has_reads()) else { return Ok(()) };
        if self.readers.is_too_old(version) {
            count(&self.conflicts.too_old, "too_old");
            return Err(CommitError::TooOld);
        }
        let newer = |key: &Bytes| self.memtable.newest_write(key).is_some_and(|v| v > version);
        if request.reads.iter().any(newer) {
            count(&self.conflicts.point_reads, "point_read");
            return Err(CommitError::Conflict);
        }
        let ranges = !kelpie_core::mutant!("resolver_skips_range_reads");
        if ranges && request.read_ranges.iter().any(|range| self.memtable.written_since(range, version)) {
            count(&self.conflicts.range_reads, "range_read");
            return Err(CommitError::Conflict);
        }
        Ok(())
    }

    /// Commits that were refused because of what they had read.
    pub(crate) fn conflicts(&self) -> Conflicts {
        let ConflictCounts { point_reads, range_reads, too_old } = &self.conflicts;
        Conflicts {
            point_reads: point_reads.load(Ordering::Relaxed),
            range_reads: range_reads.load(Ordering::Relaxed),
            too_old: too_old.load(Ordering::Relaxed),
            by_server: 0,
        }
    }

    /// Reads what atomic operations change where only the base knows it: before the writer's
    /// lock is taken, so that nobody waits for a disk under it.
    pub(crate) fn read_ahead(&self, request: &CommitRequest) -> Result<ReadAhead, Outage> {
        let mut ahead = ReadAhead { base: self.memtable.base(), values: Vec::new() };
        for (key, op) in &request.writes {
            if matches!(op, Op::Atomic(_)) && self.memtable.get(key, Version::MAX) == Found::Below {
                ahead.values.push((key.clone(), self.base.get(key)?));
            }
        }
        Ok(ahead)
    }

    /// What a commit changes: atomic operations applied, versionstamps filled in.
    pub(crate) fn mutations(
        &self,
        request: CommitRequest,
        version: Version,
        ahead: &ReadAhead,
    ) -> Result<Mutations, Outage> {
        let CommitRequest { clears, writes, stamped, write_conflicts, .. } = request;
        let mut puts = Vec::with_capacity(writes.len() + stamped.len());
        for (key, op) in writes {
            let value = match op {
                Op::Set(value) => Some(value),
                Op::Clear => None,
                Op::Atomic(changes) => {
                    changes.iter().fold(self.newest(&key, ahead)?, |value, (op, operand)| {
                        Some(op.apply(value.as_deref(), operand))
                    })
                }
            };
            puts.push((key, value));
        }
        puts.extend(stamped.into_iter().map(|row| stamp(row, version)));
        Ok(Mutations { clears, puts, marks: write_conflicts })
    }

    fn newest(&self, key: &Bytes, ahead: &ReadAhead) -> Result<Option<Bytes>, Outage> {
        match self.memtable.get(key, Version::MAX) {
            Found::Value(value) => Ok(Some(value)),
            Found::Gone => Ok(None),
            // A fold that changes the key keeps it in the memtable until the base version is
            // another.
            Found::Below if ahead.base == self.memtable.base() => match ahead.of(key) {
                Some(value) => Ok(value.clone()),
                None => self.base.get(key),
            },
            Found::Below => self.base.get(key),
        }
    }

    /// Inserts a commit, invisible. Gives back what nobody needs any more, to be freed without
    /// the lock.
    pub(crate) fn insert(&self, version: Version, mutations: Mutations) -> Replaced {
        self.watches.touch(version, &mutations);
        self.memtable.insert(version, mutations, self.readers.keep())
    }

    /// Makes everything up to `version` visible and wakes who waits for it.
    pub(crate) fn publish(&self, version: Version) {
        self.readers.publish(version);
        self.watches.published(version);
    }

    /// Forgets what was inserted and never published; `keys` are those that it wrote. Not beside
    /// a writer.
    pub(crate) fn roll_back(&self, keys: impl Iterator<Item = Bytes>) {
        self.memtable.roll_back(self.readers.published(), keys);
        self.watches.rolled_back();
    }

    /// Watches a key. Not beside a writer.
    pub(crate) fn watch(&self, key: Bytes) -> Watch {
        let pending = self.memtable.newest_write(&key).filter(|v| *v > self.readers.published());
        Watch::new(self.watches.register(key, pending))
    }

    /// Folds all that no reader needs above the base into the base, and says up to where.
    /// The memtable still holds it: drop it with [`Memtable::forget_some`].
    pub(crate) fn fold(&self, now: Duration) -> Result<Version, Outage> {
        let open = self.readers.raise_floor(now);
        let version = open.version();
        if version > self.memtable.base() {
            self.base.fold(&self.memtable, version)?;
        }
        self.memtable.raise_base(version);
        Ok(version)
    }
}

fn count(counter: &AtomicU64, cause: &'static str) {
    counter.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("kelpie_storage_conflicts_total", "cause" => cause).increment(1);
}

fn stamp(row: Stamped, version: Version) -> (Bytes, Option<Bytes>) {
    let Stamped { mut key, offset, value } = row;
    let (number, order) = key[offset..offset + crate::limits::VERSIONSTAMP_BYTES].split_at_mut(8);
    number.copy_from_slice(&version.to_be_bytes());
    // Every commit has a version of its own, so there is no order within one.
    order.fill(0);
    (key.into(), Some(value))
}
