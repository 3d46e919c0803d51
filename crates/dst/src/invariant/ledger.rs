//! What a store should hold: the commits in the order in which it took them.
//!
//! ```text
//!   handed over ──▶ queue ──(in order, as they are known to have landed)──▶ rows
//!                     └──(the store is opened anew: a part of the queue has landed)──▶ rows
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kelpie_storage::{CommitError, CommitRequest, Committed, Op, Version};

use super::Rows;

/// What is known of a commit that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is on its way.
    Open,
    /// It is in, under this version.
    Landed(Version),
    /// The store cannot say, and takes no more commits until it is opened anew.
    Unknown,
}

/// A commit that was handed over.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    fate: Fate,
    /// The node that asked for it; nothing for one of the operator's.
    pub(super) by: Option<String>,
    pub(super) request: CommitRequest,
}

impl Entry {
    /// Its place in the order of all commits, if the store has told.
    pub(super) fn version(&self) -> Option<Version> {
        match self.fate {
            Fate::Landed(version) => Some(version),
            Fate::Open | Fate::Unknown => None,
        }
    }

    fn writes(&self, key: &[u8]) -> bool {
        self.request.writes.iter().any(|(written, _)| written == key)
            || self.request.clears.iter().any(|range| range.contains(key))
    }
}

/// Where what a store holds differs from what it took.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) key: String,
    /// The commit that wrote this row last.
    pub(super) written: Version,
    pub(super) expected: bool,
    pub(super) found: bool,
}

/// The commits that a store was handed, and what came of them.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) rows: Rows,
    /// Which commit wrote each row last.
    written: BTreeMap<Bytes, Version>,
    queue: VecDeque<Entry>,
    /// Commits that were open when the store was opened anew, and whether they were in.
    settled: BTreeMap<u64, bool>,
}

impl Ledger {
    pub(super) fn begins(&mut self, number: u64, by: Option<String>, request: CommitRequest) {
        self.queue.push_back(Entry { number, fate: Fate::Open, by, request });
    }

    /// Notes what the store said of a commit; an error if it contradicts what the store was
    /// found to hold.
    pub(super) fn ended(
        &mut self,
        number: u64,
        ended: &Result<Committed, CommitError>,
    ) -> Result<(), String> {
        if let Some(was_in) = self.settled.remove(&number) {
            let acknowledged = ended.as_ref().is_ok_and(|committed| committed.version.is_some());
            return if acknowledged && !was_in {
                Err(format!("{ended:?} was lost with the life that made it durable"))
            } else {
                Ok(())
            };
        }
        let place = self.queue.iter().position(|entry| entry.number == number);
        let place = place.expect("each commit that ends has begun");
        match ended {
            Ok(Committed { version: Some(version) }) => self.queue[place].fate = Fate::Landed(*version),
            Err(CommitError::Unknown(_)) => self.queue[place].fate = Fate::Unknown,
            // It has changed nothing.
            Ok(Committed { version: None }) | Err(_) => drop(self.queue.remove(place)),
        }
        Ok(())
    }

    /// The next commit that is known to have landed and has not been entered.
    pub(super) fn landed(&mut self) -> Option<Entry> {
        let is_landed = self.queue.front().is_some_and(|entry| matches!(entry.fate, Fate::Landed(_)));
        if is_landed { self.queue.pop_front() } else { None }
    }

    /// Whether no commit is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a commit that is on its way may change this row.
    pub(super) fn may_change(&self, key: &[u8]) -> bool {
        self.queue.iter().any(|entry| entry.writes(key))
    }

    /// What a request makes of the rows.
    pub(super) fn changes(&self, request: &CommitRequest) -> BTreeMap<Bytes, Option<Bytes>> {
        changes(&self.rows, request)
    }

    /// Enters a commit.
    pub(super) fn enter(&mut self, changes: BTreeMap<Bytes, Option<Bytes>>, version: Version) {
        for key in changes.keys() {
            self.written.insert(key.clone(), version);
        }
        apply(&mut self.rows, changes);
    }

    /// How many of the commits on their way `found` holds beside all that are known to have
    /// landed; or how it differs from the store after any number of them.
    pub(super) fn held(&self, found: &Rows) -> Result<usize, Difference> {
        let certain = self.queue.iter().rposition(|entry| matches!(entry.fate, Fate::Landed(_)));
        let certain = certain.map_or(0, |last| last + 1);
        let mut rows = self.rows.clone();
        for entry in self.queue.iter().take(certain) {
            let changes = changes(&rows, &entry.request);
            apply(&mut rows, changes);
        }
        let least = rows.clone();
        for (count, entry) in (certain..).zip(self.queue.iter().skip(certain)) {
            if rows == *found {
                return Ok(count);
            }
            let changes = changes(&rows, &entry.request);
            apply(&mut rows, changes);
        }
        if rows == *found { Ok(self.queue.len()) } else { Err(self.difference(&least, found)) }
    }

    /// One that no commit on its way explains, if there is one.
    fn difference(&self, expected: &Rows, found: &Rows) -> Difference {
        let keys = expected.keys().chain(found.keys());
        let differing: Vec<&Bytes> = keys.filter(|key| expected.get(*key) != found.get(*key)).collect();
        let key = differing.iter().find(|key| !self.may_change(key)).or_else(|| differing.first());
        let key = key.expect("rows that are not the same differ somewhere");
        Difference {
            key: key.escape_ascii().to_string(),
            written: self.written.get(*key).copied().unwrap_or_default(),
            expected: expected.contains_key(*key),
            found: found.contains_key(*key),
        }
    }

    /// The store was opened anew and holds so many of the commits on their way: gives those,
    /// and forgets the others.
    pub(super) fn settle(&mut self, held: usize) -> Vec<Entry> {
        let landed: Vec<Entry> = self.queue.drain(..held).collect();
        self.settled.extend(landed.iter().map(|entry| (entry.number, true)));
        self.settled.extend(self.queue.drain(..).map(|entry| (entry.number, false)));
        landed
    }

    /// Takes what the store holds for what it should, from here on.
    pub(super) fn accept(&mut self, found: Rows) {
        self.rows = found;
        self.settled.extend(self.queue.drain(..).map(|entry| (entry.number, true)));
    }
}

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

fn apply(rows: &mut Rows, changes: BTreeMap<Bytes, Option<Bytes>>) {
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use kelpie_storage::Outage;

    use super::*;

    fn set(key: &'static str, value: &'static str) -> CommitRequest {
        let writes = vec![(Bytes::from(key), Op::Set(Bytes::from(value)))];
        CommitRequest { writes, ..CommitRequest::default() }
    }

    fn rows(rows: &[(&'static str, &'static str)]) -> Rows {
        rows.iter().map(|(key, value)| (Bytes::from(*key), Bytes::from(*value))).collect()
    }

    /// One commit is in, one is known to have landed, two are on their way.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let requests = [set("a", "1"), set("b", "1"), set("a", "2"), set("c", "1")];
        for (number, request) in (0..).zip(requests) {
            ledger.begins(number, None, request);
        }
        for number in 0..2 {
            ledger.ended(number, &Ok(Committed { version: Some(10 + number) })).unwrap();
        }
        let first = ledger.landed().unwrap();
        let changes = ledger.changes(&first.request);
        ledger.enter(changes, first.version().unwrap());
        ledger
    }

    #[test]
    fn a_store_holds_some_of_the_commits_on_their_way_in_their_order() {
        let ledger = ledger();
        assert_eq!(ledger.held(&rows(&[("a", "1"), ("b", "1")])).unwrap(), 1);
        assert_eq!(ledger.held(&rows(&[("a", "2"), ("b", "1")])).unwrap(), 2);
        assert_eq!(ledger.held(&rows(&[("a", "2"), ("b", "1"), ("c", "1")])).unwrap(), 3);
    }

    #[test]
    fn a_store_that_has_lost_or_reordered_commits_differs() {
        let ledger = ledger();
        let lost = ledger.held(&rows(&[("a", "1")])).unwrap_err();
        assert_eq!((lost.key.as_str(), lost.expected, lost.found), ("b", true, false));
        let without_the_first = ledger.held(&rows(&[("b", "1"), ("c", "1")])).unwrap_err();
        assert_eq!(without_the_first.key, "a");
        let overtaken = ledger.held(&rows(&[("a", "1"), ("b", "1"), ("c", "1")])).unwrap_err();
        assert_eq!((overtaken.key.as_str(), overtaken.expected), ("c", false));
    }

    #[test]
    fn what_was_found_lost_is_not_acknowledged_later() {
        let mut ledger = ledger();
        let held = ledger.held(&rows(&[("a", "2"), ("b", "1")])).unwrap();
        assert_eq!(ledger.settle(held).len(), 2);
        assert!(ledger.is_quiet());
        ledger.ended(2, &Ok(Committed { version: Some(12) })).unwrap();
        ledger.ended(3, &Ok(Committed { version: Some(13) })).unwrap_err();
    }

    #[test]
    fn a_refused_commit_is_none_and_an_unknown_one_may_be_one() {
        let mut ledger = Ledger::default();
        ledger.begins(0, None, set("a", "1"));
        ledger.begins(1, None, set("b", "1"));
        ledger.ended(0, &Err(CommitError::Unknown(Outage::Poisoned))).unwrap();
        ledger.ended(1, &Err(CommitError::Unavailable(Outage::Poisoned))).unwrap();
        assert!(ledger.landed().is_none() && !ledger.is_quiet());
        assert_eq!(ledger.held(&rows(&[])).unwrap(), 0);
        assert_eq!(ledger.held(&rows(&[("a", "1")])).unwrap(), 1);
        ledger.held(&rows(&[("a", "1"), ("b", "1")])).unwrap_err();
    }
}
