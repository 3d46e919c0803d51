//! Disks as they were at one instant, to go on from as often as one likes.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// A disk without files.
    pub fn empty() -> Self {
        Self::of(&State::default())
    }

    /// Whether it has no file.
    pub fn is_empty(&self) -> bool {
        self.names.paths().is_empty()
    }

    pub(in crate::sim) fn storage(&self) -> Storage {
        let storage = Storage::new();
        self.put_into(&mut storage.state.lock());
        storage
    }

    /// Puts what it holds in the place of what is on a disk, which goes on to count its
    /// operations.
    pub(super) fn put_into(&self, state: &mut State) {
        let Self { names, dirs, created, operations } = self.clone();
        state.operations = state.operations.max(operations);
        (state.names, state.dirs, state.created) = (names, dirs, created);
        state.locks.clear();
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
        self.names.bind(path, Arc::new(Inode::settled(self.created, &bytes)));
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
