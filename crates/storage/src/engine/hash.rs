//! How keys find their place in maps.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// Keyed hashing without reading a random number where the simulator cannot see it.
#[derive(Clone)]
pub(crate) struct SeededHash(pub(crate) u64);

impl SeededHash {
    /// A number that spreads keys over locks. The tail of the key is enough for that: the map
    /// behind the lock hashes it all.
    pub(crate) fn spread(key: &[u8]) -> usize {
        let tail = match key.last_chunk() {
            Some(tail) => u64::from_le_bytes(*tail),
            None => key.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        let mixed = (tail ^ key.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        usize::try_from(mixed >> 32).expect("32 bits fit")
    }
}

impl BuildHasher for SeededHash {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
