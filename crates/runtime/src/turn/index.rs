//! Rows of an actor's tenant and type, which list and search, as a turn reads and leaves them.

use bytes::Bytes;
use kelpie_core::limits::RECORD_KEY_BYTES_MAX;
use kelpie_core::row;
use kelpie_storage::ReadError;

use super::Turn;
use crate::actor::TurnError;

/// How often a glance at rows that others write is tried again.
const GLANCES_MAX: u32 = 16;

impl Turn {
    /// Sets an entry of an index: a row of the actor's tenant and type that lists and
    /// searches, written in the same commit.
    ///
    /// ```
    /// # use futures::future::BoxFuture;
    /// # use kelpie::untyped::{Actor, Call, HandlerError, RecordRange, Turn, View};
    /// # use kelpie::{ActorId, Bytes, Caller};
    /// # struct Shop;
    /// # impl Actor for Shop {
    /// #     fn actor_type(&self) -> &str {
    /// #         "shop"
    /// #     }
    /// #     fn is_read(&self, operation: &str) -> bool {
    /// #         operation == "read"
    /// #     }
    /// #     fn read<'a>(
    /// #         &'a self, _view: &'a View, _: &'a str, _: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move { Ok(Bytes::new()) })
    /// #     }
    /// #     fn handle<'a>(
    /// #         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move {
    /// // In `Actor::handle`: an index is the type's, so that all its actors write it.
    /// let key = turn.actor().key().to_owned();
    /// match operation {
    ///     "open" => {
    ///         let street = [b"street/", payload].concat();
    ///         if turn.index_get("places", &street).await?.is_some() {
    ///             return Err(HandlerError::app("shop.taken", "somebody is there"));
    ///         }
    ///         turn.index_set("places", &street, key);
    ///         turn.index_add("counts", b"all", &[1]);
    ///     }
    ///     _ => turn.index_clear("places", &[b"street/", payload].concat()),
    /// }
    /// // As it was a moment ago, before this turn.
    /// let all = turn.index_glance("counts", &[b"all".to_vec()]).await?.remove(0);
    /// Ok(Bytes::from(all.map_or(0, |all| kelpie_runtime::counters(&all)[0]).to_string()))
    /// #         })
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Shop)).start().await?;
    /// # let runtime = cluster.runtime();
    /// let shop = |key: &str| ActorId::new("default", "shop", key);
    /// assert_eq!(runtime.call(Call::new(shop("bakery")?, "open", "1")).await?, "0");
    /// assert_eq!(runtime.call(Call::new(shop("florist")?, "open", "2")).await?, "1");
    /// assert!(runtime.call(Call::new(shop("cobbler")?, "open", "2")).await.is_err());
    /// runtime.call(Call::new(shop("bakery")?, "close", "1")).await?;
    ///
    /// let open = runtime.index("default", "shop", "places", RecordRange::prefix(b"street/")).await?;
    /// assert_eq!(open, [("street/2".into(), "florist".into())]);
    /// assert_eq!(runtime.view(&shop("bakery")?).index_get("places", b"street/2").await?, Some("florist".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn index_set(&mut self, index: &str, entry: &[u8], value: impl Into<Bytes>) {
        let value = value.into();
        self.check("an index entry's key", entry.len(), RECORD_KEY_BYTES_MAX);
        self.check("an index entry", value.len(), kelpie_storage::limits::VALUE_BYTES_MAX);
        let key = row::index(self.actor().tenant(), self.actor().actor_type(), index, entry);
        self.work.index.insert(key, Some(value));
    }

    /// An entry of an index, which other actors write, too. The turn's commit stands only if the
    /// entry is still as it was read here; else nothing of the turn has happened, and its caller
    /// is told to try again.
    ///
    /// Shown at [`Turn::index_set`].
    ///
    /// # Errors
    /// [`TurnError::Read`] when the store does not answer.
    pub async fn index_get(&mut self, index: &str, entry: &[u8]) -> Result<Option<Bytes>, TurnError> {
        let key = row::index(self.actor().tenant(), self.actor().actor_type(), index, entry);
        let known = self.work.index.get(&key).or_else(|| self.work.read_index.get(&key));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let stored = self.activation.node.store.begin().get(&key).await?;
        self.work.read_index.insert(key, stored.clone());
        Ok(stored)
    }

    /// Adds to the counters of an entry of an index, which other actors count in, too: little-endian
    /// numbers of 64 bits, one after the other, all 0 where there is no entry. Nothing is read, so
    /// that nobody who counts there at the same time conflicts, unless the store itself reads (then
    /// the commit is tried again). Added once, because it is part of the turn's one commit.
    ///
    /// Shown at [`Turn::index_set`].
    pub fn index_add(&mut self, index: &str, entry: &[u8], amounts: &[u64]) {
        self.check("an index entry's key", entry.len(), RECORD_KEY_BYTES_MAX);
        let key = row::index(self.actor().tenant(), self.actor().actor_type(), index, entry);
        let added = self.work.added.entry(key).or_default();
        added.resize(added.len().max(amounts.len()), 0);
        for (sum, amount) in added.iter_mut().zip(amounts) {
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Entries of an index as they were committed a moment ago. Unlike with [`Turn::index_get`],
    /// the turn's commit stands although they have changed since.
    ///
    /// Shown at [`Turn::index_set`].
    ///
    /// # Errors
    /// [`TurnError::Read`] when the store does not answer.
    pub async fn index_glance(
        &self,
        index: &str,
        entries: &[Vec<u8>],
    ) -> Result<Vec<Option<Bytes>>, TurnError> {
        let actor = self.actor();
        let key = |entry: &Vec<u8>| row::index(actor.tenant(), actor.actor_type(), index, entry);
        let keys: Vec<Bytes> = entries.iter().map(key).collect();
        let node = &self.activation.node;
        let mut attempt = 0;
        loop {
            node.give_way(attempt).await;
            match node.store.begin().get_many_snapshot(&keys).await {
                // Many write there: some stores have a reader make way for them.
                Err(ReadError::Conflict | ReadError::TooOld) if attempt < GLANCES_MAX => attempt += 1,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Clears an entry of an index.
    ///
    /// Shown at [`Turn::index_set`].
    pub fn index_clear(&mut self, index: &str, entry: &[u8]) {
        let key = row::index(self.actor().tenant(), self.actor().actor_type(), index, entry);
        self.work.index.insert(key, None);
    }
}

/// The counters of an index entry that [`Turn::index_add`] has added to.
///
/// ```
/// use kelpie_runtime::counters;
///
/// assert_eq!(counters(&[2, 0, 0, 0, 0, 0, 0, 0, 7]), [2], "a number that is cut off counts nothing");
/// ```
pub fn counters(entry: &[u8]) -> Vec<u64> {
    let (numbers, _) = entry.as_chunks::<8>();
    numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}
