//! What was asked of the store, what it answered, and whether what it holds is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use kelpie_storage::{CommitError, KeyRange, Stats, Version};

/// Rows `v/<versionstamp>` = attempt: the order of all commits as the store keeps it.
pub(crate) const ORDER: &[u8] = b"v/";

pub(crate) type Rows = BTreeMap<Bytes, Bytes>;

/// What one attempt changes beside its row in the order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) clears: Vec<KeyRange>,
    pub(crate) puts: Vec<(Bytes, Option<Bytes>)>,
}

/// How a store broke its promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// An acknowledged commit is gone, or has another version.
    AcknowledgedLost(String),
    /// Something that a reader saw is gone.
    SeenLost(String),
    /// Something that had failed, or was lost before, is there.
    Undead(String),
    /// A commit is there and an earlier one is not.
    NotAPrefix(String),
    /// The rows are not those of the commits that are there.
    WrongState(String),
    /// A number of the log was used for two records.
    NumberReused(String),
    /// It would not start.
    Refused(String),
}

#[derive(Default)]
pub(crate) struct History {
    attempts: Vec<Changes>,
    acknowledged: BTreeMap<usize, Version>,
    seen: BTreeSet<usize>,
    /// These must never be there.
    dead: BTreeSet<usize>,
    /// Records ever found on the disk, by number.
    records: BTreeMap<u64, u32>,
    pub(crate) unknown: usize,
    pub(crate) stats: Stats,
}

impl History {
    pub(crate) fn begin(&mut self, changes: Changes) -> usize {
        self.attempts.push(changes);
        self.attempts.len() - 1
    }

    pub(crate) fn end(&mut self, attempt: usize, outcome: &Result<Version, CommitError>) {
        match outcome {
            Ok(version) => drop(self.acknowledged.insert(attempt, *version)),
            Err(CommitError::Unknown(_)) => self.unknown += 1,
            Err(_) => drop(self.dead.insert(attempt)),
        }
    }

    pub(crate) fn saw(&mut self, attempt: &Bytes) {
        self.seen.insert(number(attempt));
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Notes a record found on the disk.
    pub(crate) fn record(&mut self, lsn: u64, checksum: u32) -> Result<(), Violation> {
        match self.records.insert(lsn, checksum) {
            Some(other) if other != checksum => violation(Violation::NumberReused, lsn),
            _ => Ok(()),
        }
    }

    /// Judges all rows of a store that has just been started: attempts that are not there
    /// now must never come back.
    pub(crate) fn recovered(&mut self, rows: &Rows) -> Result<(), Violation> {
        let order = order_of(rows);
        let present: BTreeSet<usize> = order.iter().map(|(_, attempt)| *attempt).collect();
        for (attempt, version) in &self.acknowledged {
            if !order.contains(&(*version, *attempt)) {
                return violation(Violation::AcknowledgedLost, (attempt, version, order.last()));
            }
        }
        if let Some(attempt) = self.seen.difference(&present).next() {
            return violation(Violation::SeenLost, attempt);
        }
        if let Some(attempt) = self.dead.intersection(&present).next() {
            return violation(Violation::Undead, attempt);
        }
        check_gaps(&order)?;
        let expected = self.apply(&order);
        let found: Rows = rows.iter().filter(|(key, _)| !key.starts_with(ORDER)).map(cloned).collect();
        if let Some(difference) = difference(&expected, &found) {
            return violation(Violation::WrongState, difference);
        }
        self.dead.extend((0..self.attempts.len()).filter(|attempt| !present.contains(attempt)));
        Ok(())
    }

    fn apply(&self, order: &[(Version, usize)]) -> Rows {
        let mut rows = Rows::new();
        for (_, attempt) in order {
            let changes = &self.attempts[*attempt];
            for range in &changes.clears {
                rows.retain(|key, _| !range.contains(key));
            }
            for (key, value) in &changes.puts {
                match value {
                    Some(value) => drop(rows.insert(key.clone(), value.clone())),
                    None => drop(rows.remove(key)),
                }
            }
        }
        rows
    }
}

fn order_of(rows: &Rows) -> Vec<(Version, usize)> {
    let stamped = rows.iter().filter(|(key, _)| key.starts_with(ORDER));
    stamped.map(|(key, attempt)| (version_of(key), number(attempt))).collect()
}

fn version_of(key: &Bytes) -> Version {
    Version::from_be_bytes(key[ORDER.len()..ORDER.len() + 8].try_into().unwrap())
}

/// Every commit of these workloads leaves a row, and numbers are skipped at a start only.
fn check_gaps(order: &[(Version, usize)]) -> Result<(), Violation> {
    for pair in order.windows(2) {
        let (before, after) = (pair[0].0, pair[1].0);
        if before >> 32 == after >> 32 && after != before + 1 {
            return violation(Violation::NotAPrefix, pair);
        }
    }
    match order.first() {
        Some((first, _)) if first >> 32 == 1 && *first != 1 << 32 => violation(Violation::NotAPrefix, first),
        _ => Ok(()),
    }
}

fn difference(expected: &Rows, found: &Rows) -> Option<String> {
    let keys: BTreeSet<&Bytes> = expected.keys().chain(found.keys()).collect();
    let other = keys.into_iter().find(|key| expected.get(*key) != found.get(*key))?;
    let short = |rows: &Rows| rows.get(other).map(|value| value.slice(..value.len().min(16)));
    Some(format!("{other:?}: expected {:?}, found {:?}", short(expected), short(found)))
}

fn number(attempt: &Bytes) -> usize {
    usize::try_from(u64::from_be_bytes(attempt[..].try_into().unwrap())).unwrap()
}

fn cloned((key, value): (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    (key.clone(), value.clone())
}

fn violation<T>(kind: fn(String) -> Violation, what: impl Debug) -> Result<T, Violation> {
    Err(kind(format!("{what:?}")))
}
