//! The contract as a model: rows in a map, transactions as lists of what they do.

use std::collections::BTreeMap;

use bytes::Bytes;
use kelpie_storage::{AtomicOp, KeyRange, RangeQuery};

/// Where rows with versionstamps are.
pub(super) const STAMPED: &[u8] = b"s/";

type Rows = BTreeMap<Bytes, Bytes>;

#[derive(Debug, Clone)]
pub(super) enum Write {
    Set(Bytes, Bytes),
    Clear(Bytes),
    ClearRange(KeyRange),
    Atomic(AtomicOp, Bytes, Bytes),
}

impl Write {
    fn apply(&self, rows: &mut Rows) {
        match self {
            Self::Set(key, value) => drop(rows.insert(key.clone(), value.clone())),
            Self::Clear(key) => drop(rows.remove(key)),
            Self::ClearRange(range) => rows.retain(|key, _| !range.contains(key)),
            Self::Atomic(op, key, operand) => {
                let value = op.apply(rows.get(key).map(|value| &value[..]), operand);
                rows.insert(key.clone(), value);
            }
        }
    }

    fn written(&self) -> KeyRange {
        match self {
            Self::Set(key, _) | Self::Clear(key) | Self::Atomic(_, key, _) => KeyRange::single(key),
            Self::ClearRange(range) => range.clone(),
        }
    }
}

/// The committed rows, and what was written by which commit.
#[derive(Default)]
pub(super) struct Model {
    pub(super) rows: Rows,
    written: Vec<(usize, KeyRange)>,
    commits: usize,
}

/// An open transaction.
#[derive(Default)]
pub(super) struct Slot {
    /// What its reads see, once there was one, and how many commits that is.
    snapshot: Option<(usize, Rows)>,
    writes: Vec<Write>,
    marks: Vec<KeyRange>,
    pub(super) stamped: Vec<Bytes>,
    /// What it has looked at, at least and at most.
    read: Vec<(KeyRange, KeyRange)>,
}

/// Whether a commit has to be refused, and whether it may be.
pub(super) struct Refused {
    pub(super) must: bool,
    pub(super) may: bool,
}

impl Model {
    pub(super) fn commit(&mut self, slot: Slot) {
        self.commits += 1;
        slot.writes.iter().for_each(|write| write.apply(&mut self.rows));
        let written = slot.writes.iter().map(Write::written).chain(slot.marks);
        self.written.extend(written.map(|range| (self.commits, range)));
    }

    /// A row of the last commit whose key the model could not know.
    pub(super) fn adopt(&mut self, key: Bytes, value: Bytes) {
        self.written.push((self.commits, KeyRange::single(&key)));
        self.rows.insert(key, value);
    }

    fn written_since(&self, commits: usize, range: &KeyRange) -> bool {
        let overlap = |other: &KeyRange| {
            range.begin.clone().max(other.begin.clone()) < range.end.clone().min(other.end.clone())
        };
        self.written.iter().any(|(at, written)| *at > commits && overlap(written))
    }
}

impl Slot {
    /// Fixes what its reads see.
    pub(super) fn fix(&mut self, model: &Model) {
        self.snapshot.get_or_insert_with(|| (model.commits, model.rows.clone()));
    }

    fn view(&mut self, model: &Model) -> Rows {
        self.fix(model);
        let mut rows = self.snapshot.as_ref().expect("just fixed").1.clone();
        self.writes.iter().for_each(|write| write.apply(&mut rows));
        rows
    }

    /// Whether its own writes alone decide what `key` is.
    fn decides(&self, key: &Bytes) -> bool {
        self.writes.iter().any(|write| !matches!(write, Write::Atomic(..)) && write.written().contains(key))
    }

    pub(super) fn get(&mut self, model: &Model, key: &Bytes, snapshot: bool) -> Option<Bytes> {
        if self.decides(key) {
            let mut rows = Rows::new();
            self.writes.iter().for_each(|write| write.apply(&mut rows));
            return rows.remove(key);
        }
        if !snapshot {
            self.read(&KeyRange::single(key), &KeyRange::single(key));
        }
        self.view(model).remove(key)
    }

    /// The page of a query, and whether there are more rows behind it.
    pub(super) fn range(&mut self, model: &Model, query: &RangeQuery) -> (Vec<(Bytes, Bytes)>, bool) {
        let whole = KeyRange::new(query.begin.clone(), query.end.clone());
        if whole.is_empty() {
            return (Vec::new(), false);
        }
        let view = self.view(model);
        let mut rows: Vec<_> = view.into_iter().filter(|(key, _)| whole.contains(key)).collect();
        if query.reverse {
            rows.reverse();
        }
        let rest = rows.len() > query.limit;
        rows.truncate(query.limit);
        if !query.snapshot {
            let last = rows.last().filter(|_| rows.len() == query.limit).map(|(key, _)| key);
            let seen = match (last, query.reverse) {
                (None, _) => whole.clone(),
                (Some(last), false) => KeyRange::new(whole.begin.clone(), KeyRange::single(last).end),
                (Some(last), true) => KeyRange::new(last.clone(), whole.end.clone()),
            };
            self.read(&seen, &whole);
        }
        (rows, rest)
    }

    pub(super) fn read(&mut self, at_least: &KeyRange, at_most: &KeyRange) {
        self.read.push((at_least.clone(), at_most.clone()));
    }

    pub(super) fn write(&mut self, write: Write) {
        if !write.written().is_empty() {
            self.writes.push(write);
        }
    }

    pub(super) fn mark(&mut self, range: KeyRange) {
        if !range.is_empty() {
            self.marks.push(range);
        }
    }

    /// Whether something that it has read was written since.
    pub(super) fn conflict(&self, model: &Model) -> Refused {
        let changes = !(self.writes.is_empty() && self.marks.is_empty() && self.stamped.is_empty());
        let since = self.snapshot.as_ref().map_or(model.commits, |(commits, _)| *commits);
        let written = |range: &KeyRange| changes && model.written_since(since, range);
        Refused {
            must: self.read.iter().any(|(at_least, _)| written(at_least)),
            may: self.read.iter().any(|(_, at_most)| written(at_most)),
        }
    }
}
