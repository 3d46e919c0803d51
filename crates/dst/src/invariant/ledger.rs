//! What a store should hold: the commits in the order in which it took them.
//!
//! ```text
//!   handed over ──▶ queue ──(in order, as they are known to have landed)──▶ rows
//!                     └──(the store is opened anew: a part of the queue has landed)──▶ rows
//! ```
//!
//! A commit takes its place in the order when it is handed over, unless it changes rows by what
//! stands in them: then the store reads first, and others may overtake it meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// How many had been handed over when it ended.
    handed: u64,
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

    /// Whether nothing that was handed over later comes before it.
    fn is_ordered(&self) -> bool {
        !self.request.writes.iter().any(|(_, op)| matches!(op, Op::Atomic(_)))
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

/// Of so many that are on their way and not ordered it is tried which of them a store holds.
const OTHERS_MAX: usize = 6;

/// The commits that a store was handed, and what came of them.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) rows: Rows,
    /// Which commit wrote each row last.
    written: BTreeMap<Bytes, Version>,
    queue: VecDeque<Entry>,
    /// How many commits were handed over.
    handed: u64,
    /// Commits that were open when the store was opened anew, and whether they were in.
    settled: BTreeMap<u64, bool>,
}

impl Ledger {
    pub(super) fn begins(&mut self, number: u64, by: Option<String>, request: CommitRequest) {
        self.handed = number + 1;
        self.queue.push_back(Entry { number, handed: 0, fate: Fate::Open, by, request });
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
        self.queue[place].handed = self.handed;
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
        let first = self.queue.front()?;
        first.version()?;
        if first.is_ordered() {
            return self.queue.pop_front();
        }
        // Whatever was handed over before it ended may come before it.
        let rivals = self.queue.iter().take_while(|entry| entry.number < first.handed);
        let versions: Option<Vec<Version>> = rivals.map(Entry::version).collect();
        let versions = versions?;
        let (place, _) = versions.iter().enumerate().min_by_key(|(_, version)| **version)?;
        self.queue.remove(place)
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

    /// Which of the commits on their way `found` holds beside all that are known to have landed;
    /// or how it differs from the store after any of them that it may hold: of those that are
    /// ordered, so many of the first, and of the others any.
    pub(super) fn held(&self, found: &Rows) -> Result<BTreeSet<u64>, Difference> {
        let last = self.queue.iter().rposition(|entry| entry.is_ordered() && entry.version().is_some());
        let is_certain = |place: usize, entry: &Entry| {
            entry.version().is_some() || (entry.is_ordered() && last.is_some_and(|last| place < last))
        };
        let queue = || self.queue.iter().enumerate();
        let certain: BTreeSet<u64> = queue()
            .filter(|(place, entry)| is_certain(*place, entry))
            .map(|(_, entry)| entry.number)
            .collect();
        let (ordered, others): (Vec<&Entry>, Vec<&Entry>) = self
            .queue
            .iter()
            .filter(|entry| !certain.contains(&entry.number))
            .partition(|entry| entry.is_ordered());
        for chosen in 0..1_u32 << others.len().min(OTHERS_MAX) {
            let mut held = certain.clone();
            held.extend(
                others
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| chosen & (1 << bit) != 0)
                    .map(|(_, entry)| entry.number),
            );
            let mut rows = self.after(&held);
            let mut next = ordered.iter();
            loop {
                if rows == *found {
                    return Ok(held);
                }
                let Some(entry) = next.next() else { break };
                held.insert(entry.number);
                let changes = changes(&rows, &entry.request);
                apply(&mut rows, changes);
            }
        }
        Err(self.difference(&self.after(&certain), found))
    }

    /// The rows after these of the commits on their way.
    fn after(&self, held: &BTreeSet<u64>) -> Rows {
        let mut rows = self.rows.clone();
        for entry in self.queue.iter().filter(|entry| held.contains(&entry.number)) {
            let changes = changes(&rows, &entry.request);
            apply(&mut rows, changes);
        }
        rows
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

    /// The store was opened anew and holds these of the commits on their way: gives those,
    /// and forgets the others.
    pub(super) fn settle(&mut self, held: &BTreeSet<u64>) -> Vec<Entry> {
        let (landed, lost): (Vec<Entry>, Vec<Entry>) =
            self.queue.drain(..).partition(|entry| held.contains(&entry.number));
        self.settled.extend(landed.iter().map(|entry| (entry.number, true)));
        self.settled.extend(lost.iter().map(|entry| (entry.number, false)));
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
        let value = match op {
            Op::Set(value) => Some(value.clone()),
            Op::Clear => None,
            Op::Atomic(operations) => {
                let stored = changes.get(key).unwrap_or(&rows.get(key).cloned()).clone();
                operations
                    .iter()
                    .fold(stored, |value, (op, operand)| Some(op.apply(value.as_deref(), operand)))
            }
        };
        changes.insert(key.clone(), value);
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
    use kelpie_storage::{AtomicOp, KeyRange, Outage};

    use super::*;

    fn set(key: &'static str, value: &'static str) -> CommitRequest {
        let writes = vec![(Bytes::from(key), Op::Set(Bytes::from(value)))];
        CommitRequest { writes, ..CommitRequest::default() }
    }

    fn rows(rows: &[(&'static str, &'static str)]) -> Rows {
        rows.iter().map(|(key, value)| (Bytes::from(*key), Bytes::from(*value))).collect()
    }

    #[test]
    fn what_is_added_to_a_row_is_there_and_what_was_cleared_counts_from_nothing() {
        let number = |number: u8| Bytes::from(vec![number, 0]);
        let add = |key: &'static str, clears: Vec<KeyRange>| {
            let op = Op::Atomic(vec![(AtomicOp::Add, number(2)), (AtomicOp::Add, number(3))]);
            CommitRequest { writes: vec![(Bytes::from(key), op)], clears, ..CommitRequest::default() }
        };
        let rows: Rows = [(Bytes::from("a"), number(1))].into();
        assert_eq!(changes(&rows, &add("a", vec![])), [("a".into(), Some(number(6)))].into());
        assert_eq!(changes(&rows, &add("b", vec![])), [("b".into(), Some(number(5)))].into());
        let all = KeyRange { begin: "a".into(), end: "b".into() };
        assert_eq!(changes(&rows, &add("a", vec![all])), [("a".into(), Some(number(5)))].into());
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
        assert_eq!(ledger.held(&rows(&[("a", "1"), ("b", "1")])).unwrap(), [1].into());
        assert_eq!(ledger.held(&rows(&[("a", "2"), ("b", "1")])).unwrap(), [1, 2].into());
        assert_eq!(ledger.held(&rows(&[("a", "2"), ("b", "1"), ("c", "1")])).unwrap(), [1, 2, 3].into());
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
        assert_eq!(ledger.settle(&held).len(), 2);
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
        assert_eq!(ledger.held(&rows(&[])).unwrap(), [].into());
        assert_eq!(ledger.held(&rows(&[("a", "1")])).unwrap(), [0].into());
        ledger.held(&rows(&[("a", "1"), ("b", "1")])).unwrap_err();
    }

    /// One that adds is overtaken by one that was handed over while it read.
    #[test]
    fn what_reads_before_it_takes_its_place_may_be_overtaken() {
        let add = Op::Atomic(vec![(AtomicOp::Add, Bytes::from_static(&[1]))]);
        let adding = CommitRequest { writes: vec![("n".into(), add)], ..CommitRequest::default() };
        let begun = || {
            let mut ledger = Ledger::default();
            ledger.begins(0, None, adding.clone());
            ledger.begins(1, None, set("a", "1"));
            ledger.begins(2, None, set("b", "1"));
            ledger
        };
        let mut ledger = begun();
        ledger.ended(0, &Ok(Committed { version: Some(11) })).unwrap();
        assert!(ledger.landed().is_none(), "the second may be the first");
        ledger.ended(1, &Ok(Committed { version: Some(10) })).unwrap();
        assert!(ledger.landed().is_none(), "the third as well");
        ledger.ended(2, &Ok(Committed { version: Some(12) })).unwrap();
        let order = std::iter::from_fn(|| ledger.landed()).map(|entry| entry.number);
        assert_eq!(order.collect::<Vec<_>>(), [1, 0, 2]);

        let ledger = begun();
        let one = |key: &'static str| (Bytes::from(key), Bytes::from_static(b"1"));
        let added = (Bytes::from("n"), Bytes::from_static(&[1]));
        assert_eq!(ledger.held(&[one("a")].into()).unwrap(), [1].into());
        assert_eq!(ledger.held(&[one("a"), added.clone()].into()).unwrap(), [0, 1].into());
        assert_eq!(ledger.held(&[one("b"), added].into()).unwrap_err().key, "b");
    }
}
