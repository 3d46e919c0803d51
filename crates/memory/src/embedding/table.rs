//! The table of a model: a vector for each token, read from safetensors.

use serde_json::Value;

use super::eighth;

/// Numbers of one vector.
const DIMENSIONS_MAX: usize = 1_024;
/// Tokens that there may be.
const ROWS_MAX: usize = 1 << 20;

/// A vector for each token, in 8-bit integers with a scale for each: an eighth of a per cent of
/// an error, a quarter of the memory.
#[derive(Debug)]
pub(super) struct Table {
    dimensions: usize,
    parts: Vec<i8>,
    scales: Vec<f32>,
}

/// A table that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It ends too early, or its header is no header.
    #[error("it is damaged, or no safetensors file")]
    Damaged,
    /// There has to be one matrix.
    #[error("it has {tensors} tensors, and has to have one: the matrix of the tokens' vectors")]
    Tensors {
        /// How many there are.
        tensors: usize,
    },
    /// It is of another kind.
    #[error(
        "its matrix is {shape:?} of {kind}: at most {ROWS_MAX} x {DIMENSIONS_MAX} of F16 or F32 is needed"
    )]
    Matrix {
        /// Rows and columns, or whatever it has.
        shape: Vec<u64>,
        /// The type of its numbers.
        kind: String,
    },
    /// It has a number that is none.
    #[error("the vector of token {token} is not finite")]
    NotFinite {
        /// Whose.
        token: usize,
    },
}

impl Table {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TableError> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or(TableError::Damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| TableError::Damaged)?;
        let (header, data) = rest.split_at_checked(length).ok_or(TableError::Damaged)?;
        let header: Value = serde_json::from_slice(header).map_err(|_| TableError::Damaged)?;
        let tensors = header.as_object().ok_or(TableError::Damaged)?;
        let tensors: Vec<&Value> =
            tensors.iter().filter(|(name, _)| *name != "__metadata__").map(|(_, tensor)| tensor).collect();
        let &[tensor] = tensors.as_slice() else {
            return Err(TableError::Tensors { tensors: tensors.len() });
        };
        let numbers = |field: &str| -> Vec<u64> {
            tensor[field].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
        };
        let (shape, kind) = (numbers("shape"), tensor["dtype"].as_str().unwrap_or("nothing").to_owned());
        let sizes: Vec<usize> = shape.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
        let width = match kind.as_str() {
            "F16" => 2,
            "F32" => 4,
            _ => 0,
        };
        let fits = |rows, dimensions| {
            width > 0 && (1..=ROWS_MAX).contains(&rows) && (1..=DIMENSIONS_MAX).contains(&dimensions)
        };
        let (rows, dimensions) = match sizes[..] {
            [rows, dimensions] if fits(rows, dimensions) => (rows, dimensions),
            _ => return Err(TableError::Matrix { shape, kind }),
        };
        let offsets: Vec<usize> =
            numbers("data_offsets").iter().filter_map(|at| usize::try_from(*at).ok()).collect();
        let &[from, to] = offsets.as_slice() else { return Err(TableError::Damaged) };
        let data = data.get(from..to).ok_or(TableError::Damaged)?;
        if data.len() != rows * dimensions * width {
            return Err(TableError::Damaged);
        }
        Self::of_rows(data, dimensions, width)
    }

    fn of_rows(data: &[u8], dimensions: usize, width: usize) -> Result<Self, TableError> {
        let (mut parts, mut scales) = (Vec::with_capacity(data.len() / width), Vec::new());
        for (token, row) in data.chunks_exact(dimensions * width).enumerate() {
            let row: Vec<f32> = row.chunks_exact(width).map(number).collect();
            if row.iter().any(|part| !part.is_finite()) {
                return Err(TableError::NotFinite { token });
            }
            let largest = row.iter().fold(0.0_f32, |largest, part| largest.max(part.abs()));
            if largest.is_normal() {
                parts.extend(row.iter().map(|part| eighth(*part, largest)));
                scales.push(largest / f32::from(i8::MAX));
            } else {
                parts.extend(std::iter::repeat_n(0, dimensions));
                scales.push(0.0);
            }
        }
        Ok(Self { dimensions, parts, scales })
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Adds the vector of a token.
    pub(super) fn add(&self, token: u32, sum: &mut [f32]) {
        let token = token as usize;
        let row = self.parts.get(token * self.dimensions..(token + 1) * self.dimensions);
        let (Some(row), Some(scale)) = (row, self.scales.get(token)) else { return };
        for (sum, part) in sum.iter_mut().zip(row) {
            *sum += scale * f32::from(*part);
        }
    }
}

/// A float of 16 or 32 bits, little-endian.
fn number(bytes: &[u8]) -> f32 {
    match *bytes {
        [low, high] => half(u16::from_le_bytes([low, high])),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    }
}

/// The value of a 16-bit float.
fn half(bits: u16) -> f32 {
    /// The smallest number of 16 bits: 2 to the power of -24.
    const SMALLEST: f32 = 5.960_464_5e-8;
    /// Between the offsets of the exponents of both kinds: 127 and 15.
    const OFFSET: u32 = 112;
    let (exponent, fraction) = (u32::from((bits >> 10) & 0x1F), u32::from(bits & 0x3FF));
    let value = match exponent {
        0 => f32::from(bits & 0x3FF) * SMALLEST,
        0x1F => f32::from_bits((0xFF << 23) | (fraction << 13)),
        _ => f32::from_bits(((exponent + OFFSET) << 23) | (fraction << 13)),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::tiny::safetensors;

    #[test]
    fn halves_are_read_as_they_are_written() {
        let halves = [0x0000, 0x3C00, 0xC000, 0x3555, 0x7BFF, 0x0001, 0x7C00].map(half);
        assert_eq!(halves, [0.0, 1.0, -2.0, 0.333_251_95, 65_504.0, 5.960_464_5e-8, f32::INFINITY]);
        assert!(half(0x7E00).is_nan());
    }

    #[test]
    fn what_is_no_table_says_why() {
        let read = |bytes: &[u8]| Table::read(bytes).map(|table| table.rows());
        assert_eq!(read(&safetensors("F32", &[2, 1], &[1.0, -1.0])), Ok(2));
        assert_eq!(read(b"PK"), Err(TableError::Damaged));
        assert_eq!(read(&safetensors("F32", &[2, 2], &[1.0])), Err(TableError::Damaged));
        let shape = vec![2];
        let kind = "F32".to_owned();
        assert_eq!(read(&safetensors("F32", &[2], &[1.0, 1.0])), Err(TableError::Matrix { shape, kind }));
        assert_eq!(
            read(&safetensors("BF16", &[1, 1], &[1.0])).unwrap_err().to_string(),
            "its matrix is [1, 1] of BF16: at most 1048576 x 1024 of F16 or F32 is needed"
        );
        assert_eq!(
            read(&safetensors("F32", &[2, 1], &[1.0, f32::NAN])),
            Err(TableError::NotFinite { token: 1 })
        );
    }
}
