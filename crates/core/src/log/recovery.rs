//! What the segments on disk mean: which records count, where the tail is cut, what must not
//! be started on.
//!
//! Invariant: a start either replays every record that was ever acknowledged and is not in
//! the checkpoint, or is refused. An unreadable place is a torn tail only if nothing says
//! that what stood there had been durable: no later record of the same segment that saw it
//! durable, no mark behind it, no later segment that continues behind it, no checkpoint beyond
//! it, and no note that a later segment was begun.

use super::frame::{self, Header, RECORDS_BEGIN};
use super::{LSN_JUMP, Lsn};

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Its header.
    pub header: Header,
    /// Its records in order: number, where the body begins, its length.
    pub records: Vec<Placed>,
    /// Where the first byte behind the last readable record is.
    pub end: usize,
    /// What is known to have been durable although it cannot be read here.
    pub evidence: Option<Lsn>,
}

/// Where a record is in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the log.
    pub lsn: Lsn,
    /// Where its body begins.
    pub body: usize,
    /// Length of its body.
    pub len: usize,
}

impl Scanned {
    /// The last readable record, or what the segment continued.
    fn last(&self) -> Lsn {
        self.records.last().map_or(self.header.cut_after, |record| record.lsn)
    }
}

/// Reads a segment up to the first place where no record of it stands, and looks behind that
/// place for evidence of damage.
pub fn scan(segment: &[u8], header: Header) -> Scanned {
    let mut scanned = Scanned { header, records: Vec::new(), end: RECORDS_BEGIN, evidence: None };
    let filled = filled(segment);
    let mut last = header.cut_after;
    loop {
        while let Some(record) = frame::decode(segment, scanned.end, header.generation, last) {
            last = record.lsn;
            let body = scanned.end + frame::FRAME_BYTES;
            scanned.records.push(Placed { lsn: last, body, len: record.body.len() });
            scanned.end += record.bytes;
        }
        let behind = (scanned.end + frame::ALIGNMENT..filled).step_by(frame::ALIGNMENT);
        let mut later =
            behind.filter_map(|at| Some((at, frame::decode(segment, at, header.generation, last)?)));
        if crate::mutant!("wal_replay_past_torn")
            && let Some((at, _)) = later.next()
        {
            scanned.end = at;
            continue;
        }
        let marks = (scanned.end..segment.len()).step_by(frame::ALIGNMENT);
        let marks = marks.filter_map(|at| frame::decode_mark(segment, at, header.generation));
        let said = later.map(|(_, record)| record.synced).chain(marks);
        scanned.evidence = said.filter(|synced| *synced > last).max();
        return scanned;
    }
}

/// Where the zeroes begin, to the page, that a segment ends with. No record begins there, and
/// most of a segment that a killed process leaves is such.
fn filled(segment: &[u8]) -> usize {
    const ZEROES: [u8; 4096] = [0; 4096];
    let empty = segment.rchunks(ZEROES.len()).take_while(|page| **page == ZEROES[..page.len()]);
    segment.len() - empty.map(<[u8]>::len).sum::<usize>()
}

/// How to go on with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The records to replay, oldest first: the index of their segment and their place in it.
    pub replay: Vec<(usize, Placed)>,
    /// The last record that counts: the store stands there, and the tail is cut behind it.
    pub last: Lsn,
    /// The number of the next record.
    pub next: Lsn,
    /// The generation of the newest segment; zero without any.
    pub generation: u64,
}

/// A log that must not be started on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A record that had been durable cannot be read.
    #[error("a record after {after} was durable up to {durable} and is unreadable")]
    Record {
        /// Index of the segment.
        segment: usize,
        /// Where it cannot be read.
        offset: usize,
        /// The last readable record.
        after: Lsn,
        /// Up to where it had been durable.
        durable: Lsn,
    },
    /// A segment is not there.
    #[error("the log goes on after record {after}, but what came before it is missing")]
    Missing {
        /// Index of the segment behind the gap.
        segment: usize,
        /// Where that one continues.
        after: Lsn,
    },
    /// The newest segment is not there.
    #[error("the log's newest segment has generation {generation}, but {newest} had been begun")]
    Newest {
        /// The newest that is there; zero without any.
        generation: u64,
        /// The newest that had been begun.
        newest: u64,
    },
    /// A segment belongs to another store.
    #[error("the log segment belongs to another store")]
    Foreign {
        /// Index of the segment.
        segment: usize,
    },
    /// The checkpoint is ahead of the log.
    #[error("the log ends at record {last}, before the checkpoint at {position}")]
    Short {
        /// Its last record.
        last: Lsn,
        /// The checkpoint.
        position: Lsn,
    },
}

/// What is known beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whose log it must be.
    pub store: u64,
    /// The newest segment that is known to have been begun; zero before the first.
    pub newest: u64,
    /// The checkpoint holds everything up to here.
    pub position: Lsn,
}

/// Decides what the log means above a checkpoint. `segments` by generation.
pub fn recover(segments: &[Scanned], known: Known) -> Result<Recovered, Damage> {
    let Known { store, newest, position } = known;
    if let Some(segment) = segments.iter().position(|segment| segment.header.store != store) {
        return Err(Damage::Foreign { segment });
    }
    let generation = segments.last().map_or(0, |segment| segment.header.generation);
    if generation < newest {
        return Err(Damage::Newest { generation, newest });
    }
    let mut replay = Vec::new();
    let mut last = 0;
    for (index, segment) in segments.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| segments[before].header.generation);
        let continues = segment.header.cut_after;
        if before != Some(segment.header.previous) && continues > position {
            return Err(Damage::Missing { segment: index, after: continues });
        }
        // Behind the cut nothing counts, whatever stands there.
        let cut = segments.get(index + 1).map(|next| next.header.cut_after);
        let durable = cut.into_iter().chain(segment.evidence).max();
        if let Some(durable) = durable.filter(|durable| *durable > segment.last().max(position)) {
            let (after, offset) = (segment.last(), segment.end);
            return Err(Damage::Record { segment: index, offset, after, durable });
        }
        let is_cut = |lsn| cut.is_some_and(|cut| lsn > cut) && !crate::mutant!("wal_cut_ignored");
        let counts = |record: &&Placed| record.lsn > position && !is_cut(record.lsn);
        replay.extend(segment.records.iter().filter(counts).map(|record| (index, *record)));
        last = cut.unwrap_or_else(|| segment.last()).max(last);
    }
    if last < position {
        return Err(Damage::Short { last, position });
    }
    let used = segments.iter().map(|segment| segment.header.first).max().unwrap_or(0).max(last);
    let next = if crate::mutant!("wal_reused_lsn") { last + 1 } else { used + LSN_JUMP };
    Ok(Recovered { replay, last, next, generation })
}

#[cfg(test)]
mod tests;
