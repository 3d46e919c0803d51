//! At which versions ranges of keys were written as a whole.
//!
//! Disjoint segments, each with the versions that covered it, oldest first. Ranges are cut
//! at each other's borders, so a lookup is one step in an ordered map however many ranges
//! were cleared.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::contract::Version;
use crate::keys::KeyRange;

#[derive(Debug, Default)]
pub(crate) struct RangeVersions {
    segments: BTreeMap<Bytes, Segment>,
}

#[derive(Debug, Clone)]
struct Segment {
    end: Bytes,
    versions: Vec<Version>,
}

impl RangeVersions {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Notes that `range` was written at `version`, the newest so far. Of the versions at or
    /// below `keep` only the newest of each segment can matter to anyone.
    pub(crate) fn insert(&mut self, range: &KeyRange, version: Version, keep: Version) {
        if range.is_empty() {
            return;
        }
        self.split_at(&range.begin);
        self.split_at(&range.end);
        let mut gaps = Vec::new();
        let mut reached = range.begin.clone();
        for (begin, segment) in self.segments.range_mut(range.begin.clone()..range.end.clone()) {
            if reached < *begin {
                gaps.push((reached, begin.clone()));
            }
            reached = segment.end.clone();
            let needless = segment.versions.partition_point(|v| *v <= keep).saturating_sub(1);
            segment.versions.drain(..needless);
            segment.versions.push(version);
        }
        if reached < range.end {
            gaps.push((reached, range.end.clone()));
        }
        for (begin, end) in gaps {
            self.segments.insert(begin, Segment { end, versions: vec![version] });
        }
    }

    /// The newest version at or below `at` that covered `key`.
    pub(crate) fn newest_of(&self, key: &[u8], at: Version) -> Option<Version> {
        let below = (Bound::Unbounded, Bound::Included(key));
        let (_, segment) = self.segments.range::<[u8], _>(below).next_back()?;
        (key < &segment.end[..]).then(|| newest(&segment.versions, at)).flatten()
    }

    /// The newest version that covered any part of `range`.
    pub(crate) fn newest_in(&self, range: &KeyRange) -> Option<Version> {
        self.overlapping(range).filter_map(|(_, segment)| segment.versions.last().copied()).max()
    }

    /// The parts of `range` that were covered after `after` and up to `at`.
    pub(crate) fn covered(&self, range: &KeyRange, after: Version, at: Version) -> Vec<KeyRange> {
        self.overlapping(range)
            .filter(|(_, segment)| newest(&segment.versions, at).is_some_and(|v| v > after))
            .map(|(begin, segment)| KeyRange {
                begin: begin.clone().max(range.begin.clone()),
                end: segment.end.clone().min(range.end.clone()),
            })
            .collect()
    }

    /// Of the next `step` segments behind `begun` those that were covered after `after` and up
    /// to `at` go to `found`; where to go on.
    pub(crate) fn some_covered(
        &self,
        begun: Option<&Bytes>,
        step: usize,
        (after, at): (Version, Version),
        found: &mut Vec<KeyRange>,
    ) -> Option<Bytes> {
        let (mut looked, mut last) = (0, None);
        for (begin, segment) in self.segments.range::<[u8], _>(behind(begun)).take(step) {
            if newest(&segment.versions, at).is_some_and(|v| v > after) {
                found.push(KeyRange { begin: begin.clone(), end: segment.end.clone() });
            }
            looked += 1;
            last = Some(begin);
        }
        last.filter(|_| looked == step).cloned()
    }

    /// Keeps only the versions that `wanted` accepts, in the next `step` segments behind
    /// `begun`; where to go on.
    pub(crate) fn retain_some(
        &mut self,
        begun: Option<&Bytes>,
        step: usize,
        wanted: impl Fn(Version) -> bool,
    ) -> Option<Bytes> {
        let (mut looked, mut last, mut empty) = (0, None, Vec::new());
        for (begin, segment) in self.segments.range_mut::<[u8], _>(behind(begun)).take(step) {
            segment.versions.retain(|v| wanted(*v));
            if segment.versions.is_empty() {
                empty.push(begin.clone());
            }
            looked += 1;
            last = Some(begin);
        }
        let next = last.filter(|_| looked == step).cloned();
        for begin in empty {
            self.segments.remove(&begin);
        }
        next
    }

    /// Keeps only the versions that `wanted` accepts.
    pub(crate) fn retain(&mut self, wanted: impl Fn(Version) -> bool) {
        drop(self.retain_some(None, usize::MAX, wanted));
    }

    fn overlapping(&self, range: &KeyRange) -> impl Iterator<Item = (&Bytes, &Segment)> {
        // Segments are disjoint, so only the last one that begins before can reach in.
        let below = (Bound::Unbounded, Bound::Excluded(range.begin.clone()));
        let reaching =
            self.segments.range(below).next_back().filter(|(_, segment)| segment.end > range.begin);
        let inside = (!range.is_empty()).then(|| self.segments.range(range.begin.clone()..range.end.clone()));
        reaching.filter(|_| !range.is_empty()).into_iter().chain(inside.into_iter().flatten())
    }

    fn split_at(&mut self, key: &Bytes) {
        let below = (Bound::Unbounded, Bound::Excluded(key.clone()));
        let Some((_, segment)) = self.segments.range_mut(below).next_back() else { return };
        if segment.end > *key {
            let upper = segment.clone();
            segment.end = key.clone();
            self.segments.insert(key.clone(), upper);
        }
    }
}

fn behind(begun: Option<&Bytes>) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (begun.map_or(Bound::Unbounded, |begun| Bound::Excluded(&begun[..])), Bound::Unbounded)
}

fn newest(versions: &[Version], at: Version) -> Option<Version> {
    versions[..versions.partition_point(|v| *v <= at)].last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(begin: &str, end: &str) -> KeyRange {
        KeyRange::new(begin.to_owned(), end.to_owned())
    }

    #[test]
    fn lookups_see_the_newest_covering_version() {
        let mut ranges = RangeVersions::default();
        ranges.insert(&range("b", "f"), 1, 0);
        ranges.insert(&range("d", "h"), 2, 0);
        ranges.insert(&range("a", "c"), 3, 0);
        let seen: Vec<_> = ["a", "b", "c", "d", "g", "h"]
            .iter()
            .map(|key| (ranges.newest_of(key.as_bytes(), 9), ranges.newest_of(key.as_bytes(), 1)))
            .collect();
        let expected = [
            (Some(3), None),
            (Some(3), Some(1)),
            (Some(1), Some(1)),
            (Some(2), Some(1)),
            (Some(2), None),
            (None, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(ranges.newest_in(&range("c", "d")), Some(1));
        assert_eq!(ranges.newest_in(&range("h", "z")), None);
        assert_eq!(ranges.newest_in(&range("0", "a0")), Some(3));
        assert_eq!(ranges.covered(&range("e", "g"), 1, 9), [range("e", "f"), range("f", "g")]);
    }

    #[test]
    fn needless_versions_go() {
        let mut ranges = RangeVersions::default();
        for version in 1..=9 {
            ranges.insert(&range("a", "b"), version, version - 1);
        }
        assert_eq!(ranges.newest_of(b"a", 8), Some(8));
        assert_eq!(ranges.newest_of(b"a", 7), None);
        ranges.retain(|v| v > 9);
        assert!(ranges.is_empty());
    }

    #[test]
    fn steps_see_every_segment_once() {
        let mut ranges = RangeVersions::default();
        for n in 0..10_u64 {
            ranges.insert(&range(&format!("{n}a"), &format!("{n}b")), n + 1, 0);
        }
        let (mut found, mut begun, mut steps) = (Vec::new(), None, 0);
        loop {
            begun = ranges.some_covered(begun.as_ref(), 3, (2, 9), &mut found);
            steps += 1;
            if begun.is_none() {
                break;
            }
        }
        let expected: Vec<_> = (2..9).map(|n| range(&format!("{n}a"), &format!("{n}b"))).collect();
        assert_eq!((found, steps), (expected, 4));
        loop {
            begun = ranges.retain_some(begun.as_ref(), 3, |v| v > 5);
            if begun.is_none() {
                break;
            }
        }
        let left: Vec<_> = ranges.segments.keys().map(|begin| begin.to_vec()).collect();
        assert_eq!(left, (5..10).map(|n| format!("{n}a").into_bytes()).collect::<Vec<_>>());
    }
}
