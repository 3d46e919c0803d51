//! What names a call: its caller, its key, and the fingerprint of what it asks.

use std::fmt;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Serialize};

use crate::id::{ActorId, Epoch, NameError, Seq};
use crate::limits;

/// Who calls: the scope in which an idempotency key is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// A person or program outside, known by tenant and principal.
    Principal {
        /// Whose call.
        tenant: String,
        /// The authenticated name; `anonymous` while nobody has to log in.
        principal: String,
    },
    /// Another actor, by its outbox or from within a turn.
    Actor(ActorId),
    /// Kelpie itself: wake-ups and results of effects.
    Runtime,
}

/// A caller as far as fairness goes: a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u64);

impl Caller {
    /// Its number. Two callers that share one by chance share what is theirs, and nothing else.
    ///
    /// ```
    /// use kelpie_core::call::Caller;
    ///
    /// let ann = || Caller::Principal { tenant: "default".to_owned(), principal: "ann".to_owned() };
    /// assert_eq!(ann().lane(), ann().lane());
    /// assert_ne!(ann().lane(), Caller::Runtime.lane());
    /// ```
    pub fn lane(&self) -> Lane {
        let (kind, parts): (u64, [&[u8]; 2]) = match self {
            Self::Principal { tenant, principal } => (1, [tenant.as_bytes(), principal.as_bytes()]),
            Self::Actor(id) => (2, [id.encoded(), b""]),
            Self::Runtime => (3, [b"", b""]),
        };
        // FNV-1a, with an end after each part.
        let bytes = parts.into_iter().flat_map(|part| part.iter().copied().chain([0]));
        Lane(bytes.fold(0xCBF2_9CE4_8422_2325 ^ kind, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        }))
    }
}

/// The caller's name for one intent: same key, same effect, once.
///
/// ```
/// use kelpie_core::call::IdempotencyKey;
///
/// assert_eq!(IdempotencyKey::new("req-7")?.as_str(), "req-7");
/// assert!(IdempotencyKey::new("").is_err(), "no key is no key");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks and wraps a key.
    ///
    /// Shown at [`IdempotencyKey`].
    pub fn new(key: &str) -> Result<Self, NameError> {
        let problem = if key.is_empty() {
            "must not be empty".to_owned()
        } else if key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX {
            format!("has {} bytes, at most {} are allowed", key.len(), limits::IDEMPOTENCY_KEY_BYTES_MAX)
        } else {
            return Ok(Self(key.to_owned()));
        };
        Err(NameError { what: "idempotency key", problem })
    }

    /// The key.
    ///
    /// Shown at [`IdempotencyKey`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = NameError;

    fn try_from(key: String) -> Result<Self, NameError> {
        Self::new(&key)
    }
}

/// What a hash is for, so that no two uses give the same. Made from its words once: that costs
/// as much as the hash of a call.
struct Purpose(LazyLock<ContextKey>);

static CALL_KEY: Purpose = Purpose(LazyLock::new(|| hash_derive_key_context("kelpie call key")));
static TURN_ID: Purpose = Purpose(LazyLock::new(|| hash_derive_key_context("kelpie turn id")));
static FINGERPRINT: Purpose = Purpose(LazyLock::new(|| hash_derive_key_context("kelpie fingerprint")));

/// Hashes parts with their lengths, so that no two lists of parts give the same input.
fn hash(purpose: &Purpose, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_from_context_key(&purpose.0);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// (caller, key) in 16 bytes: where a call's record stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallKey(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl CallKey {
    /// The key of one intent of one caller.
    ///
    /// Shown at [`TurnId`].
    pub fn new(caller: &Caller, key: &IdempotencyKey) -> Self {
        let scope: [&[u8]; 3] = match caller {
            Caller::Principal { tenant, principal } => {
                [b"principal", tenant.as_bytes(), principal.as_bytes()]
            }
            Caller::Actor(id) => [b"actor", id.encoded(), b""],
            Caller::Runtime => [b"runtime", b"", b""],
        };
        Self(half(hash(&CALL_KEY, &[scope[0], scope[1], scope[2], key.as_str().as_bytes()])))
    }

    /// The turn that this call runs as: the same on every node and after every crash.
    ///
    /// Shown at [`TurnId`].
    pub fn turn(self, actor: &ActorId) -> TurnId {
        TurnId(half(hash(&TURN_ID, &[actor.encoded(), &self.0])))
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallKey({:032x})", u128::from_be_bytes(self.0))
    }
}

/// What a call asks, in 32 bytes: actor, operation and payload as they came in. Deadline,
/// trace and credentials are not part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request.
    pub fn new(actor: &ActorId, operation: &str, payload: &[u8]) -> Self {
        Self(hash(&FINGERPRINT, &[actor.encoded(), operation.as_bytes(), payload]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// One turn of one actor, through all its attempts.
///
/// ```
/// use kelpie_core::call::{CallKey, Caller, IdempotencyKey};
/// use kelpie_core::id::ActorId;
///
/// let key = CallKey::new(&Caller::Runtime, &IdempotencyKey::new("req-7")?);
/// let turn = key.turn(&ActorId::new("default", "note", "a")?);
/// assert_eq!(turn.to_string().len(), 32);
/// assert_eq!(turn.step_key("charge"), format!("{turn}.charge"));
/// assert_eq!(turn.message_key(0).as_str(), format!("{turn}.0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TurnId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl TurnId {
    /// The key of a message that this turn sends: by its place in the outbox.
    ///
    /// Shown at [`TurnId`].
    pub fn message_key(self, index: u32) -> IdempotencyKey {
        IdempotencyKey(format!("{self}.{index}"))
    }

    /// The key that outside work of a step carries.
    ///
    /// Shown at [`TurnId`].
    pub fn step_key(self, step: &str) -> String {
        format!("{self}.{step}")
    }
}

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnId({self})")
    }
}

/// Where a message stands in its sender's outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutboxPosition {
    /// The sender's epoch at the commit.
    pub epoch: Epoch,
    /// The commit that sent it.
    pub seq: Seq,
    /// Its place in that commit.
    pub index: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_for_one_purpose_is_what_stands_in_stores() {
        let actor = ActorId::new("default", "counter", "a").unwrap();
        let caller = Caller::Principal { tenant: "default".into(), principal: "ada".into() };
        let key = CallKey::new(&caller, &IdempotencyKey::new("k").unwrap());
        let mut hasher = blake3::Hasher::new_derive_key("kelpie turn id");
        for part in [actor.encoded(), &key.0] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        assert_eq!(key.turn(&actor).0, hasher.finalize().as_bytes()[..16]);
        assert_ne!(Fingerprint::new(&actor, "add", b"1"), Fingerprint::new(&actor, "add1", b""));
    }
}
