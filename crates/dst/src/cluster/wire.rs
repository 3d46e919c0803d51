//! What clients and machines send each other.
//!
//! A checksum stands before each message: what the network has damaged is dropped, as a real
//! transport drops it.

use bytes::{BufMut, Bytes, BytesMut};
use kelpie_runtime::CallError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A client asks for a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Names this attempt among all of its client.
    pub(crate) attempt: u64,
    pub(crate) actor_type: String,
    pub(crate) actor_key: String,
    pub(crate) operation: String,
    pub(crate) payload: Vec<u8>,
    /// The idempotency key.
    pub(crate) key: String,
    pub(crate) deadline_ms: u64,
}

/// A machine's answer to one attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) attempt: u64,
    pub(crate) outcome: Outcome,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With a reply.
    Reply(Vec<u8>),
    /// With the actor's own refusal.
    App {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
        /// The error itself, of a typed actor that has an error type.
        detail: Option<Vec<u8>>,
    },
    /// Nothing happened: again, elsewhere or later.
    NotRun(String),
    /// It may have happened: again, with the same key.
    Unknown(String),
    /// The request is wrong: not again.
    Fix(String),
}

impl Outcome {
    /// Whether a call that ended so is recorded under its key, if its operation is. Of one that
    /// panicked nothing is kept.
    pub(crate) fn is_recorded(&self) -> bool {
        match self {
            Self::Reply(_) => true,
            Self::App { code, .. } => code != CallError::Panicked.code(),
            Self::NotRun(_) | Self::Unknown(_) | Self::Fix(_) => false,
        }
    }
}

pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    let body = postcard::to_allocvec(message).expect("these messages always encode");
    let mut framed = BytesMut::with_capacity(body.len() + 4);
    framed.put_u32(crc32fast::hash(&body));
    framed.put_slice(&body);
    framed.freeze()
}

/// Nothing if the message is damaged.
pub(crate) fn decode<T: DeserializeOwned>(framed: &[u8]) -> Option<T> {
    let (sum, body) = framed.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*sum) != crc32fast::hash(body) {
        return None;
    }
    postcard::from_bytes(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_message_is_dropped() {
        let framed = encode(&Answer { attempt: 7, outcome: Outcome::Reply(b"3".to_vec()) });
        assert!(decode::<Answer>(&framed).is_some_and(|answer| answer.attempt == 7));
        for bit in 0..framed.len() * 8 {
            let mut damaged = framed.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Answer>(&damaged).is_none(), "bit {bit}");
        }
        for length in 0..framed.len() {
            assert!(decode::<Answer>(&framed[..length]).is_none(), "cut at {length}");
        }
    }
}
