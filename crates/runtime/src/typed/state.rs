//! An actor's state in its header record, with the version that stored it.
//!
//! Four bytes of version (big-endian), then a version byte of the format and MessagePack with
//! field names.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::misfit::Misfit;

/// The record that holds the state.
pub(super) const RECORD: &[u8] = b"state";
const FORMAT: u8 = 1;
/// Bytes of most values; a larger one grows.
const BYTES_EXPECTED: usize = 256;

/// The state of an actor type. `#[actor]` writes this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    note = "put `#[actor(name = \"…\", version = 1)]` on the struct"
)]
pub trait State: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the type: the second part of its actors' ids.
    const TYPE: &'static str;
    /// The version of the state. One more whenever what is stored cannot be read as the
    /// struct any longer.
    const VERSION: u32;

    /// The type whose actor of the same key it would like to be with.
    const NEAR: Option<&'static str> = None;
    /// The label of the nodes where it would like to be.
    const LABEL: Option<&'static str> = None;

    /// Makes the present state of one that a former version has stored.
    ///
    /// ```
    /// use kelpie::actor;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[actor(name = "shop", version = 2, upgrades(1 => from_v1))] // writes this impl
    /// #[derive(Default, Serialize, Deserialize)]
    /// pub struct Shop {
    ///     sold: u64,
    /// }
    ///
    /// /// Version 1 stored the number alone.
    /// fn from_v1(sold: u64) -> Shop {
    ///     Shop { sold }
    /// }
    /// assert_eq!(<Shop as kelpie::State>::VERSION, 2);
    /// ```
    ///
    /// # Errors
    /// There is no upgrade from that version, or what it stored cannot be read.
    fn upgrade(stored: Stored<'_>) -> Result<Self, Misfit>;
}

/// State as a former version of its type has stored it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'s> {
    actor_type: &'static str,
    version: u32,
    body: &'s [u8],
}

impl Stored<'_> {
    /// The version that stored it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads it as what it was then, and upgrades it.
    ///
    /// # Errors
    /// [`Misfit::StateUnreadable`] if it is no `Old`.
    pub fn with<Old: DeserializeOwned, New>(self, upgrade: impl FnOnce(Old) -> New) -> Result<New, Misfit> {
        unpack(self.body).map(upgrade).map_err(|reason| self.unreadable(reason))
    }

    /// The error of an upgrade that there is not.
    pub fn no_upgrade(self) -> Misfit {
        Misfit::NoUpgrade { actor_type: self.actor_type.into(), found: self.version }
    }

    fn unreadable(self, reason: String) -> Misfit {
        Misfit::StateUnreadable { actor_type: self.actor_type.into(), found: self.version, reason }
    }
}

/// The record of a state.
pub(super) fn store<A: State>(state: &A) -> Result<Bytes, Misfit> {
    let mut record = A::VERSION.to_be_bytes().to_vec();
    append(state, &mut record)
        .map_err(|reason| Misfit::Value { what: format!("the state of a `{}`", A::TYPE), reason })?;
    Ok(record.into_boxed_slice().into())
}

/// The state in a record, upgraded if need be.
pub(super) fn load<A: State>(record: &[u8]) -> Result<A, Misfit> {
    let Some((version, body)) = record.split_first_chunk() else {
        let reason = "the record is cut off".to_owned();
        return Err(Misfit::StateUnreadable { actor_type: A::TYPE.into(), found: 0, reason });
    };
    let stored = Stored { actor_type: A::TYPE, version: u32::from_be_bytes(*version), body };
    match stored.version {
        found if found == A::VERSION => unpack(body).map_err(|reason| stored.unreadable(reason)),
        found if found > A::VERSION => {
            Err(Misfit::StateNewer { actor_type: A::TYPE.into(), found, known: A::VERSION })
        }
        _ => A::upgrade(stored),
    }
}

/// Plain data as bytes.
pub(super) fn pack(value: &impl Serialize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    append(value, &mut bytes)?;
    Ok(bytes.into_boxed_slice().into())
}

fn append(value: &impl Serialize, bytes: &mut Vec<u8>) -> Result<(), String> {
    bytes.reserve(BYTES_EXPECTED);
    bytes.push(FORMAT);
    rmp_serde::encode::write_named(bytes, value).map_err(|error| error.to_string())
}

/// Plain data from bytes.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => rmp_serde::from_slice(body).map_err(|error| error.to_string()),
        Some((other, _)) => Err(format!("it has format {other}, this program reads format {FORMAT}")),
        None => Err("it is empty".to_owned()),
    }
}
