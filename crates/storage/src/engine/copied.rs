//! Rows copied out of pages, many of them into one buffer: that costs no allocation for each.

use std::mem;

use bytes::Bytes;

/// Bytes of a buffer. As long as one row of it is kept, all of it stays in memory.
const BUFFER: usize = 16 << 10;
/// Longer rows get a buffer of their own.
const SHORT: usize = 1 << 10;

#[derive(Default)]
pub(crate) struct Copied {
    rows: Vec<(Bytes, Bytes)>,
    /// Keys and values behind one another, and where each key and each value ends.
    buffer: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Copied {
    /// How many rows were added.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.ends.len()
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let bytes = key.len() + value.len();
        if bytes > SHORT {
            self.settle();
            self.rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            return;
        }
        if self.buffer.len() + bytes > BUFFER {
            self.settle();
            // Many were read: there will be more.
            self.buffer.reserve_exact(BUFFER);
            self.rows.reserve(self.rows.len());
        }
        self.buffer.extend_from_slice(key);
        let key = self.buffer.len();
        self.buffer.extend_from_slice(value);
        self.ends.push((key, self.buffer.len()));
    }

    /// All rows, in the order of their adding.
    pub(crate) fn finish(mut self) -> Vec<(Bytes, Bytes)> {
        self.settle();
        self.rows
    }

    fn settle(&mut self) {
        let buffer = Bytes::from(mem::take(&mut self.buffer));
        let mut begin = 0;
        self.rows.extend(self.ends.drain(..).map(|(key, value)| {
            let row = (buffer.slice(begin..key), buffer.slice(key..value));
            begin = value;
            row
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_what_was_added() {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = (0..700_usize)
            .map(|n| (n.to_be_bytes()[..n % 9].to_vec(), vec![n.to_le_bytes()[0]; n * 37 % 1300]))
            .collect();
        let mut copied = Copied::default();
        for (n, (key, value)) in rows.iter().enumerate() {
            assert_eq!(copied.len(), n);
            copied.push(key, value);
        }
        let found = copied.finish();
        assert_eq!(found.len(), rows.len());
        assert!(found.iter().zip(&rows).all(|(found, row)| found.0 == row.0 && found.1 == row.1));
    }
}
