//! Working memory: read and changed within the turn that says so, at that turn's own wall time.
//!
//! A turn that looks clears what has expired. So it is the turns that keep the rows few, and nothing
//! has to wake up for it: an agent that rests keeps no more rows than its last turn has left.

use bytes::Bytes;
use kelpie_core::record::{self, RecordError};
use kelpie_memory::layout;
use kelpie_memory::working::{NewWorkingEntry, WorkingEntry, WorkingError, WorkingMemory};
use kelpie_runtime::{HandlerError, RecordRange, TurnError, View};

use super::desk::Desk;
use super::{code, invalid};
use crate::date;

/// Why nothing was noted down.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    /// It cannot be.
    #[error(transparent)]
    Working(#[from] WorkingError),
    /// The turn failed.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<NoteError> for HandlerError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Turn(error) => error.into(),
            NoteError::Working(error) => {
                let field = match error {
                    WorkingError::BadKey => "key",
                    WorkingError::BadTtl { .. } => "ttl_minutes",
                    WorkingError::TooLong { .. } | WorkingError::TooMany | WorkingError::Full { .. } => {
                        "value"
                    }
                };
                invalid(field, error.to_string())
            }
        }
    }
}

/// What the rows hold at a time.
fn laid_out(now_ms: u64, rows: &[(Bytes, Bytes)]) -> Result<WorkingMemory, TurnError> {
    let entries: Result<Vec<WorkingEntry>, RecordError> =
        rows.iter().map(|(_, row)| record::decode(row)).collect();
    Ok(WorkingMemory::at(now_ms, entries?))
}

/// What working memory holds, as committed, by the clock of this node.
pub(crate) async fn viewed(view: &View) -> Result<WorkingMemory, TurnError> {
    laid_out(view.now_ms(), &view.range(RecordRange::prefix(layout::WORKING)).await?)
}

impl Desk<'_> {
    /// What working memory holds at the time of this turn; what has expired by then is gone for good.
    pub(super) async fn working(&mut self) -> Result<WorkingMemory, TurnError> {
        let rows = self.turn.range(RecordRange::prefix(layout::WORKING)).await?;
        let memory = laid_out(self.turn.now_ms(), &rows)?;
        for key in memory.expired() {
            self.turn.clear(layout::working(key));
        }
        Ok(memory)
    }

    /// Sets an entry.
    pub(super) async fn set_working(&mut self, new: NewWorkingEntry) -> Result<WorkingEntry, NoteError> {
        new.check()?;
        let entry = self.working().await?.set(new)?;
        self.turn.set(layout::working(&entry.key), record::encode(&entry));
        Ok(entry)
    }

    /// Deletes an entry; says whether there was one.
    pub(super) async fn forget_working(&mut self, key: &str) -> Result<bool, TurnError> {
        let there = self.working().await?.get(key).is_some();
        if there {
            self.turn.clear(layout::working(key));
        }
        Ok(there)
    }

    /// Deletes an entry that has to be there.
    pub(super) async fn delete_working(&mut self, key: &str) -> Result<(), HandlerError> {
        if self.forget_working(key).await? {
            return Ok(());
        }
        Err(HandlerError::app(code::NO_NOTE, "Entry not found"))
    }
}

/// An entry without its text, as a model reads it.
pub(super) fn line(entry: &WorkingEntry) -> String {
    format!("{}: {} bytes, {}", entry.key, entry.value.len(), until(entry))
}

/// For how long an entry holds.
pub(super) fn until(entry: &WorkingEntry) -> String {
    match entry.expires_ms {
        Some(expires) => format!("until {}", date::iso8601(expires)),
        None => "until it is deleted".to_owned(),
    }
}
