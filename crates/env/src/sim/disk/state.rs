//! What is on a disk, who holds it, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::chance::{Chance, Event};
use super::super::fault::{Fault, Marks};
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
    pub(super) marks: Marks,
    /// One image before each operation, while they are taken.
    pub(super) images: Option<Vec<DiskImage>>,
}

pub(super) struct Holder {
    pub(super) life: u64,
    pub(super) node: String,
}

/// How likely each fault of a disk is, in millionths of the operations that it can come
/// over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskFaults {
    /// A sync fails: [`crate::sim::DiskControl::fail_next_sync`].
    pub sync_error_ppm: u32,
    /// A sync reports success and does nothing.
    pub lying_sync_ppm: u32,
    /// A write fails after some of its bytes.
    pub write_error_ppm: u32,
    /// A write lands up to 4096 bytes behind its place.
    pub misdirected_write_ppm: u32,
    /// A read fails.
    pub read_error_ppm: u32,
    /// A read brings what stands up to 4096 bytes behind the place asked for.
    pub misdirected_read_ppm: u32,
    /// A read brings what it would have before the latest of the writes that replaced
    /// some of it.
    pub stale_read_ppm: u32,
    /// One of the bits that are read has flipped by then, for good.
    pub bit_rot_ppm: u32,
}

/// How far a misdirected operation misses its place at most.
const ASTRAY_MAX: u64 = 4096;

#[derive(Default)]
pub(super) struct Faults {
    pub(super) chances: DiskFaults,
    pub(super) fail_next_sync: bool,
    pub(super) fail_next_write: bool,
    pub(super) fail_next_read: bool,
    pub(super) stale_next_read: bool,
    /// By how many bytes the next read or write misses its place.
    pub(super) misdirect_next_read: Option<u64>,
    pub(super) misdirect_next_write: Option<u64>,
    pub(super) sync_lies: bool,
    /// Bytes that may still be taken into use; no limit without a number.
    pub(super) free_space: Option<u64>,
    /// Files that may still be made; no limit without a number.
    pub(super) free_files: Option<u64>,
    pub(super) unreadable: BTreeSet<PathBuf>,
}

impl Faults {
    fn sync_fails(&mut self, chance: &mut Chance) -> bool {
        std::mem::take(&mut self.fail_next_sync) | chance.hits(Event::Disk, self.chances.sync_error_ppm)
    }

    fn sync_lies(&self, chance: &mut Chance) -> bool {
        self.sync_lies || chance.hits(Event::Disk, self.chances.lying_sync_ppm)
    }

    fn write_fails(&mut self, chance: &mut Chance) -> bool {
        std::mem::take(&mut self.fail_next_write) | chance.hits(Event::Disk, self.chances.write_error_ppm)
    }

    fn read_fails(&mut self, path: &Path, chance: &mut Chance) -> bool {
        std::mem::take(&mut self.fail_next_read)
            | self.unreadable.contains(path)
            | chance.hits(Event::Disk, self.chances.read_error_ppm)
    }
}

/// How far an operation goes astray: as it was told to, or by chance.
fn astray(told: &mut Option<u64>, ppm: u32, chance: &mut Chance) -> Option<u64> {
    let drawn = chance.hits(Event::Disk, ppm).then(|| 1 + chance.below(Event::Disk, ASTRAY_MAX));
    told.take().or(drawn)
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

    pub(super) fn is_empty(&self) -> bool {
        self.names.paths().is_empty()
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Arc<Inode>> {
        self.directory(parent(path))?;
        if self.names.find(path).is_some() || self.dirs.contains(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        match &mut self.faults.free_files {
            None => {}
            Some(0) => {
                self.marks.fire(Fault::DiskFull);
                return Err(ErrorKind::StorageFull.into());
            }
            Some(free) => *free -= 1,
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
        if let Some(free) = &mut self.faults.free_files {
            *free = free.saturating_add(1);
        }
    }

    pub(super) fn sync(&mut self, inode: &Inode, chance: &mut Chance) -> io::Result<()> {
        if self.faults.sync_fails(chance) {
            self.marks.fire(Fault::FsyncError);
            let before = self.survived;
            inode.fail_sync(chance, &mut self.survived);
            self.count(before);
            return Err(io::Error::other("fsync failed, as the test asked"));
        }
        if self.faults.sync_lies(chance) {
            self.marks.fire(Fault::LyingFsync);
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
        chance.note_bytes(Event::Disk, bytes);
        if self.faults.write_fails(chance) {
            self.marks.fire(Fault::WriteError);
            let written = chance.index(Event::Disk, bytes.len());
            inode.write(&bytes[..written], offset, &mut self.faults.free_space)?;
            return Err(io::Error::other("the write failed, as the test asked"));
        }
        let Faults { misdirect_next_write, chances, free_space, .. } = &mut self.faults;
        let by = astray(misdirect_next_write, chances.misdirected_write_ppm, chance);
        self.marks.add(Fault::MisdirectedWrite, by.is_some().into());
        let written = inode.write(bytes, offset.saturating_add(by.unwrap_or(0)), free_space);
        let full = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull);
        self.marks.add(Fault::DiskFull, full.into());
        written
    }

    pub(super) fn read(
        &mut self,
        inode: &Inode,
        path: &Path,
        buffer: &mut [u8],
        offset: u64,
        chance: &mut Chance,
    ) -> io::Result<()> {
        if self.faults.read_fails(path, chance) {
            self.marks.fire(Fault::ReadError);
            return Err(io::Error::other("unreadable, as the test asked"));
        }
        let Faults { misdirect_next_read, stale_next_read, chances, .. } = &mut self.faults;
        if !buffer.is_empty() && chance.hits(Event::Disk, chances.bit_rot_ppm) {
            let at = offset.saturating_add(chance.below(Event::Disk, length(buffer)));
            let rotten = inode.flip(at, chance.draw(Event::Disk).to_le_bytes()[0]);
            self.marks.add(Fault::BitRot, rotten.into());
        }
        if let Some(by) = astray(misdirect_next_read, chances.misdirected_read_ppm, chance) {
            self.marks.fire(Fault::MisdirectedRead);
            return inode.read(buffer, offset.saturating_add(by));
        }
        inode.read(buffer, offset)?;
        if (*stale_next_read | chance.hits(Event::Disk, chances.stale_read_ppm)) && inode.age(buffer, offset)
        {
            *stale_next_read = false;
            self.marks.fire(Fault::StaleRead);
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path, chance: &mut Chance) -> io::Result<()> {
        self.directory(path)?;
        if self.faults.sync_lies(chance) {
            self.marks.fire(Fault::LyingFsync);
        } else {
            self.names.sync(path);
        }
        Ok(())
    }
}

fn length(buffer: &[u8]) -> u64 {
    u64::try_from(buffer.len()).expect("a length")
}

/// The directories that are always there: `/`, and the current one.
pub(super) fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}
