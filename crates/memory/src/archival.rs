//! Archival memory: passages that an agent puts aside, without a limit, and finds again.

use serde::{Deserialize, Serialize};

use crate::bm25;
use crate::search::HITS_MAX;

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

/// A question to archival memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PassageQuery {
    /// Words to find.
    pub text: String,
    /// Only passages with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or one is enough.
    pub match_all_tags: bool,
    /// Only passages put aside at this time or later, in milliseconds of Unix time.
    pub from_ms: Option<u64>,
    /// Only passages put aside at this time or earlier.
    pub to_ms: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl PassageQuery {
    /// The passages that fit best, best first. Without words, all that the tags and times leave,
    /// as they come.
    pub fn best(&self, passages: Vec<Passage>) -> Vec<Passage> {
        let mut passages: Vec<Passage> = passages.into_iter().filter(|passage| self.lets(passage)).collect();
        let limit = self.limit.clamp(1, HITS_MAX);
        if self.text.trim().is_empty() {
            passages.truncate(limit);
            return passages;
        }
        let texts: Vec<String> =
            passages.iter().map(|passage| format!("{} {}", passage.text, passage.tags.join(" "))).collect();
        let mut slots: Vec<Option<Passage>> = passages.into_iter().map(Some).collect();
        let best = bm25::ranked(&self.text, texts.iter().map(String::as_str)).into_iter().take(limit);
        best.filter_map(|place| slots.get_mut(place).and_then(Option::take)).collect()
    }

    fn lets(&self, passage: &Passage) -> bool {
        let has = |tag: &String| passage.tags.contains(tag);
        let tagged = if self.match_all_tags {
            self.tags.iter().all(has)
        } else {
            self.tags.is_empty() || self.tags.iter().any(has)
        };
        tagged
            && self.from_ms.is_none_or(|from| passage.created_ms >= from)
            && self.to_ms.is_none_or(|to| passage.created_ms <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, tags: &[&str], created_ms: u64) -> Passage {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Passage::new(format!("passage-{created_ms}"), text.to_owned(), tags, created_ms).expect("it fits")
    }

    #[test]
    fn a_question_is_answered_by_words_tags_and_times() {
        let all = || {
            vec![
                passage("Kai drinks green tea in the morning", &["drink", "kai"], 1),
                passage("The deploy runs on Friday", &["work"], 2),
                passage("Tea comes from Assam", &["drink"], 3),
            ]
        };
        let found = |query: PassageQuery| {
            let query = PassageQuery { limit: 10, ..query };
            query.best(all()).iter().map(|passage| passage.created_ms).collect::<Vec<_>>()
        };
        let text = |text: &str| PassageQuery { text: text.to_owned(), ..PassageQuery::default() };
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found(text("when does the DEPLOY run?")),
            [2, 1],
            "`the` is a word, too, and counts for less"
        );
        assert_eq!(found(text("tea assam")), [3, 1]);
        assert_eq!(found(text("coffee")), [0_u64; 0]);
        assert_eq!(found(PassageQuery { tags: tags(&["drink", "kai"]), ..text("") }), [1, 3]);
        assert_eq!(
            found(PassageQuery { tags: tags(&["drink", "kai"]), match_all_tags: true, ..text("tea") }),
            [1]
        );
        assert_eq!(found(PassageQuery { from_ms: Some(2), to_ms: Some(2), ..text("") }), [2]);
    }

    #[test]
    fn a_passage_has_words_and_an_end() {
        let new =
            |text: &str| Passage::new("passage-1".into(), text.into(), vec![], 0).map(|passage| passage.text);
        assert_eq!(new("tea"), Ok("tea".to_owned()));
        assert_eq!(new(" \n"), Err(PassageError::Empty));
        assert_eq!(new(&"x".repeat(100_001)), Err(PassageError::TooLong { bytes: 100_001 }));
    }
}
