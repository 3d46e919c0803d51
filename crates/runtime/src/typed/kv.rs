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
    /// # Errors
    /// The store did not answer, or what is stored is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TurnError> {
        let stored = self.turn.get(record(key).as_bytes()).await?;
        stored.map(|stored| value(key, &stored)).transpose()
    }

    /// Sets a value.
    ///
    /// # Errors
    /// It cannot be stored. One that is too large ends the turn at its end.
    pub fn set<T: Serialize>(&mut self, key: &str, value: &T) -> Result<(), TurnError> {
        let packed = state::pack(value).map_err(|reason| misfit(key, reason))?;
        self.turn.set(record(key), packed);
        Ok(())
    }

    /// Removes a value.
    pub fn remove(&mut self, key: &str) {
        self.turn.clear(record(key));
    }

    /// Removes all values whose keys start with `prefix`.
    pub fn remove_all(&mut self, prefix: &str) {
        self.turn.clear_range(RecordRange::prefix(record(prefix).as_bytes()));
    }

    /// The first `limit` values whose keys start with `prefix`, in the order of their keys.
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
    /// # Errors
    /// As [`Kv::get`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TurnError> {
        let stored = self.view.get(record(key).as_bytes()).await?;
        stored.map(|stored| value(key, &stored)).transpose()
    }

    /// The first `limit` values whose keys start with `prefix`, in the order of their keys.
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
