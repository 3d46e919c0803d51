//! One number for all rows of a store.

use kelpie_core::row;

/// Counts and hashes rows. The row that holds the store's generation is left out: a restore
/// rewrites it, and is right if nothing else differs.
#[derive(Debug, Clone, Default)]
pub struct RowsDigest {
    hasher: blake3::Hasher,
    rows: u64,
    bytes: u64,
}

impl RowsDigest {
    /// Takes the next row, in key order.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        if is_generation(key) {
            return;
        }
        for part in [key, value] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of keys and values so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// BLAKE3 of the rows so far.
    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// Whether a row is the store's own and not part of what it holds.
pub(super) fn is_generation(key: &[u8]) -> bool {
    *key == *row::generation()
}
