//! Rows of the base that were read lately, so that a get of one need not walk its tree.
//!
//! ```text
//!   get ─▶ young? ─▶ old? ──yes──▶ young          young full: it becomes the old one, and the
//!                      └─no─▶ base ─▶ young       old one is dropped
//! ```
//!
//! Keys that have no row are kept as well. Invariant: what is here is what the base holds, for
//! every key that the memtable does not answer. A fold takes out each key that it changes
//! before it commits, and nothing comes in that was read before or while it ran.

use bytes::Bytes;
use parking_lot::RwLock;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::mem;

use super::folds::Began;
use crate::engine::SeededHash;
use crate::keys::KeyRange;

/// More than there are cores, so that readers seldom wait for one another.
const SHARDS: usize = 64;
/// What a row costs beside its bytes: its places in two half-empty maps, its allocation.
const OVERHEAD: usize = 120;
/// Values up to here are copied out: that is quicker than counting who holds them.
const COPIED_MAX: usize = 256;

pub(super) struct RowCache {
    shards: Vec<RwLock<Shard>>,
    /// Bytes of one generation of one shard.
    shard_bytes: usize,
}

struct Shard {
    young: HashSet<Cached, SeededHash>,
    old: HashSet<Cached, SeededHash>,
    /// About how many bytes `young` holds.
    bytes: usize,
}

/// A key, and behind it its value if it has one.
struct Cached {
    bytes: Bytes,
    key: usize,
    found: bool,
}

impl RowCache {
    /// One of about `bytes`; `seed` keeps chosen keys from colliding.
    pub(super) fn new(bytes: usize, seed: u64) -> Self {
        let map = || HashSet::with_hasher(SeededHash(seed));
        let shard = || RwLock::new(Shard { young: map(), old: map(), bytes: 0 });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), shard_bytes: bytes / SHARDS / 2 }
    }

    /// The value of `key`, or that it has none, if that is known.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        if self.shard_bytes == 0 {
            return None;
        }
        let shard = self.shard(key);
        {
            let shard = shard.read();
            if let Some(cached) = shard.young.get(key) {
                return Some(cached.value());
            }
            if !shard.old.contains(key) {
                return None;
            }
        }
        let (value, dropped) = {
            let mut shard = shard.write();
            let cached = shard.old.take(key)?;
            (cached.value(), shard.put(cached, self.shard_bytes))
        };
        drop(dropped);
        Some(value)
    }

    /// Keeps what the base said to a read that began then.
    pub(super) fn keep(&self, began: Began<'_>, key: &[u8], value: Option<&[u8]>) {
        let cached = Cached::new(key, value);
        // A row that is large would drive out many.
        if cached.cost() > self.shard_bytes / 8 {
            return;
        }
        let dropped = {
            let mut shard = self.shard(key).write();
            // Under the lock: a fold that begins later takes the key out under it as well.
            if !began.still_holds() {
                return;
            }
            shard.put(cached, self.shard_bytes)
        };
        drop(dropped);
    }

    fn shard(&self, key: &[u8]) -> &RwLock<Shard> {
        &self.shards[SeededHash::spread(key) % SHARDS]
    }

    /// A fold changes `key`.
    pub(super) fn forget(&self, key: &[u8]) {
        let mut shard = self.shard(key).write();
        if let Some(cached) = shard.young.take(key) {
            shard.bytes -= cached.cost();
        }
        shard.old.remove(key);
    }

    /// A fold empties these ranges, which are in order and do not overlap.
    pub(super) fn forget_ranges(&self, ranges: &[KeyRange]) {
        if ranges.is_empty() {
            return;
        }
        let wanted = |cached: &Cached| {
            let key: &[u8] = cached.borrow();
            let at = ranges.partition_point(|range| range.begin <= key);
            at.checked_sub(1).is_none_or(|at| !ranges[at].contains(key))
        };
        for shard in &self.shards {
            let Shard { young, old, bytes } = &mut *shard.write();
            young.retain(|cached| {
                let keep = wanted(cached);
                *bytes -= if keep { 0 } else { cached.cost() };
                keep
            });
            old.retain(wanted);
        }
    }
}

impl Shard {
    /// Adds a row; gives back what had to go for it, to be freed without the lock.
    fn put(&mut self, cached: Cached, bytes_max: usize) -> Option<HashSet<Cached, SeededHash>> {
        self.bytes += cached.cost();
        if let Some(before) = self.young.replace(cached) {
            self.bytes -= before.cost();
        }
        if self.bytes <= bytes_max {
            return None;
        }
        self.bytes = 0;
        let empty = HashSet::with_hasher(self.young.hasher().clone());
        let full = mem::replace(&mut self.young, empty);
        Some(mem::replace(&mut self.old, full))
    }
}

impl Cached {
    fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + value.map_or(0, <[u8]>::len));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
        Self { bytes: bytes.into(), key: key.len(), found: value.is_some() }
    }

    fn value(&self) -> Option<Bytes> {
        if !self.found {
            return None;
        }
        let value = &self.bytes[self.key..];
        Some(if value.len() <= COPIED_MAX {
            Bytes::copy_from_slice(value)
        } else {
            self.bytes.slice(self.key..)
        })
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Borrow<[u8]> for Cached {
    fn borrow(&self) -> &[u8] {
        &self.bytes[..self.key]
    }
}

impl Hash for Cached {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let key: &[u8] = self.borrow();
        key.hash(state);
    }
}

impl PartialEq for Cached {
    fn eq(&self, other: &Self) -> bool {
        let (key, other): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        key == other
    }
}

impl Eq for Cached {}

#[cfg(test)]
mod tests {
    use super::super::folds::Folds;
    use super::*;

    fn keep(cache: &RowCache, key: &[u8], value: Option<&[u8]>) {
        cache.keep(Folds::default().begin(), key, value);
    }

    #[test]
    fn what_was_read_is_known_until_a_fold_changes_it() {
        let cache = RowCache::new(1 << 20, 1);
        assert_eq!(cache.get(b"a"), None);
        let large = vec![7; COPIED_MAX + 1];
        keep(&cache, b"a", Some(b"1"));
        keep(&cache, b"b", None);
        keep(&cache, b"c", Some(b""));
        keep(&cache, b"d", Some(&large));
        let known = |key: &[u8]| cache.get(key);
        assert_eq!(known(b"a"), Some(Some(Bytes::from_static(b"1"))));
        assert_eq!((known(b"b"), known(b"c")), (Some(None), Some(Some(Bytes::new()))));
        assert_eq!(known(b"d"), Some(Some(large.into())));
        cache.forget(b"a");
        cache.forget_ranges(&[KeyRange::new("0", "1"), KeyRange::new("c", "d")]);
        assert_eq!((known(b"a"), known(b"b"), known(b"c")), (None, Some(None), None));
        assert!(known(b"d").is_some());
    }

    #[test]
    fn what_was_read_before_or_during_a_fold_is_not_kept() {
        let (cache, folds) = (RowCache::new(1 << 20, 1), Folds::default());
        let before = folds.begin();
        let folding = folds.fold();
        let during = folds.begin();
        cache.keep(during, b"a", Some(b"old"));
        cache.forget(b"a");
        drop(folding);
        for began in [before, during] {
            cache.keep(began, b"a", Some(b"old"));
            assert_eq!(cache.get(b"a"), None);
        }
        keep(&cache, b"a", Some(b"new"));
        assert!(cache.get(b"a").is_some());
    }

    #[test]
    fn it_is_bounded_and_what_is_read_again_stays() {
        let cache = RowCache::new(256 << 10, 1);
        let rows = 10_000_u32;
        for n in 0..rows {
            keep(&cache, &n.to_be_bytes(), Some(&[1; 100]));
            keep(&cache, b"often", Some(b"1"));
            assert!(cache.get(b"often").is_some());
        }
        let mut held = 0;
        for shard in &cache.shards {
            let Shard { young, old, .. } = &mut *shard.write();
            for generation in [young, old] {
                generation.retain(|cached| {
                    held += cached.cost();
                    true
                });
            }
        }
        assert!((100 << 10..300 << 10).contains(&held), "{held}");
        assert!(cache.get(&(rows - 1).to_be_bytes()).is_some() && cache.get(&0_u32.to_be_bytes()).is_none());
        let off = RowCache::new(0, 1);
        keep(&off, b"a", Some(b"1"));
        assert_eq!(off.get(b"a"), None);
    }
}
