//! Files as a power cut sees them.
//!
//! What [`File::sync`] has not confirmed may be lost, in any order and torn at any byte;
//! what [`Disk::sync_dir`] has not confirmed may keep its old name. Calls block: callers
//! wrap them in `Env::blocking` or `Env::inline`.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in a locked directory that carries the lock. No other file has that name.
pub(crate) const LOCK_FILE: &str = "LOCK";

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// For reading and writing; an error when it does not exist.
    Existing,
    /// For reading and writing; an error when it exists. Its name is durable only after
    /// [`Disk::sync_dir`] of its parent.
    New,
}

/// An open file. Positions are bytes from its start.
pub trait File: Send + Sync + Debug {
    /// Reads at `offset` until `buffer` is full; an error if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file when needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once all earlier writes and the length would survive a power cut. After an
    /// error the state of earlier writes is unknown and stays so: never retry.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeroes.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Holds a directory for this process until dropped; ends with the process, however it dies.
pub trait DirectoryLock: Send + Sync + Debug {}

/// A node's disk.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Creates a directory and its parents; fine if it exists. What it creates is durable
    /// when it returns.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The files of a directory (names joined to `path`), sorted; without its directories
    /// and without the file that carries its lock.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Renames a file over another. Durable only after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether something has that name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Locks a directory against other processes and other holders in this one;
    /// `WouldBlock` when one holds it, with words that say who.
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>>;
}
