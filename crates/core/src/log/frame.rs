//! How records and segment headers look as bytes, and what bytes say when read back.
//!
//! ```text
//!   segment:  header, zeroes up to RECORDS_BEGIN, records, zeroes or old records
//!   record:   length u32 · checksum u32 · lsn u64 · synced u64 · body · zeroes up to a multiple of 8
//!   mark:     a record without a body, lsn = synced
//! ```
//!
//! `synced` is the last record that was durable when this one was written. It is the
//! evidence that tells damage from a torn tail: whoever wrote it had seen an fsync of
//! everything up to there succeed. The last batch has no later record to say so; a mark stands
//! in until the next batch takes its place.

use super::Lsn;

/// Where records begin: a sector of its own for the header, so that no torn record reaches it.
pub const RECORDS_BEGIN: usize = 4096;
/// Bytes of a record beside its body.
pub const FRAME_BYTES: usize = 24;
/// Records begin at multiples of this.
pub const ALIGNMENT: usize = 8;
/// Bytes of a segment header.
pub const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"kelpiewl";
/// The layout of this module.
const LAYOUT: u32 = 1;

const _: () =
    assert!(HEADER_BYTES <= RECORDS_BEGIN && RECORDS_BEGIN.is_multiple_of(ALIGNMENT), "headers fit");
const _: () = assert!(FRAME_BYTES.is_multiple_of(ALIGNMENT), "bodies are aligned");

/// What stands at the beginning of a segment. Durable before its first record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whose log it is.
    pub store: u64,
    /// How long the segment is: it has all its bytes before it has a header.
    pub bytes: u64,
    /// Grows from segment to segment; enters the checksum of every record in this one.
    pub generation: u64,
    /// Records of this segment have at least this number.
    pub first: Lsn,
    /// The generation of the segment before; zero in the very first.
    pub previous: u64,
    /// The last record that counts before this segment: what follows it there is cut.
    pub cut_after: Lsn,
}

/// Bytes that are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no valid segment header")]
pub struct BadHeader;

impl Header {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        let Self { store, bytes: len, generation, first, previous, cut_after } = *self;
        for (number, at) in [generation, first, previous, cut_after, store, len].into_iter().zip(0..) {
            bytes[12 + 8 * at..20 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header back.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(BadHeader)?;
        let known = bytes[..8] == *MAGIC && read_u32(bytes, 8) == LAYOUT;
        if !known || read_u32(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(BadHeader);
        }
        let number = |at: usize| read_u64(bytes, 12 + 8 * at);
        let (generation, first, previous, cut_after) = (number(0), number(1), number(2), number(3));
        Ok(Self { store: number(4), bytes: number(5), generation, first, previous, cut_after })
    }
}

/// Appends a record whose body `write` adds to `frames`. It is not valid before [`seal`].
pub fn append(frames: &mut Vec<u8>, lsn: Lsn, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = frames.len();
    frames.extend_from_slice(&[0; FRAME_BYTES]);
    write(frames);
    let body = frames.len() - begin - FRAME_BYTES;
    let body = u32::try_from(body).expect("a transaction has at most ten megabytes");
    frames[begin..begin + 4].copy_from_slice(&body.to_le_bytes());
    frames[begin + 8..begin + 16].copy_from_slice(&lsn.to_le_bytes());
    frames.resize(frames.len().next_multiple_of(ALIGNMENT), 0);
}

/// Makes all records of `frames` valid in the segment of `generation`, written when everything
/// up to `synced` was durable.
pub fn seal(frames: &mut [u8], generation: u64, synced: Lsn) {
    let mut at = 0;
    while at < frames.len() {
        let body = read_u32(frames, at) as usize;
        frames[at + 16..at + 24].copy_from_slice(&synced.to_le_bytes());
        let checksum = checksum(&frames[at..at + FRAME_BYTES + body], generation);
        frames[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        at = (at + FRAME_BYTES + body).next_multiple_of(ALIGNMENT);
    }
}

/// The bodies of the records that [`append`] has put into `frames`, whether sealed or not.
pub fn bodies(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = FRAME_BYTES + read_u32(rest, 0) as usize;
        let body = &rest[FRAME_BYTES..end];
        rest = &rest[end.next_multiple_of(ALIGNMENT)..];
        Some(body)
    })
}

/// One valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the log.
    pub lsn: Lsn,
    /// What was durable when it was written.
    pub synced: Lsn,
    /// What it says.
    pub body: &'a [u8],
    /// Bytes up to where the next one may begin.
    pub bytes: usize,
}

/// The record of `generation` at `at`, if a whole and undamaged one later than `after` stands
/// there.
pub fn decode(segment: &[u8], at: usize, generation: u64, after: Lsn) -> Option<Record<'_>> {
    let frame = segment.get(at..)?;
    if frame.len() < FRAME_BYTES {
        return None;
    }
    let body = read_u32(frame, 0) as usize;
    let (lsn, synced) = (read_u64(frame, 8), read_u64(frame, 16));
    let in_order = lsn > after || crate::mutant!("wal_generation_not_checked");
    if body == 0 || FRAME_BYTES + body > frame.len() || !in_order || synced >= lsn {
        return None;
    }
    let whole = &frame[..FRAME_BYTES + body];
    if read_u32(frame, 4) != checksum(whole, generation) && !crate::mutant!("wal_skip_checksum") {
        return None;
    }
    Some(Record { lsn, synced, body: &whole[FRAME_BYTES..], bytes: whole.len().next_multiple_of(ALIGNMENT) })
}

/// What says in the segment of `generation` that everything up to `synced` is durable.
pub fn mark(generation: u64, synced: Lsn) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[8..16].copy_from_slice(&synced.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    let checksum = checksum(&frame, generation);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// What the mark at `at` says, if a whole one of `generation` stands there.
pub fn decode_mark(segment: &[u8], at: usize, generation: u64) -> Option<Lsn> {
    let frame = segment.get(at..at + FRAME_BYTES)?;
    let synced = read_u64(frame, 16);
    let may_be = read_u32(frame, 0) == 0 && synced != 0 && read_u64(frame, 8) == synced;
    (may_be && read_u32(frame, 4) == checksum(frame, generation)).then_some(synced)
}

/// Of everything in a frame but the checksum itself, and of where it belongs.
fn checksum(frame: &[u8], generation: u64) -> u32 {
    let generation = if crate::mutant!("wal_generation_not_checked") { 0 } else { generation };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
