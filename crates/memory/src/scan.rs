//! A search over the rows of one collection, as they come, newest first.
//!
//! ```text
//!   segment rows ─▶ add ─┬─ tags, times, state: which passages count
//!                        ├─ words: how many texts have each, and where     ─┐
//!                        └─ vectors: the nearest ones so far               ─┴▶ ranked: fused
//! ```
//!
//! Every passage that counts is compared with the question: the order is exact, not that of an
//! approximate index.

use std::collections::{BTreeMap, BTreeSet};

use crate::archival::PassageQuery;
use crate::bm25::Texts;
use crate::embedding::{Direction, Embeddings};
use crate::fusion::{self, Scores};
use crate::search::HITS_MAX;
use crate::segment::{Row, SegmentError, State};
use crate::words;

/// What each way of looking may bring before they are fused.
const CANDIDATES_MAX: usize = 2 * HITS_MAX;
/// Different words of a question that count.
const QUESTION_WORDS_MAX: usize = 64;
/// Texts that have nothing to do with each other have cosines of up to about this.
const COSINE_MIN: f64 = 0.1;

/// A search under way.
pub struct PassageScan<'a> {
    query: &'a PassageQuery,
    /// The question as a vector, and the name of its model.
    direction: Option<(Direction, &'a str)>,
    words: Vec<u32>,
    tags: BTreeSet<u32>,
    texts: Texts,
    hits: Vec<WordHit>,
    nearest: Vec<(f64, u64)>,
    /// The passages that count, if the question has no words.
    newest: Vec<u64>,
    /// The position after the next row.
    expected: u64,
    model: Option<&'a str>,
    stale: Option<u64>,
}

/// A word of the question in a text.
struct WordHit {
    position: u64,
    length: u32,
    word: u8,
    times: u8,
}

/// A passage that may be an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Where it stands.
    pub position: u64,
    /// How well it fits by its words (BM25).
    pub words: Option<f64>,
    /// How well it fits by its meaning (a cosine).
    pub meaning: Option<f64>,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// What may be answers, best first.
    pub candidates: Vec<Candidate>,
    /// The first position seen that has no row, or vectors of another model: from there on they
    /// have to be made again.
    pub stale: Option<u64>,
}

impl<'a> PassageScan<'a> {
    /// Begins a search over the passages below position `end`.
    pub fn new(query: &'a PassageQuery, embeddings: Option<&'a Embeddings>, end: u64) -> Self {
        let words: BTreeSet<u32> =
            words::words(&query.text).take(QUESTION_WORDS_MAX).map(|word| words::number(&word)).collect();
        let model = embeddings.map(Embeddings::name);
        let vector = embeddings.and_then(|embeddings| embeddings.vector(&query.text));
        let texts = Texts { count: 0, words: 0, with: vec![0; words.len()] };
        Self {
            query,
            direction: vector.as_ref().map(Direction::of).zip(model),
            words: words.into_iter().collect(),
            tags: query.tags.iter().map(|tag| words::number(tag)).collect(),
            texts,
            hits: Vec::new(),
            nearest: Vec::new(),
            newest: Vec::new(),
            expected: end,
            model,
            stale: None,
        }
    }

    /// Whether older rows cannot change what is found.
    pub fn is_full(&self) -> bool {
        self.query.is_open() && self.newest.len() >= CANDIDATES_MAX
    }

    /// Takes a row, the next older one.
    ///
    /// # Errors
    /// [`SegmentError`] when it cannot be read.
    pub fn add(&mut self, first: u64, row: &[u8]) -> Result<(), SegmentError> {
        let row = Row::read(row)?;
        let after = first + row.entries as u64;
        if after != self.expected {
            self.stale = Some(after.min(self.expected));
        }
        if self.model.is_some() && row.model != self.model {
            self.stale = Some(first);
        }
        let counts = self.counting(first, &row)?;
        self.expected = first;
        if self.query.is_open() {
            let places = (0..row.entries).rev().filter(|place| counts[*place]);
            self.newest.extend(places.map(|place| first + place as u64));
            return Ok(());
        }
        self.count_words(first, &row, &counts)?;
        self.compare(first, &row, &counts);
        Ok(())
    }

    /// Ends it; `all` says whether the oldest row was seen.
    pub fn finish(mut self, all: bool) -> Ranked {
        if all && self.expected > 0 {
            self.stale = Some(0);
        }
        let stale = self.stale;
        if self.query.is_open() {
            let open = |position| Candidate { position, words: None, meaning: None };
            return Ranked { candidates: self.newest.into_iter().map(open).collect(), stale };
        }
        let mut found: BTreeMap<u64, Scores> = BTreeMap::new();
        for (score, position) in self.best_by_words() {
            found.entry(position).or_default().words = Some(score);
        }
        keep_best(&mut self.nearest);
        for (score, position) in self.nearest {
            found.entry(position).or_default().meaning = Some(score);
        }
        // Of passages that are as good as each other the newest first.
        let (positions, scores): (Vec<u64>, Vec<Scores>) = found.into_iter().rev().unzip();
        let candidate = |place: usize| Candidate {
            position: positions[place],
            words: scores[place].words,
            meaning: scores[place].meaning,
        };
        Ranked { candidates: fusion::order(&scores).into_iter().map(candidate).collect(), stale }
    }

    /// Which entries of a row count; those do not that a newer row has, too.
    fn counting(&self, first: u64, row: &Row<'_>) -> Result<Vec<bool>, SegmentError> {
        let mut tagged = vec![0; row.entries];
        for tag in &self.tags {
            for (place, _) in row.tags.of(*tag)? {
                *tagged.get_mut(place).ok_or(SegmentError::Damaged)? += 1;
            }
        }
        let needed = match (self.tags.len(), self.query.match_all_tags) {
            (all, true) => all,
            (all, false) => all.min(1),
        };
        let counts = |place: usize| {
            let there = match row.state(place) {
                State::Current => true,
                State::Superseded => self.query.history,
                State::Gone => false,
            };
            let is_new = first + (place as u64) < self.expected;
            is_new && there && tagged[place] >= needed && self.query.is_in_time(row.created_ms(place))
        };
        Ok((0..row.entries).map(counts).collect())
    }

    fn count_words(&mut self, first: u64, row: &Row<'_>, counts: &[bool]) -> Result<(), SegmentError> {
        for place in (0..row.entries).filter(|place| counts[*place]) {
            self.texts.count += 1;
            self.texts.words += u64::from(row.length(place));
        }
        for (word, number) in (0_u8..).zip(&self.words) {
            for (place, times) in row.words.of(*number)? {
                if *counts.get(place).ok_or(SegmentError::Damaged)? {
                    self.texts.with[usize::from(word)] += 1;
                    let (position, length) = (first + place as u64, row.length(place));
                    self.hits.push(WordHit { position, length, word, times });
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, first: u64, row: &Row<'_>, counts: &[bool]) {
        let Some((direction, model)) = &self.direction else { return };
        let same = row.model == Some(*model) || kelpie_core::mutant!("vectors_of_another_model");
        if !same || row.dimensions != direction.dimensions() {
            return;
        }
        for place in (0..row.entries).filter(|place| counts[*place]) {
            let Some((parts, square)) = row.vector(place) else { continue };
            let cosine = direction.cosine(parts, square);
            if cosine >= COSINE_MIN {
                self.nearest.push((cosine, first + place as u64));
            }
        }
        // Now and then, so that it is cheap and memory stays bounded.
        if self.nearest.len() > 64 * CANDIDATES_MAX {
            keep_best(&mut self.nearest);
        }
    }

    fn best_by_words(&self) -> Vec<(f64, u64)> {
        let lowest = self.hits.iter().map(|hit| hit.position).min().unwrap_or_default();
        let place =
            |hit: &WordHit| usize::try_from(hit.position - lowest).expect("fewer than rows fit in memory");
        let mut scores = vec![0.0; self.hits.iter().map(place).max().map_or(0, |last| last + 1)];
        for hit in &self.hits {
            scores[place(hit)] += self.texts.score(usize::from(hit.word), u32::from(hit.times), hit.length);
        }
        let scored = (lowest..).zip(scores).filter(|(_, score)| *score > 0.0);
        let mut best = scored.map(|(position, score)| (score, position)).collect();
        keep_best(&mut best);
        best
    }
}

/// The best ones, in no order; of those that are as good as each other the newest.
fn keep_best(scored: &mut Vec<(f64, u64)>) {
    if scored.len() > CANDIDATES_MAX {
        scored.select_nth_unstable_by(CANDIDATES_MAX, |(one, at), (other, there)| {
            other.total_cmp(one).then(there.cmp(at))
        });
        scored.truncate(CANDIDATES_MAX);
    }
}

#[cfg(test)]
mod tests;
