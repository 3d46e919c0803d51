//! Range reads: what the store holds, under what the transaction has written itself.

use std::cmp::Ordering;

use bytes::Bytes;

use super::Transaction;
use super::buffer::{WriteBuffer, apply_changes};
use crate::contract::{Op, ReadError, Rows, Scan};
use crate::keys::{KeyRange, successor};
use crate::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::row_list::{Packing, RowList};

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// First key.
    pub begin: Bytes,
    /// First key after the range.
    pub end: Bytes,
    /// At most so many rows.
    pub limit: usize,
    /// From the end towards the beginning.
    pub reverse: bool,
    /// Does not note that the range was read.
    pub snapshot: bool,
}

impl RangeQuery {
    /// The keys from `begin` up to but without `end`, in order.
    pub fn new(begin: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { begin: begin.into(), end: end.into(), limit: PAGE_ROWS_MAX, reverse: false, snapshot: false }
    }

    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let KeyRange { begin, end } = KeyRange::prefix(prefix);
        Self::new(begin, end)
    }

    /// At most `limit` rows in the page (never more than [`PAGE_ROWS_MAX`], and at least one).
    /// A page of more than [`PAGE_BYTES_MAX`] ends early.
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// From the end towards the beginning.
    pub fn reversed(self) -> Self {
        Self { reverse: true, ..self }
    }

    /// Without noting that the range was read.
    pub fn snapshot(self) -> Self {
        Self { snapshot: true, ..self }
    }

    /// What remains of this query when everything in `covered` has been seen.
    fn after(&self, covered: &KeyRange) -> Self {
        if self.reverse {
            Self { end: covered.begin.clone(), ..self.clone() }
        } else {
            Self { begin: covered.end.clone(), ..self.clone() }
        }
    }
}

/// Some rows, and how to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in the order of the query.
    pub rows: RowList,
    /// The query for the rest, when there may be one.
    pub more: Option<RangeQuery>,
}

impl Transaction {
    /// The rows of a range. The commit fails if someone writes in what was looked at in
    /// between; the part of the range behind the page's last row was not looked at.
    pub async fn get_range(&mut self, query: RangeQuery) -> Result<Page, ReadError> {
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        let mut rest = query;
        let mut rows = RowList::default();
        while rest.begin < rest.end {
            let wanted = limit - rows.len();
            let range = KeyRange { begin: rest.begin.clone(), end: rest.end.clone() };
            let scan = Scan { range: range.clone(), limit: wanted, reverse: rest.reverse };
            let found = self.view().await?.scan(scan).wait().await;
            let found = found.map_err(|e| self.note(e))?;
            let mut covered = covered_by(&found, range, rest.reverse);
            let mut merged = overlay(&self.buffer, found.rows, &covered, rest.reverse);
            if merged.len() > wanted {
                merged.truncate(wanted);
                cut_behind_last(&mut covered, &merged, rest.reverse);
            }
            rows.append(merged);
            let remaining = rest.after(&covered);
            if !rest.snapshot {
                self.read_ranges.push(covered);
            }
            rest = remaining;
            if rows.len() == limit || rows.bytes() >= PAGE_BYTES_MAX {
                break;
            }
        }
        let more = (rest.begin < rest.end).then_some(rest);
        Ok(Page { rows, more })
    }
}

/// The part of `range` that the rows found speak for.
fn covered_by(found: &Rows, mut range: KeyRange, reverse: bool) -> KeyRange {
    if found.more {
        cut_behind_last(&mut range, &found.rows, reverse);
    }
    range
}

fn cut_behind_last(range: &mut KeyRange, rows: &RowList, reverse: bool) {
    if let Some((last, _)) = rows.last() {
        if reverse {
            range.begin = Bytes::copy_from_slice(last);
        } else {
            range.end = successor(last);
        }
    }
}

/// `rows` of the store in `covered`, with the buffer's clears and writes on top.
fn overlay(buffer: &WriteBuffer, rows: RowList, covered: &KeyRange, reverse: bool) -> RowList {
    if buffer.is_empty() {
        return rows;
    }
    let points = buffer.points_in(&covered.begin, &covered.end);
    if reverse {
        merge(buffer, &rows, points.rev(), Ordering::Greater)
    } else {
        merge(buffer, &rows, points, Ordering::Less)
    }
}

/// Both in one order; `before` is how an earlier key compares with a later one.
fn merge<'a>(
    buffer: &WriteBuffer,
    rows: &RowList,
    points: impl Iterator<Item = (&'a Bytes, &'a Op)>,
    before: Ordering,
) -> RowList {
    let mut merged = Packing::default();
    let mut stored = 0;
    let push_stored = |merged: &mut Packing, n: usize, key: &[u8]| {
        if !buffer.is_cleared(key) {
            merged.push_from(rows, n);
        }
    };
    for (key, op) in points {
        let mut below = None;
        while let Some((row, value)) = rows.get(stored) {
            if row == key {
                below = Some(value);
            } else if row.cmp(key) == before {
                push_stored(&mut merged, stored, row);
            } else {
                break;
            }
            stored += 1;
        }
        match op {
            Op::Set(value) => merged.push_shared(key, value),
            Op::Clear => {}
            Op::Atomic(changes) => {
                if let Some(value) = apply_changes(below.map(Bytes::copy_from_slice), changes) {
                    merged.push_shared(key, &value);
                }
            }
        }
    }
    for (n, (key, _)) in rows.iter().enumerate().skip(stored) {
        push_stored(&mut merged, n, key);
    }
    merged.finish()
}
