//! The versions of one key. The newest stands in the map's own entry: it answers most reads
//! and all of the resolver's questions, and is one cache miss less.

use std::mem;

use bytes::Bytes;

use crate::contract::Version;

/// A value, or gone, from that version on.
pub(crate) type Entry = (Version, Option<Bytes>);

#[derive(Debug)]
pub(super) struct Chain {
    newest: Entry,
    /// Oldest first.
    older: Vec<Entry>,
}

impl Chain {
    pub(super) fn new(entry: Entry) -> Self {
        Self { newest: entry, older: Vec::new() }
    }

    /// Adds the newest entry. Of those at or below `keep` only the newest can matter to a
    /// reader: the others go to `replaced`.
    pub(super) fn push(&mut self, entry: Entry, keep: Version, replaced: &mut Vec<Entry>) {
        let needless = if self.newest.0 <= keep {
            self.older.len()
        } else {
            self.older.partition_point(|(version, _)| *version <= keep).saturating_sub(1)
        };
        replaced.extend(self.older.drain(..needless));
        self.older.push(mem::replace(&mut self.newest, entry));
    }

    pub(super) fn newest(&self) -> Version {
        self.newest.0
    }

    /// The newest entry at or below `version`.
    pub(super) fn at(&self, version: Version) -> Option<&Entry> {
        if self.newest.0 <= version {
            return Some(&self.newest);
        }
        self.older.iter().rev().find(|(v, _)| *v <= version)
    }

    /// Keeps what is wanted and gives the rest to `dropped`; whether anything is left.
    pub(super) fn retain(
        &mut self,
        wanted: impl Fn(Version) -> bool,
        mut dropped: impl FnMut(&Entry),
    ) -> bool {
        self.older.retain(|entry| {
            let keep = wanted(entry.0);
            if !keep {
                dropped(entry);
            }
            keep
        });
        if wanted(self.newest.0) {
            return true;
        }
        dropped(&self.newest);
        match self.older.pop() {
            Some(entry) => {
                self.newest = entry;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(versions: &[Version]) -> Chain {
        let mut chain = Chain::new((versions[0], None));
        versions[1..].iter().for_each(|version| chain.push((*version, None), 0, &mut Vec::new()));
        chain
    }

    fn versions(chain: &Chain) -> Vec<Version> {
        chain.older.iter().chain([&chain.newest]).map(|(version, _)| *version).collect()
    }

    #[test]
    fn of_what_no_reader_needs_only_the_newest_stays() {
        for (keep, left) in
            [(0, [1, 3, 5, 7].as_slice()), (2, &[1, 3, 5, 7]), (3, &[3, 5, 7]), (5, &[5, 7]), (6, &[5, 7])]
        {
            let (mut chain, mut replaced) = (chain(&[1, 3, 5]), Vec::new());
            chain.push((7, None), keep, &mut replaced);
            assert_eq!(versions(&chain), left, "keep {keep}");
            assert_eq!(replaced.len() + left.len(), 4);
        }
    }

    #[test]
    fn a_version_sees_what_was_newest_then() {
        let chain = chain(&[2, 4, 6]);
        let seen = [1, 2, 3, 4, 5, 6, 9].map(|version| chain.at(version).map(|(v, _)| *v));
        assert_eq!(seen, [None, Some(2), Some(2), Some(4), Some(4), Some(6), Some(6)]);
    }

    #[test]
    fn either_end_can_be_dropped() {
        let mut forgotten = chain(&[2, 4, 6]);
        assert!(forgotten.retain(|version| version > 4, |_| {}));
        assert_eq!(versions(&forgotten), [6]);
        let mut dropped = 0;
        let mut rolled_back = chain(&[2, 4, 6]);
        assert!(rolled_back.retain(|version| version <= 3, |_| dropped += 1));
        assert_eq!((versions(&rolled_back), dropped), (vec![2], 2));
        assert!(!rolled_back.retain(|_| false, |_| {}));
    }
}
