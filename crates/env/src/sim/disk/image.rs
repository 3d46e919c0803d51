//! Disks as they were at one instant, to go on from as often as one likes.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Storage;
use super::inode::Inode;
use super::names::{Names, parent};
use super::state::State;

/// What a disk held between two of its operations, what no sync had confirmed included.
///
/// Put under a node of another simulation by [`crate::sim::Sim::node_with_disk`]: to cut the
/// power at every operation of a long run without repeating the run, or to damage a file.
pub struct DiskImage {
    names: Names,
    dirs: std::collections::BTreeSet<PathBuf>,
    created: u64,
    operations: u64,
}

impl DiskImage {
    pub(super) fn of(state: &State) -> Self {
        Self {
            names: state.names.fork(),
            dirs: state.dirs.clone(),
            created: state.created,
            operations: state.operations,
        }
    }

    pub(in crate::sim) fn storage(&self) -> Storage {
        let Self { names, dirs, created, operations } = self.clone();
        let state = State { names, dirs, created, operations, ..State::default() };
        Storage { state: Mutex::new(state), ..Storage::new() }
    }

    /// How many operations its disk had carried out.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The names of its files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.names.paths()
    }

    /// What a file holds, if it is there.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.names.find(path).map(|inode| inode.bytes())
    }

    /// Puts a file there, or another in its place, as if it had been there for long.
    pub fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        self.created += 1;
        self.dirs.insert(parent(path).to_owned());
        self.remove(path);
        self.names.bind(path, Arc::new(Inode::settled(self.created, bytes)));
        self.names.sync(parent(path));
    }

    /// Takes a file away for good; fine if it is not there.
    pub fn remove(&mut self, path: &Path) {
        self.names.unbind(path);
        self.names.sync(parent(path));
    }
}

impl Clone for DiskImage {
    fn clone(&self) -> Self {
        Self { names: self.names.fork(), dirs: self.dirs.clone(), ..*self }
    }
}

impl Debug for DiskImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskImage").field("operations", &self.operations).finish_non_exhaustive()
    }
}
