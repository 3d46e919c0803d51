//! Large state in parts: values of their own, read when they are asked for and written when
//! they change.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::misfit::Misfit;
use super::state;
use crate::actor::{RecordRange, TurnError};

/// What the names of the values' records begin with.
const PREFIX: &str = "kv/";

/// An actor's values in an exclusive turn, as the turn has left them. What is set commits with
/// the reply.
pub struct Kv<'t> {
    pub(super) turn: &'t mut crate::Turn,
}

/// An actor's values in a read turn, as they were last committed.
#[derive(Clone, Copy)]
pub struct KvView<'v> {
    pub(super) view: &'v crate::View,
}

impl Kv<'_> {
    /// One value; nothing if it is not set.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     assert_eq!(cx.kv().get::<u64>("kites").await?, None);
    ///     cx.kv().set("kites", &3_u64)?;
    ///     assert_eq!(cx.kv().get("kites").await?, Some(3_u64));
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store did not answer, or what is stored is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TurnError> {
        let stored = self.turn.get(record(key).as_bytes()).await?;
        stored.map(|stored| value(key, &stored)).transpose()
    }

    /// Sets a value.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.kv().set("kites", &3_u64)?;
    ///     cx.kv().set("colours", &["red", "blue"])?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It cannot be stored. One that is too large ends the turn at its end.
    pub fn set<T: Serialize>(&mut self, key: &str, value: &T) -> Result<(), TurnError> {
        let packed = state::pack(value).map_err(|reason| misfit(key, reason))?;
        self.turn.set(record(key), packed);
        Ok(())
    }

    /// Removes a value.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.kv().set("kites", &3_u64)?;
    ///     cx.kv().remove("kites");
    ///     assert_eq!(cx.kv().get::<u64>("kites").await?, None);
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&mut self, key: &str) {
        self.turn.clear(record(key));
    }

    /// Removes all values whose keys start with `prefix`.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.kv().set("shelf/kites", &3_u64)?;
    ///     cx.kv().set("cellar/coal", &1_u64)?;
    ///     cx.kv().remove_all("shelf/");
    ///     assert_eq!(cx.kv().scan::<u64>("", 10).await?, [("cellar/coal".to_owned(), 1)]);
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_all(&mut self, prefix: &str) {
        self.turn.clear_range(RecordRange::prefix(record(prefix).as_bytes()));
    }

    /// The first `limit` values whose keys start with `prefix`, in the order of their keys.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.kv().set("shelf/kites", &3_u64)?;
    ///     cx.kv().set("shelf/boats", &2_u64)?;
    ///     let shelf: Vec<(String, u64)> = cx.kv().scan("shelf/", 100).await?;
    ///     assert_eq!(shelf, [("shelf/boats".to_owned(), 2), ("shelf/kites".to_owned(), 3)]);
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn scan<T: DeserializeOwned>(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, TurnError> {
        values(self.turn.range(range(prefix, None, limit)).await?)
    }

    /// As [`Kv::scan`], from the first key after `after`: the next page.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    ///     for day in 1..=3_u64 {
    ///         cx.kv().set(&format!("day/{day}"), &day)?;
    ///     }
    ///     let page: Vec<(String, u64)> = cx.kv().scan_after("day/", "day/1", 2).await?;
    ///     assert_eq!(page, [("day/2".to_owned(), 2), ("day/3".to_owned(), 3)]);
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").stock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn scan_after<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, TurnError> {
        values(self.turn.range(range(prefix, Some(after), limit)).await?)
    }
}

impl KvView<'_> {
    /// One value; nothing if it is not set.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    /// #     cx.kv().set("shelf/boats", &2_u64)?;
    /// #     cx.kv().set("shelf/kites", &3_u64)?;
    /// #     Ok(())
    /// # }
    /// pub async fn look(&self, view: &View) -> Result<Option<u64>> {
    ///     Ok(view.kv().get("shelf/kites").await?)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let shop = cluster.actor::<Shop>("corner");
    /// shop.stock().await?; // two boats and three kites
    /// assert_eq!(shop.look().await?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TurnError> {
        let stored = self.view.get(record(key).as_bytes()).await?;
        stored.map(|stored| value(key, &stored)).transpose()
    }

    /// The first `limit` values whose keys start with `prefix`, in the order of their keys.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    /// #     cx.kv().set("shelf/boats", &2_u64)?;
    /// #     cx.kv().set("shelf/kites", &3_u64)?;
    /// #     Ok(())
    /// # }
    /// pub async fn look(&self, view: &View) -> Result<Vec<(String, u64)>> {
    ///     Ok(view.kv().scan("shelf/", 100).await?)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let shop = cluster.actor::<Shop>("corner");
    /// shop.stock().await?; // two boats and three kites
    /// assert_eq!(shop.look().await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn scan<T: DeserializeOwned>(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, TurnError> {
        values(self.view.range(range(prefix, None, limit)).await?)
    }

    /// As [`KvView::scan`], from the first key after `after`: the next page.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn stock(&mut self, cx: &mut Turn) -> Result<()> {
    /// #     cx.kv().set("shelf/boats", &2_u64)?;
    /// #     cx.kv().set("shelf/kites", &3_u64)?;
    /// #     Ok(())
    /// # }
    /// pub async fn look(&self, view: &View) -> Result<Vec<(String, u64)>> {
    ///     Ok(view.kv().scan_after("shelf/", "shelf/boats", 100).await?)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let shop = cluster.actor::<Shop>("corner");
    /// shop.stock().await?; // two boats and three kites
    /// assert_eq!(shop.look().await?, [("shelf/kites".to_owned(), 3)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn scan_after<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, TurnError> {
        values(self.view.range(range(prefix, Some(after), limit)).await?)
    }
}

fn record(key: &str) -> String {
    format!("{PREFIX}{key}")
}

fn range(prefix: &str, after: Option<&str>, limit: usize) -> RecordRange {
    let whole = RecordRange::prefix(record(prefix).as_bytes()).limit(limit);
    match after {
        // The first key after it: itself and the smallest byte.
        Some(after) => RecordRange { begin: format!("{PREFIX}{after}\0").into(), ..whole },
        None => whole,
    }
}

fn value<T: DeserializeOwned>(key: &str, stored: &[u8]) -> Result<T, TurnError> {
    state::unpack(stored).map_err(|reason| misfit(key, reason).into())
}

fn values<T: DeserializeOwned>(rows: Vec<(Bytes, Bytes)>) -> Result<Vec<(String, T)>, TurnError> {
    rows.iter()
        .map(|(record, stored)| {
            let key = String::from_utf8_lossy(&record[PREFIX.len()..]).into_owned();
            value(&key, stored).map(|value| (key, value))
        })
        .collect()
}

fn misfit(key: &str, reason: String) -> Misfit {
    Misfit::Value { what: format!("the value `{key}`"), reason }
}
