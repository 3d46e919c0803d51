//! What a commit writes, as the parameters of few statements.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::link::Statements;
use super::read::{bounds, digest, is_long, prefix};
use crate::contract::{CommitRequest, Op, Stamped, Version};
use crate::keys::KeyRange;
use crate::limits::VERSIONSTAMP_BYTES;
use crate::transaction::apply_changes;

/// The writes of a commit, in the order in which they are sent: ranges are looked at and
/// cleared, keys deleted, rows put, edges put and deleted.
#[derive(Default)]
pub(super) struct Writes {
    /// Read, so that the commit depends on them.
    pub(super) looked_at: Vec<KeyRange>,
    clears: Vec<KeyRange>,
    /// In key order, as the puts: everybody locks rows in the same order then.
    deletes: BTreeSet<Bytes>,
    puts: BTreeMap<Bytes, Bytes>,
    /// Keys without a row that count as written.
    edges: BTreeSet<Bytes>,
}

impl Writes {
    /// Everything that is known from the request alone.
    pub(super) fn new(request: &CommitRequest) -> Self {
        let mut writes = Self { clears: request.clears.clone(), ..Self::default() };
        for (key, op) in &request.writes {
            match op {
                Op::Set(value) => {
                    writes.puts.insert(key.clone(), value.clone());
                }
                Op::Clear => {
                    writes.deletes.insert(key.clone());
                }
                Op::Atomic(_) => {}
            }
        }
        writes
    }

    /// Rows as they are.
    pub(super) fn of_rows(rows: Vec<(Bytes, Bytes)>) -> Self {
        Self { puts: rows.into_iter().collect(), ..Self::default() }
    }

    /// The same if one statement does it all.
    pub(super) fn alone(request: &CommitRequest) -> Option<Self> {
        let plain = request.stamped.is_empty()
            && request.write_conflicts.is_empty()
            && request.clears.is_empty()
            && !request.has_reads()
            && !request.writes.is_empty();
        let puts = |op: &Op| matches!(op, Op::Set(_));
        let deletes = |op: &Op| matches!(op, Op::Clear);
        let all = |wanted: &dyn Fn(&Op) -> bool| request.writes.iter().all(|(_, op)| wanted(op));
        let long = request.writes.iter().filter(|(key, _)| is_long(key)).count();
        let one_table = long == 0 || long == request.writes.len();
        (plain && one_table && (all(&puts) || all(&deletes))).then(|| Self::new(request))
    }

    /// Carries out atomic operations on what is stored.
    pub(super) fn change(&mut self, writes: &[(Bytes, Op)], stored: BTreeMap<Bytes, Bytes>) {
        for (key, op) in writes {
            if let Op::Atomic(changes) = op {
                let value = apply_changes(stored.get(key).cloned(), changes);
                self.puts.extend(value.map(|value| (key.clone(), value)));
            }
        }
    }

    /// Puts rows under their stamped keys.
    pub(super) fn stamp(&mut self, stamped: &[Stamped], version: Version) {
        for row in stamped {
            let mut key = row.key.clone();
            let place = &mut key[row.offset..row.offset + VERSIONSTAMP_BYTES];
            let (number, order) = place.split_at_mut(8);
            number.copy_from_slice(&version.to_be_bytes());
            order.fill(0);
            self.puts.insert(key.into(), row.value.clone());
        }
    }

    /// Makes readers of `range` see a write: every row in it is written again as a new row,
    /// and so is the one at its end; where no row is at an edge, one comes and goes. Each of
    /// these enters the index, on the pages that a reader of a gap in the range has locked.
    pub(super) fn touch(&mut self, range: &KeyRange, rows: Vec<(Bytes, Bytes)>, clears: &[KeyRange]) {
        let mut edges = vec![range.begin.clone(), range.end.clone()];
        for (key, value) in rows {
            edges.retain(|edge| *edge != key);
            let cleared = clears.iter().any(|clear| clear.contains(&key)) || self.deletes.contains(&key);
            if !cleared {
                self.puts.entry(key.clone()).or_insert(value);
            }
            self.deletes.insert(key);
        }
        edges.retain(|edge| !self.puts.contains_key(edge));
        self.edges.extend(edges);
    }

    /// The keys that change.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.puts.keys().chain(&self.deletes)
    }

    /// The ranges that are cleared.
    pub(super) fn clears(&self) -> &[KeyRange] {
        &self.clears
    }
}

/// A statement and its parameters.
pub(super) type Bind<'a> = (&'a Statement, Vec<&'a (dyn ToSql + Sync)>);

/// [`Writes`] in the form that the server takes.
pub(super) struct Bound<'a> {
    looked_at: Vec<[&'a [u8]; 4]>,
    clears: Vec<[&'a [u8]; 4]>,
    deletes: Table<'a>,
    puts: Table<'a>,
    edges: Table<'a>,
}

/// The parameters for both tables.
struct Table<'a> {
    short: Vec<&'a [u8]>,
    short_values: Vec<&'a [u8]>,
    long: Vec<&'a [u8]>,
    long_values: Vec<&'a [u8]>,
    prefixes: Vec<&'a [u8]>,
    digests: Vec<Vec<u8>>,
}

impl<'a> Table<'a> {
    fn new(rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let (long, short): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| is_long(key));
        let (short, short_values) = short.into_iter().unzip();
        let (long, long_values): (Vec<&[u8]>, Vec<&[u8]>) = long.into_iter().unzip();
        Self {
            short,
            short_values,
            prefixes: long.iter().map(|key| prefix(key)).collect(),
            digests: long.iter().map(|key| digest(key).to_vec()).collect(),
            long,
            long_values,
        }
    }

    fn put<'s>(&'s self, statements: &'s Statements, sent: &mut Vec<Bind<'s>>) {
        if !self.short.is_empty() {
            sent.push((&statements.put, vec![&self.short, &self.short_values]));
        }
        if !self.long.is_empty() {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                vec![&self.digests, &self.prefixes, &self.long, &self.long_values];
            sent.push((&statements.put_long, parameters));
        }
    }

    fn delete<'s>(&'s self, statements: &'s Statements, sent: &mut Vec<Bind<'s>>) {
        if !self.short.is_empty() {
            sent.push((&statements.delete, vec![&self.short]));
        }
        if !self.long.is_empty() {
            sent.push((&statements.delete_long, vec![&self.digests]));
        }
    }
}

impl<'a> Bound<'a> {
    pub(super) fn new(writes: &'a Writes) -> Self {
        let keys = |keys: &'a BTreeSet<Bytes>| Table::new(keys.iter().map(|key| (&key[..], &[][..])));
        Self {
            looked_at: writes.looked_at.iter().map(bounds).collect(),
            clears: writes.clears.iter().map(bounds).collect(),
            deletes: keys(&writes.deletes),
            puts: Table::new(writes.puts.iter().map(|(key, value)| (&key[..], &value[..]))),
            edges: keys(&writes.edges),
        }
    }

    /// In the order in which they must be carried out.
    pub(super) fn statements<'s>(&'s self, statements: &'s Statements) -> Vec<Bind<'s>> {
        let mut sent: Vec<Bind<'s>> = Vec::new();
        for range in &self.looked_at {
            sent.push((&statements.count, parameters(range)));
        }
        for range in &self.clears {
            sent.push((&statements.clear, parameters(&range[..2])));
            sent.push((&statements.clear_long, parameters(range)));
        }
        self.deletes.delete(statements, &mut sent);
        self.puts.put(statements, &mut sent);
        self.edges.put(statements, &mut sent);
        self.edges.delete(statements, &mut sent);
        sent
    }
}

fn parameters<'s>(values: &'s [&[u8]]) -> Vec<&'s (dyn ToSql + Sync)> {
    values.iter().map(|value| -> &(dyn ToSql + Sync) { value }).collect()
}
