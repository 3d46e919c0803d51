//! What travels on a connection once both ends know each other.
//!
//! ```text
//!   u8 protocol version │ u32 CRC │ postcard(Frame)          FRAME_BYTES_MAX at most
//! ```
//!
//! [`crate::codec`] cuts the stream into frames. A body that does not end
//! where its frame ends is an error, and so is any other version than the one agreed on. The
//! checksum finds what TCP's lets through; against people it protects nothing.
//!
//! Requests go one way on a connection: from the end that opened it. The other way goes on a
//! connection of its own.

use bytes::{BufMut, Bytes, BytesMut};
use kelpie_core::limits::PAYLOAD_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of one frame: the largest reply, of 4 MiB, and what goes with it.
pub const FRAME_BYTES_MAX: usize = 5 << 20;
/// Bytes of a message of the handshake. What a stranger can make a node hold is this times
/// the number of handshakes at once.
pub const HANDSHAKE_BYTES_MAX: usize = 4 << 10;

const _: () = assert!(PAYLOAD_BYTES_MAX + (64 << 10) < FRAME_BYTES_MAX, "every call fits into a frame");

/// A frame after the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// Asks for something, under an id that this connection has not seen yet.
    Request {
        /// Names it on this connection.
        id: u64,
        /// How much time is left, in microseconds: the receiver counts it on its own clock.
        remaining_us: u64,
        /// What is asked.
        body: Bytes,
    },
    /// The answer.
    Reply {
        /// To which request.
        id: u64,
        /// What came of it.
        body: Bytes,
    },
    /// There will be no answer to this request: it was cancelled, or its work has died.
    Ended {
        /// Which request.
        id: u64,
    },
    /// Nobody waits for this request any more.
    Cancel {
        /// Which request.
        id: u64,
    },
    /// Something that needs no answer and may be lost.
    Note {
        /// What it says.
        body: Bytes,
    },
    /// Nothing else to say: this end lives.
    Ping,
}

/// Bytes from a peer are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not even a version byte and a checksum.
    #[error("the frame is too short")]
    Short,
    /// Another version than the one agreed on.
    #[error("the frame has protocol version {found}, agreed was {agreed}")]
    Version {
        /// What was found.
        found: u8,
        /// What was agreed on.
        agreed: u8,
    },
    /// Bits were flipped on the way.
    #[error("the frame is damaged: its checksum does not fit")]
    Checksum,
    /// The body does not fit.
    #[error("the frame is damaged: {0}")]
    Body(postcard::Error),
    /// There is more than the body.
    #[error("the frame has {bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Bytes before the body.
const HEADER_BYTES: usize = 5;

/// Writes the version byte, the checksum and the body.
pub fn encode<T: Serialize>(version: u8, message: &T) -> Bytes {
    let mut header = BytesMut::new();
    header.put_u8(version);
    header.put_u32(0);
    let mut bytes = postcard::to_extend(message, header).expect("frames are plain data, and memory grows");
    let checksum = checksum(version, &bytes[HEADER_BYTES..]);
    bytes[1..HEADER_BYTES].copy_from_slice(&checksum.to_be_bytes());
    bytes.freeze()
}

/// Reads what [`encode`] has written.
///
/// # Errors
/// When it is not exactly one message of that version.
pub fn decode<T: DeserializeOwned>(agreed: u8, bytes: &[u8]) -> Result<T, FrameError> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FrameError::Short)?;
    let [found, sum @ ..] = *header;
    if found != agreed {
        return Err(FrameError::Version { found, agreed });
    }
    if checksum(found, body) != u32::from_be_bytes(sum) {
        return Err(FrameError::Checksum);
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(FrameError::Body)?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::Trailing { bytes: rest.len() }) }
}

fn checksum(version: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
