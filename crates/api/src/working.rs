//! Working memory: what an agent notes down for a while (Kelpie's own).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// An entry of working memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkingEntry {
    /// Its name.
    pub key: String,
    /// Its text.
    pub value: String,
    /// When it was set.
    pub set_at: Timestamp,
    /// From when on it does not count any more; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An entry to be set. One of that name is replaced, its time as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetWorkingEntry {
    /// Its text.
    pub value: String,
    /// For how many minutes it holds, up to a year; until it is deleted if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_minutes: Option<u64>,
}
