//! What a text means, as a vector: the mean of a fixed vector for each of its tokens.
//!
//! ```text
//!   text ─▶ tokens (byte-pair encoding) ─▶ their rows of the table, added up ─▶ 8-bit integers
//! ```
//!
//! A table and a tokenizer are all there is of such a model: the same text has the same vector on
//! every machine, and no network is asked. The formats are those in which such models are
//! published, safetensors and the JSON of a byte-pair tokenizer.
//!
//! Invariant: vectors of models with different names are never compared. The name is a digest of
//! what the model is made of, so that no two models share one by mistake.

mod table;
mod tokenizer;

use table::Table;
use tokenizer::Tokenizer;

pub use table::TableError;
pub use tokenizer::TokenizerError;

/// Bytes of a text, from its start, that its vector is made of: the mean of more tokens means
/// everything and nothing.
pub const TEXT_BYTES_MAX: usize = 8_192;

/// A model that makes vectors.
#[derive(Debug)]
pub struct Embeddings {
    name: String,
    tokenizer: Tokenizer,
    table: Table,
}

/// A model that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingsError {
    /// The tokenizer.
    #[error("the tokenizer cannot be used")]
    Tokenizer(#[from] TokenizerError),
    /// The table.
    #[error("the table of vectors cannot be used")]
    Table(#[from] TableError),
    /// The one is not made for the other.
    #[error("the tokenizer has {tokens} tokens, the table has vectors for {rows}: they are of two models")]
    Apart {
        /// What the tokenizer has.
        tokens: usize,
        /// What the table has.
        rows: usize,
    },
}

impl Embeddings {
    /// Reads a model: a tokenizer (`tokenizer.json`, byte-pair encoding) and its table
    /// (safetensors, one matrix of 16-bit or 32-bit floats, a row for each token).
    ///
    /// # Errors
    /// [`EmbeddingsError`] when it is damaged, or of a kind that is not supported.
    pub fn read(tokenizer: &[u8], table: &[u8]) -> Result<Self, EmbeddingsError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(tokenizer.len() as u64).to_le_bytes()).update(tokenizer).update(table);
        let digest = hasher.finalize().to_hex();
        let (tokenizer, table) = (Tokenizer::read(tokenizer)?, Table::read(table)?);
        if tokenizer.tokens() > table.rows() {
            return Err(EmbeddingsError::Apart { tokens: tokenizer.tokens(), rows: table.rows() });
        }
        let name = format!("static-{}-{}", table.dimensions(), &digest[..12]);
        Ok(Self { name, tokenizer, table })
    }

    /// Its name: the same on every machine for the same model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The numbers of one vector.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    /// The vector of a text; none if nothing of it means anything.
    pub fn vector(&self, text: &str) -> Option<Vector> {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let mut sum = vec![0.0; self.table.dimensions()];
        for token in self.tokenizer.tokens_of(text) {
            self.table.add(token, &mut sum);
        }
        Vector::of(&sum)
    }
}

/// A vector of 8-bit integers: its direction, as well as they can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    parts: Vec<i8>,
    /// The sum of the squares of its parts.
    square: u32,
}

impl Vector {
    /// The vector in this direction, if it has one.
    pub(crate) fn of(sum: &[f32]) -> Option<Self> {
        let largest = sum.iter().fold(0.0_f32, |largest, part| largest.max(part.abs()));
        if !(largest.is_normal()) {
            return None;
        }
        Some(Self::from_parts(sum.iter().map(|part| eighth(*part, largest)).collect()))
    }

    pub(crate) fn from_parts(parts: Vec<i8>) -> Self {
        let square = parts.iter().map(|part| i32::from(*part).pow(2).unsigned_abs()).sum();
        Self { parts, square }
    }

    pub(crate) fn parts(&self) -> &[i8] {
        &self.parts
    }

    pub(crate) fn square(&self) -> u32 {
        self.square
    }
}

/// A part as an 8-bit integer, where the largest part is 127.
fn eighth(part: f32, largest: f32) -> i8 {
    let scaled = (part / largest * f32::from(i8::MAX)).round();
    #[expect(clippy::cast_possible_truncation, reason = "a whole number between -127 and 127")]
    let part = scaled as i8;
    part
}

/// A vector to compare others with.
pub(crate) struct Direction {
    /// Wider than it need be: so the compiler multiplies and adds eight of them at once.
    parts: Vec<i16>,
    length: f64,
}

impl Direction {
    pub(crate) fn of(vector: &Vector) -> Self {
        let parts = vector.parts.iter().map(|part| i16::from(*part)).collect();
        Self { parts, length: f64::from(vector.square).sqrt() }
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.parts.len()
    }

    /// The cosine of the angle between it and a vector, exact for these integers: 1 in the same
    /// direction, about 0 where they have nothing to do with each other.
    pub(crate) fn cosine(&self, parts: &[u8], square: u32) -> f64 {
        let products = self
            .parts
            .iter()
            .zip(parts)
            .map(|(own, part)| i32::from(*own) * i32::from(i16::from(part.cast_signed())));
        let dot: i32 = products.sum();
        f64::from(dot) / (self.length * f64::from(square).sqrt())
    }
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tiny;
