//! What a record of the log says: the changes of one commit, as bytes.
//!
//! ```text
//!   version u8 · clears u32 · (begin, end)* · puts u32 · (key, flag u8, value)*      all lengths u32
//! ```

use bytes::{Buf, BufMut, Bytes};

use crate::engine::Mutations;
use crate::keys::KeyRange;

/// The layout above.
const LAYOUT: u8 = 1;
const GONE: u8 = 0;
const VALUE: u8 = 1;

/// A checksummed record that does not parse: written by something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is whole, but says nothing that this build understands")]
pub(super) struct Garbled;

pub(super) fn encode(mutations: &Mutations, out: &mut Vec<u8>) {
    out.put_u8(LAYOUT);
    put_count(out, mutations.clears.len());
    for range in &mutations.clears {
        put_bytes(out, &range.begin);
        put_bytes(out, &range.end);
    }
    put_count(out, mutations.puts.len());
    for (key, value) in &mutations.puts {
        put_bytes(out, key);
        match value {
            Some(value) => {
                out.put_u8(VALUE);
                put_bytes(out, value);
            }
            None => out.put_u8(GONE),
        }
    }
}

pub(super) fn decode(body: &[u8]) -> Result<Mutations, Garbled> {
    let mut body = body;
    if body.try_get_u8() != Ok(LAYOUT) {
        return Err(Garbled);
    }
    let mut mutations = Mutations::default();
    for _ in 0..take_count(&mut body)? {
        let (begin, end) = (take_bytes(&mut body)?, take_bytes(&mut body)?);
        mutations.clears.push(KeyRange { begin, end });
    }
    for _ in 0..take_count(&mut body)? {
        let key = take_bytes(&mut body)?;
        let value = match body.try_get_u8() {
            Ok(GONE) => None,
            Ok(VALUE) => Some(take_bytes(&mut body)?),
            _ => return Err(Garbled),
        };
        mutations.puts.push((key, value));
    }
    if body.is_empty() { Ok(mutations) } else { Err(Garbled) }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32_le(u32::try_from(count).expect("a transaction has at most ten megabytes"));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_count(body: &mut &[u8]) -> Result<usize, Garbled> {
    body.try_get_u32_le().map(|count| count as usize).map_err(|_| Garbled)
}

fn take_bytes(body: &mut &[u8]) -> Result<Bytes, Garbled> {
    let len = take_count(body)?;
    let (taken, rest) = body.split_at_checked(len).ok_or(Garbled)?;
    *body = rest;
    Ok(Bytes::copy_from_slice(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mutations = Mutations {
            clears: vec![KeyRange::new("a", "b")],
            puts: vec![(Bytes::from("k"), Some(Bytes::from("v"))), (Bytes::from("gone"), None)],
            marks: vec![],
        };
        let mut body = Vec::new();
        encode(&mutations, &mut body);
        assert_eq!(decode(&body), Ok(mutations));
        for cut in 0..body.len() {
            assert_eq!(decode(&body[..cut]), Err(Garbled), "cut at {cut}");
        }
    }
}
