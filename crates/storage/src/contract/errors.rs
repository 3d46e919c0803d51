//! What can go wrong, one enum for each operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::LimitError;

/// Why a store cannot serve. A class, so that operators and callers can act on it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Outage {
    /// No room for more; reads go on, and writes as soon as there is room.
    #[error("the disk is full: free some space, reads go on meanwhile")]
    DiskFull,
    /// What an earlier fsync left on disk is unknown.
    #[error("an fsync failed, so nothing more is acknowledged: restart, and the log is replayed")]
    Poisoned,
    /// [`crate::Store::close`] was called.
    #[error("the store is closed")]
    Closed,
    /// More work than the store takes at once.
    #[error("the store is overloaded: try again later")]
    Overloaded,
    /// The disk refused.
    #[error("the disk refused")]
    Disk(#[source] Arc<io::Error>),
    /// What the disk holds is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {what}. What is there cannot be read; restore the directory from a \
         backup", file.display()
    )]
    Damaged {
        /// The file.
        file: Arc<Path>,
        /// Where in it.
        offset: u64,
        /// What was expected there.
        what: Arc<str>,
    },
    /// A remote store refused or was not reached.
    #[error("the store did not serve: {reason}")]
    Remote {
        /// What it said.
        reason: Arc<str>,
    },
}

/// A read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The transaction began longer ago than the store keeps old versions.
    #[error("the transaction is older than five seconds: begin again")]
    TooOld,
    /// What it would see fits no order of all commits, together with what the transaction
    /// has read before.
    #[error("conflict: something read has been written since")]
    Conflict,
    /// The store cannot serve it.
    #[error("cannot read")]
    Unavailable(#[source] Outage),
    /// The key is too long.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A commit did not happen, or may not have happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Something that was read has been written since. Nothing happened; run it again.
    #[error("conflict: something read has been written since")]
    Conflict,
    /// The transaction began too long ago. Nothing happened; run it again.
    #[error("the transaction is older than five seconds: begin again")]
    TooOld,
    /// Nothing happened.
    #[error("not committed")]
    Unavailable(#[source] Outage),
    /// It may have happened, or may still happen. Settle it by a write.
    #[error("it is unknown whether the commit happened")]
    Unknown(#[source] Outage),
    /// It is larger than the contract allows. Nothing was sent.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("{} is in use by {holder}: stop it, or choose another directory", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as far as it can be told.
        holder: String,
    },
    /// The directory was written by another version of Kelpie.
    #[error(
        "{} holds store format {found}, this build reads format {known}: use the Kelpie version that wrote \
         it, or move the directory away to begin anew", dir.display()
    )]
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// What its format file says.
        found: String,
        /// What this build reads.
        known: u32,
    },
    /// Acknowledged data is damaged or missing: starting would lose it silently.
    #[error(
        "{} is damaged at byte {offset}: {what}. Acknowledged commits may be lost; restore the directory \
         from a backup, or move it away to begin anew", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected there.
        what: String,
    },
    /// A server was not reached, or did not let us in.
    #[error("cannot use {store}: {reason}. Is it running, and is the URL right?")]
    Unreachable {
        /// Which, without its password.
        store: String,
        /// What was said.
        reason: String,
    },
    /// A server is there, and cannot keep what the store promises.
    #[error("{store} cannot be the store: {what}")]
    Unfit {
        /// Which, without its password.
        store: String,
        /// Why, and what to do.
        what: String,
    },
    /// The tables were made by another version of Kelpie.
    #[error(
        "{store} holds tables of version {found}, this build knows version {known}: use the Kelpie version \
         that made them, or another schema (`?schema=…`) to begin anew"
    )]
    UnknownSchema {
        /// Which, without its password.
        store: String,
        /// Version of the tables.
        found: i32,
        /// What this build knows.
        known: i32,
    },
    /// The options make no sense.
    #[error("store options: {what}")]
    Options {
        /// Which, and why.
        what: String,
    },
    /// The disk refused.
    #[error("cannot open the store at {}", path.display())]
    Disk {
        /// What was being opened.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A store could not be closed cleanly. What was acknowledged is in its log all the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the last checkpoint failed; the log keeps everything and the next start replays it")]
pub struct CloseError(#[source] pub Outage);

/// The rows of a store cannot be read as a whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExportError {
    /// The backend has a better way.
    #[error("this store is not copied row by row: {instead}")]
    Refused {
        /// Which one.
        instead: &'static str,
    },
    /// The store cannot serve it, or cannot any longer.
    #[error("cannot read all rows")]
    Unavailable(#[source] Outage),
    /// Which life of the store this is cannot be read.
    #[error("cannot read the generation of the store")]
    Generation(#[source] ReadError),
    /// They come from a backup that is not what it was when it was checked.
    #[error("the backup has changed: {reason}")]
    Backup {
        /// How.
        reason: Arc<str>,
    },
}

/// A store was not filled; it holds what it held before, unless that is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// The backend cannot take a whole store.
    #[error("this store is not filled row by row: {instead}")]
    Refused {
        /// What can be done.
        instead: &'static str,
    },
    /// There are rows already.
    #[error("the store holds rows already: restore into an empty one")]
    NotEmpty,
    /// The rows ended too early.
    #[error("the rows could not be read")]
    Source(#[source] ExportError),
    /// What was written reads back as something else.
    #[error("the rows read back differently")]
    Differs,
    /// The store cannot serve it.
    #[error("cannot fill the store")]
    Unavailable(#[source] Outage),
    /// The connection was lost over the last answer: it holds all rows, or none.
    #[error("it is unknown whether the store is filled: ask again, it will say if it is")]
    Unknown(#[source] Outage),
}
