//! Disks that keep what was synced and forget as the seed decides.
//!
//! ```text
//!   write ──▶ live ──(sync)──▶ durable        create, rename, remove ──▶ live names
//!               │                 ▲                                        │ (sync_dir)
//!               └─(power cut: all, none,                                   ▼
//!                  a prefix, or any torn subset)                      durable names
//! ```
//!
//! Every operation that changes something has a number, counted from the disk's first; a
//! power cut can be put at each of them. Reads have none: a cut at a read leaves the same
//! disk as one before the next change. Directories are durable once made.

mod control;
mod crash;
mod image;
mod inode;
mod names;
mod pages;
mod state;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::chance::{Chance, Event};
use super::fault::Fault;
use super::node::{Life, Place};
use crate::{DirectoryLock, Disk, File, Open};
use inode::Inode;
use state::{Holder, State, is_root};

pub use control::DiskControl;
pub use crash::Survived;
pub use image::DiskImage;
pub use state::DiskFaults;

/// What a dead process leaves on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    /// All that it wrote: the machine goes on.
    Everything,
    /// What was synced, and what the seed says of the rest: the machine lost power.
    Drawn,
}

/// A disk; outlives the nodes that use it.
pub(super) struct Storage {
    state: Mutex<State>,
    latency_ns: AtomicU64,
}

impl Storage {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), latency_ns: AtomicU64::new(0) }
    }

    /// How many operations it has been asked for.
    pub(super) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How long work on this disk may take, when it was made slow.
    pub(super) fn latency_max(&self) -> Duration {
        Duration::from_nanos(self.latency_ns.load(Ordering::Relaxed))
    }

    /// A delay of such work has come of that.
    pub(super) fn slowed(&self) {
        self.state.lock().marks.fire(Fault::SlowDisk);
    }

    /// Adds how often its faults have had an effect.
    pub(super) fn fired(&self, all: &mut BTreeMap<&'static str, u64>) {
        self.state.lock().marks.add_to(all);
    }

    /// Puts what `image` holds in the place of what it does.
    pub(super) fn replace(&self, image: &DiskImage) {
        let mut state = self.state.lock();
        let old = state.operations > image.operations();
        state.marks.add(Fault::RestartWithEmptyDisk, (image.is_empty() && !state.is_empty()).into());
        state.marks.add(Fault::RestartWithOldDisk, (!image.is_empty() && old).into());
        image.put_into(&mut state);
    }

    /// A process that used it has ended.
    pub(super) fn ended(&self, chance: &mut Chance, life: &Life, survival: Survival) {
        let mut state = self.state.lock();
        state.locks.retain(|_, holder| holder.life != life.number());
        match survival {
            Survival::Everything => {}
            Survival::Drawn => state.cut_power(chance),
        }
    }
}

/// The disk as one life of a node uses it.
pub(super) struct SimDisk {
    pub(super) place: Arc<Place>,
}

impl Place {
    /// Reads something of the disk.
    fn look<T>(&self, look: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.node.disk.state.lock();
        if self.life.is_alive() { look(&mut state) } else { Err(power_lost()) }
    }

    /// Carries out one numbered operation, or the power cut that was put there.
    fn operate<T>(&self, operation: impl FnOnce(&mut State, &mut Chance) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.node.disk.state.lock();
        if !self.life.is_alive() {
            return Err(power_lost());
        }
        let image = state.images.is_some().then(|| DiskImage::of(&state));
        if let Some(images) = &mut state.images {
            images.extend(image);
        }
        state.operations += 1;
        let number = state.operations;
        let cut = state.crash_at.take_if(|at| *at <= number).is_some();
        let result = self.world.decide(|chance| {
            chance.note(Event::Disk, number);
            if !cut {
                return operation(&mut state, chance);
            }
            // Done and not acknowledged, or not begun; half done is left to the power cut.
            if chance.one_in(Event::Crash, 2) {
                drop(operation(&mut state, chance));
            }
            state.cut_power(chance);
            Err(power_lost())
        });
        drop(state);
        if cut {
            self.cut_power_of_users();
        }
        result
    }

    /// All processes on this machine end; their tasks at the end of the present turn.
    fn cut_power_of_users(&self) {
        let nodes = self.world.nodes.lock().clone();
        for node in nodes.iter().filter(|node| Arc::ptr_eq(&node.disk, &self.node.disk)) {
            let life = node.life();
            self.world.marks.add(Fault::Crash, life.is_alive().into());
            self.world.end_life(&life);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inode = match how {
            Open::Existing => self.place.look(|state| state.file(path)),
            Open::New => self.place.operate(|state, _| state.create(path)),
        };
        let inode = inode.map_err(failed("open", path))?;
        Ok(Arc::new(SimFile { place: self.place.clone(), inode, path: path.to_owned() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for ancestor in path.ancestors().take_while(|ancestor| !is_root(ancestor)) {
            if self.place.look(|state| Ok(state.dirs.contains(ancestor)))? {
                break;
            }
            missing.push(ancestor);
        }
        for dir in missing.into_iter().rev() {
            let made = self.place.operate(|state, _| {
                if state.names.find(dir).is_some() {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                state.dirs.insert(dir.to_owned());
                Ok(())
            });
            made.map_err(failed("create directory", dir))?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let listed = self.place.look(|state| {
            state.directory(path)?;
            Ok(state.names.list(path))
        });
        listed.map_err(failed("list", path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.place.operate(|state, _| state.rename(from, to)).map_err(failed("rename", from))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.place.operate(|state, _| state.remove(path)).map_err(failed("remove", path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.place
            .operate(|state, chance| state.sync_dir(path, chance))
            .map_err(failed("sync directory", path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.place.look(|state| Ok(state.names.find(path).is_some() || state.directory(path).is_ok()))
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let locked = self.place.look(|state| {
            state.directory(path).map_err(failed("lock", path))?;
            if let Some(holder) = state.locks.get(path) {
                let words = format!("{} is in use by node {}", path.display(), holder.node);
                return Err(io::Error::new(ErrorKind::WouldBlock, words));
            }
            let holder = Holder { life: self.place.life.number(), node: self.place.node.name().to_owned() };
            state.locks.insert(path.to_owned(), holder);
            Ok(())
        });
        locked.map(|()| Box::new(SimLock { place: self.place.clone(), path: path.to_owned() }) as _)
    }
}

struct SimFile {
    place: Arc<Place>,
    inode: Arc<Inode>,
    path: PathBuf,
}

impl File for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Self { place, inode, path } = self;
        let read = place.look(|state| {
            place.world.decide(|chance| {
                chance.note(Event::Disk, offset);
                state.read(inode, path, buffer, offset, chance)
            })
        });
        read.map_err(failed("read", &self.path))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.place.operate(|state, chance| state.write(&self.inode, bytes, offset, chance));
        written.map_err(failed("write", &self.path))
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.place.operate(|state, chance| state.sync(&self.inode, chance));
        synced.map_err(failed("sync", &self.path))
    }

    fn len(&self) -> io::Result<u64> {
        self.place.look(|_| Ok(self.inode.len())).map_err(failed("look at", &self.path))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = self.place.operate(|state, _| self.inode.set_len(len, &mut state.faults.free_space));
        set.map_err(failed("set the length of", &self.path))
    }
}

impl Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

struct SimLock {
    place: Arc<Place>,
    path: PathBuf,
}

impl DirectoryLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let life = self.place.life.number();
        let mut state = self.place.node.disk.state.lock();
        if state.locks.get(&self.path).is_some_and(|holder| holder.life == life) {
            state.locks.remove(&self.path);
        }
    }
}

impl Debug for SimLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimLock").field("path", &self.path).finish_non_exhaustive()
    }
}

fn power_lost() -> io::Error {
    io::Error::other("the node is dead")
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}
