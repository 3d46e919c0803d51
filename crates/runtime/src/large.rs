//! Values above the store's limit, in chunks.
//!
//! ```text
//!   <key>            = 0 value                    while it fits
//!   <key>            = 1 length                   else, with
//!   chunk/<key>/<n>  = the n-th part of the value
//! ```
//!
//! Both are written in the same transaction. Whoever overwrites or clears a value that was
//! written in chunks clears them with it; `Head::large` says whether an actor has any.

use bytes::{BufMut, Bytes, BytesMut};
use kelpie_storage::{KeyRange, RangeQuery, ReadError, Transaction};

/// Bytes of a value that are stored in place: below the store's 100,000 with room to spare.
const IN_PLACE_BYTES_MAX: usize = 90_000;
const IN_PLACE: u8 = 0;
const IN_CHUNKS: u8 = 1;

/// Bytes of one value above the contract. A whole transaction holds 10,000,000.
pub(crate) const VALUE_BYTES_MAX: usize = 4 << 20;

fn chunk_prefix(key: &[u8]) -> BytesMut {
    let mut prefix = BytesMut::with_capacity(key.len() + 11);
    prefix.put_slice(b"chunk/");
    prefix.put_slice(key);
    prefix.put_u8(0);
    prefix
}

/// Whether a stored value is in chunks.
pub(crate) fn is_chunked(stored: &[u8]) -> bool {
    stored.first() == Some(&IN_CHUNKS)
}

/// Whether a value has to be written in chunks.
pub(crate) fn needs_chunks(value: &[u8]) -> bool {
    value.len() > IN_PLACE_BYTES_MAX
}

/// Writes a value of any size.
pub(crate) fn put(tx: &mut Transaction, key: &Bytes, value: &[u8]) {
    if !needs_chunks(value) {
        let mut stored = BytesMut::with_capacity(value.len() + 1);
        stored.put_u8(IN_PLACE);
        stored.put_slice(value);
        tx.set(key.clone(), stored.freeze());
        return;
    }
    let mut stored = BytesMut::with_capacity(9);
    stored.put_u8(IN_CHUNKS);
    stored.put_u64(value.len() as u64);
    tx.set(key.clone(), stored.freeze());
    for (number, part) in (0_u32..).zip(value.chunks(IN_PLACE_BYTES_MAX)) {
        let mut chunk = chunk_prefix(key);
        chunk.put_u32(number);
        tx.set(chunk.freeze(), Bytes::copy_from_slice(part));
    }
}

/// The bytes of the value of a stored row, which is not read for it.
pub(crate) fn bytes(stored: &[u8]) -> usize {
    match stored.split_first() {
        Some((&IN_CHUNKS, length)) => {
            let length = length.try_into().map_or(0, u64::from_be_bytes);
            usize::try_from(length).unwrap_or(usize::MAX)
        }
        Some((_, value)) => value.len(),
        None => 0,
    }
}

/// Clears the chunks of a value, not the value's own row.
pub(crate) fn clear_chunks(tx: &mut Transaction, key: &[u8]) {
    let KeyRange { begin, end } = KeyRange::prefix(&chunk_prefix(key));
    tx.clear_range(begin, end);
}

/// Clears the chunks of all values in a range.
pub(crate) fn clear_chunks_range(tx: &mut Transaction, begin: &[u8], end: &[u8]) {
    let with_prefix = |key: &[u8]| [b"chunk/", key].concat();
    tx.clear_range(with_prefix(begin), with_prefix(end));
}

/// The value of a stored row, from the version that `tx` reads.
pub(crate) async fn value(tx: &mut Transaction, key: &[u8], stored: Bytes) -> Result<Bytes, ReadError> {
    if !is_chunked(&stored) {
        return Ok(stored.slice(1.min(stored.len())..));
    }
    let mut value = BytesMut::new();
    let mut query = Some(RangeQuery::prefix(&chunk_prefix(key)).snapshot());
    while let Some(page) = query {
        let page = tx.get_range(page).await?;
        page.rows.iter().for_each(|(_, part)| value.put_slice(part));
        query = page.more;
    }
    Ok(value.freeze())
}
