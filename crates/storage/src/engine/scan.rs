//! Range reads: windows of the memtable over the rows of the base.

use std::cmp::Ordering;

use bytes::Bytes;

use super::base::Base;
use super::memtable::{Memtable, Window};
use crate::contract::{Outage, Rows, Scan, Version};
use crate::keys::{KeyRange, successor};
use crate::limits::PAGE_BYTES_MAX;

/// Keys of the memtable looked at in one step: who adds a key waits for it.
const WINDOW_KEYS: usize = 256;
/// And in one of a scan that wants few rows.
const WINDOW_KEYS_MIN: usize = 16;

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
        let wanted = scan.limit.saturating_sub(found.rows.len()).max(1);
        let keys = wanted.clamp(WINDOW_KEYS_MIN, WINDOW_KEYS);
        let mut window = memtable.window(&rest, version, keys, scan.reverse);
        // Points may hide as many rows, and one more tells whether the limit was the end.
        let below = base.scan(&window.covered, wanted + window.points.len() + 1, scan.reverse)?;
        if below.more {
            narrow(&mut window, &below, scan.reverse);
        }
        let Window { covered, points, clears } = window;
        let untouched = points.is_empty() && clears.is_empty();
        let mut rows = if untouched { below.rows } else { merge(points, &clears, below.rows, scan.reverse) };
        let fits = fitting(&rows, scan.limit - found.rows.len(), &mut bytes);
        found.more = fits < rows.len();
        rows.truncate(fits);
        if found.rows.is_empty() {
            found.rows = rows;
        } else {
            found.rows.append(&mut rows);
        }
        if found.more {
            break;
        }
        if scan.reverse {
            rest.end = covered.begin;
        } else {
            rest.begin = covered.end;
        }
    }
    Ok(found)
}

/// How many of `rows` go into a page with room for `limit` that holds so many `bytes`.
fn fitting(rows: &[(Bytes, Bytes)], limit: usize, bytes: &mut usize) -> usize {
    let mut fits = 0;
    for (key, value) in rows.iter().take(limit) {
        if *bytes >= PAGE_BYTES_MAX {
            break;
        }
        *bytes += key.len() + value.len();
        fits += 1;
    }
    fits
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
fn merge(
    points: Vec<(Bytes, Option<Bytes>)>,
    clears: &[KeyRange],
    below: Vec<(Bytes, Bytes)>,
    reverse: bool,
) -> Vec<(Bytes, Bytes)> {
    let visible = |(key, new): (Bytes, Option<Bytes>)| new.map(|new| (key, new));
    if below.is_empty() {
        // In the room that they have already.
        return points.into_iter().filter_map(visible).collect();
    }
    let order = |a: &Bytes, b: &Bytes| if reverse { b.cmp(a) } else { a.cmp(b) };
    let mut merged = Vec::with_capacity(points.len() + below.len());
    let mut points = points.into_iter().peekable();
    for (key, value) in below {
        while let Some(point) = points.next_if(|(point, _)| order(point, &key) == Ordering::Less) {
            merged.extend(visible(point));
        }
        let hidden = points.peek().is_some_and(|(point, _)| *point == key)
            || clears.iter().any(|range| range.contains(&key));
        if !hidden {
            merged.push((key, value));
        }
    }
    merged.extend(points.filter_map(visible));
    merged
}
