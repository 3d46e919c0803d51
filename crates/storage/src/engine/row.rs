//! One key of the memtable and its versions, shared by the map that finds it and the index that
//! orders it.
//!
//! Whoever reads a key touches few lines of memory: the map's bucket is a pointer, and behind it
//! stand key, newest version and its value together.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::RwLock;

use super::chain::{Chain, Entry};
use crate::contract::Version;

/// Keys up to this length need no memory of their own. A key of a row of an agent has forty to
/// seventy bytes.
const SHORT: usize = 70;

#[derive(Debug)]
pub(crate) struct Row {
    key: Key,
    pub(super) chain: RwLock<Chain>,
}

#[derive(Debug)]
enum Key {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Row {
    pub(super) fn new(key: &[u8], entry: Entry) -> Arc<Self> {
        let key = match u8::try_from(key.len()) {
            Ok(len) if key.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..key.len()].copy_from_slice(key);
                Key::Short { len, bytes }
            }
            Ok(_) | Err(_) => Key::Long(key.into()),
        };
        Arc::new(Self { key, chain: RwLock::new(Chain::new(entry)) })
    }

    /// Shows the newest entry at or below `version`, if it is above `base`. Who writes the row
    /// waits meanwhile.
    pub(super) fn look<T>(
        &self,
        base: Version,
        version: Version,
        look: impl FnOnce(Option<&Entry>) -> T,
    ) -> T {
        look(self.chain.read().at(version).filter(|(at, _)| *at > base))
    }

    /// The newest version.
    pub(super) fn newest(&self) -> Version {
        self.chain.read().newest()
    }

    pub(crate) fn key(&self) -> &[u8] {
        match &self.key {
            Key::Short { len, bytes } => &bytes[..usize::from(*len)],
            Key::Long(bytes) => bytes,
        }
    }
}

/// A row as its key: hashed, compared and looked for by it.
#[derive(Debug, Clone)]
pub(super) struct Keyed(pub(super) Arc<Row>);

impl Borrow<[u8]> for Keyed {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl Hash for Keyed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Keyed {}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(other.0.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_lengths_are_kept() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 300, 10_000] {
            let key: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
            assert_eq!(Row::new(&key, (1, None)).key(), key);
        }
    }
}
