//! Pieces of the base that were scanned lately, so that a scan of one need not walk its tree.
//!
//! ```text
//!   base     a b c d e f g h i j k l m
//!   pieces   [a c) [c  g)    [i     l)      a scan from b on: b, c … f, and g on from the base
//! ```
//!
//! Invariant: a piece holds all rows of the base between its ends, also when there is none. A
//! fold takes out each piece that it changes before it commits, and nothing comes in that was
//! read before or while it ran. Pieces do not overlap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::folds::Began;
use crate::contract::Rows;
use crate::keys::{KeyRange, successor};
use crate::limits::PAGE_BYTES_MAX;
use crate::row_list::RowList;

/// What a piece costs beside its rows and ends: its places in map and clock.
const OVERHEAD: usize = 250;

pub(super) struct PieceCache {
    pieces: RwLock<Pieces>,
    bytes_max: usize,
}

#[derive(Default)]
struct Pieces {
    by_begin: BTreeMap<Bytes, Piece>,
    /// Which piece is looked at next when one has to go. Those that were taken out otherwise
    /// stay in it until they are met.
    clock: VecDeque<(u64, Bytes)>,
    /// Of the next piece.
    number: u64,
    bytes: usize,
}

struct Piece {
    number: u64,
    end: Bytes,
    /// In the order of their keys.
    rows: RowList,
    /// Since the clock has passed.
    used: AtomicBool,
}

/// What is known of a scan from its beginning on.
pub(super) struct Known {
    pub(super) rows: RowList,
    /// Of this nothing is known, or it was not asked for.
    pub(super) rest: KeyRange,
}

impl PieceCache {
    /// One of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { pieces: RwLock::default(), bytes_max }
    }

    /// Up to `limit` rows of `range`, as far as they are known without a gap.
    pub(super) fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Known {
        let mut known = Known { rows: RowList::default(), rest: range.clone() };
        let pieces = self.pieces.read();
        while !known.rest.is_empty() && known.rows.len() < limit && known.rows.bytes() < PAGE_BYTES_MAX {
            let Some((begin, piece)) = pieces.at_start_of(&known.rest, reverse) else { break };
            piece.used.store(true, Ordering::Relaxed);
            let wanted = limit - known.rows.len();
            let rest = &mut known.rest;
            if reverse {
                let (from, to) = (piece.rows.rank(&rest.begin), piece.rows.rank(&rest.end));
                let cut = from.max(to.saturating_sub(wanted));
                let stop = if cut > from { key_of(&piece.rows, cut) } else { begin.clone() };
                rest.end = stop.max(rest.begin.clone());
                known.rows.append(piece.rows.slice(cut..to).reversed());
            } else {
                let (from, to) = (piece.rows.rank(&rest.begin), piece.rows.rank(&rest.end));
                let cut = to.min(from.saturating_add(wanted));
                let stop =
                    if cut < to { successor(&key_of(&piece.rows, cut - 1)) } else { piece.end.clone() };
                rest.begin = stop.min(rest.end.clone());
                known.rows.append(piece.rows.slice(from..cut));
            }
        }
        known
    }

    /// Keeps what the base said to a scan of `range` that began then.
    pub(super) fn keep(&self, began: Began<'_>, range: &KeyRange, found: &Rows, reverse: bool) {
        let (mut covered, mut rows) = (range.clone(), found.rows.clone());
        if let (true, Some((last, _))) = (found.more, rows.last()) {
            if reverse {
                covered.begin = Bytes::copy_from_slice(last);
            } else {
                covered.end = successor(last);
            }
        }
        if reverse {
            rows = rows.reversed();
        }
        let piece = Piece { number: 0, end: covered.end.clone(), rows, used: AtomicBool::new(false) };
        // A piece that is large would drive out many.
        if covered.is_empty() || piece.cost(&covered.begin) > self.bytes_max / 8 {
            return;
        }
        let mut pieces = self.pieces.write();
        // Under the lock: a fold that begins later takes the piece out under it as well.
        if began.still_holds() {
            pieces.forget(&covered);
            pieces.add(covered.begin, piece);
            pieces.shrink(self.bytes_max);
        }
    }

    /// A fold changes `key`.
    pub(super) fn forget(&self, key: &[u8]) {
        let range = KeyRange { begin: Bytes::copy_from_slice(key), end: successor(key) };
        self.forget_ranges(&[range]);
    }

    /// A fold empties these ranges.
    pub(super) fn forget_ranges(&self, ranges: &[KeyRange]) {
        for range in ranges {
            // Most folds meet few pieces.
            if self.pieces.read().overlapping(range).is_some() {
                self.pieces.write().forget(range);
            }
        }
    }
}

impl Pieces {
    /// The piece that holds the first key of a scan of `rest`.
    fn at_start_of(&self, rest: &KeyRange, reverse: bool) -> Option<(&Bytes, &Piece)> {
        if reverse {
            let found = self.by_begin.range(..rest.end.clone()).next_back()?;
            (found.1.end >= rest.end).then_some(found)
        } else {
            let found = self.by_begin.range(..=rest.begin.clone()).next_back()?;
            (found.1.end > rest.begin).then_some(found)
        }
    }

    /// The last piece that has a key in common with `range`.
    fn overlapping(&self, range: &KeyRange) -> Option<Bytes> {
        let (begin, piece) = self.by_begin.range(..range.end.clone()).next_back()?;
        (piece.end > range.begin).then(|| begin.clone())
    }

    fn forget(&mut self, range: &KeyRange) {
        while let Some(begin) = self.overlapping(range) {
            self.remove(&begin);
        }
        self.tidy_clock();
    }

    fn add(&mut self, begin: Bytes, piece: Piece) {
        self.number += 1;
        self.bytes += piece.cost(&begin);
        self.clock.push_back((self.number, begin.clone()));
        self.by_begin.insert(begin, Piece { number: self.number, ..piece });
    }

    fn remove(&mut self, begin: &[u8]) {
        if let Some((begin, piece)) = self.by_begin.remove_entry(begin) {
            self.bytes -= piece.cost(&begin);
        }
    }

    /// Takes out pieces that were not used lately until there is room.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((number, begin)) = self.clock.pop_front() else { return };
            match self.by_begin.get(&begin).filter(|piece| piece.number == number) {
                Some(piece) if piece.used.swap(false, Ordering::Relaxed) => {
                    self.clock.push_back((number, begin));
                }
                Some(_) => self.remove(&begin),
                None => {}
            }
        }
        self.tidy_clock();
    }

    /// Folds and overlaps leave entries without a piece.
    fn tidy_clock(&mut self) {
        if self.clock.len() > 2 * self.by_begin.len() + 64 {
            let by_begin = &self.by_begin;
            self.clock.retain(|(number, begin)| by_begin.get(begin).is_some_and(|it| it.number == *number));
        }
    }
}

impl Piece {
    fn cost(&self, begin: &[u8]) -> usize {
        // The beginning is in the clock as well, but shared.
        begin.len() + self.end.len() + self.rows.footprint() + OVERHEAD
    }
}

/// The key of row `n`, which there is.
fn key_of(rows: &RowList, n: usize) -> Bytes {
    let (key, _) = rows.get(n).expect("a row of the piece");
    Bytes::copy_from_slice(key)
}

#[cfg(test)]
mod tests;
