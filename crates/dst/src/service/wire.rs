//! What client and server of the store service say to each other.
//!
//! ```text
//!   frame: checksum (4 bytes, little-endian CRC-32 of the rest) · version (1 byte) · postcard
//! ```
//!
//! Invariant: a frame that was cut or of which a bit was flipped is none. A frame that is
//! whole may still be old, doubled, or of somebody else: that is for its reader to find out.

use bytes::Bytes;
use kelpie_storage::{
    AtomicOp, CommitError, CommitRequest, KeyRange, Op, Outage, ReadError, Rows, Scan, Stamped, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// From a client to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Which client: a number drawn for each connection.
    pub(super) client: u64,
    /// Which of its requests; sent again it has the same.
    pub(super) id: u64,
    /// The life of the server that it is meant for.
    pub(super) life: u64,
    pub(super) ask: Ask,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Which life of the server is this? Of any life.
    Life,
    /// A read at a version that the first read of this snapshot fixes.
    Read { snapshot: u64, read: Read },
    /// A commit, with a snapshot if it depends on what was read in it.
    Commit { snapshot: Option<u64>, request: Writes },
    /// A watch; asked again it says how the watch stands.
    Watch { watch: u64, key: Bytes },
    /// How does this watch stand?
    Renew { watch: u64 },
    /// The snapshot is needed no more. Not answered.
    Forget { snapshot: u64 },
    /// The watch is needed no more. Not answered.
    Unwatch { watch: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Read {
    Get(Bytes),
    GetMany(Vec<Bytes>),
    Scan { range: Span, limit: u64, reverse: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span(Bytes, Bytes);

/// A [`CommitRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writes {
    reads: Vec<Bytes>,
    read_ranges: Vec<Span>,
    clears: Vec<Span>,
    writes: Vec<(Bytes, Write)>,
    stamped: Vec<(Bytes, u64, Bytes)>,
    write_conflicts: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Write {
    Set(Bytes),
    Clear,
    Atomic(Vec<(Change, Bytes)>),
}

/// An [`AtomicOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Change {
    Add,
    And,
    Or,
    Xor,
    Max,
    Min,
    ByteMax,
    ByteMin,
}

/// From the server to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) client: u64,
    /// Of the request; [`NOTICE`] when it answers none.
    pub(super) id: u64,
    /// The life of the server that says it.
    pub(super) life: u64,
    pub(super) said: Said,
}

/// The id of what was not asked for. No request has it.
pub(super) const NOTICE: u64 = 0;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// This is the life of the server.
    Life,
    /// The request was meant for another life: it was not carried out in this one.
    WrongLife,
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Rows {
        rows: Vec<(Bytes, Bytes)>,
        more: bool,
    },
    NotRead(NotRead),
    Committed(Option<Version>),
    NotCommitted(NotCommitted),
    /// It is watched, and nothing has happened.
    Watching,
    /// The value may have changed since.
    Changed(u64),
    /// There is no such watch, or no more.
    NoWatch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NotRead {
    TooOld,
    Conflict,
    Unavailable(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NotCommitted {
    Conflict,
    TooOld,
    Unavailable(Failure),
    Unknown(Failure),
}

/// An [`Outage`], as far as it is a client's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    DiskFull,
    Overloaded,
    Other(String),
}

/// The bytes of a message.
pub(super) fn encode(message: &impl Serialize) -> Bytes {
    let frame = postcard::to_extend(message, vec![0; CHECKSUM_BYTES + 1]);
    let mut frame = frame.expect("messages are plain data, and a vector has room for all of it");
    frame[CHECKSUM_BYTES] = FORMAT;
    let checksum = crc32fast::hash(&frame[CHECKSUM_BYTES..]);
    frame[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame.into()
}

/// The message in these bytes, if they are what somebody has sent.
pub(super) fn decode<T: DeserializeOwned>(frame: &[u8]) -> Option<T> {
    let (checksum, rest) = frame.split_first_chunk::<CHECKSUM_BYTES>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (format, body) = rest.split_first()?;
    if *format != FORMAT {
        return None;
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Some(message),
        Ok(_) | Err(_) => None,
    }
}

impl From<KeyRange> for Span {
    fn from(KeyRange { begin, end }: KeyRange) -> Self {
        Self(begin, end)
    }
}

impl From<Span> for KeyRange {
    fn from(Span(begin, end): Span) -> Self {
        Self { begin, end }
    }
}

fn converted<T, U: From<T>>(all: Vec<T>) -> Vec<U> {
    all.into_iter().map(U::from).collect()
}

impl From<CommitRequest> for Writes {
    fn from(request: CommitRequest) -> Self {
        let CommitRequest { reads, read_ranges, clears, writes, stamped, write_conflicts } = request;
        Self {
            reads,
            read_ranges: converted(read_ranges),
            clears: converted(clears),
            writes: writes.into_iter().map(|(key, op)| (key, op.into())).collect(),
            stamped: stamped
                .into_iter()
                .map(|Stamped { key, offset, value }| (key.into(), offset as u64, value))
                .collect(),
            write_conflicts: converted(write_conflicts),
        }
    }
}

impl From<Writes> for CommitRequest {
    fn from(request: Writes) -> Self {
        let Writes { reads, read_ranges, clears, writes, stamped, write_conflicts } = request;
        Self {
            reads,
            read_ranges: converted(read_ranges),
            clears: converted(clears),
            writes: writes.into_iter().map(|(key, op)| (key, op.into())).collect(),
            stamped: stamped
                .into_iter()
                .map(|(key, offset, value)| Stamped { key: key.into(), offset: length(offset), value })
                .collect(),
            write_conflicts: converted(write_conflicts),
        }
    }
}

/// A length that came over the wire. One that no memory could hold is as good as the largest.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl From<Op> for Write {
    fn from(op: Op) -> Self {
        match op {
            Op::Set(value) => Self::Set(value),
            Op::Clear => Self::Clear,
            Op::Atomic(changes) => {
                Self::Atomic(changes.into_iter().map(|(op, operand)| (op.into(), operand)).collect())
            }
        }
    }
}

impl From<Write> for Op {
    fn from(write: Write) -> Self {
        match write {
            Write::Set(value) => Self::Set(value),
            Write::Clear => Self::Clear,
            Write::Atomic(changes) => {
                Self::Atomic(changes.into_iter().map(|(op, operand)| (op.into(), operand)).collect())
            }
        }
    }
}

impl From<AtomicOp> for Change {
    fn from(op: AtomicOp) -> Self {
        match op {
            AtomicOp::Add => Self::Add,
            AtomicOp::And => Self::And,
            AtomicOp::Or => Self::Or,
            AtomicOp::Xor => Self::Xor,
            AtomicOp::Max => Self::Max,
            AtomicOp::Min => Self::Min,
            AtomicOp::ByteMax => Self::ByteMax,
            AtomicOp::ByteMin => Self::ByteMin,
        }
    }
}

impl From<Change> for AtomicOp {
    fn from(change: Change) -> Self {
        match change {
            Change::Add => Self::Add,
            Change::And => Self::And,
            Change::Or => Self::Or,
            Change::Xor => Self::Xor,
            Change::Max => Self::Max,
            Change::Min => Self::Min,
            Change::ByteMax => Self::ByteMax,
            Change::ByteMin => Self::ByteMin,
        }
    }
}

impl From<Scan> for Read {
    fn from(Scan { range, limit, reverse }: Scan) -> Self {
        Self::Scan { range: range.into(), limit: limit as u64, reverse }
    }
}

impl From<Rows> for Said {
    fn from(Rows { rows, more }: Rows) -> Self {
        Self::Rows { rows: rows.into_iter().collect(), more }
    }
}

impl From<Outage> for Failure {
    fn from(outage: Outage) -> Self {
        match outage {
            Outage::DiskFull => Self::DiskFull,
            Outage::Overloaded => Self::Overloaded,
            // A client of a server does not restart it: to the client it does not serve.
            Outage::Poisoned | Outage::Closed | Outage::Disk(_) | Outage::Damaged { .. } => {
                Self::Other(outage.to_string())
            }
            Outage::Remote { reason } => Self::Other(reason.as_ref().to_owned()),
        }
    }
}

impl From<Failure> for Outage {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::DiskFull => Self::DiskFull,
            Failure::Overloaded => Self::Overloaded,
            Failure::Other(reason) => Self::Remote { reason: reason.into() },
        }
    }
}

impl From<ReadError> for NotRead {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooOld => Self::TooOld,
            ReadError::Conflict => Self::Conflict,
            ReadError::Unavailable(outage) => Self::Unavailable(outage.into()),
            // Keys are checked before they are sent.
            ReadError::Limit(limit) => Self::Unavailable(Failure::Other(limit.to_string())),
        }
    }
}

impl From<NotRead> for ReadError {
    fn from(error: NotRead) -> Self {
        match error {
            NotRead::TooOld => Self::TooOld,
            NotRead::Conflict => Self::Conflict,
            NotRead::Unavailable(failure) => Self::Unavailable(failure.into()),
        }
    }
}

impl From<CommitError> for NotCommitted {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Conflict,
            CommitError::TooOld => Self::TooOld,
            CommitError::Unavailable(outage) => Self::Unavailable(outage.into()),
            CommitError::Unknown(outage) => Self::Unknown(outage.into()),
            CommitError::Limit(limit) => Self::Unavailable(Failure::Other(limit.to_string())),
        }
    }
}

impl From<NotCommitted> for CommitError {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Conflict => Self::Conflict,
            NotCommitted::TooOld => Self::TooOld,
            NotCommitted::Unavailable(failure) => Self::Unavailable(failure.into()),
            NotCommitted::Unknown(failure) => Self::Unknown(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests;
