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
    pub(super) fired: Fired,
    /// One image before each operation, while they are taken.
    pub(super) images: Option<Vec<DiskImage>>,
}

/// How often each fault of a disk has come over a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fired {
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Syncs that did nothing and said that they had.
    pub lying_syncs: u64,
    /// Writes that failed after a part.
    pub failed_writes: u64,
    /// Writes that found no room.
    pub full: u64,
    /// Reads of a file that was made unreadable.
    pub unreadable: u64,
    /// Bits that were flipped.
    pub flipped_bits: u64,
    /// Reads that brought what stands elsewhere in the file.
    pub misdirected_reads: u64,
    /// Writes that landed elsewhere in the file.
    pub misdirected_writes: u64,
}

pub(super) struct Holder {
    pub(super) life: u64,
    pub(super) node: String,
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) fail_next_sync: bool,
    pub(super) fail_next_write: bool,
    /// By how many bytes the next read or write misses its place.
    pub(super) misdirect_next_read: Option<u64>,
    pub(super) misdirect_next_write: Option<u64>,
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
            self.fired.failed_syncs += 1;
            inode.fail_sync(chance, &mut self.survived);
            return Err(io::Error::other("fsync failed, as the test asked"));
        }
        if self.faults.sync_lies {
            self.fired.lying_syncs += 1;
        } else {
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
            self.fired.failed_writes += 1;
            let written = chance.index(Event::Disk, bytes.len());
            inode.write(&bytes[..written], offset, &mut self.faults.free_space)?;
            return Err(io::Error::other("the write failed, as the test asked"));
        }
        let by = self.faults.misdirect_next_write.take();
        self.fired.misdirected_writes += u64::from(by.is_some());
        let written = inode.write(bytes, offset.saturating_add(by.unwrap_or(0)), &mut self.faults.free_space);
        let full = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull);
        self.fired.full += u64::from(full);
        written
    }

    pub(super) fn read(
        &mut self,
        inode: &Inode,
        path: &Path,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        if self.faults.unreadable.contains(path) {
            self.fired.unreadable += 1;
            return Err(io::Error::other("unreadable, as the test asked"));
        }
        let by = self.faults.misdirect_next_read.take();
        self.fired.misdirected_reads += u64::from(by.is_some());
        inode.read(buffer, offset.saturating_add(by.unwrap_or(0)))
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
