//! What a test does to a disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::chance::nanos;
use super::super::fault::Fault;
use super::{DiskFaults, DiskImage, Storage, Survived};

/// The faults, crash points and counts of one disk.
///
/// A power cut at every operation of some work:
/// ```
/// use std::path::Path;
/// use kelpie_env::{Env, Open, sim::Sim};
///
/// fn work(env: &Env) -> std::io::Result<()> {
///     let file = env.disk().open(Path::new("f"), Open::New)?;
///     file.write_all_at(b"safe", 0)?;
///     file.sync()?;
///     env.disk().sync_dir(Path::new(""))
/// }
///
/// for cut in 1.. {
///     let sim = Sim::new(cut);
///     let node = sim.node("n1");
///     node.disk().crash_at(cut);
///     let env = node.env();
///     let done = sim.block_on(node.while_alive(async { work(&env) }));
///     if done.is_some() {
///         break; // the work has fewer operations than that
///     }
///     let env = node.restart();
///     assert!(env.disk().list(Path::new("")).is_ok());
/// }
/// ```
#[derive(Clone)]
pub struct DiskControl {
    disk: Arc<Storage>,
}

impl DiskControl {
    pub(in crate::sim) fn new(disk: Arc<Storage>) -> Self {
        Self { disk }
    }

    /// How many operations the disk has been asked for: writes, lengths, syncs, names
    /// created, renamed, removed, directories made and synced. Reads do not count.
    pub fn operations(&self) -> u64 {
        self.disk.state.lock().operations
    }

    /// Cuts the power at operation number `operation`, counted from the disk's first: it
    /// has no effect, part of it, or all; it and all later ones fail, and every node on the
    /// disk is dead, its tasks dropped at the end of the present turn. A number that has
    /// passed means the next operation.
    pub fn crash_at(&self, operation: u64) {
        self.disk.state.lock().crash_at = Some(operation);
    }

    /// Takes back [`DiskControl::crash_at`]; true if the power had not been cut.
    pub fn clear_crash(&self) -> bool {
        self.disk.state.lock().crash_at.take().is_some()
    }

    /// Makes the next sync of a file fail. What it should have synced is as the seed
    /// decides, and no later sync brings it back; reads go on to show it.
    pub fn fail_next_sync(&self) {
        self.disk.state.lock().faults.fail_next_sync = true;
    }

    /// Makes the next write fail after some of its bytes.
    pub fn fail_next_write(&self) {
        self.disk.state.lock().faults.fail_next_write = true;
    }

    /// Makes syncs report success and do nothing.
    pub fn set_sync_lies(&self, lies: bool) {
        self.disk.state.lock().faults.sync_lies = lies;
    }

    /// Lets files take so many more bytes into use (in blocks of 4096; holes take none),
    /// then fail with `StorageFull`. Removed files give back theirs.
    pub fn set_free_space(&self, bytes: Option<u64>) {
        self.disk.state.lock().faults.free_space = bytes;
    }

    /// Lets so many more files be made, then fail with `StorageFull`, as where the room for
    /// names has run out. Removed files give back theirs.
    pub fn set_free_files(&self, files: Option<u64>) {
        self.disk.state.lock().faults.free_files = files;
    }

    /// Makes reads of the file of that name fail, or work again.
    pub fn set_unreadable(&self, path: &Path, unreadable: bool) {
        let faults = &mut self.disk.state.lock().faults;
        if unreadable {
            faults.unreadable.insert(path.to_owned());
        } else {
            faults.unreadable.remove(path);
        }
    }

    /// Flips one bit of a file, in memory and on the disk.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let state = self.disk.state.lock();
        if !state.file(path)?.flip(offset, bit) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.marks.fire(Fault::BitRot);
        Ok(())
    }

    /// Makes the next read bring what stands so many bytes behind the place asked for.
    pub fn misdirect_next_read(&self, by: u64) {
        self.disk.state.lock().faults.misdirect_next_read = Some(by);
    }

    /// Makes the next write land so many bytes behind its place, and says that it went well.
    pub fn misdirect_next_write(&self, by: u64) {
        self.disk.state.lock().faults.misdirect_next_write = Some(by);
    }

    /// Makes the next read fail.
    pub fn fail_next_read(&self) {
        self.disk.state.lock().faults.fail_next_read = true;
    }

    /// Makes the next read of something that was written over bring what it was before the
    /// latest write that changed it.
    pub fn stale_next_read(&self) {
        self.disk.state.lock().faults.stale_next_read = true;
    }

    /// Says how likely each fault is from now on, besides those asked for one by one.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.disk.state.lock().faults.chances = faults;
    }

    /// How likely each fault is.
    pub fn faults(&self) -> DiskFaults {
        self.disk.state.lock().faults.chances
    }

    /// How often each of [`crate::sim::FAULTS`] has had an effect on this disk.
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        self.disk.fired(&mut all);
        all
    }

    /// Lets blocking and inline work take up to `max` of virtual time.
    pub fn set_latency(&self, max: Duration) {
        self.disk.latency_ns.store(nanos(max), Ordering::Relaxed);
    }

    /// What the disk holds now.
    pub fn image(&self) -> DiskImage {
        DiskImage::of(&self.disk.state.lock())
    }

    /// Takes an image before each operation from now on.
    pub fn take_images(&self) {
        self.disk.state.lock().images.get_or_insert_default();
    }

    /// The images taken since [`DiskControl::take_images`], which takes no more.
    pub fn images(&self) -> Vec<DiskImage> {
        self.disk.state.lock().images.take().unwrap_or_default()
    }

    /// What power cuts have done so far.
    pub fn survived(&self) -> Survived {
        self.disk.state.lock().survived
    }
}

impl Debug for DiskControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskControl").field("operations", &self.operations()).finish_non_exhaustive()
    }
}
