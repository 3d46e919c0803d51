//! Where the rows of one store lie among the keys of a cluster.
//!
//! ```text
//!   contract:               key            ──▶  02 'kelpie' 00 key
//!   with a versionstamp:    key            ──▶  02 'kelpie' 00 key  offset (u32, little endian)
//!   a bound of a range:     key (any length) ─▶ 02 'kelpie' 00 key, cut behind the longest key
//! ```
//!
//! The prefix is the tuple layer's encoding of one text: no prefix begins with another, so
//! stores never overlap, and none begins with 0xff, where the system keys are.

use bytes::Bytes;

use crate::config::Prefix;
use crate::contract::Stamped;
use crate::keys::{KeyRange, after_prefix, end_of_keys};

/// FoundationDB's limit for a key, here with the prefix and with a versionstamp's offset.
const STORED_KEY_BYTES_MAX: usize = 10_000;
/// The offset of a versionstamp behind its key, since API version 520.
const OFFSET_BYTES: usize = 4;
/// What begins and ends a text in the tuple layer.
const TEXT: (u8, u8) = (0x02, 0x00);

const _: () = assert!(
    Prefix::BYTES_MAX + 2 + OFFSET_BYTES < STORED_KEY_BYTES_MAX / 10,
    "nine tenths of a key are the caller's"
);

/// The keys of one store.
#[derive(Debug)]
pub(super) struct Subspace {
    prefix: Vec<u8>,
    end: Bytes,
}

impl Subspace {
    pub(super) fn new(prefix: &Prefix) -> Self {
        let prefix = [&[TEXT.0], prefix.as_str().as_bytes(), &[TEXT.1]].concat();
        let end = after_prefix(&prefix);
        Self { prefix, end }
    }

    /// Bytes of the longest key that fits with the prefix and an offset.
    pub(super) fn key_bytes_max(&self) -> usize {
        STORED_KEY_BYTES_MAX - self.prefix.len() - OFFSET_BYTES
    }

    /// Where the row of `key` is.
    pub(super) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix[..], key].concat()
    }

    /// The smallest key behind the row of `key`.
    pub(super) fn behind(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix[..], key, &[0]].concat()
    }

    /// The range, if it holds any key. No row lies between a bound longer than the longest
    /// key and that bound cut one byte behind it.
    pub(super) fn range(&self, range: &KeyRange) -> Option<(Vec<u8>, Vec<u8>)> {
        let (begin, end) = (self.bound(&range.begin), self.bound(&range.end));
        (begin < end).then_some((begin, end))
    }

    fn bound(&self, key: &[u8]) -> Vec<u8> {
        if *key >= *end_of_keys() {
            return self.end.to_vec();
        }
        self.key(&key[..key.len().min(self.key_bytes_max() + 1)])
    }

    /// The operand of a mutation that fills in a versionstamp.
    pub(super) fn stamped(&self, row: &Stamped) -> Vec<u8> {
        let offset = u32::try_from(self.prefix.len() + row.offset).expect("keys are short");
        [&self.prefix[..], &row.key, &offset.to_le_bytes()].concat()
    }

    /// The contract's key of a row found at `stored`.
    pub(super) fn strip(&self, stored: &[u8]) -> Option<Bytes> {
        stored.strip_prefix(&self.prefix[..]).map(Bytes::copy_from_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::KEY_BYTES_MAX;

    fn subspace(prefix: &str) -> Subspace {
        Subspace::new(&prefix.parse().unwrap())
    }

    #[test]
    fn keys_lie_behind_the_prefix_and_come_back() {
        let kelpie = subspace("kelpie");
        assert_eq!(kelpie.key(b"a"), b"\x02kelpie\x00a");
        assert_eq!(kelpie.key(b""), b"\x02kelpie\x00");
        assert_eq!(kelpie.behind(b"a"), b"\x02kelpie\x00a\x00");
        assert_eq!(kelpie.strip(b"\x02kelpie\x00a").unwrap(), "a");
        assert_eq!(kelpie.strip(b"\x02other\x00a"), None);
    }

    #[test]
    fn a_prefix_that_begins_with_another_shares_no_key_with_it() {
        let all = |space: Subspace| space.range(&KeyRange::new(Bytes::new(), end_of_keys())).unwrap();
        let (outer, inner) = (all(subspace("a")), all(subspace("a/b")));
        assert!(outer.1 <= inner.0 || inner.1 <= outer.0, "{outer:?} {inner:?}");
        assert_eq!(outer, (b"\x02a\x00".to_vec(), b"\x02a\x01".to_vec()));
    }

    #[test]
    fn the_longest_key_fits_with_prefix_and_offset() {
        for prefix in ["k", "kelpie", &"x".repeat(Prefix::BYTES_MAX)] {
            let space = subspace(prefix);
            let key = vec![255; space.key_bytes_max()];
            assert_eq!(space.stamped(&Stamped { key, offset: 0, value: Bytes::new() }).len(), 10_000);
        }
        assert_eq!(subspace("kelpie").key_bytes_max(), 9_988);
    }

    #[test]
    fn offsets_of_versionstamps_are_shifted_by_the_prefix() {
        let row = Stamped { key: b"q/0123456789".to_vec(), offset: 2, value: Bytes::new() };
        assert_eq!(subspace("kelpie").stamped(&row), b"\x02kelpie\x00q/0123456789\x0a\x00\x00\x00");
    }

    #[test]
    fn bounds_of_any_length_are_legal_and_in_order() {
        let space = subspace("kelpie");
        let long = vec![7; KEY_BYTES_MAX];
        let (begin, end) = space.range(&KeyRange::new(long.clone(), end_of_keys())).unwrap();
        assert!(begin.len() <= STORED_KEY_BYTES_MAX && end == b"\x02kelpie\x01");
        let longest = &long[..space.key_bytes_max()];
        assert!(space.key(longest) < begin && begin < space.key(&[8]));
        let just_it = space.range(&KeyRange::single(longest)).unwrap();
        assert_eq!(just_it, (space.key(longest), space.behind(longest)));
        assert_eq!(space.range(&KeyRange::new("b", "a")), None);
        assert_eq!(space.range(&KeyRange::new("a", "a")), None);
    }

    proptest! {
        /// A key lies in a mapped range exactly when it lies in the range.
        #[test]
        fn ranges_hold_the_same_keys_as_before(
            begin in bound(), end in bound(), key in bound()
        ) {
            let space = subspace("kelpie");
            prop_assume!(key.len() <= space.key_bytes_max());
            let range = KeyRange::new(begin, end);
            let stored = space.key(&key);
            let held = space.range(&range).is_some_and(|(b, e)| b <= stored && stored < e);
            prop_assert_eq!(held, range.contains(&key));
        }
    }

    /// Short keys, and keys around the longest one that differ at their end.
    fn bound() -> impl Strategy<Value = Vec<u8>> {
        let short = proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4);
        let long = (9_985usize..10_003, any::<bool>(), short.clone()).prop_map(|(len, high, mut tail)| {
            let mut key = vec![if high { 255 } else { 1 }; len];
            key.append(&mut tail);
            key
        });
        prop_oneof![short, long]
    }
}
