//! The files of the log: made ready, filled, retired, used again.
//!
//! ```text
//!   spare-<n>.log ──header, sync, rename, sync directory──▶ wal-<generation>.log ──full──▶ retired
//!        ▲                                                                                   │
//!        └────────────── rename, sync directory ◀── all its records are in a durable checkpoint
//! ```
//!
//! Invariant: a file named `wal-…` has a durable, valid header before its first record, and
//! keeps it as long as it bears that name; so one without is damage and never a half-made
//! file. Files are filled with zeroes ahead of use: a growing file costs a second journal
//! write of the file system with every fsync.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelpie_core::log::Lsn;
use kelpie_core::log::frame::{self, FRAME_BYTES, Header, RECORDS_BEGIN};
use kelpie_env::{Disk, File, Open};
use parking_lot::Mutex;

use super::identity::{Newest, segment_path};
use super::steps::{LogStep, LogSteps};
use crate::contract::Outage;

/// Spare files kept: as many as a checkpoint of the usual size frees, and those that commits
/// fill meanwhile, so that under load no file is made.
const SPARES_MAX: usize = 4;
/// Zeroes are written in pieces of this size.
const ZEROES: usize = 1 << 20;
/// A segment that commits need while there is no spare one is so small: they wait for one piece
/// of zeroes.
const MAKESHIFT_BYTES: u64 = ZEROES as u64;

pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    newest: Newest,
    pub(super) steps: LogSteps,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    spares: Vec<PathBuf>,
    retired: Vec<Retired>,
    /// Numbers spare files, so that no two get one name.
    made: u64,
}

struct Retired {
    path: PathBuf,
    bytes: u64,
    last: Lsn,
}

/// The segment that takes records.
pub(super) struct Active {
    path: PathBuf,
    file: Arc<dyn File>,
    pub(super) header: Header,
    bytes: u64,
    end: u64,
    last: Lsn,
}

/// A batch is not in the log.
#[derive(Debug)]
pub(super) enum NotLogged {
    /// And never will be.
    Refused(Outage),
    /// Or perhaps it is: a sync failed.
    Unknown,
}

impl Segments {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segment_bytes: u64,
        newest: Newest,
        steps: LogSteps,
    ) -> Self {
        Self { disk, dir, segment_bytes, newest, steps, files: Mutex::default() }
    }

    /// Takes over a file that a recovery has read: `last` is its last record.
    pub(super) fn adopt(&self, path: PathBuf, bytes: u64, last: Lsn) {
        self.files.lock().retired.push(Retired { path, bytes, last });
    }

    /// Takes over the spare files of an earlier run. One that was never a whole segment may
    /// be half-made, and goes.
    pub(super) fn adopt_spares(&self, names: &[PathBuf]) -> io::Result<()> {
        // A run that was killed in `cut` leaves a name that only the system knows: on disk
        // the file may still be a segment, and a new header in it would be damage.
        self.disk.sync_dir(&self.dir)?;
        for path in names.iter().filter(|path| has_prefix(path, "spare-")) {
            let bytes = self.disk.open(path, Open::Existing)?.len()?;
            let mut files = self.files.lock();
            let whole = has_prefix(path, "spare-wal-") && bytes == self.segment_bytes;
            if whole && files.spares.len() < SPARES_MAX {
                files.spares.push(path.clone());
            } else {
                self.disk.remove(path)?;
            }
        }
        self.steps.tell(LogStep::SparesAdopted);
        Ok(())
    }

    /// Begins a segment with room for `room` bytes of records; the header learns its length.
    pub(super) fn begin(&self, header: Header, room: usize) -> Result<Active, NotLogged> {
        let needed = (RECORDS_BEGIN + room + FRAME_BYTES) as u64;
        let mut bytes = needed.max(self.segment_bytes);
        let spare = if bytes == self.segment_bytes { self.files.lock().spares.pop() } else { None };
        let needed_still = || self.files.lock().retired.pop().map(|file| file.path);
        let reused = if kelpie_core::mutant!("wal_retired_segment_reused") { needed_still() } else { None };
        let path = match spare.or(reused) {
            Some(path) => path,
            None => {
                bytes = needed.max(self.segment_bytes.min(MAKESHIFT_BYTES));
                self.make(bytes)?
            }
        };
        let header = Header { bytes, ..header };
        let file = self.disk.open(&path, Open::Existing).map_err(refused)?;
        self.steps.tell(LogStep::HeaderWritten {
            generation: header.generation,
            first: header.first,
            previous: header.previous,
            cut: header.cut_after,
            was: generation_of(&path),
        });
        file.write_all_at(&header.encode(), 0).map_err(refused)?;
        if let Err(error) = file.sync() {
            self.steps.tell(LogStep::HeaderSyncFailed);
            return Err(unknown(error));
        }
        self.steps.tell(LogStep::HeaderSynced);
        let named = segment_path(&self.dir, header.generation);
        self.steps.tell(LogStep::Renamed);
        self.disk.rename(&path, &named).map_err(refused)?;
        if !kelpie_core::mutant!("wal_segment_name_not_synced") {
            self.disk.sync_dir(&self.dir).map_err(unknown)?;
            self.steps.tell(LogStep::NamesSynced);
        }
        if !kelpie_core::mutant!("wal_newest_not_noted") {
            self.newest.note(header.generation).map_err(unknown)?;
            self.steps.tell(LogStep::Noted { generation: header.generation });
        }
        let end = RECORDS_BEGIN as u64;
        Ok(Active { path: named, file, header, bytes, end, last: header.cut_after })
    }

    /// Makes a file of zeroes; a half-made one goes again.
    fn make(&self, bytes: u64) -> Result<PathBuf, NotLogged> {
        let number = {
            let mut files = self.files.lock();
            files.made += 1;
            files.made
        };
        let path = self.dir.join(format!("spare-{number:016x}.log"));
        let made = self.fill(&path, bytes);
        if matches!(made, Err(NotLogged::Refused(_)))
            && self.disk.exists(&path).is_ok_and(|there| there)
            && let Err(error) = self.disk.remove(&path)
        {
            tracing::warn!(%error, path = %path.display(), "a half-made log segment stays");
        }
        made.map(|()| path)
    }

    fn fill(&self, path: &Path, bytes: u64) -> Result<(), NotLogged> {
        let file = self.disk.open(path, Open::New).map_err(refused)?;
        let zeroes = vec![0; ZEROES.min(usize::try_from(bytes).unwrap_or(ZEROES))];
        let mut at = 0;
        while at < bytes {
            let rest = usize::try_from(bytes - at).unwrap_or(ZEROES);
            let piece = &zeroes[..zeroes.len().min(rest)];
            file.write_all_at(piece, at).map_err(refused)?;
            at += piece.len() as u64;
            // Each piece: the log's next fsync would wait for all that the disk still has to
            // write.
            file.sync().map_err(unknown)?;
        }
        Ok(())
    }

    /// Makes spare files until there are so many, so that the next rotations need not.
    pub(super) fn prepare(&self, ahead: usize) -> Result<(), NotLogged> {
        while self.files.lock().spares.len() < ahead {
            let path = self.make(self.segment_bytes)?;
            self.files.lock().spares.push(path);
        }
        Ok(())
    }

    /// No more records go into `active`.
    pub(super) fn retire(&self, active: Active) {
        let Active { path, bytes, last, .. } = active;
        self.files.lock().retired.push(Retired { path, bytes, last });
    }

    /// Frees the files all of whose records `may_cut`.
    pub(super) fn cut(&self, may_cut: impl Fn(Lsn) -> bool) -> io::Result<()> {
        let free: Vec<Retired> = {
            let mut files = self.files.lock();
            files.retired.extract_if(.., |file| may_cut(file.last)).collect()
        };
        for file in free {
            self.steps.tell(LogStep::CutRenamed { generation: generation_of(&file.path) });
            let spares = self.files.lock().spares.len();
            if file.bytes != self.segment_bytes || spares >= SPARES_MAX {
                self.disk.remove(&file.path)?;
                self.disk.sync_dir(&self.dir)?;
                self.steps.tell(LogStep::CutSynced);
                continue;
            }
            let path =
                self.dir.join(file.path.file_name().map_or_else(String::new, |name| {
                    name.to_string_lossy().replacen("wal-", "spare-wal-", 1)
                }));
            self.disk.rename(&file.path, &path)?;
            // Before a new header may go in: under its old name it would be damage.
            if !kelpie_core::mutant!("wal_spare_name_not_synced") {
                self.disk.sync_dir(&self.dir)?;
                self.steps.tell(LogStep::CutSynced);
            }
            self.files.lock().spares.push(path);
        }
        Ok(())
    }

    /// Bytes of an ordinary segment.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Bytes of the files whose records are still needed.
    pub(super) fn retired_bytes(&self) -> u64 {
        self.files.lock().retired.iter().map(|file| file.bytes).sum()
    }
}

impl Active {
    /// Whether `frames` fit, with a mark behind them.
    pub(super) fn has_room(&self, frames: &[u8]) -> bool {
        self.end + (frames.len() + FRAME_BYTES) as u64 <= self.bytes
    }

    /// Bytes of records in it.
    pub(super) fn used(&self) -> u64 {
        self.end - RECORDS_BEGIN as u64
    }

    /// Writes a batch and waits for the disk. `synced` is what was durable before.
    pub(super) fn append(
        &mut self,
        frames: &mut [u8],
        synced: Lsn,
        last: Lsn,
        steps: &LogSteps,
    ) -> Result<(), NotLogged> {
        frame::seal(frames, self.header.generation, synced);
        if let Err(error) = self.file.write_all_at(frames, self.end) {
            steps.tell(LogStep::WriteFailed);
            let told = self.neutralise(frames.len(), error);
            let undone = matches!(told, NotLogged::Refused(_));
            steps.tell(if undone { LogStep::Neutralised } else { LogStep::NeutraliseFailed });
            return Err(told);
        }
        steps.tell(LogStep::BatchWritten);
        let skipped = last.is_multiple_of(50) && kelpie_core::mutant!("wal_fsync_skipped_one_in_50");
        if !skipped && let Err(error) = self.file.sync() {
            tracing::error!(%error, path = %self.path.display(), "an fsync of the log failed");
            steps.tell(LogStep::SyncFailed);
            if !kelpie_core::mutant!("poison_ignored") || self.file.sync().is_err() {
                return Err(NotLogged::Unknown);
            }
        }
        self.end += frames.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Notes behind the last batch that it is durable, so that damage to it is not taken for a
    /// torn write. Needs no sync: the next one covers it, and before that only damage and a
    /// power cut together could hide something.
    pub(super) fn mark(&self) {
        if kelpie_core::mutant!("wal_end_not_marked") {
            return;
        }
        let mark = frame::mark(self.header.generation, self.last);
        if let Err(error) = self.file.write_all_at(&mark, self.end) {
            tracing::warn!(%error, path = %self.path.display(), "the end of the log could not be marked");
        }
    }

    /// Makes sure that no part of a batch that was not written whole can be taken for a
    /// record after a crash; only then has nothing happened.
    fn neutralise(&self, len: usize, cause: io::Error) -> NotLogged {
        tracing::error!(error = %cause, path = %self.path.display(), "a write to the log failed");
        let undone = self.file.write_all_at(&vec![0; len], self.end).and_then(|()| self.file.sync());
        match undone {
            Ok(()) => NotLogged::Refused(outage_of(cause)),
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "and it could not be undone");
                NotLogged::Unknown
            }
        }
    }
}

/// The log files among `names`, oldest first.
pub(super) fn log_files(names: &[PathBuf]) -> Vec<PathBuf> {
    names.iter().filter(|path| has_prefix(path, "wal-")).cloned().collect()
}

/// The generation in the name of a file that is a segment or was one; zero for others.
fn generation_of(path: &Path) -> u64 {
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let digits = name.trim_start_matches("spare-").strip_prefix("wal-");
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

fn has_prefix(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// What a failed call of the disk means to whoever commits.
pub(super) fn outage_of(error: io::Error) -> Outage {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    if full { Outage::DiskFull } else { Outage::Disk(Arc::new(error)) }
}

fn refused(error: io::Error) -> NotLogged {
    NotLogged::Refused(outage_of(error))
}

fn unknown(error: io::Error) -> NotLogged {
    tracing::error!(%error, "a sync of the log's files failed");
    NotLogged::Unknown
}
