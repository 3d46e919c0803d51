//! What was asked of the store, what it answered, and whether what it holds is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use kelpie_env::sim::DiskControl;
use kelpie_storage::{CommitError, KeyRange, Stats, Version};

/// Rows `v/<versionstamp>` = attempt: the order of all commits as the store keeps it.
pub(crate) const ORDER: &[u8] = b"v/";

pub(crate) type Rows = BTreeMap<Bytes, Bytes>;

/// What one attempt changes beside its row in the order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) clears: Vec<KeyRange>,
    pub(crate) puts: Vec<(Bytes, Option<Bytes>)>,
    /// What is added to little-endian numbers of eight bytes.
    pub(crate) sums: Vec<(Bytes, u64)>,
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
    /// One commit has two records.
    RecordTwice(String),
    /// It would not start.
    Refused(String),
}

/// What a client learnt.
#[derive(Debug, Clone)]
enum Known {
    Acknowledged(usize, Version),
    Dead(usize),
    Seen(usize),
}

#[derive(Default)]
pub(crate) struct History {
    attempts: Vec<Changes>,
    acknowledged: BTreeMap<usize, Version>,
    seen: BTreeSet<usize>,
    /// These must never be there.
    dead: BTreeSet<usize>,
    /// Records ever found on the disk, by number; and their numbers, by what they say.
    records: BTreeMap<u64, u32>,
    bodies: BTreeMap<u32, u64>,
    /// How many operations the disk had carried out when what became known.
    known: Vec<(u64, Known)>,
    disk: Option<DiskControl>,
    /// Versions that are known from what happened later.
    ordered: BTreeMap<usize, Version>,
    /// Whether refused commits took numbers.
    pub(crate) gaps: bool,
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
            Ok(version) => self.learn(Known::Acknowledged(attempt, *version)),
            Err(CommitError::Unknown(_)) => self.unknown += 1,
            Err(_) => self.learn(Known::Dead(attempt)),
        }
    }

    pub(crate) fn saw(&mut self, attempt: &[u8]) {
        self.learn(Known::Seen(number(attempt)));
    }

    fn learn(&mut self, known: Known) {
        match known {
            Known::Acknowledged(attempt, version) => drop(self.acknowledged.insert(attempt, version)),
            Known::Dead(attempt) => drop(self.dead.insert(attempt)),
            Known::Seen(attempt) if !self.seen.insert(attempt) => return,
            Known::Seen(_) => {}
        }
        let at = self.disk.as_ref().map_or(0, DiskControl::operations);
        self.known.push((at, known));
    }

    /// Notes how far `disk` has come when something becomes known.
    pub(crate) fn timed_by(disk: DiskControl) -> Self {
        Self { disk: Some(disk), ..Self::default() }
    }

    /// What was known when the disk had carried out `operations`.
    pub(crate) fn until(&self, operations: u64) -> Self {
        let (attempts, ordered) = (self.attempts.clone(), self.acknowledged.clone());
        let mut history = Self { attempts, ordered, gaps: self.gaps, ..Self::default() };
        for (_, known) in self.known.iter().filter(|(at, _)| *at <= operations) {
            history.learn(known.clone());
        }
        history
    }

    /// Who is acknowledged by now.
    pub(crate) fn promised(&self) -> BTreeMap<usize, Version> {
        self.acknowledged.clone()
    }

    /// Judges all rows that one transaction of a running store sees. `promised` was
    /// acknowledged before it began.
    pub(crate) fn visible(
        &mut self,
        rows: &Rows,
        promised: &BTreeMap<usize, Version>,
    ) -> Result<(), Violation> {
        let order = order_of(rows);
        for (_, attempt) in &order {
            self.saw(&(*attempt as u64).to_be_bytes());
        }
        self.check(rows, &order, promised)
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Notes a record found on the disk.
    pub(crate) fn record(&mut self, lsn: u64, checksum: u32) -> Result<(), Violation> {
        match self.records.insert(lsn, checksum) {
            Some(other) if other != checksum => return violation(Violation::NumberReused, lsn),
            _ => {}
        }
        // Every commit writes a row that no other one writes.
        match self.bodies.insert(checksum, lsn) {
            Some(other) if other != lsn => violation(Violation::RecordTwice, (other, lsn)),
            _ => Ok(()),
        }
    }

    /// Judges all rows of a store that has just been started: attempts that are not there
    /// now must never come back.
    pub(crate) fn recovered(&mut self, rows: &Rows) -> Result<(), Violation> {
        let order = order_of(rows);
        let promised = self.promised();
        let present: BTreeSet<usize> = order.iter().map(|(_, attempt)| *attempt).collect();
        if let Some(attempt) = self.seen.difference(&present).next()
            && !promised.contains_key(attempt)
        {
            return violation(Violation::SeenLost, attempt);
        }
        self.check(rows, &order, &promised)?;
        let last = order.last().map_or(0, |(version, _)| *version);
        if let Some(hole) = self.ordered.iter().find(|(a, v)| **v <= last && !present.contains(a)) {
            return violation(Violation::NotAPrefix, (hole, last));
        }
        self.ordered.retain(|attempt, _| present.contains(attempt));
        // Whoever asks is a reader: what is there now must stay.
        self.seen.extend(&present);
        self.dead.extend((0..self.attempts.len()).filter(|attempt| !present.contains(attempt)));
        Ok(())
    }

    fn check(
        &self,
        rows: &Rows,
        order: &[(Version, usize)],
        promised: &BTreeMap<usize, Version>,
    ) -> Result<(), Violation> {
        let there: BTreeSet<&(Version, usize)> = order.iter().collect();
        for (attempt, version) in promised {
            if !there.contains(&(*version, *attempt)) {
                return violation(Violation::AcknowledgedLost, (attempt, version, order.last()));
            }
        }
        if let Some((_, attempt)) = order.iter().find(|(_, attempt)| self.dead.contains(attempt)) {
            return violation(Violation::Undead, attempt);
        }
        if !self.gaps {
            check_gaps(order)?;
        }
        let expected = self.apply(order);
        let found: Rows = rows.iter().filter(|(key, _)| !key.starts_with(ORDER)).map(cloned).collect();
        match difference(&expected, &found) {
            Some(difference) => violation(Violation::WrongState, difference),
            None => Ok(()),
        }
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
            for (key, added) in &changes.sums {
                let sum = rows.get(key).map_or(0, total).wrapping_add(*added);
                rows.insert(key.clone(), Bytes::copy_from_slice(&sum.to_le_bytes()));
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

fn total(value: &Bytes) -> u64 {
    u64::from_le_bytes(value[..].try_into().unwrap())
}

fn number(attempt: &[u8]) -> usize {
    usize::try_from(u64::from_be_bytes(attempt[..].try_into().unwrap())).unwrap()
}

fn cloned((key, value): (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    (key.clone(), value.clone())
}

fn violation<T>(kind: fn(String) -> Violation, what: impl Debug) -> Result<T, Violation> {
    Err(kind(format!("{what:?}")))
}
