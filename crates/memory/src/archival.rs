//! Archival memory: passages that an agent puts aside, without a limit, and finds again.

use serde::{Deserialize, Serialize};

/// Bytes of one passage.
pub const PASSAGE_BYTES_MAX: usize = 100_000;

/// One passage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// `passage-…`.
    pub id: String,
    /// The text.
    pub text: String,
    /// What it can be found by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When it was put aside, in milliseconds of Unix time.
    pub created_ms: u64,
}

/// A passage that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassageError {
    /// There is nothing to keep.
    #[error("The content to archive must not be empty")]
    Empty,
    /// It is too long.
    #[error("The content to archive has {bytes} bytes, at most {PASSAGE_BYTES_MAX} are allowed: split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Passage {
    /// Makes a passage, checked.
    pub fn new(id: String, text: String, tags: Vec<String>, created_ms: u64) -> Result<Self, PassageError> {
        if text.trim().is_empty() {
            return Err(PassageError::Empty);
        }
        if text.len() > PASSAGE_BYTES_MAX {
            return Err(PassageError::TooLong { bytes: text.len() });
        }
        Ok(Self { id, text, tags, created_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_has_words_and_an_end() {
        let new =
            |text: &str| Passage::new("passage-1".into(), text.into(), vec![], 0).map(|passage| passage.text);
        assert_eq!(new("tea"), Ok("tea".to_owned()));
        assert_eq!(new(" \n"), Err(PassageError::Empty));
        assert_eq!(new(&"x".repeat(100_001)), Err(PassageError::TooLong { bytes: 100_001 }));
    }
}
