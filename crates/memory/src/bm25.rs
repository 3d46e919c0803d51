//! Ranking by words: Okapi BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
//! BM25 and Beyond", 2009).

/// How fast a word that comes again counts for less.
const SATURATION: f64 = 1.2;
/// How much a long text counts for less.
const LENGTH_WEIGHT: f64 = 0.75;

/// What is known of all texts together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Texts {
    /// How many there are.
    pub(crate) count: usize,
    /// The words of all of them.
    pub(crate) words: u64,
    /// How many of them have each word of the question.
    pub(crate) with: Vec<usize>,
}

impl Texts {
    /// What a word of the question adds to the score of a text of so many words that has it so
    /// many times.
    pub(crate) fn score(&self, word: usize, times: u32, length: u32) -> f64 {
        let average = self.words as f64 / self.count.max(1) as f64;
        let longer = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * f64::from(length) / average.max(1.0);
        let with = self.with.get(word).copied().unwrap_or_default() as f64;
        let rarity = (1.0 + (self.count as f64 - with + 0.5) / (with + 0.5)).ln();
        let times = f64::from(times);
        rarity * times * (SATURATION + 1.0) / (times + SATURATION * longer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_short_texts_and_first_times_count_more() {
        let texts = Texts { count: 100, words: 1_000, with: vec![1, 90] };
        assert!(texts.score(0, 1, 10) > texts.score(1, 1, 10));
        assert!(texts.score(0, 1, 5) > texts.score(0, 1, 20));
        let [once, twice, thrice] = [1, 2, 3].map(|times| texts.score(0, times, 10));
        assert!(twice - once > thrice - twice && thrice > twice);
    }
}
