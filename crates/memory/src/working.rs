//! Working memory: what an agent notes down for a while, by key.
//!
//! ```text
//!   working/<key>   one entry: its text, and until when it holds
//! ```
//!
//! A look lays all rows out at one point in time and names those that have expired by then. Who may
//! write clears them in the same commit, so that what such a look has found expired stays away, also
//! when a later clock says an earlier time, and so that the rows of an agent are bounded: no more than
//! one look ever found live.
//!
//! Invariant: an entry that has expired is not in the look: it is not read, not listed, and takes
//! no room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Bytes of a key: it is part of a row's key.
pub const KEY_BYTES_MAX: usize = 128;
/// Bytes of a text. What is longer belongs to archival memory.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Entries of one agent.
pub const ENTRIES_MAX: usize = 256;
/// Bytes of all keys and texts of one agent: a look reads them all.
pub const BYTES_MAX: usize = 256 << 10;
/// The longest time that an entry can be given: a year.
pub const TTL_MINUTES_MAX: u64 = 365 * 24 * 60;

const MINUTE_MS: u64 = 60_000;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX <= BYTES_MAX, "the largest entry has room");

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingEntry {
    /// Its name.
    pub key: String,
    /// Its text.
    pub value: String,
    /// When it was set, in milliseconds of Unix time.
    pub set_ms: u64,
    /// From when on it does not count any more; never if absent.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

impl WorkingEntry {
    /// Whether it counts at that time.
    pub fn is_live(&self, now_ms: u64) -> bool {
        kelpie_core::mutant!("working_expired_counts")
            || self.expires_ms.is_none_or(|expires| now_ms < expires)
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// An entry to be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewWorkingEntry {
    /// Its name; an entry of that name is replaced.
    pub key: String,
    /// Its text.
    pub value: String,
    /// For how many minutes it holds; until it is deleted if absent.
    #[serde(default)]
    pub ttl_minutes: Option<u64>,
}

/// An entry that was not set. The texts are read by models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkingError {
    /// The key cannot be used.
    #[error("A key of working memory must have 1 to {KEY_BYTES_MAX} bytes and no control characters")]
    BadKey,
    /// The text is too long.
    #[error("A value of working memory may have at most {VALUE_BYTES_MAX} bytes (this one: {bytes})")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The time cannot be used.
    #[error("ttl_minutes must be between 1 and {TTL_MINUTES_MAX}, not {minutes}")]
    BadTtl {
        /// What was asked for.
        minutes: u64,
    },
    /// There are as many entries as there may be.
    #[error("Working memory holds at most {ENTRIES_MAX} entries: delete one, or replace one")]
    TooMany,
    /// There is no room for the text.
    #[error(
        "Working memory holds at most {BYTES_MAX} bytes of keys and values, with this one {bytes}: delete something"
    )]
    Full {
        /// What it would be.
        bytes: usize,
    },
}

impl NewWorkingEntry {
    /// Whether it could be set at all, whatever else there is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), WorkingError> {
        let Self { key, value, ttl_minutes } = self;
        if key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
            return Err(WorkingError::BadKey);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(WorkingError::TooLong { bytes: value.len() });
        }
        match ttl_minutes {
            Some(minutes) if !(1..=TTL_MINUTES_MAX).contains(minutes) => {
                Err(WorkingError::BadTtl { minutes: *minutes })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// All that an agent's working memory holds at one point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingMemory {
    now_ms: u64,
    live: BTreeMap<String, WorkingEntry>,
    expired: Vec<String>,
}

impl WorkingMemory {
    /// The rows, looked at at that time.
    pub fn at(now_ms: u64, rows: impl IntoIterator<Item = WorkingEntry>) -> Self {
        let (live, expired): (Vec<_>, Vec<_>) = rows.into_iter().partition(|entry| entry.is_live(now_ms));
        Self {
            now_ms,
            live: live.into_iter().map(|entry| (entry.key.clone(), entry)).collect(),
            expired: expired.into_iter().map(|entry| entry.key).collect(),
        }
    }

    /// The entry of that name.
    pub fn get(&self, key: &str) -> Option<&WorkingEntry> {
        self.live.get(key)
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &WorkingEntry> {
        self.live.values()
    }

    /// The names whose rows are to be cleared.
    pub fn expired(&self) -> &[String] {
        &self.expired
    }

    /// The entry to be written, if there is room for it.
    ///
    /// # Errors
    /// Why it cannot be set.
    pub fn set(&self, new: NewWorkingEntry) -> Result<WorkingEntry, WorkingError> {
        new.check()?;
        let NewWorkingEntry { key, value, ttl_minutes } = new;
        let others = self.live.values().filter(|entry| entry.key != key);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.bytes()));
        if count >= ENTRIES_MAX {
            return Err(WorkingError::TooMany);
        }
        let expires = |minutes: u64| self.now_ms.saturating_add(minutes.saturating_mul(MINUTE_MS));
        let entry = WorkingEntry { key, value, set_ms: self.now_ms, expires_ms: ttl_minutes.map(expires) };
        let bytes = bytes + entry.bytes();
        if bytes > BYTES_MAX { Err(WorkingError::Full { bytes }) } else { Ok(entry) }
    }
}
