//! What stands where in a backup.
//!
//! ```text
//!   "kelpiebk" · format u32 · frames
//!   frame:    kind u8 · length u32 · checksum u32 · body         checksum: CRC-32 of kind, length, body
//!   head:     version u64 · wall clock ms u64 · generation flag u8 and 16 bytes · backend name
//!   rows:     (key length u32 · key · value length u32 · value)*  keys ascend through the whole file
//!   end:      rows u64 · bytes u64 · BLAKE3 of the rows · BLAKE3 of the file up to here
//! ```
//!
//! One head, any number of frames of rows, one end, nothing behind it. Numbers are little
//! endian. A checksum says where a damaged file is damaged; the digest says that it is whole.

use crate::limits::{KEY_BYTES_MAX, PAGE_BYTES_MAX, VALUE_BYTES_MAX};

pub(super) const MAGIC: &[u8; 8] = b"kelpiebk";
/// The layout of this module.
pub const FORMAT: u32 = 1;
/// Bytes of magic and format.
pub(super) const PRELUDE_BYTES: usize = 12;
/// Bytes of a frame beside its body.
pub(super) const FRAME_BYTES: usize = 9;
/// A frame of rows is closed when it has reached this.
pub(super) const ROWS_BYTES: usize = PAGE_BYTES_MAX;
/// No body is longer, so that a damaged length is found out before room is made for it.
pub(super) const BODY_BYTES_MAX: usize = ROWS_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + 8;
/// Bytes of the body of the end, without the digest of the file.
pub(super) const COUNTS_BYTES: usize = 48;

pub(super) const HEAD: u8 = 1;
pub(super) const ROWS: u8 = 2;
pub(super) const END: u8 = 3;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The version of the store that it holds.
    pub version: u64,
    /// When it was begun, by the wall clock of its machine.
    pub wall_ms: u64,
    /// The store's generation, if a node has ever joined it.
    pub generation: Option<u128>,
    /// The backend that it was made from.
    pub backend: String,
}

/// What a whole backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub row_bytes: u64,
    /// BLAKE3 over the rows: two stores with the same rows have the same one.
    pub rows_digest: [u8; 32],
    /// BLAKE3 over the file.
    pub file_digest: [u8; 32],
}

pub(super) fn checksum(kind: u8, body: &[u8]) -> u32 {
    let length = u32::try_from(body.len()).expect("no body is longer than BODY_BYTES_MAX");
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

impl Head {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40 + self.backend.len());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.wall_ms.to_le_bytes());
        bytes.push(self.generation.is_some().into());
        bytes.extend_from_slice(&self.generation.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(self.backend.as_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first_chunk::<8>()?;
        let (wall_ms, bytes) = bytes.split_first_chunk::<8>()?;
        let (has_generation, bytes) = bytes.split_first()?;
        let (generation, backend) = bytes.split_first_chunk::<16>()?;
        let generation = match has_generation {
            0 => None,
            1 => Some(u128::from_le_bytes(*generation)),
            _ => return None,
        };
        Some(Self {
            version: u64::from_le_bytes(*version),
            wall_ms: u64::from_le_bytes(*wall_ms),
            generation,
            backend: String::from_utf8(backend.to_vec()).ok()?,
        })
    }
}
