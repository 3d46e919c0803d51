//! Archival memory: passages that an agent keeps outside of its prompt.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// A passage as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// What it can be found by.
    pub tags: Vec<String>,
    /// When it was put aside.
    pub created_at: Timestamp,
    /// The archive that it is in, if it is no agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_id: Option<String>,
    /// Since when another one holds instead, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// A passage to keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatePassage {
    /// Its text.
    pub text: String,
    /// What it can be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// When it was put aside, if not now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The passage that does not hold any more since this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundPassages {
    /// How many.
    pub count: u64,
    /// The passages, best first.
    pub results: Vec<FoundPassage>,
}

/// One passage that a search has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundPassage {
    /// Its id.
    pub id: String,
    /// Its text.
    pub content: String,
    /// When it was put aside.
    pub timestamp: Timestamp,
    /// What it can be found by.
    pub tags: Vec<String>,
    /// Since when another one holds instead, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}
