//! Archival memory: passages that an agent puts aside, without a limit, and finds again.

use serde::{Deserialize, Serialize};

use crate::fusion::{self, Scores};
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
    /// Since when another one holds instead, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_ms: Option<u64>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
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
    /// The one that it is to supersede does not hold any more already.
    #[error("Passage {id} was superseded by {by} already: supersede that one")]
    Superseded {
        /// Which one.
        id: String,
        /// What it was superseded by.
        by: String,
    },
    /// The one that it is to supersede is of a later time.
    #[error("Passage {id} is of a later time than what is to supersede it")]
    Older {
        /// Which one.
        id: String,
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
        Ok(Self { id, text, tags, created_ms, superseded_ms: None, superseded_by: None })
    }

    /// The same passage, which holds until `newer` does.
    ///
    /// # Errors
    /// [`PassageError::Superseded`] and [`PassageError::Older`]: of a fact there is one history.
    pub fn superseded(self, newer: &Self) -> Result<Self, PassageError> {
        if let Some(by) = self.superseded_by {
            return Err(PassageError::Superseded { id: self.id, by });
        }
        if newer.created_ms < self.created_ms {
            return Err(PassageError::Older { id: self.id });
        }
        Ok(Self { superseded_ms: Some(newer.created_ms), superseded_by: Some(newer.id.clone()), ..self })
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
    /// Whether passages count that were superseded.
    pub history: bool,
    /// At most so many.
    pub limit: usize,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// How well it fits by its words (BM25); nothing if it has none of the question.
    pub words: Option<f64>,
    /// How well it fits by its meaning (a cosine); nothing if there are nearer ones enough.
    pub meaning: Option<f64>,
}

impl PassageQuery {
    /// Whether all that the tags and times leave are answers, the newest first.
    pub fn is_open(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// How many answers are wanted, at least one.
    pub fn hits_max(&self) -> usize {
        self.limit.clamp(1, HITS_MAX)
    }

    pub(crate) fn is_in_time(&self, created_ms: u64) -> bool {
        self.from_ms.is_none_or(|from| created_ms >= from) && self.to_ms.is_none_or(|to| created_ms <= to)
    }

    /// Whether a passage is one of those that are asked about.
    pub fn lets(&self, passage: &Passage) -> bool {
        let has = |tag: &String| passage.tags.contains(tag);
        let tagged = if self.match_all_tags {
            self.tags.iter().all(has)
        } else {
            self.tags.is_empty() || self.tags.iter().any(has)
        };
        tagged && self.is_in_time(passage.created_ms) && (self.history || passage.superseded_ms.is_none())
    }

    /// The best of what several collections have found, each best first.
    pub fn merged(&self, mut found: Vec<Vec<Hit>>) -> Vec<Hit> {
        let alone = found.iter().filter(|hits| !hits.is_empty()).count() < 2;
        let mut hits: Vec<Hit> = found.drain(..).flatten().collect();
        if alone {
            // In its order already.
        } else if self.is_open() {
            hits.sort_by_key(|hit| std::cmp::Reverse(hit.passage.created_ms));
        } else {
            let scores: Vec<Scores> =
                hits.iter().map(|hit| Scores { words: hit.words, meaning: hit.meaning }).collect();
            let mut slots: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
            hits = fusion::order(&scores).into_iter().filter_map(|place| slots[place].take()).collect();
        }
        hits.truncate(self.hits_max());
        hits
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
    fn what_several_collections_found_is_one_order() {
        let hit = |created_ms: u64, words: f64, meaning: f64| Hit {
            passage: passage("tea", &[], created_ms),
            words: (words > 0.0).then_some(words),
            meaning: (meaning > 0.0).then_some(meaning),
        };
        let merged = |query: PassageQuery, found| {
            let hits = query.merged(found);
            hits.iter().map(|hit| hit.passage.created_ms).collect::<Vec<_>>()
        };
        let query =
            |text: &str, limit| PassageQuery { text: text.to_owned(), limit, ..PassageQuery::default() };
        let (own, other) =
            (vec![hit(1, 2.0, 0.5), hit(2, 1.0, 0.0)], vec![hit(3, 5.0, 0.9), hit(4, 0.0, 0.4)]);
        assert_eq!(merged(query("tea", 3), vec![own.clone(), other.clone()]), [3, 1, 2]);
        assert_eq!(merged(query(" ", 9), vec![own.clone(), other]), [4, 3, 2, 1]);
        assert_eq!(merged(query("tea", 0), vec![vec![], own]), [1], "at least one");
    }

    #[test]
    fn tags_times_and_what_was_superseded_are_left_out_or_let_in() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let tea = passage("Tea", &["drink", "kai"], 2);
        let lets = |query: PassageQuery| query.lets(&tea);
        let open = PassageQuery::default;
        assert!(lets(open()) && lets(PassageQuery { tags: tags(&["kai", "work"]), ..open() }));
        assert!(!lets(PassageQuery { tags: tags(&["kai", "work"]), match_all_tags: true, ..open() }));
        assert!(lets(PassageQuery { from_ms: Some(2), to_ms: Some(2), ..open() }));
        assert!(!lets(PassageQuery { from_ms: Some(3), ..open() }));
        assert!(!lets(PassageQuery { to_ms: Some(1), ..open() }));
        let old = Passage { superseded_ms: Some(9), ..tea.clone() };
        assert!(!open().lets(&old) && PassageQuery { history: true, ..open() }.lets(&old));
    }

    #[test]
    fn a_fact_has_one_history() {
        let (berlin, rome) = (passage("in Berlin", &[], 5), passage("in Rome", &[], 7));
        let old = berlin.clone().superseded(&rome).expect("it is older");
        assert_eq!((old.superseded_ms, old.superseded_by.as_deref()), (Some(7), Some("passage-7")));
        let (id, by) = (old.id.clone(), rome.id.clone());
        assert_eq!(old.superseded(&passage("in Oslo", &[], 9)), Err(PassageError::Superseded { id, by }));
        let id = rome.id.clone();
        assert_eq!(rome.superseded(&berlin), Err(PassageError::Older { id }));
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
