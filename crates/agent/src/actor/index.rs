//! What searches need of an actor's passages, written in the commit that changes them, and the
//! search itself: of an agent's own passages and of an archive alike, in a turn or a view.
//!
//! Rows that another model's vectors are in, or that are not there because an older Kelpie kept
//! the passages, are made again in the background: a search that meets them has the actor told,
//! which does a window in a turn and tells itself to go on.

use bytes::Bytes;
use kelpie_core::record::{self, RecordError};
use kelpie_memory::archival::{Hit, Passage, PassageError, PassageQuery};
use kelpie_memory::embedding::Embeddings;
use kelpie_memory::layout;
use kelpie_memory::name::{self, Place};
use kelpie_memory::scan::PassageScan;
use kelpie_memory::segment::{self, PASSAGES_PER_WINDOW, Segment, SegmentError};
use kelpie_runtime::{HandlerError, RecordRange, Turn, TurnError, View};
use serde::de::Error;
use serde::{Deserialize, Serialize};

use super::rows::{self, Progress};
use super::{Shared, invalid, operation};
use crate::archive::NewPassage;

/// Rows that are read at once: some megabytes.
const ROWS_AT_ONCE: usize = 64;
/// Rows that one search looks at, newest first: some 200,000 passages.
const ROWS_MAX: usize = 2_000;

/// Where rows are read.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// As a turn has left them.
    Turn(&'a Turn),
    /// As committed.
    View(&'a View),
}

impl Rows<'_> {
    async fn get(self, record: &[u8]) -> Result<Option<Bytes>, TurnError> {
        match self {
            Self::Turn(turn) => turn.get(record).await,
            Self::View(view) => view.get(record).await,
        }
    }

    async fn range(self, range: RecordRange) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
        match self {
            Self::Turn(turn) => turn.range(range).await,
            Self::View(view) => view.range(range).await,
        }
    }
}

/// What a search has found in one collection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Best first.
    pub(crate) hits: Vec<Hit>,
    /// From where on rows for searches have to be made again.
    pub(crate) stale: Option<u64>,
}

/// The passages of a view that fit a question best.
pub(crate) async fn viewed(
    view: &View,
    query: &PassageQuery,
    embeddings: Option<&Embeddings>,
) -> Result<Found, TurnError> {
    let progress: Progress = rows::decoded(view.get(rows::PROGRESS).await?)?.unwrap_or_default();
    search(Rows::View(view), query, embeddings, progress.passages).await
}

/// The passages below position `end` that fit a question best.
pub(super) async fn search(
    rows: Rows<'_>,
    query: &PassageQuery,
    embeddings: Option<&Embeddings>,
    end: u64,
) -> Result<Found, TurnError> {
    let mut scan = PassageScan::new(query, embeddings, end);
    let mut range = RecordRange::prefix(layout::SEGMENTS).reversed().limit(ROWS_AT_ONCE);
    let (mut looked_at, mut all) = (0, false);
    while !all && looked_at < ROWS_MAX && !scan.is_full() {
        let read = rows.range(range.clone()).await?;
        looked_at += read.len();
        all = read.len() < ROWS_AT_ONCE;
        for (key, row) in &read {
            scan.add(first_of(key)?, row).map_err(damaged)?;
            range.end = key.clone();
        }
    }
    let ranked = scan.finish(all);
    let mut hits = Vec::new();
    for candidate in ranked.candidates {
        let Some(row) = rows.get(&layout::passage(candidate.position)).await? else { continue };
        let passage: Passage = record::decode(&row)?;
        // Rows for searches know tags by numbers that two tags may share.
        if query.lets(&passage) {
            hits.push(Hit { passage, words: candidate.words, meaning: candidate.meaning });
        }
        if hits.len() >= query.hits_max() {
            break;
        }
    }
    Ok(Found { hits, stale: ranked.stale })
}

/// Why a passage is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// It is none.
    #[error(transparent)]
    Passage(#[from] PassageError),
    /// There is no passage that it could supersede.
    #[error("There is no passage {id} here to supersede")]
    Unknown {
        /// What was named.
        id: String,
    },
    /// The turn has failed.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<KeepError> for HandlerError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Passage(error @ (PassageError::Empty | PassageError::TooLong { .. })) => {
                invalid("text", error.to_string())
            }
            KeepError::Passage(PassageError::Superseded { .. } | PassageError::Older { .. })
            | KeepError::Unknown { .. } => invalid("supersedes", error.to_string()),
            KeepError::Turn(error) => error.into(),
        }
    }
}

/// Keeps a passage of `owner` at a position that is new. The one that it supersedes stays, and
/// says since when and by which.
pub(super) async fn keep(
    turn: &mut Turn,
    shared: &Shared,
    owner: &str,
    position: u64,
    new: NewPassage,
) -> Result<Passage, KeepError> {
    let NewPassage { text, tags, created_ms, supersedes } = new;
    let id = name::placed("passage", owner, Place { position, part: 0 });
    let passage = Passage::new(id, text, tags, created_ms.unwrap_or(turn.now_ms()))?;
    if let Some(id) = supersedes {
        let unknown = || KeepError::Unknown { id: id.clone() };
        let old = name::place("passage", owner, &id).ok_or_else(unknown)?.position;
        let row = turn.get(&layout::passage(old)).await?.ok_or_else(unknown)?;
        let before: Passage = record::decode(&row).map_err(TurnError::from)?;
        turn.set(layout::passage(old), record::encode(&before.superseded(&passage)?));
        edit(turn, old, Segment::supersede).await?;
    }
    turn.set(layout::passage(position), record::encode(&passage));
    let segment = Segment::of([Some(&passage)], shared.embeddings.as_deref());
    if !(kelpie_core::mutant!("passage_without_its_row") && position % 2 == 1) {
        turn.set(layout::segment(position), segment.encoded());
    }
    let window = segment::window_of(position);
    if position + 1 == window + PASSAGES_PER_WINDOW {
        let rows = turn.range(window_rows(window)).await?;
        // Where one is missing, a search will have all of them made again.
        if segment::are_fresh(firsts(&rows)?, window, position + 1, None).map_err(damaged)? {
            let segments: Result<Vec<Segment>, _> =
                rows.iter().map(|(_, row)| Segment::decoded(row)).collect();
            write(turn, window, &rows, segments.map_err(damaged)?);
        }
    }
    Ok(passage)
}

/// Forgets the passage at a position.
pub(super) async fn forget(turn: &mut Turn, position: u64) -> Result<(), TurnError> {
    turn.clear(layout::passage(position));
    edit(turn, position, Segment::forget).await
}

/// Changes the entry of a position, if it has one.
async fn edit(
    turn: &mut Turn,
    position: u64,
    change: impl FnOnce(&mut Segment, usize) + Send,
) -> Result<(), TurnError> {
    let range = RecordRange {
        begin: layout::segment(segment::window_of(position)).into(),
        end: layout::segment(position + 1).into(),
        limit: 1,
        reverse: true,
    };
    if let Some((key, row)) = turn.range(range).await?.pop() {
        let mut segment = Segment::decoded(&row).map_err(damaged)?;
        change(&mut segment, usize::try_from(position - first_of(&key)?).expect("within a window"));
        turn.set(key, segment.encoded());
    }
    Ok(())
}

/// Makes the rows for searches of a window again, if they have to be, and leaves a message to go
/// on after it.
pub(super) async fn renew(turn: &mut Turn, shared: &Shared, from: u64) -> Result<(), TurnError> {
    let progress: Progress = rows::decoded(turn.get(rows::PROGRESS).await?)?.unwrap_or_default();
    let window = segment::window_of(from);
    let end = progress.passages.min(window + PASSAGES_PER_WINDOW);
    if window >= end {
        return Ok(());
    }
    let embeddings = shared.embeddings.as_deref();
    let rows = turn.range(window_rows(window)).await?;
    let fresh = segment::are_fresh(firsts(&rows)?, window, end, embeddings.map(Embeddings::name));
    if fresh.map_err(damaged)? {
        // Others are at it: who came first goes on.
        return Ok(());
    }
    let passages = RecordRange {
        begin: layout::passage(window).into(),
        end: layout::passage(end).into(),
        limit: usize::MAX,
        reverse: false,
    };
    let mut there: Vec<Option<Passage>> = (window..end).map(|_| None).collect();
    for (key, row) in turn.range(passages).await? {
        let position = layout::position(layout::PASSAGES, &key).ok_or(RecordError::Empty)?;
        let place = usize::try_from(position - window).expect("within a window");
        there[place] = Some(record::decode(&row)?);
    }
    let segment = Segment::of(there.iter().map(Option::as_ref), embeddings);
    write(turn, window, &rows, vec![segment]);
    if end < progress.passages {
        let own = turn.actor().clone();
        turn.send(own, operation::RENEW_INDEX, record::encode(&end));
    }
    Ok(())
}

/// Writes segments instead of the rows of their window.
fn write(turn: &mut Turn, window: u64, before: &[(Bytes, Bytes)], segments: Vec<Segment>) {
    for (key, _) in before {
        turn.clear(key.clone());
    }
    for (first, row) in Segment::packed(window, segments) {
        turn.set(layout::segment(first), row);
    }
}

fn window_rows(window: u64) -> RecordRange {
    RecordRange {
        begin: layout::segment(window).into(),
        end: layout::segment(window + PASSAGES_PER_WINDOW).into(),
        limit: usize::MAX,
        reverse: false,
    }
}

fn firsts(rows: &[(Bytes, Bytes)]) -> Result<Vec<(u64, &[u8])>, TurnError> {
    rows.iter().map(|(key, row)| Ok((first_of(key)?, &row[..]))).collect()
}

fn first_of(key: &[u8]) -> Result<u64, TurnError> {
    Ok(layout::position(layout::SEGMENTS, key).ok_or(RecordError::Empty)?)
}

fn damaged(error: SegmentError) -> TurnError {
    let error = match error {
        SegmentError::Version { found } => RecordError::Version { found },
        SegmentError::Damaged => RecordError::Body(Error::custom(error)),
    };
    TurnError::from(error)
}
