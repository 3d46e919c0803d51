//! What is on a disk, who holds it, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::chance::{Chance, Event};
use super::crash::Survived;
use super::image::DiskImage;
use super::inode::Inode;
use super::names::{Names, parent};

#[derive(Default)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeMap<PathBuf, Holder>,
    pub(super) created: u64,
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) faults: Faults,
    pub(super) survived: Survived,
    /// One image before each operation, while they are taken.
    pub(super) images: Option<Vec<DiskImage>>,
}

pub(super) struct Holder {
    pub(super) life: u64,
    pub(super) node: String,
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) fail_next_sync: bool,
    pub(super) fail_next_write: bool,
    pub(super) sync_lies: bool,
    /// Bytes that may still be taken into use; no limit without a number.
    pub(super) free_space: Option<u64>,
    pub(super) unreadable: BTreeSet<PathBuf>,
}

impl State {
    pub(super) fn directory(&self, path: &Path) -> io::Result<()> {
        if is_root(path) || self.dirs.contains(path) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        match self.names.find(path) {
            Some(inode) => Ok(inode.clone()),
            None if is_root(path) || self.dirs.contains(path) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Arc<Inode>> {
        self.directory(parent(path))?;
        if self.names.find(path).is_some() || self.dirs.contains(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.created += 1;
        let inode = Arc::new(Inode::new(self.created));
        self.names.bind(path, inode.clone());
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.file(from)?;
        self.directory(parent(to))?;
        if self.dirs.contains(to) {
            return Err(ErrorKind::IsADirectory.into());
        }
        if let Some(replaced) = self.names.rename(from, to) {
            self.free(&replaced);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.file(path)?;
        self.names.unbind(path);
        self.free(&inode);
        Ok(())
    }

    fn free(&mut self, inode: &Inode) {
        if let Some(free) = &mut self.faults.free_space {
            *free = free.saturating_add(inode.space());
        }
    }

    pub(super) fn sync(&mut self, inode: &Inode, chance: &mut Chance) -> io::Result<()> {
        if std::mem::take(&mut self.faults.fail_next_sync) {
            inode.fail_sync(chance, &mut self.survived);
            return Err(io::Error::other("fsync failed, as the test asked"));
        }
        if !self.faults.sync_lies {
            inode.sync();
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        inode: &Inode,
        bytes: &[u8],
        offset: u64,
        chance: &mut Chance,
    ) -> io::Result<()> {
        if std::mem::take(&mut self.faults.fail_next_write) {
            let written = chance.index(Event::Disk, bytes.len());
            inode.write(&bytes[..written], offset, &mut self.faults.free_space)?;
            return Err(io::Error::other("the write failed, as the test asked"));
        }
        inode.write(bytes, offset, &mut self.faults.free_space)
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.directory(path)?;
        if !self.faults.sync_lies {
            self.names.sync(path);
        }
        Ok(())
    }
}

/// The directories that are always there: `/`, and the current one.
pub(super) fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}
