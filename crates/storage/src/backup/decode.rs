//! A backup back into rows, however its bytes are cut into pieces.

use bytes::{Buf, Bytes, BytesMut};

use super::digest::RowsDigest;
use super::format::{
    BODY_BYTES_MAX, COUNTS_BYTES, END, FORMAT, FRAME_BYTES, HEAD, Head, MAGIC, PRELUDE_BYTES, ROWS, Summary,
    checksum,
};
use crate::contract::RowBatch;
use crate::limits::{KEY_BYTES_MAX, check_key, check_value};

/// Bytes that are no whole backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("it is no backup of a Kelpie store")]
    Foreign,
    /// Made by another version of Kelpie.
    #[error(
        "it has backup format {found}, this build reads format {FORMAT}: use the Kelpie version that wrote it"
    )]
    UnknownFormat {
        /// What it says.
        found: u32,
    },
    /// It is not what was written.
    #[error("it is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where the part begins that does not fit.
        offset: u64,
        /// What was expected there.
        what: &'static str,
    },
    /// It ends too early.
    #[error("it is cut off: it ends at byte {bytes}, without its end mark")]
    Truncated {
        /// Its length.
        bytes: u64,
    },
}

/// One part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What it says about itself.
    Head(Head),
    /// Some rows. That they are all, and the right ones, is known at the end only.
    Rows(RowBatch),
    /// It is whole.
    End(Summary),
}

/// Reads a backup. Push bytes, take pieces, and [`Decoder::finish`] where the bytes end.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Where the buffer begins in the file.
    offset: u64,
    file: blake3::Hasher,
    rows: RowsDigest,
    last_key: Option<Bytes>,
    next: Expected,
    end: Option<Summary>,
}

/// What has to come next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    Prelude,
    Head,
    Rows,
    Nothing,
}

impl Decoder {
    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece, if its bytes are here.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, BackupError> {
        if self.next == Expected::Prelude && !self.prelude()? {
            return Ok(None);
        }
        if self.next == Expected::Nothing {
            return if self.buffer.is_empty() { Ok(None) } else { Err(self.damaged("nothing")) };
        }
        let Some(header) = self.buffer.first_chunk::<FRAME_BYTES>() else { return Ok(None) };
        let kind = header[0];
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let expected = u32::from_le_bytes([header[5], header[6], header[7], header[8]]);
        if length > BODY_BYTES_MAX {
            return Err(self.damaged("a frame of a possible length"));
        }
        let Some(body) = self.buffer.get(FRAME_BYTES..FRAME_BYTES + length) else { return Ok(None) };
        if checksum(kind, body) != expected {
            return Err(self.damaged("a frame that matches its checksum"));
        }
        let piece = match (self.next, kind) {
            (Expected::Head, HEAD) => self.head(length)?,
            (Expected::Rows, ROWS) => self.row_batch(length)?,
            (Expected::Rows, END) => self.end(length)?,
            _ => return Err(self.damaged("a frame of another kind")),
        };
        Ok(Some(piece))
    }

    /// The file has ended here.
    pub fn finish(self) -> Result<Summary, BackupError> {
        let bytes = self.offset + self.buffer.len() as u64;
        match self.end {
            Some(summary) => Ok(summary),
            None if self.next == Expected::Prelude
                && !self.buffer.iter().zip(MAGIC).all(|(is, may)| is == may) =>
            {
                Err(BackupError::Foreign)
            }
            None => Err(BackupError::Truncated { bytes }),
        }
    }

    /// Whether all that tells a backup from something else is here.
    fn prelude(&mut self) -> Result<bool, BackupError> {
        let Some(prelude) = self.buffer.first_chunk::<PRELUDE_BYTES>() else { return Ok(false) };
        if prelude[..8] != *MAGIC {
            return Err(BackupError::Foreign);
        }
        let found = u32::from_le_bytes([prelude[8], prelude[9], prelude[10], prelude[11]]);
        if found != FORMAT {
            return Err(BackupError::UnknownFormat { found });
        }
        self.consume(PRELUDE_BYTES);
        self.next = Expected::Head;
        Ok(true)
    }

    fn head(&mut self, length: usize) -> Result<Piece, BackupError> {
        let head = Head::from_bytes(&self.buffer[FRAME_BYTES..FRAME_BYTES + length]);
        let head = head.ok_or_else(|| self.damaged("a head that this build understands"))?;
        self.consume(FRAME_BYTES + length);
        self.next = Expected::Rows;
        Ok(Piece::Head(head))
    }

    fn row_batch(&mut self, length: usize) -> Result<Piece, BackupError> {
        let begin = self.offset;
        let mut body = self.consume(FRAME_BYTES + length);
        body.advance(FRAME_BYTES);
        let garbled = |what| BackupError::Damaged { offset: begin, what };
        let mut batch = RowBatch::new();
        while !body.is_empty() {
            let (key, value) = take_bytes(&mut body)
                .and_then(|key| Some((key, take_bytes(&mut body)?)))
                .filter(|(key, value)| check_key(key, KEY_BYTES_MAX).is_ok() && check_value(value).is_ok())
                .ok_or(garbled("whole rows within the limits"))?;
            if self.last_key.as_ref().is_some_and(|last| *last >= key) {
                return Err(garbled("keys in ascending order"));
            }
            self.rows.add(&key, &value);
            self.last_key = Some(key.clone());
            batch.push((key, value));
        }
        Ok(Piece::Rows(batch))
    }

    fn end(&mut self, length: usize) -> Result<Piece, BackupError> {
        let body = &self.buffer[FRAME_BYTES..FRAME_BYTES + length];
        let Some((counts, file_digest)) = body.split_at_checked(COUNTS_BYTES).and_then(|(counts, digest)| {
            Some((<[u8; COUNTS_BYTES]>::try_from(counts).ok()?, <[u8; 32]>::try_from(digest).ok()?))
        }) else {
            return Err(self.damaged("the end mark"));
        };
        let mut found = self.rows.rows().to_le_bytes().to_vec();
        found.extend_from_slice(&self.rows.bytes().to_le_bytes());
        found.extend_from_slice(&self.rows.digest());
        self.file.update(&counts);
        if found != counts || *self.file.finalize().as_bytes() != file_digest {
            return Err(self.damaged("the digest of all that stands before"));
        }
        let (rows, row_bytes, rows_digest) = (self.rows.rows(), self.rows.bytes(), self.rows.digest());
        let summary = Summary { rows, row_bytes, rows_digest, file_digest };
        self.offset += (FRAME_BYTES + length) as u64;
        self.buffer.advance(FRAME_BYTES + length);
        self.next = Expected::Nothing;
        self.end = Some(summary.clone());
        Ok(Piece::End(summary))
    }

    /// Takes bytes off the front, into the digest of the file.
    fn consume(&mut self, length: usize) -> Bytes {
        let bytes = self.buffer.split_to(length).freeze();
        self.file.update(&bytes);
        self.offset += length as u64;
        bytes
    }

    fn damaged(&self, what: &'static str) -> BackupError {
        BackupError::Damaged { offset: self.offset, what }
    }
}

fn take_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32_le().ok()? as usize;
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests;
