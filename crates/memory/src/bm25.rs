//! Ranking by words: Okapi BM25 (Robertson and Zaragoza, 2009), over the texts at hand.

use std::collections::{BTreeMap, BTreeSet};

/// How fast a word that comes again counts for less.
const SATURATION: f64 = 1.2;
/// How much a long text counts for less.
const LENGTH_WEIGHT: f64 = 0.75;

/// The places of the texts that have a word of the question, best first; those that are as good
/// as each other stay in their order.
pub(crate) fn ranked<'a>(question: &str, texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let wanted: BTreeSet<String> = words(question).collect();
    let counted: Vec<Counted> = texts.map(|text| Counted::new(text, &wanted)).collect();
    let total: usize = counted.iter().map(|text| text.length).sum();
    let average = total as f64 / counted.len().max(1) as f64;
    let mut texts_with: BTreeMap<&str, usize> = BTreeMap::new();
    for word in counted.iter().flat_map(|text| text.hits.keys()) {
        *texts_with.entry(word).or_default() += 1;
    }
    let mut scored: Vec<(usize, f64)> = counted
        .iter()
        .enumerate()
        .map(|(place, text)| (place, text.score(&texts_with, counted.len(), average)))
        .filter(|(_, score)| *score > 0.0)
        .collect();
    scored.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    scored.into_iter().map(|(place, _)| place).collect()
}

/// What of a text counts for a question.
struct Counted {
    /// Its words.
    length: usize,
    /// How often each word of the question is in it.
    hits: BTreeMap<String, usize>,
}

impl Counted {
    fn new(text: &str, wanted: &BTreeSet<String>) -> Self {
        let (mut length, mut hits) = (0, BTreeMap::new());
        for word in words(text) {
            length += 1;
            if wanted.contains(&word) {
                *hits.entry(word).or_default() += 1;
            }
        }
        Self { length, hits }
    }

    fn score(&self, texts_with: &BTreeMap<&str, usize>, texts: usize, average: f64) -> f64 {
        let longer = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * self.length as f64 / average.max(1.0);
        let word = |(word, count): (&String, &usize)| {
            let with = texts_with.get(word.as_str()).copied().unwrap_or_default() as f64;
            let rarity = (1.0 + (texts as f64 - with + 0.5) / (with + 0.5)).ln();
            let count = *count as f64;
            rarity * count * (SATURATION + 1.0) / (count + SATURATION * longer)
        };
        self.hits.iter().map(word).sum()
    }
}

/// Letters and digits, lower case, and without what English puts at the end of many words, so
/// that `runs` finds `run`.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(|part| stem(part.to_lowercase()))
}

fn stem(word: String) -> String {
    /// Of a shorter word too little would be left.
    const STEM_BYTES_MIN: usize = 3;
    let cut = |end: &str| word.strip_suffix(end).filter(|rest| rest.len() >= STEM_BYTES_MIN);
    match cut("'s").or_else(|| cut("ies")).or_else(|| cut("es")).or_else(|| cut("s")) {
        Some(rest) => rest.to_owned(),
        None => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(question: &str, texts: &[&str]) -> Vec<usize> {
        ranked(question, texts.iter().copied())
    }

    #[test]
    fn rare_words_and_short_texts_count_more() {
        let texts =
            ["the cat sat on the mat", "the zebra", "the zebra and a very long story about nothing else"];
        assert_eq!(best("the zebra", &texts), [1, 2, 0]);
        assert_eq!(best("Cats", &texts), [0]);
        assert_eq!(best("dog", &texts), [0_usize; 0]);
        assert_eq!(best("", &texts), [0_usize; 0]);
        assert_eq!(best("the", &[]), [0_usize; 0]);
    }

    #[test]
    fn a_word_again_counts_less_each_time_and_equals_keep_their_order() {
        assert_eq!(best("tea milk", &["tea tea tea tea", "tea milk", "tea milk"]), [1, 2, 0]);
    }
}
