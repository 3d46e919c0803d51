//! How large a commit is, for who is told that it was too large.

use super::subspace::Subspace;
use crate::contract::{CommitRequest, Op};
use crate::keys::KeyRange;

/// In bytes, with prefixes, and with a conflict range of two keys for each key that is read
/// or written, as FoundationDB counts; what it adds for each part is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Everything.
    pub(super) transaction: usize,
    /// The contract's longest key.
    pub(super) key: usize,
    /// What that may be.
    pub(super) key_max: usize,
    /// The longest value or operand.
    pub(super) value: usize,
}

impl Size {
    pub(super) fn of(request: &CommitRequest, space: &Subspace) -> Self {
        let mut size = Self { key_max: space.key_bytes_max(), ..Self::default() };
        let prefix = space.key(&[]).len();
        request.reads.iter().for_each(|key| size.transaction += 2 * (prefix + key.len()));
        for range in request.read_ranges.iter().chain(&request.write_conflicts) {
            size.transaction += range_bytes(range, space);
        }
        // A range that is cleared is a mutation and a conflict range.
        request.clears.iter().for_each(|range| size.transaction += 2 * range_bytes(range, space));
        for (key, op) in &request.writes {
            match op {
                Op::Set(value) => size.add(prefix, key.len(), value.len()),
                Op::Clear => size.add(prefix, key.len(), 0),
                Op::Atomic(changes) => {
                    changes.iter().for_each(|(_, operand)| size.add(prefix, key.len(), operand.len()));
                }
            }
        }
        request.stamped.iter().for_each(|row| size.add(prefix, row.key.len(), row.value.len()));
        size
    }

    fn add(&mut self, prefix: usize, key: usize, value: usize) {
        self.transaction += 3 * (prefix + key) + value;
        self.key = self.key.max(key);
        self.value = self.value.max(value);
    }
}

fn range_bytes(range: &KeyRange, space: &Subspace) -> usize {
    space.range(range).map_or(0, |(begin, end)| begin.len() + end.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::atomic::AtomicOp;
    use crate::contract::Stamped;
    use crate::keys::end_of_keys;

    #[test]
    fn prefixes_and_conflict_ranges_count() {
        let space = Subspace::new(&"12345678".parse().unwrap());
        let value = Bytes::from(vec![0; 100]);
        let request = CommitRequest {
            reads: vec!["a".into()],
            read_ranges: vec![KeyRange::new("a", "b")],
            clears: vec![KeyRange::new("c", end_of_keys())],
            writes: vec![
                ("d".into(), Op::Set(value.clone())),
                ("e".into(), Op::Clear),
                ("ff".into(), Op::Atomic(vec![(AtomicOp::Add, value), (AtomicOp::Add, "1".into())])),
            ],
            stamped: vec![Stamped { key: vec![0; 12], offset: 2, value: Bytes::new() }],
            write_conflicts: vec![KeyRange::new("a", "a")],
        };
        let expected = Size {
            transaction: 22 + 22 + 2 * (11 + 10) + (33 + 100) + 33 + (36 + 100) + (36 + 1) + 66,
            key: 12,
            key_max: 9_986,
            value: 100,
        };
        assert_eq!(Size::of(&request, &space), expected);
    }
}
