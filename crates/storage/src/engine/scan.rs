//! Range reads: windows of the memtable over the rows of the base.

use std::cmp::Ordering;

use bytes::Bytes;

use super::base::Base;
use super::memtable::{Memtable, Window};
use crate::contract::{Outage, Rows, Scan, Version};
use crate::keys::{KeyRange, successor};
use crate::limits::PAGE_BYTES_MAX;

/// Keys of the memtable looked at in one step.
const WINDOW_KEYS: usize = 256;

/// The rows of `scan` at `version`. The memtable is looked at before the base in each step:
/// what leaves the one in between is in the other already.
pub(crate) fn merged(
    memtable: &Memtable,
    base: &dyn Base,
    version: Version,
    scan: &Scan,
) -> Result<Rows, Outage> {
    let mut rest = scan.range.clone();
    let mut found = Rows::default();
    let mut bytes = 0;
    while !rest.is_empty() {
        let mut window = memtable.window(&rest, version, WINDOW_KEYS, scan.reverse);
        let wanted = scan.limit.saturating_sub(found.rows.len()).max(1);
        // Points may hide as many rows, and one more tells whether the limit was the end.
        let below = base.scan(&window.covered, wanted + window.points.len() + 1, scan.reverse)?;
        if below.more {
            narrow(&mut window, &below, scan.reverse);
        }
        let untouched = window.points.is_empty() && window.clears.is_empty();
        let rows = if untouched { below.rows } else { merge(&window, below.rows, scan.reverse) };
        found.rows.reserve(rows.len());
        for (key, value) in rows {
            if found.rows.len() >= scan.limit || bytes >= PAGE_BYTES_MAX {
                found.more = true;
                return Ok(found);
            }
            bytes += key.len() + value.len();
            found.rows.push((key, value));
        }
        if scan.reverse {
            rest.end = window.covered.begin;
        } else {
            rest.begin = window.covered.end;
        }
    }
    Ok(found)
}

/// The base stopped before the end of the window: only speak for what it has seen.
fn narrow(window: &mut Window, below: &Rows, reverse: bool) {
    if let Some((last, _)) = below.rows.last() {
        if reverse {
            window.covered.begin = last.clone();
        } else {
            window.covered.end = successor(last);
        }
        let KeyRange { begin, end } = &window.covered;
        window.points.retain(|(key, _)| begin <= key && key < end);
    }
}

/// The visible rows of a window, in the order of the scan.
fn merge(window: &Window, below: Vec<(Bytes, Bytes)>, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let order = |a: &Bytes, b: &Bytes| if reverse { b.cmp(a) } else { a.cmp(b) };
    let mut points: Vec<&(Bytes, Option<Bytes>)> = window.points.iter().collect();
    if reverse {
        points.reverse();
    }
    let mut points = points.into_iter().peekable();
    let mut merged = Vec::with_capacity(points.len() + below.len());
    for (key, value) in below {
        while let Some((point, new)) = points.next_if(|(p, _)| order(p, &key) == Ordering::Less) {
            merged.extend(new.clone().map(|new| (point.clone(), new)));
        }
        let hidden = points.peek().is_some_and(|(point, _)| *point == key)
            || window.clears.iter().any(|range| range.contains(&key));
        if !hidden {
            merged.push((key, value));
        }
    }
    merged.extend(points.filter_map(|(key, new)| new.clone().map(|new| (key.clone(), new))));
    merged
}
