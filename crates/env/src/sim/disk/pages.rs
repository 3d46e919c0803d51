//! Bytes in pages: shared until they change, and none where there are only zeroes.
//!
//! Simulated files are written zeroed for later, copied at every image and cut at every
//! crash; with pages none of that costs as much as the file is long.

use std::ops::Range;
use std::sync::Arc;

pub(super) const PAGE: usize = 4096;

/// What a page without bytes of its own holds.
static ZEROES: [u8; PAGE] = [0; PAGE];

type Page = Option<Arc<[u8; PAGE]>>;

/// A sequence of bytes.
#[derive(Clone, Default)]
pub(super) struct Pages {
    length: usize,
    /// One for each begun page of the length. Beyond it their bytes are zero.
    pages: Vec<Page>,
}

impl Pages {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut pages = Self::default();
        pages.write(0, bytes);
        pages
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The bytes of a range that lies within the length.
    pub(super) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.read(range.start, &mut bytes);
        bytes
    }

    /// Reads what lies within the length.
    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) {
        for (page, within, part) in parts(offset, buffer.len()) {
            match &self.pages[page] {
                Some(page) => buffer[part].copy_from_slice(&page[within]),
                None => buffer[part].fill(0),
            }
        }
    }

    /// Writes, with zeroes between the end and the place.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        for (page, within, part) in parts(offset, bytes.len()) {
            self.write_page(page, within, &bytes[part]);
        }
    }

    /// Writes all of `other`.
    pub(super) fn put(&mut self, offset: usize, other: &Self) {
        self.grow(offset + other.length);
        for (index, page) in other.pages.iter().enumerate() {
            let start = index * PAGE;
            let length = PAGE.min(other.length - start);
            for (to, within, part) in parts(offset + start, length) {
                match page {
                    Some(page) => self.write_page(to, within, &page[part]),
                    None => self.zero_page(to, within),
                }
            }
        }
    }

    /// Cuts it, or extends it with zeroes.
    pub(super) fn set_len(&mut self, length: usize) {
        if length < self.length && !length.is_multiple_of(PAGE) {
            self.zero_page(length / PAGE, length % PAGE..PAGE);
        }
        self.pages.resize(length.div_ceil(PAGE), None);
        self.length = length;
    }

    /// Flips a bit; false beyond the end.
    pub(super) fn flip(&mut self, offset: usize, bit: u8) -> bool {
        if offset >= self.length {
            return false;
        }
        page(&mut self.pages[offset / PAGE])[offset % PAGE] ^= 1 << (bit % 8);
        true
    }

    fn grow(&mut self, length: usize) {
        if self.length < length {
            self.set_len(length);
        }
    }

    fn write_page(&mut self, index: usize, within: Range<usize>, bytes: &[u8]) {
        if *bytes == ZEROES[..bytes.len()] {
            self.zero_page(index, within);
        } else {
            page(&mut self.pages[index])[within].copy_from_slice(bytes);
        }
    }

    fn zero_page(&mut self, index: usize, within: Range<usize>) {
        let slot = &mut self.pages[index];
        if within.len() == PAGE {
            *slot = None;
        } else if slot.is_some() {
            page(slot)[within].fill(0);
        }
    }
}

/// A page of one's own, to be changed.
fn page(slot: &mut Page) -> &mut [u8; PAGE] {
    Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; PAGE])))
}

/// The pages that a range lies in: the number of each, the range within it, and which part
/// of the whole that is.
fn parts(offset: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done;
        let taken = (PAGE - at % PAGE).min(length - done);
        let part = (at / PAGE, at % PAGE..at % PAGE + taken, done..done + taken);
        done += taken;
        (taken > 0).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::chance::of_node;
    use rand_chacha::rand_core::Rng;

    /// Against a plain vector, with ranges that begin and end anywhere around pages.
    #[test]
    fn pages_are_as_good_as_a_vector() {
        let mut random = of_node(1, 1);
        let mut near = |most: usize| {
            let drawn = usize::try_from(random.next_u32()).expect("32 bits");
            let page = drawn % most / PAGE * PAGE;
            if drawn.is_multiple_of(3) { page } else { page + drawn / 7 % PAGE }
        };
        let (mut pages, mut model) = (Pages::default(), Vec::<u8>::new());
        let mut kept = Vec::new();
        for round in 0..3000_usize {
            let (offset, length) = (near(5 * PAGE), near(3 * PAGE));
            let byte = u8::try_from(round % 3).expect("small");
            match round % 7 {
                0 => {
                    pages.set_len(length);
                    model.resize(length, 0);
                }
                1 if offset < model.len() => {
                    assert!(pages.flip(offset, 3));
                    model[offset] ^= 8;
                }
                1 => assert!(!pages.flip(offset, 3)),
                _ => {
                    let mut bytes = vec![byte; length];
                    if let Some(last) = bytes.last_mut() {
                        *last = 9;
                    }
                    model.resize(model.len().max(offset + length), 0);
                    model[offset..offset + length].copy_from_slice(&bytes);
                    if round % 2 == 0 {
                        pages.write(offset, &bytes)
                    } else {
                        pages.put(offset, &Pages::of(&bytes))
                    }
                }
            }
            assert_eq!(pages.len(), model.len());
            assert!(pages.bytes(0..model.len()) == model, "round {round}");
            let some = model.len() / 3..model.len() / 2;
            assert!(pages.bytes(some.clone()) == model[some]);
            kept.push((pages.clone(), model.clone()));
            if kept.len() > 3 {
                let (pages, model) = kept.remove(0);
                assert!(pages.bytes(0..model.len()) == model, "what was shared has changed");
            }
        }
    }
}
