//! Keys and ranges of keys, in byte order.

use bytes::Bytes;

/// The keys from `begin` (inclusive) to `end` (exclusive).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// First key.
    pub begin: Bytes,
    /// First key after the range.
    pub end: Bytes,
}

impl KeyRange {
    /// The keys from `begin` up to but without `end`.
    pub fn new(begin: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { begin: begin.into(), end: end.into() }
    }

    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { begin: Bytes::copy_from_slice(prefix), end: after_prefix(prefix) }
    }

    /// The range that holds just `key`.
    pub fn single(key: &[u8]) -> Self {
        Self { begin: Bytes::copy_from_slice(key), end: successor(key) }
    }

    /// Whether no key lies in it.
    pub fn is_empty(&self) -> bool {
        self.begin >= self.end
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.begin <= *key && *key < *self.end
    }
}

/// The smallest key greater than `key`.
pub fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// The smallest key greater than all that start with `prefix`. A prefix of nothing but 0xff
/// has none; then a key of 0xff longer than any allowed one stands for "the end".
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end.into();
        }
        end.pop();
    }
    end_of_keys()
}

/// A key greater than every allowed one.
pub fn end_of_keys() -> Bytes {
    static END: [u8; crate::limits::KEY_BYTES_MAX + 1] = [u8::MAX; crate::limits::KEY_BYTES_MAX + 1];
    Bytes::from_static(&END)
}
