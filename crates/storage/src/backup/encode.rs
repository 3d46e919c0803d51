//! Rows into a backup, piece by piece.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};

use super::digest::{RowsDigest, is_generation};
use super::format::{
    BODY_BYTES_MAX, COUNTS_BYTES, END, FORMAT, FRAME_BYTES, HEAD, Head, MAGIC, ROWS, ROWS_BYTES, checksum,
};
use crate::contract::{Export, ExportError, RowBatch};

/// The bytes of a backup, in pieces of a megabyte or so. Whoever stops before their end has
/// no backup: only the last piece makes it one.
pub fn encode(head: &Head, export: Export) -> BoxStream<'static, Result<Bytes, ExportError>> {
    let (encoder, begin) = Encoder::begin(head);
    let begin = futures::stream::once(std::future::ready(Ok(begin)));
    let rest = try_unfold(Some((encoder, export.batches)), |state| async move {
        let Some((mut encoder, mut batches)) = state else { return Ok(None) };
        match batches.next().await.transpose()? {
            Some(batch) => Ok(Some((encoder.rows(&batch), Some((encoder, batches))))),
            None => Ok(Some((encoder.end(), None))),
        }
    });
    begin.chain(rest).boxed()
}

struct Encoder {
    file: blake3::Hasher,
    rows: RowsDigest,
}

impl Encoder {
    fn begin(head: &Head) -> (Self, Bytes) {
        let mut encoder = Self { file: blake3::Hasher::new(), rows: RowsDigest::default() };
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        put_frame(&mut out, HEAD, &head.to_bytes());
        encoder.file.update(&out);
        (encoder, out.into())
    }

    fn rows(&mut self, batch: &RowBatch) -> Bytes {
        let mut out = Vec::with_capacity(ROWS_BYTES);
        let mut body = Vec::with_capacity(ROWS_BYTES);
        for (key, value) in batch.iter().filter(|(key, _)| !is_generation(key)) {
            self.rows.add(key, value);
            put_bytes(&mut body, key);
            put_bytes(&mut body, value);
            if body.len() >= ROWS_BYTES {
                put_frame(&mut out, ROWS, &body);
                body.clear();
            }
        }
        if !body.is_empty() {
            put_frame(&mut out, ROWS, &body);
        }
        self.file.update(&out);
        out.into()
    }

    fn end(mut self) -> Bytes {
        let mut body = Vec::with_capacity(COUNTS_BYTES + 32);
        body.extend_from_slice(&self.rows.rows().to_le_bytes());
        body.extend_from_slice(&self.rows.bytes().to_le_bytes());
        body.extend_from_slice(&self.rows.digest());
        self.file.update(&body);
        body.extend_from_slice(self.file.finalize().as_bytes());
        let mut out = Vec::with_capacity(FRAME_BYTES + body.len());
        put_frame(&mut out, END, &body);
        out.into()
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    assert!(body.len() <= BODY_BYTES_MAX, "rows are within the limits of the contract");
    out.push(kind);
    put_length(out, body.len());
    out.extend_from_slice(&checksum(kind, body).to_le_bytes());
    out.extend_from_slice(body);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("no body is longer than BODY_BYTES_MAX");
    out.extend_from_slice(&length.to_le_bytes());
}
