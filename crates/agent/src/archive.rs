//! Archives: passages that belong to no agent, and that all agents may search that have them.

use serde::{Deserialize, Serialize};

/// An archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// `archive-…`.
    pub id: String,
    /// Its name, not unique.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The handle of an embedding model, kept for clients.
    #[serde(default)]
    pub embedding: Option<String>,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: u64,
    /// When it was last changed.
    pub updated_ms: u64,
}

/// An archive to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewArchive {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The handle of an embedding model.
    pub embedding: Option<String>,
}

/// What changes in an archive; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveChange {
    /// The new name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// A passage to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPassage {
    /// Its text.
    pub text: String,
    /// What it can be found by.
    pub tags: Vec<String>,
    /// When it was put aside, if not now, in milliseconds of Unix time.
    pub created_ms: Option<u64>,
    /// The passage that does not hold any more since this one does: of the same agent or archive.
    #[serde(default)]
    pub supersedes: Option<String>,
}
