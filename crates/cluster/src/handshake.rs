//! What two nodes say before anything else: bytes in, bytes out.
//!
//! ```text
//!   opener                                        listener
//!   Hello { cluster, from, to, protocols, nonce } ─▶      checks cluster, `to`, protocols, `from`
//!                         ◀─ Challenge { protocol, nonce }
//!   Proof { code }                                ─▶      checks the code, or the certificate
//!                         ◀─ Welcome { code, limits }
//!   Confirmed                                     ─▶
//! ```
//!
//! Either end may send `Refused { why }` instead of its next message, and closes. With a shared
//! secret each end proves that it knows it with a code over all that was said so far, its own
//! part in it, and both nonces: nothing of it can be replayed, sent back or changed. The opener
//! proves itself first, so that the listener, which anybody can reach, gives nothing away.
//!
//! The messages of the handshake have version byte 0 for ever; they agree on the version of the
//! frames that follow.
//!
//! Invariant: no frame is read before both ends have checked each other.

use bytes::Bytes;
use kelpie_core::session::{PROTOCOL_MAX, PROTOCOL_MIN, Protocols};
use serde::{Deserialize, Serialize};

use crate::frame::{self, FrameError};
use crate::identity::{ClusterId, Identity};
use crate::security::SecretKey;

/// The version byte of the handshake's own messages.
const HANDSHAKE: u8 = 0;

/// The newest version that a peer, which speaks `min` to `max`, has in common with this end.
fn common(protocols: Protocols, min: u8, max: u8) -> Result<u8, Refusal> {
    protocols.common(Protocols { min, max }).ok_or(Refusal::NoCommonVersion { min, max })
}

/// Drawn by each end for each handshake.
pub(crate) type Nonce = [u8; 16];

/// Why two nodes do not connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The nodes do not share a store.
    #[error("it belongs to another cluster: both nodes must be started with the same store")]
    WrongCluster,
    /// Somebody else is at that address, or another life of that node.
    #[error("`{found}` answers there, `{wanted}` was called")]
    WrongNode {
        /// Who was called.
        wanted: Box<Identity>,
        /// Who answers.
        found: Box<Identity>,
    },
    /// The caller's session has ended.
    #[error("the session of `{from}` has ended: that process must join anew")]
    StaleIncarnation {
        /// Who called.
        from: Identity,
    },
    /// The store does not say whether the caller's session stands.
    #[error("the session of the caller cannot be checked: {cause}")]
    NotChecked {
        /// Why.
        cause: String,
    },
    /// No version is spoken by both.
    #[error(
        "no common protocol version: the one speaks {min} to {max}, the other {PROTOCOL_MIN} to {PROTOCOL_MAX}"
    )]
    NoCommonVersion {
        /// The oldest that the refused end speaks.
        min: u8,
        /// The newest.
        max: u8,
    },
    /// The ends do not know the same secret, or one of them none.
    #[error("the shared secrets differ: start both nodes with the same one")]
    WrongSecret,
    /// The certificate names somebody else.
    #[error("the certificate does not name node `{node}`")]
    WrongCertificate {
        /// Who it should name.
        node: String,
    },
    /// Not what the handshake says at this point.
    #[error("what was said is no handshake: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// Too many others are shaking hands with the node that was called.
    #[error("it is busy: too many connections are being made to it at once, try again later")]
    Busy,
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::Malformed { problem: error.to_string() }
    }
}

/// How much one end may ask of the other at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Requests without an answer.
    pub requests_max: u32,
    /// KiB of their bodies.
    pub kib_max: u32,
}

impl Default for InFlight {
    /// Enough that the actors are the bottleneck before it, few enough to bound what a peer
    /// costs: 4,096 requests, 64 MiB.
    fn default() -> Self {
        Self { requests_max: 4_096, kib_max: 64 << 10 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    protocol_min: u8,
    protocol_max: u8,
    cluster: ClusterId,
    from: Identity,
    to: Identity,
    nonce: Nonce,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Message {
    Hello(Hello),
    Challenge { protocol: u8, nonce: Nonce },
    Proof { code: Option<[u8; 32]> },
    Welcome { code: Option<[u8; 32]>, in_flight: InFlight },
    Confirmed,
    Refused(Refusal),
}

impl Message {
    fn encode(&self) -> Bytes {
        frame::encode(HANDSHAKE, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Ended> {
        match frame::decode(HANDSHAKE, bytes) {
            Ok(Self::Refused(why)) => Err(Ended::ByPeer(why)),
            Ok(message) => Ok(message),
            Err(error) => Err(Ended::ByUs(error.into())),
        }
    }

    fn unexpected(&self, wanted: &str) -> Ended {
        let said = match self {
            Self::Hello(_) => "hello",
            Self::Challenge { .. } => "challenge",
            Self::Proof { .. } => "proof",
            Self::Welcome { .. } => "welcome",
            Self::Confirmed => "confirmed",
            Self::Refused(_) => "refused",
        };
        Ended::ByUs(Refusal::Malformed { problem: format!("it said {said} instead of {wanted}") })
    }
}

/// A handshake that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// This end refuses; the peer is to be told.
    ByUs(Refusal),
    /// The peer has refused.
    ByPeer(Refusal),
}

/// Tells the peer why it is refused.
pub(crate) fn refused(why: &Refusal) -> Bytes {
    Message::Refused(why.clone()).encode()
}

/// Why the peer refuses this end, if that is what it says.
pub(crate) fn refusal(bytes: &[u8]) -> Option<Refusal> {
    match Message::decode(bytes) {
        Err(Ended::ByPeer(why)) => Some(why),
        Ok(_) | Err(Ended::ByUs(_)) => None,
    }
}

/// All that was said, in a form in which no two conversations are the same.
#[derive(Debug, Clone, Default)]
struct Transcript(blake3::Hasher);

impl Transcript {
    fn add(&mut self, message: &[u8]) {
        self.0.update(&(message.len() as u64).to_le_bytes());
        self.0.update(message);
    }

    fn code(&self, key: Option<&SecretKey>, part: &[u8]) -> Option<[u8; 32]> {
        key.map(|key| *key.code(&[part, self.0.finalize().as_bytes()]).as_bytes())
    }

    /// Whether the peer has proven what it has to.
    fn check(&self, key: Option<&SecretKey>, part: &[u8], code: Option<[u8; 32]>) -> Result<(), Ended> {
        let wanted = self.code(key, part).map(blake3::Hash::from_bytes);
        // Hashes compare in constant time.
        if wanted == code.map(blake3::Hash::from_bytes) || kelpie_core::mutant!("any_secret_will_do") {
            Ok(())
        } else {
            Err(Ended::ByUs(Refusal::WrongSecret))
        }
    }
}

const OPENER: &[u8] = b"opener";
const LISTENER: &[u8] = b"listener";

/// The end that has opened the connection.
#[derive(Debug)]
pub(crate) struct Opener {
    key: Option<SecretKey>,
    transcript: Transcript,
    protocols: Protocols,
    protocol: u8,
}

impl Opener {
    /// Begins; the bytes go to the peer.
    pub(crate) fn begin(
        cluster: ClusterId,
        from: Identity,
        to: Identity,
        nonce: Nonce,
        protocols: Protocols,
        key: Option<SecretKey>,
    ) -> (Self, Bytes) {
        let Protocols { min: protocol_min, max: protocol_max } = protocols;
        let hello = Hello { protocol_min, protocol_max, cluster, from, to, nonce };
        let said = Message::Hello(hello).encode();
        let mut transcript = Transcript::default();
        transcript.add(&said);
        (Self { key, transcript, protocols, protocol: 0 }, said)
    }

    /// The listener has answered; the bytes go back.
    pub(crate) fn challenged(&mut self, bytes: &[u8]) -> Result<Bytes, Ended> {
        let message = Message::decode(bytes)?;
        let Message::Challenge { protocol, nonce: _ } = message else {
            return Err(message.unexpected("challenge"));
        };
        self.protocol = common(self.protocols, protocol, protocol).map_err(Ended::ByUs)?;
        self.transcript.add(bytes);
        let said = Message::Proof { code: self.transcript.code(self.key.as_ref(), OPENER) }.encode();
        self.transcript.add(&said);
        Ok(said)
    }

    /// The listener lets this end in; the bytes go to it, and frames may follow.
    pub(crate) fn welcomed(self, bytes: &[u8]) -> Result<(Agreed, Bytes), Ended> {
        let message = Message::decode(bytes)?;
        let Message::Welcome { code, in_flight } = message else {
            return Err(message.unexpected("welcome"));
        };
        let mut transcript = self.transcript;
        transcript.add(&frame::encode(HANDSHAKE, &in_flight));
        transcript.check(self.key.as_ref(), LISTENER, code)?;
        Ok((Agreed { protocol: self.protocol, in_flight }, Message::Confirmed.encode()))
    }
}

/// What a handshake has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) protocol: u8,
    pub(crate) in_flight: InFlight,
}

/// The end that was called.
#[derive(Debug)]
pub(crate) struct Called {
    key: Option<SecretKey>,
    transcript: Transcript,
    /// Who calls, as far as it says.
    pub(crate) from: Identity,
    agreed: Agreed,
}

impl Called {
    /// Somebody says hello; the bytes are the answer. Whether the session of the one who calls
    /// stands is for the caller of this to check.
    pub(crate) fn begin(
        cluster: ClusterId,
        me: &Identity,
        nonce: Nonce,
        (in_flight, protocols): (InFlight, Protocols),
        key: Option<SecretKey>,
        bytes: &[u8],
    ) -> Result<(Self, Bytes), Ended> {
        let message = Message::decode(bytes)?;
        let Message::Hello(hello) = message else { return Err(message.unexpected("hello")) };
        let protocol = common(protocols, hello.protocol_min, hello.protocol_max).map_err(Ended::ByUs)?;
        if hello.cluster != cluster {
            return Err(Ended::ByUs(Refusal::WrongCluster));
        }
        if hello.to != *me {
            return Err(Ended::ByUs(Refusal::WrongNode {
                wanted: hello.to.into(),
                found: me.clone().into(),
            }));
        }
        let mut transcript = Transcript::default();
        transcript.add(bytes);
        let said = Message::Challenge { protocol, nonce }.encode();
        transcript.add(&said);
        Ok((Self { key, transcript, from: hello.from, agreed: Agreed { protocol, in_flight } }, said))
    }

    /// The opener proves itself; the bytes are its welcome.
    pub(crate) fn proven(&mut self, bytes: &[u8]) -> Result<Bytes, Ended> {
        let message = Message::decode(bytes)?;
        let Message::Proof { code } = message else { return Err(message.unexpected("proof")) };
        self.transcript.check(self.key.as_ref(), OPENER, code)?;
        self.transcript.add(bytes);
        let in_flight = self.agreed.in_flight;
        self.transcript.add(&frame::encode(HANDSHAKE, &in_flight));
        let code = self.transcript.code(self.key.as_ref(), LISTENER);
        Ok(Message::Welcome { code, in_flight }.encode())
    }

    /// The opener is content as well: frames may follow.
    pub(crate) fn confirmed(self, bytes: &[u8]) -> Result<(Identity, Agreed), Ended> {
        let message = Message::decode(bytes)?;
        if message == Message::Confirmed {
            Ok((self.from, self.agreed))
        } else {
            Err(message.unexpected("confirmed"))
        }
    }
}

#[cfg(test)]
mod tests;
