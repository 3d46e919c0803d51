//! What the log does, told step by step in the words of `specs/KelpieWAL.tla`.
//!
//! A store that is opened with [`LogSteps`] tells each step of its log as it takes it: what is
//! about to be written before it is, what was synced after it. So that what a disk was told before a
//! power cut is told as well. `specs/traces/KelpieWAL_Trace.tla` follows such steps.

use std::fmt;
use std::sync::Arc;

use kelpie_core::log::Lsn;
use kelpie_core::log::recovery::Recovered;

/// A step of the log. The names are those of the specification's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStep {
    /// A commit got its number and waits for its batch.
    Appended {
        /// The number.
        lsn: Lsn,
    },
    /// The waiting commits are a batch on its way.
    BatchTaken {
        /// Commits of it.
        records: u64,
        /// Bytes of it.
        bytes: u64,
    },
    /// The batch is written, but not synced.
    BatchWritten,
    /// The batch is durable and visible.
    BatchLanded {
        /// Its last number.
        through: Lsn,
    },
    /// The sync of the batch failed.
    SyncFailed,
    /// The batch could be written in part at most.
    WriteFailed,
    /// What was written of it is zeroes again, durably.
    Neutralised,
    /// And that failed as well.
    NeutraliseFailed,
    /// A segment gets its header.
    HeaderWritten {
        /// Its generation.
        generation: u64,
        /// Its records have at least this number.
        first: Lsn,
        /// The generation before it.
        previous: u64,
        /// The last record that counts before it.
        cut: Lsn,
        /// Which segment the file was before; zero if it was none.
        was: u64,
    },
    /// The header is durable.
    HeaderSynced,
    /// The sync of the header failed.
    HeaderSyncFailed,
    /// The file is a segment by its name.
    Renamed,
    /// Names are durable.
    NamesSynced,
    /// It is noted that there is such a segment.
    Noted {
        /// Its generation.
        generation: u64,
    },
    /// A checkpoint holds everything up to here.
    Folded {
        /// Where.
        position: Lsn,
    },
    /// A segment whose records are all in a checkpoint is none by its name.
    CutRenamed {
        /// Its generation.
        generation: u64,
    },
    /// That name is durable.
    CutSynced,
    /// A start has read the log.
    Started {
        /// The last record that counts.
        last: Lsn,
        /// The number of the next record.
        next: Lsn,
        /// The newest segment; zero without any.
        generation: u64,
        /// Records above the checkpoint.
        replayed: u64,
    },
    /// The records of the newest segment are written anew, if there are any that count.
    Hardened {
        /// Whether there are.
        needed: bool,
    },
    /// They are durable.
    HardenSynced,
    /// Their sync failed, and the start with it.
    HardenFailed,
    /// The start has taken over the spare files.
    SparesAdopted,
}

/// Who is told the steps of a log, if anybody.
#[derive(Clone, Default)]
pub struct LogSteps(Option<Arc<dyn Fn(LogStep) + Send + Sync>>);

impl LogSteps {
    /// Tells them to `listener`, which must not use the store.
    pub fn new(listener: impl Fn(LogStep) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// What a start has read.
    pub(super) fn started(&self, recovered: &Recovered) {
        let Recovered { replay, last, next, generation } = recovered;
        let (last, next, generation) = (*last, *next, *generation);
        self.tell(LogStep::Started { last, next, generation, replayed: replay.len() as u64 });
    }

    /// One step.
    pub(super) fn tell(&self, step: LogStep) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}

impl fmt::Debug for LogSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSteps").field(&self.0.is_some()).finish()
    }
}
