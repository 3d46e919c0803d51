//! The writes of a transaction before it commits, normalised: first ranges that become
//! empty, then one operation per key.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::atomic::AtomicOp;
use crate::contract::Op;
use crate::keys::KeyRange;

/// What the buffer knows about a key.
pub(crate) enum Buffered<'a> {
    /// Nothing: the store decides.
    Nothing,
    /// Its value, or that it has none.
    Value(Option<&'a Bytes>),
    /// Changes on top of what the store holds.
    Changes(&'a [(AtomicOp, Bytes)]),
}

#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    /// Begin and end of cleared ranges: disjoint, not touching.
    clears: BTreeMap<Bytes, Bytes>,
    points: BTreeMap<Bytes, Op>,
}

impl WriteBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.clears.is_empty() && self.points.is_empty()
    }

    pub(crate) fn set(&mut self, key: Bytes, value: Bytes) {
        self.points.insert(key, Op::Set(value));
    }

    pub(crate) fn clear(&mut self, key: Bytes) {
        self.points.insert(key, Op::Clear);
    }

    pub(crate) fn atomic(&mut self, op: AtomicOp, key: Bytes, operand: Bytes) {
        let cleared = self.is_cleared(&key);
        match self.points.get_mut(&key) {
            Some(Op::Set(value)) => *value = op.apply(Some(value), &operand),
            Some(entry @ Op::Clear) => *entry = Op::Set(op.apply(None, &operand)),
            Some(Op::Atomic(changes)) => changes.push((op, operand)),
            None if cleared => {
                self.points.insert(key, Op::Set(op.apply(None, &operand)));
            }
            None => {
                self.points.insert(key, Op::Atomic(vec![(op, operand)]));
            }
        }
    }

    /// Empties a range: what was written there before counts no more.
    pub(crate) fn clear_range(&mut self, range: KeyRange) {
        if range.is_empty() {
            return;
        }
        let KeyRange { mut begin, mut end } = range;
        let dead: Vec<Bytes> = self.points_in(&begin, &end).map(|(key, _)| key.clone()).collect();
        for key in dead {
            self.points.remove(&key);
        }
        // Every cleared range that overlaps or touches becomes part of this one.
        let joined: Vec<(Bytes, Bytes)> = self
            .clears
            .range(..=end.clone())
            .rev()
            .take_while(|(_, other_end)| **other_end >= begin)
            .map(|(b, e)| (b.clone(), e.clone()))
            .collect();
        for (other_begin, other_end) in joined {
            self.clears.remove(&other_begin);
            begin = begin.min(other_begin);
            end = end.max(other_end);
        }
        self.clears.insert(begin, end);
    }

    pub(crate) fn is_cleared(&self, key: &[u8]) -> bool {
        self.clears
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| key < &end[..])
    }

    pub(crate) fn get(&self, key: &[u8]) -> Buffered<'_> {
        match self.points.get(key) {
            Some(Op::Set(value)) => Buffered::Value(Some(value)),
            Some(Op::Clear) => Buffered::Value(None),
            Some(Op::Atomic(changes)) => Buffered::Changes(changes),
            None if self.is_cleared(key) => Buffered::Value(None),
            None => Buffered::Nothing,
        }
    }

    /// The keys written in `[begin, end)`, in order.
    pub(crate) fn points_in(
        &self,
        begin: &[u8],
        end: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Bytes, &Op)> {
        // An inverted range is a panic of `BTreeMap::range`, and holds nothing.
        let some = begin < end;
        let bounds = (Bound::Included(begin), Bound::Excluded(end));
        some.then(|| self.points.range::<[u8], _>(bounds)).into_iter().flatten()
    }

    /// Bytes of the keys and values in it.
    pub(crate) fn bytes(&self) -> usize {
        let clears: usize = self.clears.iter().map(|(b, e)| b.len() + e.len()).sum();
        let points: usize = self.points.iter().map(|(key, op)| key.len() + op_bytes(op)).sum();
        clears + points
    }

    /// The parts of a commit request.
    pub(crate) fn into_parts(self) -> (Vec<KeyRange>, Vec<(Bytes, Op)>) {
        let clears = self.clears.into_iter().map(|(begin, end)| KeyRange { begin, end }).collect();
        (clears, self.points.into_iter().collect())
    }
}

fn op_bytes(op: &Op) -> usize {
    match op {
        Op::Set(value) => value.len(),
        Op::Clear => 0,
        Op::Atomic(changes) => changes.iter().map(|(_, operand)| operand.len()).sum(),
    }
}

/// The value after `changes` to `stored`.
pub(crate) fn apply_changes(stored: Option<Bytes>, changes: &[(AtomicOp, Bytes)]) -> Option<Bytes> {
    changes.iter().fold(stored, |value, (op, operand)| Some(op.apply(value.as_deref(), operand)))
}
