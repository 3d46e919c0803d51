//! What a search needs of passages that stand beside each other, in one row.
//!
//! ```text
//!   passage/0 … passage/127          the passages, one row each, for good
//!   segment/0                        of those 128 together: times, tags, words, vectors
//!   segment/128, segment/129, …      of the newest passages, each alone until its 128 are there
//! ```
//!
//! So a search reads a row for many passages, and keeping one writes a small row. A window of 128
//! positions is packed into as few rows as they fit into; a row never goes beyond its window.
//! A passage that was deleted leaves an empty entry, so that an entry's place tells its position.
//!
//! Layout, little-endian: a version byte; the name of the vectors' model (a byte of length, none
//! if 0); entries (u16); dimensions (u16); for each entry its time (u64), words (u32), the square
//! of its vector (u32, 0 without a vector), state (u8); the vectors; the words and the tags, each
//! as a list of numbers in order with where their places end (u32, u32), and the places (u8, u8:
//! which entry, how often).

use std::collections::BTreeMap;

use crate::archival::Passage;
use crate::embedding::{Embeddings, Vector};
use crate::words;

/// Passages of one window.
pub const PASSAGES_PER_WINDOW: u64 = 128;
/// Bytes of a row up to which passages are packed together: it stays a single row of the store,
/// which takes 100,000.
const PACKED_BYTES_MAX: usize = 85_000;
const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 17;
const NUMBER_BYTES: usize = 8;

const _: () = assert!(PASSAGES_PER_WINDOW <= 128, "a place is one byte");

/// A row that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// A newer Kelpie wrote it.
    #[error(
        "the row for searches has format {found}, this build reads format {VERSION}: a newer Kelpie wrote it"
    )]
    Version {
        /// What was found.
        found: u8,
    },
    /// It is shorter than it says, or contradicts itself.
    #[error("the row for searches is damaged")]
    Damaged,
}

/// What became of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was deleted.
    Gone,
    /// It holds.
    Current,
    /// Another one holds instead.
    Superseded,
}

impl State {
    pub(crate) fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Current,
            2 => Self::Superseded,
            _ => Self::Gone,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Gone => 0,
            Self::Current => 1,
            Self::Superseded => 2,
        }
    }
}

/// What a search needs of one passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    state: State,
    created_ms: u64,
    length: u32,
    vector: Option<Vector>,
    words: BTreeMap<u32, u8>,
    tags: BTreeMap<u32, u8>,
}

impl Entry {
    /// Of a passage that is not there.
    fn gone() -> Self {
        let (words, tags) = Default::default();
        Self { state: State::Gone, created_ms: 0, length: 0, vector: None, words, tags }
    }

    fn of(passage: &Passage, embeddings: Option<&Embeddings>) -> Self {
        let mut counted = words::counted(&passage.text);
        for tag in &passage.tags {
            for (word, times) in words::counted(tag) {
                *counted.entry(word).or_default() += times;
            }
        }
        let length = counted.values().fold(0_u32, |length, times| length.saturating_add(*times));
        let byte = |times: u32| u8::try_from(times).unwrap_or(u8::MAX);
        Self {
            state: if passage.superseded_ms.is_some() { State::Superseded } else { State::Current },
            created_ms: passage.created_ms,
            length,
            vector: embeddings.and_then(|embeddings| embeddings.vector(&passage.text)),
            words: counted.into_iter().map(|(word, times)| (word, byte(times))).collect(),
            tags: passage.tags.iter().map(|tag| (words::number(tag), 1)).collect(),
        }
    }
}

/// What a search needs of passages that stand beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    model: Option<String>,
    entries: Vec<Entry>,
}

impl Segment {
    /// Of passages at positions beside each other; nothing where one was deleted.
    pub fn of<'a>(
        passages: impl IntoIterator<Item = Option<&'a Passage>>,
        embeddings: Option<&Embeddings>,
    ) -> Self {
        let entry = |passage: Option<&Passage>| {
            passage.map_or_else(Entry::gone, |passage| Entry::of(passage, embeddings))
        };
        let model = embeddings.map(|embeddings| embeddings.name().to_owned());
        Self { model, entries: passages.into_iter().map(entry).collect() }
    }

    /// Forgets the passage at a place.
    pub fn forget(&mut self, place: usize) {
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Entry::gone();
        }
    }

    /// Notes that the passage at a place does not hold any more.
    pub fn supersede(&mut self, place: usize) {
        if let Some(entry) = self.entries.get_mut(place).filter(|entry| entry.state == State::Current) {
            entry.state = State::Superseded;
        }
    }

    /// The rows of segments that stand beside each other, the first one at position `first`: as
    /// few as they fit into. Vectors of two models never share a row.
    pub fn packed(first: u64, segments: Vec<Self>) -> Vec<(u64, Vec<u8>)> {
        let mut joined: Vec<Self> = Vec::new();
        for segment in segments {
            match joined.last_mut().filter(|last| last.model == segment.model) {
                Some(last) => last.entries.extend(segment.entries),
                None => joined.push(segment),
            }
        }
        let (mut position, mut rows) = (first, Vec::new());
        for segment in joined {
            let entries = segment.entries.len() as u64;
            segment.add_rows(position, &mut rows);
            position += entries;
        }
        rows
    }

    /// Halves, until each fits.
    fn add_rows(mut self, first: u64, rows: &mut Vec<(u64, Vec<u8>)>) {
        let row = self.encoded();
        if row.len() <= PACKED_BYTES_MAX || self.entries.len() == 1 {
            rows.push((first, row));
            return;
        }
        let half = self.entries.len() / 2;
        let rest = Self { model: self.model.clone(), entries: self.entries.split_off(half) };
        self.add_rows(first, rows);
        rest.add_rows(first + half as u64, rows);
    }

    /// The row.
    pub fn encoded(&self) -> Vec<u8> {
        let dimensions = self
            .entries
            .iter()
            .find_map(|entry| entry.vector.as_ref())
            .map_or(0, |vector| vector.parts().len());
        let model = self.model.as_deref().unwrap_or_default();
        let mut row = vec![VERSION, u8::try_from(model.len()).expect("names of models are short")];
        row.extend(model.as_bytes());
        row.extend(u16::try_from(self.entries.len()).expect("at most a window").to_le_bytes());
        row.extend(u16::try_from(dimensions).expect("a table has at most 1,024").to_le_bytes());
        for entry in &self.entries {
            row.extend(entry.created_ms.to_le_bytes());
            row.extend(entry.length.to_le_bytes());
            row.extend(entry.vector.as_ref().map_or(0, Vector::square).to_le_bytes());
            row.push(entry.state.byte());
        }
        for entry in &self.entries {
            match &entry.vector {
                Some(vector) => row.extend(vector.parts().iter().map(|part| part.cast_unsigned())),
                None => row.extend(std::iter::repeat_n(0, dimensions)),
            }
        }
        write_numbers(self.entries.iter().map(|entry| &entry.words), &mut row);
        write_numbers(self.entries.iter().map(|entry| &entry.tags), &mut row);
        row
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`SegmentError`] when it is none.
    pub fn decoded(row: &[u8]) -> Result<Self, SegmentError> {
        let row = Row::read(row)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(row.entries);
        for place in 0..row.entries {
            let vector = row
                .vector(place)
                .map(|(parts, _)| Vector::from_parts(parts.iter().map(|part| part.cast_signed()).collect()));
            entries.push(Entry {
                state: row.state(place),
                created_ms: row.created_ms(place),
                length: row.length(place),
                vector,
                words: BTreeMap::new(),
                tags: BTreeMap::new(),
            });
        }
        row.words.each(|number, place, times| {
            entries.get_mut(place)?.words.insert(number, times);
            Some(())
        })?;
        row.tags.each(|number, place, times| {
            entries.get_mut(place)?.tags.insert(number, times);
            Some(())
        })?;
        Ok(Self { model: row.model.map(str::to_owned), entries })
    }
}

/// Writes the numbers of all entries: each once, with the places that have it.
fn write_numbers<'a>(entries: impl Iterator<Item = &'a BTreeMap<u32, u8>>, row: &mut Vec<u8>) {
    let mut places: BTreeMap<u32, Vec<[u8; 2]>> = BTreeMap::new();
    for (place, numbers) in (0_u8..).zip(entries) {
        for (number, times) in numbers {
            places.entry(*number).or_default().push([place, *times]);
        }
    }
    row.extend(u32::try_from(places.len()).expect("far fewer words").to_le_bytes());
    let mut end = 0_u32;
    for (number, places) in &places {
        end += u32::try_from(places.len()).expect("at most a window");
        row.extend(number.to_le_bytes());
        row.extend(end.to_le_bytes());
    }
    row.extend(places.values().flatten().flatten());
}

/// The first position of the window that a position is in.
pub fn window_of(position: u64) -> u64 {
    position - position % PASSAGES_PER_WINDOW
}

/// Whether rows have an entry for each position from `from` up to `to`, and vectors of this model,
/// if any is given.
///
/// # Errors
/// [`SegmentError`] when one cannot be read.
pub fn are_fresh<'a>(
    rows: impl IntoIterator<Item = (u64, &'a [u8])>,
    from: u64,
    to: u64,
    model: Option<&str>,
) -> Result<bool, SegmentError> {
    let mut expected = from;
    for (first, row) in rows {
        let row = Row::read(row)?;
        if first != expected || (model.is_some() && row.model != model) {
            return Ok(false);
        }
        expected += row.entries as u64;
    }
    Ok(expected == to)
}

/// A row that is looked at where it is.
pub(crate) struct Row<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) entries: usize,
    pub(crate) dimensions: usize,
    pub(crate) words: Numbers<'a>,
    pub(crate) tags: Numbers<'a>,
    about: &'a [u8],
    vectors: &'a [u8],
}

impl<'a> Row<'a> {
    pub(crate) fn read(mut rest: &'a [u8]) -> Result<Self, SegmentError> {
        let rest = &mut rest;
        match take(rest, 1)?[0] {
            VERSION => {}
            found => return Err(SegmentError::Version { found }),
        }
        let length = usize::from(take(rest, 1)?[0]);
        let model = std::str::from_utf8(take(rest, length)?).map_err(|_| SegmentError::Damaged)?;
        let entries = usize::from(u16_at(take(rest, 2)?, 0));
        let dimensions = usize::from(u16_at(take(rest, 2)?, 0));
        let about = take(rest, entries * ENTRY_BYTES)?;
        let vectors = take(rest, entries * dimensions)?;
        let (words, tags) = (Numbers::read(rest)?, Numbers::read(rest)?);
        if !rest.is_empty() {
            return Err(SegmentError::Damaged);
        }
        let model = Some(model).filter(|model| !model.is_empty());
        Ok(Self { model, entries, dimensions, words, tags, about, vectors })
    }

    fn about(&self, place: usize) -> &'a [u8] {
        &self.about[place * ENTRY_BYTES..(place + 1) * ENTRY_BYTES]
    }

    pub(crate) fn created_ms(&self, place: usize) -> u64 {
        u64::from_le_bytes(*self.about(place).first_chunk().expect("an entry is longer"))
    }

    pub(crate) fn length(&self, place: usize) -> u32 {
        u32_at(self.about(place), 8)
    }

    pub(crate) fn state(&self, place: usize) -> State {
        State::of(self.about(place)[ENTRY_BYTES - 1])
    }

    /// The parts of the vector of an entry, and the sum of their squares.
    pub(crate) fn vector(&self, place: usize) -> Option<(&'a [u8], u32)> {
        let square = u32_at(self.about(place), 12);
        let parts = &self.vectors[place * self.dimensions..(place + 1) * self.dimensions];
        (square > 0).then_some((parts, square))
    }
}

/// Numbers in order, each with the entries that have it.
pub(crate) struct Numbers<'a> {
    numbers: &'a [u8],
    places: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SegmentError> {
        let count = usize::try_from(u32_at(take(rest, 4)?, 0)).map_err(|_| SegmentError::Damaged)?;
        let numbers = take(rest, count.checked_mul(NUMBER_BYTES).ok_or(SegmentError::Damaged)?)?;
        let places = match count.checked_sub(1) {
            Some(last) => u32_at(numbers, last * NUMBER_BYTES + 4) as usize,
            None => 0,
        };
        let places = take(rest, places * 2)?;
        Ok(Self { numbers, places })
    }

    fn count(&self) -> usize {
        self.numbers.len() / NUMBER_BYTES
    }

    fn number(&self, at: usize) -> u32 {
        u32_at(self.numbers, at * NUMBER_BYTES)
    }

    /// The places of the number that stands at `at`.
    fn at(&self, at: usize) -> Result<Places<'a>, SegmentError> {
        let end = |at: usize| u32_at(self.numbers, at * NUMBER_BYTES + 4) as usize;
        let begin = at.checked_sub(1).map_or(0, end);
        let pairs = self.places.get(begin * 2..end(at) * 2).ok_or(SegmentError::Damaged)?;
        Ok(Places(pairs.chunks_exact(2)))
    }

    /// The entries that have a number, and how often.
    pub(crate) fn of(&self, number: u32) -> Result<Places<'a>, SegmentError> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.number(middle) < number { low = middle + 1 } else { high = middle }
        }
        let found = low < self.count() && self.number(low) == number;
        if found { self.at(low) } else { Ok(Places([].chunks_exact(2))) }
    }

    /// Hands out every number with each of its places.
    fn each(&self, mut take: impl FnMut(u32, usize, u8) -> Option<()>) -> Result<(), SegmentError> {
        for at in 0..self.count() {
            for (place, times) in self.at(at)? {
                take(self.number(at), place, times).ok_or(SegmentError::Damaged)?;
            }
        }
        Ok(())
    }
}

/// Entries that have something, and how often.
pub(crate) struct Places<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for Places<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|pair| (usize::from(pair[0]), pair[1]))
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], SegmentError> {
    let (taken, left) = rest.split_at_checked(bytes).ok_or(SegmentError::Damaged)?;
    *rest = left;
    Ok(taken)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
