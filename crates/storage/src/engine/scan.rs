//! Range reads: windows of the memtable over the rows of the base.

use std::cmp::Ordering;

use bytes::Bytes;

use super::base::Base;
use super::memtable::{Memtable, Window};
use crate::contract::{Outage, Rows, Scan, Version};
use crate::keys::{KeyRange, successor};
use crate::limits::PAGE_BYTES_MAX;
use crate::row_list::{Packing, RowList};

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
    while !rest.is_empty() {
        let wanted = scan.limit.saturating_sub(found.rows.len()).max(1);
        let keys = wanted.clamp(WINDOW_KEYS_MIN, WINDOW_KEYS);
        let mut window = memtable.window(&rest, version, keys, scan.reverse);
        // Points may hide as many rows, and one more tells whether the limit was the end.
        let below = base.scan(&window.covered, wanted + window.points.len() + 1, scan.reverse)?;
        if below.more {
            narrow(&mut window, &below, scan.reverse);
        }
        let Window { covered, points, gone, clears } = window;
        let mut rows = match (points.is_empty() && clears.is_empty(), below.rows.is_empty()) {
            (true, _) => below.rows,
            (false, true) if gone.is_empty() => points,
            _ => merge(&points, &gone, &clears, &below.rows, scan.reverse),
        };
        let fits = fitting(&rows, scan.limit - found.rows.len(), found.rows.bytes());
        found.more = fits < rows.len();
        rows.truncate(fits);
        found.rows.append(rows);
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
fn fitting(rows: &RowList, limit: usize, mut bytes: usize) -> usize {
    if bytes + rows.bytes() < PAGE_BYTES_MAX {
        return rows.len().min(limit);
    }
    let fits = rows.iter().take(limit).take_while(|(key, value)| {
        let room = bytes < PAGE_BYTES_MAX;
        bytes += key.len() + value.len();
        room
    });
    fits.count()
}

/// The base stopped before the end of the window: only speak for what it has seen.
fn narrow(window: &mut Window, below: &Rows, reverse: bool) {
    if let Some((last, _)) = below.rows.last() {
        if reverse {
            window.covered.begin = Bytes::copy_from_slice(last);
        } else {
            window.covered.end = successor(last);
        }
        let inside = window.points.iter().take_while(|(key, _)| window.covered.contains(key)).count();
        window.points.truncate(inside);
        window.gone.retain(|n| *n < inside);
    }
}

/// The visible rows of a window, in the order of the scan.
fn merge(points: &RowList, gone: &[usize], clears: &[KeyRange], below: &RowList, reverse: bool) -> RowList {
    let order = |a: &[u8], b: &[u8]| if reverse { b.cmp(a) } else { a.cmp(b) };
    let mut merged = Packing::default();
    let mut gone = gone.iter().peekable();
    let mut points_seen = 0;
    for (n, (key, _)) in below.iter().enumerate() {
        let mut hidden = clears.iter().any(|range| range.contains(key));
        while let Some((point, _)) = points.get(points_seen) {
            match order(point, key) {
                Ordering::Greater => break,
                Ordering::Equal => hidden = true,
                Ordering::Less => {}
            }
            if gone.next_if_eq(&&points_seen).is_none() {
                merged.push_from(points, points_seen);
            }
            points_seen += 1;
        }
        if !hidden {
            merged.push_from(below, n);
        }
    }
    for n in points_seen..points.len() {
        if gone.next_if_eq(&&n).is_none() {
            merged.push_from(points, n);
        }
    }
    merged.finish()
}
