//! Cuts a stream into messages.
//!
//! ```text
//!   u32 length │ u32 CRC of the length │ message
//! ```
//!
//! The length has a checksum of its own: a flipped bit in it would have the reader wait for bytes
//! that nobody has sent, while pings keep the connection and everything behind it is swallowed.
//! Both are checked before anything is allocated for the message.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// How what a TLS peer says begins: an alert or a handshake record. No length that is allowed does.
const TLS_RECORDS: [[u8; 2]; 2] = [[0x15, 3], [0x16, 3]];

/// Bytes before the message.
pub(crate) const PREFIX_BYTES: usize = 8;

/// Messages of up to so many bytes.
#[derive(Debug)]
pub(crate) struct Codec {
    bytes_max: usize,
    /// The length of the message that is coming.
    announced: Option<usize>,
}

/// What stands before a message of that length.
pub(crate) fn prefix(length: u32) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    let (bytes, sum) = prefix.split_at_mut(4);
    bytes.copy_from_slice(&length.to_be_bytes());
    sum.copy_from_slice(&crc32fast::hash(bytes).to_be_bytes());
    prefix
}

impl Codec {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, announced: None }
    }

    /// From now on messages may have so many bytes.
    pub(crate) fn allow(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    fn length(&self, bytes: usize) -> io::Result<u32> {
        u32::try_from(bytes).ok().filter(|_| bytes <= self.bytes_max).ok_or_else(|| {
            let problem = format!("a message of {bytes} bytes, of {} allowed", self.bytes_max);
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })
    }

    /// The length of the next message, once its prefix is there.
    fn announced(&self, source: &mut BytesMut) -> io::Result<Option<usize>> {
        // An alert is shorter than a prefix, and nothing comes after it.
        if source.first_chunk().is_some_and(|begin| TLS_RECORDS.contains(begin)) {
            let problem = "the peer has certificates and this node has none: start both with them";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let Some(found) = source.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [a, b, c, d, ..] = *found;
        let length = u32::from_be_bytes([a, b, c, d]);
        if *found != prefix(length) && !kelpie_core::mutant!("frame_length_unchecked") {
            let problem = "the length of a message is damaged: its checksum does not fit";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.length(usize::try_from(length).unwrap_or(usize::MAX))?;
        source.advance(PREFIX_BYTES);
        Ok(Some(length as usize))
    }
}

impl Decoder for Codec {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        let length = match self.announced.take() {
            Some(length) => length,
            None => match self.announced(source)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if source.len() < length {
            source.reserve(length - source.len());
            self.announced = Some(length);
            return Ok(None);
        }
        Ok(Some(source.split_to(length)))
    }
}

impl Encoder<Bytes> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: Bytes, out: &mut BytesMut) -> io::Result<()> {
        let length = self.length(message.len())?;
        out.reserve(PREFIX_BYTES + message.len());
        out.put_slice(&prefix(length));
        out.put_slice(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(messages: &[&'static [u8]]) -> BytesMut {
        let (mut codec, mut out) = (Codec::new(16), BytesMut::new());
        for message in messages {
            codec.encode(Bytes::from_static(message), &mut out).unwrap();
        }
        out
    }

    /// Reads what comes piece by piece.
    fn read(bytes: &[u8], piece: usize) -> io::Result<Vec<BytesMut>> {
        let (mut codec, mut source) = (Codec::new(16), BytesMut::new());
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece) {
            source.put_slice(piece);
            while let Some(message) = codec.decode(&mut source)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_back_however_they_are_cut() {
        let messages: [&[u8]; 4] = [b"one", b"", b"sixteen bytes ok", b"x"];
        let bytes = written(&messages);
        for piece in 1..=bytes.len() {
            assert_eq!(read(&bytes, piece).unwrap(), messages);
        }
        let mut codec = Codec::new(2);
        let refused = codec.encode(Bytes::from_static(b"one"), &mut BytesMut::new()).unwrap_err();
        assert_eq!(refused.to_string(), "a message of 3 bytes, of 2 allowed");
    }

    #[test]
    fn a_bit_that_is_flipped_in_a_length_is_noticed_at_once() {
        let bytes = written(&[b"one", b"two"]);
        for bit in 0..PREFIX_BYTES * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Only the prefix has come: nobody waits for a message that is not under way.
            read(&flipped[..PREFIX_BYTES], PREFIX_BYTES).unwrap_err();
        }
    }

    #[test]
    fn who_speaks_tls_is_recognised_by_an_alert_and_by_a_hello() {
        // An alert is all that a node with certificates says to one that has none.
        for said in [&[0x15, 3, 3, 0, 2, 2, 10][..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 252]] {
            let problem = read(said, 1).unwrap_err().to_string();
            assert!(problem.contains("the peer has certificates"), "{problem}");
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_length_that_is_not_checked_is_caught() {
        let _armed = kelpie_core::mutant::arm("frame_length_unchecked");
        std::panic::catch_unwind(a_bit_that_is_flipped_in_a_length_is_noticed_at_once).unwrap_err();
    }
}
