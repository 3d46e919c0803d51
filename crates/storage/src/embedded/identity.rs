//! What a directory says of itself: its format, whose it is, how far its log has come.
//!
//! ```text
//!   format    "1 <store>": the layout of everything here, and the store's number
//!   newest    two places: the newest segment that was begun, and one before it
//! ```
//!
//! Invariant: one of the two places is on disk and readable. The other is the one that is written:
//! not the other by number, for a note can fail, and its segment's number is not given again.
//!
//! Base and segments bear the store's number, so that none of another store is taken for
//! one of this. A segment is noted before its first record is acknowledged, so that its loss
//! is seen: nothing else would tell of the newest one.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kelpie_env::{Disk, Env, File, Open};

use super::segments::log_files;
use crate::contract::OpenError;

/// What this build reads and writes.
const FORMAT: u32 = 1;
pub(super) const FORMAT_FILE: &str = "format";
const FORMAT_BYTES_MAX: usize = 64;
pub(super) const BASE_FILE: &str = "base.redb";
pub(super) const NEWEST_FILE: &str = "newest";
const NEWEST_MAGIC: &[u8; 8] = b"kelpienw";
/// A sector of its own for each place.
const NEWEST_PLACE: u64 = 512;
const NEWEST_FILE_BYTES: usize = 1024;
const NEWEST_BYTES: usize = 28;

/// Reads the number of the store in a directory; gives a new one its format and number.
pub(super) fn identify(env: &Env, dir: &Path) -> Result<u64, OpenError> {
    let disk = &**env.disk();
    let path = dir.join(FORMAT_FILE);
    let at = |source| OpenError::Disk { path: path.clone(), source };
    let names = disk.list(dir).map_err(at)?;
    let used = [FORMAT_FILE, BASE_FILE, NEWEST_FILE].iter().any(|name| names.contains(&dir.join(name)));
    if used || !log_files(&names).is_empty() {
        return read_format(disk, dir);
    }
    let store = env.random_u64();
    write_format(disk, dir, store)?;
    Ok(store)
}

/// Reads the number of the store in a directory that holds one.
pub(super) fn read_format(disk: &dyn Disk, dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(FORMAT_FILE);
    let at = |source| OpenError::Disk { path: path.clone(), source };
    let unknown = |found: &str| OpenError::UnknownFormat {
        dir: dir.to_owned(),
        found: found.to_owned(),
        known: FORMAT,
    };
    if !disk.exists(&path).map_err(at)? {
        return Err(unknown("unknown (the file `format` is missing)"));
    }
    let said = read_text(disk, &path).map_err(at)?;
    let (format, store) = said.trim().split_once(' ').unwrap_or((said.trim(), ""));
    if format != FORMAT.to_string() {
        return Err(unknown(format));
    }
    u64::from_str_radix(store, 16).map_err(|_| OpenError::Damaged {
        file: path.clone(),
        offset: 0,
        what: "the store's number is unreadable".to_owned(),
    })
}

/// Says that a directory holds this store: from here on it opens.
pub(super) fn write_format(disk: &dyn Disk, dir: &Path, store: u64) -> Result<(), OpenError> {
    let path = dir.join(FORMAT_FILE);
    let written = write_new(disk, &path, format!("{FORMAT} {store:016x}\n").as_bytes());
    written.map_err(|source| OpenError::Disk { path, source })
}

fn read_text(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let file = disk.open(path, Open::Existing)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(FORMAT_BYTES_MAX);
    let mut said = vec![0; len];
    file.read_exact_at(&mut said, 0)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Makes a file under a temporary name first, so that a half-made one never bears the real.
fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    if disk.exists(&new)? {
        disk.remove(&new)?;
    }
    let file = disk.open(&new, Open::New)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&new, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// The note of the newest segment.
pub(super) struct Newest {
    file: Arc<dyn File>,
    store: u64,
    /// The place that is readable, and on disk once the note is hardened.
    place: AtomicU64,
    /// What it says, where the other place is readable as well: which of them the disk has is not
    /// known then, if the process before this one could not sync.
    unsure: Option<u64>,
}

impl Newest {
    /// Reads the note of the store in `dir`; `fresh` says that nothing but its format is there.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        store: u64,
        fresh: bool,
    ) -> Result<(Self, u64), OpenError> {
        let path = dir.join(NEWEST_FILE);
        let at = |source| OpenError::Disk { path: path.clone(), source };
        let damaged =
            |what: &str| OpenError::Damaged { file: path.clone(), offset: 0, what: what.to_owned() };
        if fresh && !disk.exists(&path).map_err(at)? {
            let mut places = encode(store, 0).to_vec();
            places.resize(NEWEST_FILE_BYTES, 0);
            write_new(disk, &path, &places).map_err(at)?;
        }
        let file = match disk.open(&path, Open::Existing) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged("the file is missing, but the store's data is there"));
            }
            other => other.map_err(at)?,
        };
        let read = Self::read(file, store).map_err(at)?;
        read.ok_or_else(|| damaged("neither place says which log segment is the newest"))
    }

    /// Nothing if neither place says anything.
    fn read(file: Arc<dyn File>, store: u64) -> io::Result<Option<(Self, u64)>> {
        let mut said = [None; 2];
        for (place, said) in (0..).zip(&mut said) {
            let mut bytes = [0; NEWEST_BYTES];
            match file.read_exact_at(&mut bytes, place * NEWEST_PLACE) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                other => other?,
            }
            *said = decode(store, &bytes);
        }
        let Some(newest) = said[0].max(said[1]) else { return Ok(None) };
        let place = AtomicU64::new(u64::from(said[1] == Some(newest)));
        let unsure = (said[0].is_some() && said[1].is_some()).then_some(newest);
        Ok(Some((Self { file, store, place, unsure }, newest)))
    }

    /// Before anything is noted: what is read here is on disk.
    pub(super) fn harden(&self) -> io::Result<()> {
        match self.unsure {
            // The other place is on disk if this one is not.
            Some(newest) => self.write(self.place.load(Ordering::Relaxed), newest),
            // It was on disk before the other place was written.
            None => Ok(()),
        }
    }

    /// Notes durably that a segment was begun. Not twice at a time, and not again after an error.
    pub(super) fn note(&self, generation: u64) -> io::Result<()> {
        let other = if kelpie_core::mutant!("wal_note_by_number") {
            generation % 2
        } else {
            1 - self.place.load(Ordering::Relaxed)
        };
        self.write(other, generation)?;
        self.place.store(other, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, place: u64, generation: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(self.store, generation), place * NEWEST_PLACE)?;
        self.file.sync()
    }
}

fn encode(store: u64, generation: u64) -> [u8; NEWEST_BYTES] {
    let mut bytes = [0; NEWEST_BYTES];
    bytes[..8].copy_from_slice(NEWEST_MAGIC);
    bytes[8..16].copy_from_slice(&store.to_le_bytes());
    bytes[16..24].copy_from_slice(&generation.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(store: u64, bytes: &[u8; NEWEST_BYTES]) -> Option<u64> {
    let generation = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    (*bytes == encode(store, generation)).then_some(generation)
}

/// The name of a segment.
pub(super) fn segment_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("wal-{generation:016x}.log"))
}

#[cfg(test)]
mod tests;
