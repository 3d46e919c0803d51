//! Recent versions of recent keys: what stands between the log and the base.
//!
//! ```text
//!   hash shards:  key ─┬▶ row: [(version, value or gone), …]   reads, and the resolver's questions
//!   key index:    key ─┘  in order                              range reads; changes for new keys only
//!   clears:       which ranges were emptied when
//!   marks:        which ranges count as written although nothing changed
//! ```
//!
//! Invariant: for every version a reader may hold, the newest entry at or below it that is
//! above [`Memtable::base`] is here; with no such entry the base below has the answer.
//! Entries at or below the base version are ignored, so that they can be dropped in any
//! order once the base holds them.
//!
//! Writers are serialised by their caller; readers go on beside them and never see a
//! version that was not published, because none of them asks for one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::chain::Entry;
use super::hash::SeededHash;
use super::ranges::RangeVersions;
use super::row::{Keyed, Row};
use crate::contract::Version;
use crate::keys::KeyRange;
use crate::row_list::{Packing, RowList};

/// More than there are cores, so that readers seldom meet a writer.
const SHARDS: usize = 64;

type Shard = RwLock<HashSet<Keyed, SeededHash>>;

/// Keys, or ranges, of one step of a checkpoint: nobody waits for more of it than that.
pub(crate) const STEP: usize = 256;

/// How far [`Memtable::forget_some`] has come: the last range or row that it has looked at.
#[derive(Debug)]
pub(crate) enum Forgetting {
    Clears(Option<Bytes>),
    Marks(Option<Bytes>),
    Rows(Option<Arc<Row>>),
}

impl Default for Forgetting {
    fn default() -> Self {
        Self::Clears(None)
    }
}

/// What one commit changes: `clears` come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mutations {
    pub(crate) clears: Vec<KeyRange>,
    pub(crate) puts: Vec<(Bytes, Option<Bytes>)>,
    /// Ranges that count as written. Not logged: they matter only to transactions that are
    /// open now.
    pub(crate) marks: Vec<KeyRange>,
}

/// Rows that a fold writes, and their value if they have one.
type Puts = Vec<(Arc<Row>, Option<Bytes>)>;

/// Entries that no reader can see any more.
pub(crate) type Replaced = Vec<Entry>;

/// What the memtable says about a key at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Value(Bytes),
    Gone,
    /// Nothing: ask the base.
    Below,
}

/// The same, looked at where it is.
enum Seen<'a> {
    Value(&'a Bytes),
    Gone,
    Below,
}

impl Seen<'_> {
    fn found(self) -> Found {
        match self {
            Self::Value(value) => Found::Value(value.clone()),
            Self::Gone => Found::Gone,
            Self::Below => Found::Below,
        }
    }
}

/// A part of a range as the memtable sees it.
#[derive(Debug)]
pub(crate) struct Window {
    /// The part that it speaks for.
    pub(crate) covered: KeyRange,
    /// Keys with their value, in the order of the scan; a gone one has an empty value.
    pub(crate) points: RowList,
    /// Which of them are gone, in the same order; nothing if none is.
    pub(crate) gone: Vec<usize>,
    /// Where the base's rows are gone.
    pub(crate) clears: Vec<KeyRange>,
}

pub(crate) struct Memtable {
    shards: Vec<Shard>,
    index: RwLock<BTreeSet<Keyed>>,
    clears: RwLock<RangeVersions>,
    /// Spares readers the lock on `clears` as long as nobody clears ranges.
    any_clears: AtomicBool,
    marks: RwLock<RangeVersions>,
    /// The same for `marks` and the resolver.
    any_marks: AtomicBool,
    base: AtomicU64,
    bytes: AtomicU64,
}

impl Memtable {
    /// An empty one above the base version `base`. `seed` keeps chosen keys from colliding.
    pub(crate) fn new(base: Version, seed: u64) -> Self {
        let shard = || RwLock::new(HashSet::with_hasher(SeededHash(seed)));
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            index: RwLock::default(),
            clears: RwLock::default(),
            any_clears: AtomicBool::new(false),
            marks: RwLock::default(),
            any_marks: AtomicBool::new(false),
            base: AtomicU64::new(base),
            bytes: AtomicU64::new(0),
        }
    }

    /// Everything at or below this version is in the base.
    pub(crate) fn base(&self) -> Version {
        self.base.load(Ordering::Acquire)
    }

    /// About how many bytes its entries hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many keys it knows.
    pub(crate) fn keys(&self) -> u64 {
        self.index.read().len() as u64
    }

    /// Adds what a commit changes. Of the entries at or below `keep` only the newest of each
    /// key can matter to a reader: the others are given back.
    pub(crate) fn insert(&self, version: Version, mutations: Mutations, keep: Version) -> Replaced {
        if !mutations.clears.is_empty() {
            self.any_clears.store(true, Ordering::Release);
            let mut clears = self.clears.write();
            mutations.clears.iter().for_each(|range| clears.insert(range, version, keep));
        }
        if !mutations.marks.is_empty() {
            self.any_marks.store(true, Ordering::Release);
            let mut marks = self.marks.write();
            mutations.marks.iter().for_each(|range| marks.insert(range, version, keep));
        }
        let mut replaced = Vec::with_capacity(mutations.puts.len());
        let (mut added, mut dropped) = (0, 0);
        for (key, value) in mutations.puts {
            added += bytes_of(key.len(), value.as_ref());
            let len = key.len();
            let before = replaced.len();
            self.put(&key, version, value, keep, &mut replaced);
            dropped += replaced[before..].iter().map(|(_, old)| bytes_of(len, old.as_ref())).sum::<u64>();
        }
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_sub(dropped, Ordering::Relaxed);
        replaced
    }

    fn put(
        &self,
        key: &[u8],
        version: Version,
        value: Option<Bytes>,
        keep: Version,
        replaced: &mut Replaced,
    ) {
        let shard = self.shard(key);
        if let Some(Keyed(row)) = shard.read().get(key) {
            row.chain.write().push((version, value), keep, replaced);
            return;
        }
        // Writers are one after the other, so nobody else adds it in between.
        let row = Row::new(key, (version, value));
        shard.write().insert(Keyed(row.clone()));
        self.index.write().insert(Keyed(row));
    }

    /// The value of `key` at `version`.
    pub(crate) fn get(&self, key: &[u8], version: Version) -> Found {
        self.steady(|base| self.get_above(key, base, version))
    }

    fn get_above(&self, key: &[u8], base: Version, version: Version) -> Found {
        let shard = self.shard(key).read();
        match shard.get(key) {
            Some(Keyed(row)) => self.found(row, base, version),
            None => self.found_in(key, None, base, version).found(),
        }
    }

    /// What a row's entry and the cleared ranges say together.
    fn found(&self, row: &Row, base: Version, version: Version) -> Found {
        row.look(base, version, |point| self.found_in(row.key(), point, base, version).found())
    }

    fn found_in<'a>(
        &self,
        key: &[u8],
        point: Option<&'a Entry>,
        base: Version,
        version: Version,
    ) -> Seen<'a> {
        let cleared = if self.any_clears.load(Ordering::Acquire) {
            self.clears.read().newest_of(key, version).filter(|v| *v > base)
        } else {
            None
        };
        match point {
            // In one commit the clears come first, so a tie belongs to the point.
            Some((at, value)) if cleared.is_none_or(|c| c <= *at) => {
                value.as_ref().map_or(Seen::Gone, Seen::Value)
            }
            _ if cleared.is_some() => Seen::Gone,
            _ => Seen::Below,
        }
    }

    /// The newest version that wrote `key`, published or not.
    pub(crate) fn newest_write(&self, key: &[u8]) -> Option<Version> {
        let point = self.shard(key).read().get(key).map(|Keyed(row)| row.newest());
        let ranges = |any: &AtomicBool, ranges: &RwLock<RangeVersions>| {
            any.load(Ordering::Acquire).then(|| ranges.read().newest_of(key, Version::MAX)).flatten()
        };
        let mark = ranges(&self.any_marks, &self.marks);
        let clear = ranges(&self.any_clears, &self.clears);
        point.max(mark).max(clear)
    }

    /// Whether anything in `range` was written after `version`, published or not.
    pub(crate) fn written_since(&self, range: &KeyRange, version: Version) -> bool {
        let later = |newest: Option<Version>| newest.is_some_and(|v| v > version);
        if range.is_empty() {
            return false;
        }
        later(self.clears.read().newest_in(range))
            || later(self.marks.read().newest_in(range))
            || self.index.read().range::<[u8], _>(bounds(range)).any(|Keyed(row)| row.newest() > version)
    }

    /// Up to `keys` keys of `range` at `version`, from its end when `reverse`.
    pub(crate) fn window(&self, range: &KeyRange, version: Version, keys: usize, reverse: bool) -> Window {
        self.steady(|base| {
            let index = self.index.read();
            let within = index.range::<[u8], _>(bounds(range));
            let rows: Vec<&Arc<Row>> = if reverse {
                within.rev().take(keys).map(|Keyed(row)| row).collect()
            } else {
                within.take(keys).map(|Keyed(row)| row).collect()
            };
            let (mut points, mut gone) = (Packing::default(), Vec::new());
            for row in &rows {
                row.look(base, version, |point| match self.found_in(row.key(), point, base, version) {
                    Seen::Value(value) => points.push_shared(row.key(), value),
                    Seen::Gone => {
                        gone.push(points.len());
                        points.push(row.key(), b"");
                    }
                    Seen::Below => {}
                });
            }
            let mut covered = range.clone();
            if let Some(last) = rows.last().filter(|_| rows.len() == keys) {
                if reverse {
                    covered.begin = Bytes::copy_from_slice(last.key());
                } else {
                    covered.end = crate::keys::successor(last.key());
                }
            }
            drop(index);
            let clears = if self.any_clears.load(Ordering::Acquire) {
                self.clears.read().covered(&covered, base, version)
            } else {
                Vec::new()
            };
            Window { covered, points: points.finish(), gone, clears }
        })
    }

    /// Repeats `look` until no base version came up beside it: entries are dropped only
    /// after the base version has passed them.
    fn steady<T>(&self, mut look: impl FnMut(Version) -> T) -> T {
        loop {
            let base = self.base();
            let seen = look(base);
            if self.base() == base {
                return seen;
            }
        }
    }

    /// The ranges that a fold up to `version` has to empty before it puts anything.
    pub(crate) fn folded_clears(&self, version: Version) -> Vec<KeyRange> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            // A range that is split meanwhile is found whole, or in parts.
            let clears = self.clears.read();
            next = clears.some_covered(next.as_ref(), STEP, (self.base(), version), &mut found);
            if next.is_none() {
                return found;
            }
        }
    }

    /// The next rows behind `after` that a fold up to `version` has to write, and where to
    /// go on.
    pub(crate) fn folded_puts(&self, after: Option<&Arc<Row>>, version: Version) -> (Puts, Option<Arc<Row>>) {
        let (chunk, next) = self.next_rows(after, STEP);
        let base = self.base();
        let value = |row: Arc<Row>| match self.found(&row, base, version) {
            Found::Value(value) => Some((row, Some(value))),
            Found::Gone => Some((row, None)),
            Found::Below => None,
        };
        (chunk.into_iter().filter_map(value).collect(), next)
    }

    /// Up to `keys` rows behind `after`, and where to go on.
    fn next_rows(&self, after: Option<&Arc<Row>>, keys: usize) -> (Vec<Arc<Row>>, Option<Arc<Row>>) {
        let from = after.map_or(Bound::Unbounded, |row| Bound::Excluded(row.key()));
        let index = self.index.read();
        let behind = index.range::<[u8], _>((from, Bound::Unbounded));
        let chunk: Vec<Arc<Row>> = behind.take(keys).map(|Keyed(row)| row.clone()).collect();
        let next = chunk.last().filter(|_| chunk.len() == keys).cloned();
        (chunk, next)
    }

    /// The base now holds everything up to `version`: entries below are ignored from here on.
    pub(crate) fn raise_base(&self, version: Version) {
        self.base.fetch_max(version, Ordering::AcqRel);
    }

    /// Drops what is at or below the base, a step at a time; says where to go on. Not beside a
    /// writer, who waits for a step at most.
    pub(crate) fn forget_some(&self, from: Forgetting) -> Option<Forgetting> {
        let base = self.base();
        let forget = |ranges: &RwLock<RangeVersions>, any: &AtomicBool, begun: Option<&Bytes>| {
            let mut ranges = ranges.write();
            let next = ranges.retain_some(begun, STEP, |v| v > base);
            any.store(!ranges.is_empty(), Ordering::Release);
            next
        };
        match from {
            Forgetting::Clears(begun) => {
                let next = forget(&self.clears, &self.any_clears, begun.as_ref());
                Some(next.map_or(Forgetting::Marks(None), |begun| Forgetting::Clears(Some(begun))))
            }
            Forgetting::Marks(begun) => {
                let next = forget(&self.marks, &self.any_marks, begun.as_ref());
                Some(next.map_or(Forgetting::Rows(None), |begun| Forgetting::Marks(Some(begun))))
            }
            Forgetting::Rows(after) => {
                let next = self.retain_some(after.as_ref(), STEP, |v| v > base);
                next.map(|after| Forgetting::Rows(Some(after)))
            }
        }
    }

    /// Drops everything above `version`: commits that were never acknowledged and never will
    /// be. Nothing but `keys` was written by them, beside ranges. Not beside a writer.
    pub(crate) fn roll_back(&self, version: Version, keys: impl Iterator<Item = Bytes>) {
        self.clears.write().retain(|v| v <= version);
        self.marks.write().retain(|v| v <= version);
        let row = |key: Bytes| self.shard(&key).read().get(&key[..]).map(|Keyed(row)| row.clone());
        self.retain_in(keys.filter_map(row), |v| v <= version);
    }

    fn retain_some(
        &self,
        after: Option<&Arc<Row>>,
        keys: usize,
        wanted: impl Fn(Version) -> bool,
    ) -> Option<Arc<Row>> {
        let (chunk, next) = self.next_rows(after, keys);
        self.retain_in(chunk.into_iter(), wanted);
        next
    }

    /// Keeps only the wanted versions of these rows.
    fn retain_in(&self, rows: impl Iterator<Item = Arc<Row>>, wanted: impl Fn(Version) -> bool) {
        let mut dropped = 0;
        for row in rows {
            let key = row.key();
            let left =
                row.chain.write().retain(&wanted, |(_, old)| dropped += bytes_of(key.len(), old.as_ref()));
            if !left {
                self.shard(key).write().remove(key);
                self.index.write().remove(key);
            }
        }
        self.bytes.fetch_sub(dropped, Ordering::Relaxed);
    }

    fn shard(&self, key: &[u8]) -> &Shard {
        &self.shards[SeededHash::spread(key) % SHARDS]
    }
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(&range.begin[..]), Bound::Excluded(&range.end[..]))
}

fn bytes_of(key_bytes: usize, value: Option<&Bytes>) -> u64 {
    /// What an entry costs beside its bytes: chain, map, index.
    const OVERHEAD: usize = 256;
    (key_bytes + value.map_or(0, Bytes::len) + OVERHEAD) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_outlives_later_ones_that_are_rolled_back() {
        let memtable = Memtable::new(0, 0);
        let marks = vec![KeyRange::new("a", "b")];
        let mutations = Mutations { marks, ..Mutations::default() };
        for version in [7, 9, 10] {
            drop(memtable.insert(version, mutations.clone(), 7));
        }
        memtable.roll_back(7, std::iter::empty());
        assert_eq!(memtable.newest_write(b"a"), Some(7));
    }

    #[test]
    fn what_is_rolled_back_leaves_everything_else() {
        let memtable = Memtable::new(0, 0);
        let put = |version, key: &str, value: &str| {
            let puts = vec![(
                Bytes::copy_from_slice(key.as_bytes()),
                Some(Bytes::copy_from_slice(value.as_bytes())),
            )];
            drop(memtable.insert(version, Mutations { puts, ..Mutations::default() }, 0));
        };
        put(1, "a", "old");
        put(2, "b", "other");
        let before = (memtable.keys(), memtable.bytes());
        put(3, "a", "new");
        put(4, "c", "new");
        // A key twice, as two commits of a batch may write it.
        memtable.roll_back(2, ["a", "c", "a"].into_iter().map(Bytes::from));
        assert_eq!((memtable.keys(), memtable.bytes()), before);
        for (key, value) in [("a", Some("old")), ("b", Some("other")), ("c", None)] {
            let found = value.map_or(Found::Below, |value| Found::Value(value.into()));
            assert_eq!(memtable.get(key.as_bytes(), 9), found, "{key}");
        }
    }
}
