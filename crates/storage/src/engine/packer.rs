//! Many short byte strings in few buffers: what a scan copies costs no allocation of its own.

use bytes::{Bytes, BytesMut};

/// Bytes of the first buffer, for scans of few rows, and of those after many.
const BUFFER_MIN: usize = 512;
/// As long as one string of a buffer is kept, all of it stays in memory.
const BUFFER_MAX: usize = 16 << 10;
/// Longer strings get a buffer of their own.
const SHORT: usize = 1 << 10;

#[derive(Default)]
pub(crate) struct Packer {
    buffer: BytesMut,
    /// Bytes of the last buffer.
    size: usize,
}

impl Packer {
    /// A copy of `bytes`.
    pub(crate) fn pack(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SHORT {
            return Bytes::copy_from_slice(bytes);
        }
        if self.buffer.capacity() < bytes.len() {
            self.size = (2 * self.size).clamp(BUFFER_MIN.max(bytes.len()), BUFFER_MAX);
            self.buffer = BytesMut::with_capacity(self.size);
        }
        self.buffer.extend_from_slice(bytes);
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_what_was_packed() {
        let mut packer = Packer::default();
        let strings: Vec<Vec<u8>> = (0..500_usize).map(|n| vec![n.to_le_bytes()[0]; n * 37 % 1300]).collect();
        let packed: Vec<Bytes> = strings.iter().map(|string| packer.pack(string)).collect();
        assert!(packed.iter().zip(&strings).all(|(packed, string)| packed == string));
    }
}
