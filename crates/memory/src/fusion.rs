//! One order out of several: reciprocal rank fusion (Cormack, Clarke and Büttcher, "Reciprocal
//! Rank Fusion outperforms Condorcet and individual Rank Learning Methods", 2009). It needs no
//! scale that the scores share, only their orders.

/// The constant of the paper: how much less the first place counts than alone.
const RANK_OFFSET: f64 = 60.0;

/// How well something fits, by each way of looking at it; nothing where it was not found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Scores {
    /// By its words: BM25.
    pub(crate) words: Option<f64>,
    /// By its meaning: the cosine of two vectors.
    pub(crate) meaning: Option<f64>,
}

/// The places of `found`, best first. Those that are as good as each other stay in their order.
pub(crate) fn order(found: &[Scores]) -> Vec<usize> {
    let mut fused = vec![0.0; found.len()];
    for score in [|scores: &Scores| scores.words, |scores: &Scores| scores.meaning] {
        let scored = found.iter().enumerate();
        let mut ranked: Vec<(usize, f64)> =
            scored.filter_map(|(place, scores)| Some((place, score(scores)?))).collect();
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        for (rank, (place, _)) in (1_u32..).zip(ranked) {
            fused[place] += 1.0 / (RANK_OFFSET + f64::from(rank));
        }
    }
    let mut places: Vec<usize> = (0..found.len()).collect();
    places.sort_by(|one, other| fused[*other].total_cmp(&fused[*one]));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(words: f64, meaning: f64) -> Scores {
        let some = |score: f64| (score > 0.0).then_some(score);
        Scores { words: some(words), meaning: some(meaning) }
    }

    #[test]
    fn what_both_find_comes_before_what_one_finds_whatever_the_scales() {
        let found = [scores(9.0, 0.0), scores(0.0, 0.9), scores(3.0, 0.2), scores(0.0, 0.0)];
        assert_eq!(order(&found), [2, 0, 1, 3]);
        // 1/61 + 1/63 is more than 1/62 + 1/62.
        let found = [scores(2.0, 0.8), scores(3.0, 0.7), scores(1.0, 0.9)];
        assert_eq!(order(&found), [1, 2, 0]);
        assert_eq!(order(&[scores(3.0, 0.0), scores(9.0, 0.0), scores(5.0, 0.0)]), [1, 2, 0]);
        assert_eq!(order(&[]), [0_usize; 0]);
    }
}
