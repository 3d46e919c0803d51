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
    /// # use std::time::Duration;
    /// # use kelpie::{Result, Turn, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// /// The program as it was.
    /// mod before {
    ///     # use super::*;
    ///     #[actor(name = "shop", version = 1)]
    ///     #[derive(Default, Serialize, Deserialize)]
    ///     pub struct Shop {
    ///         pub sold: u64,
    ///     }
    ///     # #[handlers]
    ///     # impl Shop {
    ///     #     pub async fn sell(&mut self, _: &mut Turn) -> Result<()> {
    ///     #         self.sold += 1;
    ///     #         Ok(())
    ///     #     }
    ///     # }
    /// }
    ///
    /// #[actor(name = "shop", version = 2, upgrades(1 => from_before))] // writes `upgrade`
    /// #[derive(Default, Serialize, Deserialize)]
    /// pub struct Shop {
    ///     sold_by_town: Vec<(String, u64)>,
    /// }
    ///
    /// fn from_before(old: before::Shop) -> Shop {
    ///     Shop { sold_by_town: vec![("Ljubljana".to_owned(), old.sold)] }
    /// }
    /// # #[handlers]
    /// # impl Shop {
    /// #     pub async fn sold(&self, _: &View) -> Result<Vec<(String, u64)>> {
    /// #         Ok(self.sold_by_town.clone())
    /// #     }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let old = kelpie::open("memory:").actor::<before::Shop>().start().await?;
    /// old.actor::<before::Shop>("corner").sell().await?;
    /// old.drain(Duration::from_secs(5)).await;
    /// let new = kelpie::on(old.runtime().store().clone()).actor::<Shop>().start().await?;
    /// assert_eq!(new.actor::<Shop>("corner").sold().await?, [("Ljubljana".to_owned(), 1)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no upgrade from that version, or what it stored cannot be read.
    fn upgrade(stored: Stored<'_>) -> Result<Self, Misfit>;
}

/// State as a former version of its type has stored it.
///
/// ```
/// use kelpie::{Misfit, Result, State, Stored, Turn, View, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// /// The program as it was.
/// mod before {
///     # use super::*;
///     #[actor(name = "sign", version = 2, upgrades(1 => nothing))]
///     #[derive(Default, Serialize, Deserialize)]
///     pub struct Sign(pub String);
///     # fn nothing(_: u8) -> Sign {
///     #     Sign::default()
///     # }
///     # #[handlers]
///     # impl Sign {
///     #     pub async fn paint(&mut self, _: &mut Turn, text: String) -> Result<()> {
///     #         self.0 = text;
///     #         Ok(())
///     #     }
///     # }
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Sign {
///     lines: Vec<String>,
/// }
///
/// // By hand, in place of `#[actor(name = "sign", version = 3, upgrades(…))]`.
/// impl State for Sign {
///     const TYPE: &'static str = "sign";
///     const VERSION: u32 = 3;
///
///     fn upgrade(stored: Stored<'_>) -> std::result::Result<Self, Misfit> {
///         match stored.version() {
///             2 => stored.with(|before::Sign(text)| Self { lines: vec![text] }),
///             _ => Err(stored.no_upgrade()), // nobody has a sign of version 1 any more
///         }
///     }
/// }
/// # #[handlers]
/// # impl Sign {
/// #     pub async fn lines(&self, _: &View) -> Result<Vec<String>> {
/// #         Ok(self.lines.clone())
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let old = kelpie::open("memory:").actor::<before::Sign>().start().await?;
/// old.actor::<before::Sign>("door").paint("open".to_owned()).await?;
/// old.drain(std::time::Duration::from_secs(5)).await;
/// let new = kelpie::on(old.runtime().store().clone()).actor::<Sign>().start().await?;
/// assert_eq!(new.actor::<Sign>("door").lines().await?, ["open"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stored<'s> {
    actor_type: &'static str,
    version: u32,
    body: &'s [u8],
}

impl Stored<'_> {
    /// The version that stored it.
    ///
    /// Shown at [`Stored`].
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads it as what it was then, and upgrades it.
    ///
    /// Shown at [`Stored`].
    ///
    /// # Errors
    /// [`Misfit::StateUnreadable`] if it is no `Old`.
    pub fn with<Old: DeserializeOwned, New>(self, upgrade: impl FnOnce(Old) -> New) -> Result<New, Misfit> {
        unpack(self.body).map(upgrade).map_err(|reason| self.unreadable(reason))
    }

    /// The error of an upgrade that there is not.
    ///
    /// Shown at [`Stored`].
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
