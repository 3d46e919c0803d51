//! The rows that tell whether a commit has landed.
//!
//! A run holds one such row, its slot, and each of its attempts writes its own mark over what
//! is there. A new row for each attempt would do as well, if it did not have to read that the
//! row is absent: a store that guards absence by index page (PostgreSQL) then makes runs
//! conflict that have nothing in common, one retry for each commit at 64 clients.
//!
//! Invariants: a slot has one run at a time. A commit that makes a slot is known to have
//! landed before the first attempt on it, and what may still land is never used: it would
//! cover a mark. A slot that is gone settles nothing.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{back_off, passes};
use crate::contract::{CommitError, Outage};
use crate::keys::after_prefix;
use crate::store::{Shared, Store};
use crate::transaction::RangeQuery;

/// Where slots live: behind all keys that start with text.
const PREFIX: &[u8] = b"\xfe/run/";
/// Attempts to make a slot: with the backoff some seconds, in which a store is back.
const MAKE_ATTEMPTS_MAX: u32 = 50;
/// A slot that nobody has written to for so long belonged to a process that is gone.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);
/// A process leaves its own alone well before others may take it for left behind.
const IDLE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
const _: () = assert!(LEFT_BEHIND.as_secs() >= 4 * IDLE_MAX.as_secs(), "wall clocks may differ by hours");
/// So many are looked at by a process when it makes its first slot.
const LEFT_BEHIND_ROWS_MAX: usize = 256;

const FRESH: u8 = 0;
const DONE: u8 = 1;
const TOMBSTONE: u8 = 2;

/// What a slot holds: which attempt, what became of it, and the wall time in milliseconds.
type Encoded = [u8; 25];

/// One attempt, as it marks its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u128);

impl Mark {
    pub(super) fn new(shared: &Shared) -> Self {
        Self(shared.env.random_u128())
    }

    /// Written with all that the attempt writes.
    pub(super) fn done(self, shared: &Shared) -> Bytes {
        self.encode(DONE, shared)
    }

    /// Written by who settles the attempt.
    pub(super) fn tombstone(self, shared: &Shared) -> Bytes {
        self.encode(TOMBSTONE, shared)
    }

    /// Whether the attempt has landed, if `stored` speaks of it.
    pub(super) fn landed(self, stored: &[u8]) -> Option<bool> {
        let stored: &Encoded = stored.try_into().ok()?;
        stored.starts_with(&self.0.to_be_bytes()).then_some(stored[16] == DONE)
    }

    fn encode(self, what: u8, shared: &Shared) -> Bytes {
        let mut bytes: Encoded = [what; 25];
        bytes[..16].copy_from_slice(&self.0.to_be_bytes());
        bytes[17..].copy_from_slice(&shared.env.wall_ms().to_be_bytes());
        Bytes::copy_from_slice(&bytes)
    }
}

fn written_ms(stored: &[u8]) -> Option<u64> {
    let stored: &Encoded = stored.try_into().ok()?;
    stored[17..].try_into().ok().map(u64::from_be_bytes)
}

/// The slots of this process.
#[derive(Default)]
pub(crate) struct Slots(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Tells this process's slots from all others; drawn with the first one.
    process: Option<u128>,
    made: u32,
    /// The one used last is taken first, so that few are used at all.
    idle: Vec<Idle>,
}

struct Idle {
    row: Bytes,
    since: Duration,
}

/// A slot in use; idle again when it is dropped.
pub(super) struct Slot<'a> {
    pub(super) row: Bytes,
    shared: &'a Shared,
    gone: bool,
}

impl Slot<'_> {
    /// The row was not found: nobody uses it any more.
    pub(super) fn abandon(mut self) {
        self.gone = true;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.gone {
            let idle = Idle { row: self.row.clone(), since: self.shared.env.now() };
            self.shared.slots.0.lock().idle.push(idle);
        }
    }
}

impl Store {
    /// A slot for a run.
    pub(super) async fn slot(&self) -> Result<Slot<'_>, Outage> {
        let mut last = Outage::Overloaded;
        for attempt in 0..MAKE_ATTEMPTS_MAX {
            back_off(&self.shared, attempt).await;
            let (row, is_first) = match self.shared.slots.next(&self.shared) {
                Next::Idle(row) => return Ok(self.held(row)),
                Next::New { row, is_first } => (row, is_first),
            };
            if is_first && let Err(error) = self.clear_left_behind(&row).await {
                tracing::debug!(%error, "rows of processes that are gone stay");
            }
            let mut tx = self.begin();
            tx.set(row.clone(), Mark(0).encode(FRESH, &self.shared));
            match tx.commit().await {
                Ok(_) => return Ok(self.held(row)),
                // It may still land, over the mark of whoever used it: the next one, then.
                Err(CommitError::Unknown(outage)) => last = outage,
                Err(CommitError::Unavailable(outage)) if passes(&outage) => last = outage,
                Err(CommitError::Unavailable(outage)) => return Err(outage),
                Err(CommitError::Conflict | CommitError::TooOld) => {}
                Err(CommitError::Limit(limit)) => unreachable!("a row of some sixty bytes: {limit}"),
            }
        }
        Err(last)
    }

    fn held(&self, row: Bytes) -> Slot<'_> {
        Slot { row, shared: &self.shared, gone: false }
    }

    /// Clears some slots of processes that are gone, if they still are as they were seen.
    async fn clear_left_behind(&self, from: &Bytes) -> Result<(), CommitError> {
        let now = self.shared.env.wall_ms();
        let oldest = now.saturating_sub(u64::try_from(LEFT_BEHIND.as_millis()).expect("a day"));
        let mut tx = self.begin();
        let all = RangeQuery::new(from.clone(), after_prefix(PREFIX)).limit(LEFT_BEHIND_ROWS_MAX);
        let rows = tx.get_range(all.snapshot()).await?.rows;
        let left_behind = |stored: &[u8]| written_ms(stored).is_some_and(|written| written < oldest);
        let keys: Vec<Bytes> =
            rows.into_iter().filter(|(_, stored)| left_behind(stored)).map(|(row, _)| row).collect();
        if keys.is_empty() {
            return Ok(());
        }
        // Reads them once more, so that the commit depends on them.
        tx.get_many(&keys).await?;
        keys.into_iter().for_each(|row| tx.clear(row));
        tx.commit().await.map(drop)
    }
}

enum Next {
    Idle(Bytes),
    New { row: Bytes, is_first: bool },
}

impl Slots {
    fn next(&self, shared: &Shared) -> Next {
        let mut known = self.0.lock();
        let oldest = shared.env.now().saturating_sub(IDLE_MAX);
        while let Some(idle) = known.idle.pop() {
            if idle.since >= oldest {
                return Next::Idle(idle.row);
            }
        }
        let is_first = known.process.is_none();
        let process = *known.process.get_or_insert_with(|| shared.env.random_u128());
        known.made += 1;
        let row = [PREFIX, &process.to_be_bytes(), &known.made.to_be_bytes()].concat();
        Next::New { row: row.into(), is_first }
    }
}
