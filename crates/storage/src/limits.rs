//! How large keys, values and transactions may be, and for how long one may run.
//!
//! The same on every backend, so that what fits on a laptop fits in a cluster: these are
//! FoundationDB's, the tightest of the three. Larger values are chunked above the contract.

use std::time::Duration;

/// Bytes of one key. A store that keeps its keys under a prefix takes a little less: see
/// [`crate::Store::key_bytes_max`].
pub const KEY_BYTES_MAX: usize = 10_000;
/// Bytes of one value.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// Bytes of one transaction: keys and values written plus the keys of its conflict ranges.
pub const TRANSACTION_BYTES_MAX: usize = 10_000_000;
/// From the first read to the commit. A store keeps old versions for that long.
pub const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(5);
/// Rows of one page of a range read, whatever was asked for.
pub const PAGE_ROWS_MAX: usize = 10_000;
/// Bytes after which a page ends early, so that a page of large values fits in memory.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a versionstamp: the version, big endian, and two bytes of order within it.
pub const VERSIONSTAMP_BYTES: usize = 10;

const _: () =
    assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < TRANSACTION_BYTES_MAX, "one row fits in a transaction");

/// Something is larger than the contract allows; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A key is too long.
    #[error("a key of {bytes} bytes: the limit is {max}")]
    Key {
        /// Its length.
        bytes: usize,
        /// The limit of this store.
        max: usize,
    },
    /// A value is too long.
    #[error("a value of {bytes} bytes: the limit is {VALUE_BYTES_MAX}, chunk it")]
    Value {
        /// Its length.
        bytes: usize,
    },
    /// The transaction as a whole is too large.
    #[error("a transaction of {bytes} bytes: the limit is {TRANSACTION_BYTES_MAX}, split it")]
    Transaction {
        /// Its size.
        bytes: usize,
    },
    /// A versionstamp does not fit into its key at that offset.
    #[error(
        "no room for a versionstamp of {VERSIONSTAMP_BYTES} bytes at offset {offset} of a key of {bytes}"
    )]
    Versionstamp {
        /// Where it was to stand.
        offset: usize,
        /// Length of the key.
        bytes: usize,
    },
}

/// Checks a key against the limit of its store.
pub fn check_key(key: &[u8], max: usize) -> Result<(), LimitError> {
    if key.len() > max { Err(LimitError::Key { bytes: key.len(), max }) } else { Ok(()) }
}

/// Checks a value.
pub fn check_value(value: &[u8]) -> Result<(), LimitError> {
    if value.len() > VALUE_BYTES_MAX { Err(LimitError::Value { bytes: value.len() }) } else { Ok(()) }
}
