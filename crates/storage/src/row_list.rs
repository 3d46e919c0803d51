//! Rows, many of them in one piece of memory.
//!
//! ```text
//!   places:   key 0..9, value 9..109 │ key 109..118, value 118..218 │ …
//!   buffer:   key value key value …            of 16 KiB; a long string has one of its own
//! ```
//!
//! Reading a row this way costs neither an allocation nor a count of who holds it. Who wants to
//! keep one gets it as [`Bytes`].

use std::mem;
use std::ops::Range;
use std::slice;

use bytes::Bytes;

/// Bytes of a buffer. As long as one row of it is kept, all of it stays in memory.
const BUFFER: usize = 16 << 10;
/// Longer strings get a buffer of their own, or share the one that they are in.
const SHORT: usize = 1 << 10;

/// Keys and values in their order.
#[derive(Clone, Default)]
pub struct RowList {
    buffers: Vec<Bytes>,
    places: Vec<Place>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Place {
    key: Span,
    value: Span,
}

/// A part of a buffer.
#[derive(Clone, Copy)]
struct Span {
    buffer: u32,
    begin: u32,
    end: u32,
}

impl Span {
    fn of(self, buffers: &[Bytes]) -> &[u8] {
        &buffers[self.buffer as usize][self.range()]
    }

    fn shared(self, buffers: &[Bytes]) -> Bytes {
        buffers[self.buffer as usize].slice(self.range())
    }

    fn range(self) -> Range<usize> {
        self.begin as usize..self.end as usize
    }

    fn len(self) -> usize {
        (self.end - self.begin) as usize
    }

    /// The same part when the first `gone` buffers are taken away.
    fn without(self, gone: u32) -> Self {
        Self { buffer: self.buffer - gone, ..self }
    }

    /// The same part when `before` buffers come first.
    fn behind(self, before: u32) -> Self {
        Self { buffer: self.buffer + before, ..self }
    }
}

impl Place {
    fn bytes(self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl RowList {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Key and value of row `n`.
    pub fn get(&self, n: usize) -> Option<(&[u8], &[u8])> {
        self.places.get(n).map(|place| (place.key.of(&self.buffers), place.value.of(&self.buffers)))
    }

    /// Key and value of the last row.
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All keys and values, in their order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { places: self.places.iter(), buffers: &self.buffers }
    }

    /// Keeps the first `len` rows.
    pub fn truncate(&mut self, len: usize) {
        let cut = self.places.iter().skip(len);
        self.bytes -= cut.map(|place| place.bytes()).sum::<usize>();
        self.places.truncate(len);
    }

    /// Rows `range`, which share the memory of these.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let places = &self.places[range];
        let used = |place: &Place| [place.key.buffer, place.value.buffer];
        let Some(first) = places.iter().flat_map(used).min() else { return Self::default() };
        let last = places.iter().flat_map(used).max().unwrap_or(first);
        let (mut bytes, mut moved) = (0, Vec::with_capacity(places.len()));
        for place in places {
            bytes += place.bytes();
            moved.push(Place { key: place.key.without(first), value: place.value.without(first) });
        }
        let buffers = self.buffers[first as usize..=last as usize].to_vec();
        Self { buffers, places: moved, bytes }
    }

    /// The same rows from the last to the first.
    pub(crate) fn reversed(mut self) -> Self {
        self.places.reverse();
        self
    }

    /// How many rows come before `key`, in a list whose keys grow.
    pub(crate) fn rank(&self, key: &[u8]) -> usize {
        self.places.partition_point(|place| place.key.of(&self.buffers) < key)
    }

    /// What it takes in memory, if nobody shares it.
    pub(crate) fn footprint(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(Bytes::len).sum();
        buffers + size_of_val(&self.buffers[..]) + size_of_val(&self.places[..])
    }

    /// Adds the rows of another list behind its own.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let before = index(self.buffers.len());
        self.buffers.extend(other.buffers);
        let behind =
            |place: Place| Place { key: place.key.behind(before), value: place.value.behind(before) };
        self.places.extend(other.places.into_iter().map(behind));
        self.bytes += other.bytes;
    }
}

/// There are fewer bytes in a page, and so fewer buffers.
fn index(n: usize) -> u32 {
    u32::try_from(n).expect("a page of rows has less than 4 GiB")
}

/// Puts rows together.
#[derive(Default)]
pub(crate) struct Packing {
    list: RowList,
    /// The buffer that is being filled, behind those of the list.
    open: Vec<u8>,
    /// Whether a place is in it, perhaps of nothing but empty strings.
    is_used: bool,
}

impl Packing {
    /// How many rows were added.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of all keys and values that were added.
    pub(crate) fn bytes(&self) -> usize {
        self.list.bytes
    }

    /// Adds a copy of a row.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        if key.len() + value.len() > SHORT {
            let place = Place { key: self.copied(key), value: self.copied(value) };
            return self.place(place);
        }
        if self.open.len() + key.len() + value.len() > BUFFER {
            self.settle();
            // Many were added: there will be more.
            self.open.reserve_exact(BUFFER);
        }
        let place = Place { key: self.written(key), value: self.written(value) };
        self.place(place);
    }

    /// Adds a row, with a long value shared and a short one copied.
    pub(crate) fn push_shared(&mut self, key: &[u8], value: &Bytes) {
        if value.len() <= SHORT {
            return self.push(key, value);
        }
        let place = Place { key: self.copied(key), value: self.adopted(value.clone()) };
        self.place(place);
    }

    /// Adds row `n` of another list.
    pub(crate) fn push_from(&mut self, list: &RowList, n: usize) {
        let Place { key, value } = list.places[n];
        let key = key.of(&list.buffers);
        if value.len() <= SHORT {
            self.push(key, value.of(&list.buffers));
        } else {
            self.push_shared(key, &value.shared(&list.buffers));
        }
    }

    /// All rows, in the order of their adding.
    pub(crate) fn finish(mut self) -> RowList {
        self.settle();
        self.list
    }

    fn place(&mut self, place: Place) {
        self.list.bytes += place.bytes();
        self.list.places.push(place);
    }

    /// Into the buffer that is being filled.
    fn written(&mut self, bytes: &[u8]) -> Span {
        let begin = index(self.open.len());
        self.is_used = true;
        self.open.extend_from_slice(bytes);
        Span { buffer: index(self.list.buffers.len()), begin, end: index(self.open.len()) }
    }

    /// Into the buffer that is being filled, or one of its own.
    fn copied(&mut self, bytes: &[u8]) -> Span {
        if bytes.len() > SHORT {
            return self.adopted(Bytes::copy_from_slice(bytes));
        }
        if self.open.len() + bytes.len() > BUFFER {
            self.settle();
        }
        self.written(bytes)
    }

    /// As a buffer of its own.
    fn adopted(&mut self, bytes: Bytes) -> Span {
        self.settle();
        let span = Span { buffer: index(self.list.buffers.len()), begin: 0, end: index(bytes.len()) };
        self.list.buffers.push(bytes);
        span
    }

    fn settle(&mut self) {
        if mem::take(&mut self.is_used) {
            self.list.buffers.push(Bytes::from(mem::take(&mut self.open)));
        }
    }
}

/// The rows of a [`RowList`].
#[derive(Clone)]
pub struct Iter<'a> {
    places: slice::Iter<'a, Place>,
    buffers: &'a [Bytes],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let Place { key, value } = self.places.next()?;
        Some((key.of(self.buffers), value.of(self.buffers)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let Place { key, value } = self.places.next_back()?;
        Some((key.of(self.buffers), value.of(self.buffers)))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a RowList {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The rows of a [`RowList`], to be kept.
pub struct IntoIter {
    places: std::vec::IntoIter<Place>,
    buffers: Vec<Bytes>,
}

impl Iterator for IntoIter {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let Place { key, value } = self.places.next()?;
        Some((key.shared(&self.buffers), value.shared(&self.buffers)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

impl IntoIterator for RowList {
    type Item = (Bytes, Bytes);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { places: self.places.into_iter(), buffers: self.buffers }
    }
}

impl FromIterator<(Bytes, Bytes)> for RowList {
    fn from_iter<T: IntoIterator<Item = (Bytes, Bytes)>>(rows: T) -> Self {
        let mut packing = Packing::default();
        rows.into_iter().for_each(|(key, value)| packing.push_shared(&key, &value));
        packing.finish()
    }
}

impl PartialEq for RowList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RowList {}

impl std::fmt::Debug for RowList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let readable = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        f.debug_map().entries(self.iter().map(|(key, value)| (readable(key), readable(value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and values of all lengths around those that matter.
    fn rows(count: usize) -> Vec<(Bytes, Bytes)> {
        let row = |n: usize| {
            let key = n.to_be_bytes()[..n % 9].repeat(if n.is_multiple_of(97) { 150 } else { 1 });
            (Bytes::from(key), Bytes::from(vec![n.to_le_bytes()[0]; n * 37 % 1300]))
        };
        (0..count).map(row).collect()
    }

    fn kept(list: RowList) -> Vec<(Bytes, Bytes)> {
        list.into_iter().collect()
    }

    #[test]
    fn every_row_is_what_was_added() {
        let rows = rows(700);
        let (mut copied, mut shared, mut bytes) = (Packing::default(), Packing::default(), 0);
        for (n, (key, value)) in rows.iter().enumerate() {
            assert_eq!((copied.len(), copied.bytes()), (n, bytes));
            copied.push(key, value);
            shared.push_shared(key, value);
            bytes += key.len() + value.len();
        }
        let (copied, shared) = (copied.finish(), shared.finish());
        assert_eq!((copied.len(), copied.bytes(), shared.bytes()), (700, bytes, bytes));
        assert!(copied.iter().eq(rows.iter().map(|(key, value)| (&key[..], &value[..]))));
        assert!(copied.iter().rev().eq(rows.iter().rev().map(|(key, value)| (&key[..], &value[..]))));
        assert_eq!(copied, shared);
        let mut from = Packing::default();
        (0..700).for_each(|n| from.push_from(&copied, n));
        assert_eq!(kept(from.finish()), rows);
        assert_eq!(copied.get(699), copied.last());
        assert_eq!(kept(copied), rows);
    }

    #[test]
    fn rows_of_nothing_are_rows() {
        let empty = (Bytes::new(), Bytes::new());
        let long = (Bytes::new(), Bytes::from(vec![7; SHORT + 1]));
        for rows in [vec![empty.clone()], vec![empty.clone(), long.clone(), empty.clone()], vec![long, empty]]
        {
            let list: RowList = rows.iter().cloned().collect();
            assert!(list.iter().eq(rows.iter().map(|(key, value)| (&key[..], &value[..]))));
            assert_eq!(kept(list), rows);
        }
    }

    #[test]
    fn long_values_are_shared_and_short_ones_share_a_buffer() {
        let long = Bytes::from(vec![7; SHORT + 1]);
        let list: RowList =
            [(Bytes::from("a"), long.clone()), (Bytes::from("b"), Bytes::from("x"))].into_iter().collect();
        let (_, value) = list.get(0).unwrap();
        assert_eq!(value.as_ptr(), long.as_ptr());
        let many: RowList =
            (0..1000_u32).map(|n| (Bytes::from(n.to_be_bytes().to_vec()), Bytes::from("v"))).collect();
        assert_eq!(many.buffers.len(), 1);
    }

    #[test]
    fn a_part_of_a_list_is_found_by_its_keys_and_shares_its_memory() {
        let rows: Vec<(Bytes, Bytes)> = (0..700_u32)
            .map(|n| {
                (Bytes::from((n * 2).to_be_bytes().to_vec()), Bytes::from(vec![7; n as usize * 37 % 1300]))
            })
            .collect();
        let list: RowList = rows.iter().cloned().collect();
        for (begin, end) in [(0, 700), (0, 0), (1, 2), (13, 500), (699, 700), (700, 700)] {
            let part = list.slice(begin..end);
            assert_eq!(part, rows[begin..end].iter().cloned().collect());
            let bytes = rows[begin..end].iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            assert_eq!((part.len(), part.bytes()), (end - begin, bytes));
            assert!(part.footprint() <= list.footprint() && part.footprint() >= bytes);
            let backwards: Vec<_> = rows[begin..end].iter().rev().cloned().collect();
            assert_eq!(kept(part.reversed()), backwards);
        }
        assert_eq!(list.slice(5..6).get(0).unwrap().1.as_ptr(), list.get(5).unwrap().1.as_ptr());
        for n in [0, 1, 2, 777, 1398, 1399, 5000_u32] {
            let before = rows.iter().filter(|(key, _)| key[..] < n.to_be_bytes()[..]).count();
            assert_eq!(list.rank(&n.to_be_bytes()), before);
        }
    }

    #[test]
    fn lists_are_joined_and_cut() {
        let rows = rows(300);
        for at in [0, 1, 150, 299, 300] {
            let mut joined: RowList = rows[..at].iter().cloned().collect();
            joined.append(rows[at..].iter().cloned().collect());
            assert_eq!(joined, rows.iter().cloned().collect());
            joined.truncate(at);
            let bytes = rows[..at].iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            assert_eq!((joined.len(), joined.bytes()), (at, bytes));
            assert_eq!(kept(joined), rows[..at]);
        }
    }
}
