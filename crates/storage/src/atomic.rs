//! Operations that change a value without reading it first, so that they never conflict.
//!
//! Numbers are little-endian and as long as the operand: a stored value is cut or
//! zero-extended to that length first. A missing value counts as zero, except for the
//! minima and `And`, where the operand itself is stored.

use bytes::Bytes;

/// What to do with the stored value and the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    /// Little-endian sum, wrapping.
    Add,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The greater little-endian number.
    Max,
    /// The smaller little-endian number.
    Min,
    /// The greater in byte order.
    ByteMax,
    /// The smaller in byte order.
    ByteMin,
}

impl AtomicOp {
    /// The value after this operation.
    pub fn apply(self, stored: Option<&[u8]>, operand: &Bytes) -> Bytes {
        match self {
            Self::Add => add(stored, operand),
            Self::Or => bitwise(stored, operand, |a, b| a | b),
            Self::Xor => bitwise(stored, operand, |a, b| a ^ b),
            Self::And => match stored {
                None => operand.clone(),
                Some(_) => bitwise(stored, operand, |a, b| a & b),
            },
            Self::Max => choose_number(stored.unwrap_or(&[]), operand, std::cmp::Ordering::Greater),
            Self::Min => match stored {
                None => operand.clone(),
                Some(stored) => choose_number(stored, operand, std::cmp::Ordering::Less),
            },
            Self::ByteMax => match stored {
                Some(stored) if *stored > **operand => Bytes::copy_from_slice(stored),
                _ => operand.clone(),
            },
            Self::ByteMin => match stored {
                Some(stored) if *stored < **operand => Bytes::copy_from_slice(stored),
                _ => operand.clone(),
            },
        }
    }
}

fn fitted(stored: &[u8], len: usize) -> Vec<u8> {
    let mut value = stored[..stored.len().min(len)].to_vec();
    value.resize(len, 0);
    value
}

fn add(stored: Option<&[u8]>, operand: &Bytes) -> Bytes {
    let mut sum = fitted(stored.unwrap_or(&[]), operand.len());
    let mut carry = false;
    for (digit, other) in sum.iter_mut().zip(operand.iter()) {
        let (partial, over) = digit.overflowing_add(*other);
        let (total, over_again) = partial.overflowing_add(u8::from(carry));
        *digit = total;
        carry = over || over_again;
    }
    sum.into()
}

fn bitwise(stored: Option<&[u8]>, operand: &Bytes, op: impl Fn(u8, u8) -> u8) -> Bytes {
    let mut value = fitted(stored.unwrap_or(&[]), operand.len());
    for (bits, other) in value.iter_mut().zip(operand.iter()) {
        *bits = op(*bits, *other);
    }
    value.into()
}

fn choose_number(stored: &[u8], operand: &Bytes, wanted: std::cmp::Ordering) -> Bytes {
    let stored = fitted(stored, operand.len());
    if stored.iter().rev().cmp(operand.iter().rev()) == wanted { stored.into() } else { operand.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &Bytes) -> u64 {
        u64::from_le_bytes(bytes[..].try_into().unwrap())
    }

    fn le(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_le_bytes())
    }

    #[test]
    fn add_carries_and_wraps() {
        assert_eq!(number(&AtomicOp::Add.apply(Some(&le(255)), &le(1))), 256);
        assert_eq!(number(&AtomicOp::Add.apply(Some(&le(u64::MAX)), &le(2))), 1);
        assert_eq!(number(&AtomicOp::Add.apply(None, &le(7))), 7);
    }

    #[test]
    fn extremes_compare_numbers_not_bytes() {
        assert_eq!(number(&AtomicOp::Max.apply(Some(&le(256)), &le(255))), 256);
        assert_eq!(number(&AtomicOp::Min.apply(Some(&le(256)), &le(255))), 255);
        assert_eq!(number(&AtomicOp::Min.apply(None, &le(9))), 9);
        assert_eq!(number(&AtomicOp::Max.apply(None, &le(9))), 9);
        assert_eq!(AtomicOp::ByteMax.apply(Some(b"a"), &Bytes::from_static(b"aa")), "aa");
        assert_eq!(AtomicOp::ByteMin.apply(Some(b"a"), &Bytes::from_static(b"aa")), "a");
    }

    #[test]
    fn bits_take_the_operand_length() {
        assert_eq!(AtomicOp::Or.apply(Some(&[1, 9]), &Bytes::from_static(&[2])), vec![3u8]);
        assert_eq!(AtomicOp::And.apply(Some(&[7]), &Bytes::from_static(&[2, 2])), vec![2u8, 0]);
        assert_eq!(AtomicOp::Xor.apply(None, &Bytes::from_static(&[5])), vec![5u8]);
    }
}
