//! Opening a directory: whose it is, what it holds, and the replay of its log.
//!
//! Invariant: nothing is written before the directory is locked and its format known, and
//! nothing is read by anyone before every complete record is replayed and the cut behind
//! them is durable.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kelpie_core::log::Log;
use kelpie_core::log::frame::{HEADER_BYTES, Header, RECORDS_BEGIN};
use kelpie_core::log::recovery::{Damage, Known, Placed, Recovered, Scanned, recover, scan};
use kelpie_env::{Disk, Env, Open};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::body;
use super::commit::{Tail, Writer};
use super::flight::Batch;
use super::identity::{BASE_FILE, Newest, identify, segment_path};
use super::inner::Inner;
use super::meters::Meters;
use super::new_base::NewBase;
use super::redb_base::RedbBase;
use super::segments::{NotLogged, Segments, log_files};
use super::steps::{LogStep, LogSteps};
use super::unfolded::{Amount, Unfolded};
use crate::config::EmbeddedOptions;
use crate::contract::{OpenError, Outage, Version};
use crate::engine::Engine;

/// A memtable may grow to so many times the log that triggers a checkpoint, and to
/// [`MEMTABLE_BYTES_MIN`], before commits are refused.
const MEMTABLE_FACTOR_MAX: u64 = 8;
const MEMTABLE_BYTES_MIN: u64 = 64 << 20;

/// One segment as it was read.
pub(super) struct Loaded {
    path: PathBuf,
    bytes: Vec<u8>,
    pub(super) scanned: Scanned,
}

impl Loaded {
    /// Bytes of records in it.
    pub(super) fn used(&self) -> u64 {
        (self.scanned.end - RECORDS_BEGIN) as u64
    }
}

/// Everything that blocks.
pub(super) fn open(
    env: Env,
    dir: &Path,
    options: EmbeddedOptions,
    steps: LogSteps,
) -> Result<Arc<Inner>, OpenError> {
    check_options(options)?;
    let disk = env.disk().clone();
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| OpenError::Disk { path, source }
    };
    make_dir(&*disk, dir).map_err(at(dir))?;
    let lock = disk.lock_dir(dir).map_err(|error| locked(dir, error))?;
    let store = identify(&env, dir)?;
    let Found { base, position, newest, newest_segment, loaded, names } =
        read_dir(&disk, dir, store, options)?;
    let known = Known { store, newest: newest_segment, position };
    let recovered = judge(&loaded, known, dir)?;
    steps.started(&recovered);
    harden(&*disk, &loaded, position, &steps).and_then(|()| newest.harden()).map_err(at(dir))?;
    let base = Arc::new(base);
    let engine = Engine::new(Box::new(base.clone()), position, env.random_u64());
    replay(&engine, &loaded, &recovered)?;
    let segments = Segments::new(disk, dir.to_owned(), options.segment_bytes, newest, steps);
    segments.adopt_spares(&names).map_err(at(dir))?;
    // The cut: from here on the old tail is gone for good.
    let header = Header {
        store,
        bytes: options.segment_bytes,
        generation: recovered.generation + 1,
        first: recovered.next,
        previous: recovered.generation,
        cut_after: recovered.last,
    };
    let active = segments.begin(header, 0).map_err(|error| at(dir)(begin_error(error)))?;
    let logged = loaded.iter().map(Loaded::used).sum();
    for segment in loaded {
        let last =
            segment.scanned.records.last().map_or(segment.scanned.header.cut_after, |record| record.lsn);
        segments.adopt(segment.path, segment.bytes.len() as u64, last.min(recovered.last));
    }
    let mut unfolded = Unfolded::new(options.checkpoint_bytes);
    unfolded.logged(recovered.last, Amount { commits: recovered.replay.len() as u64, bytes: logged });
    let writer = Writer {
        log: Log::new(&recovered, position),
        forming: Batch::default(),
        flushing: false,
        full_until: None,
        logged,
        unfolded,
        commits: 0,
        batches: 0,
        spare: Vec::new(),
    };
    let inner = Arc::new(Inner {
        engine,
        base,
        segments,
        writer: Mutex::new(writer),
        tail: Mutex::new(Tail { active, generation: header.generation }),
        checkpoint_bytes: options.checkpoint_bytes,
        memtable_bytes_max: memtable_bytes_max(options),
        log_work: Notify::new(),
        care_work: Notify::new(),
        spare_work: Notify::new(),
        idle: Notify::new(),
        checkpointing: Mutex::new(()),
        meters: Meters::default(),
        stopped: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
        env,
    });
    inner.clear_leftovers();
    Ok(inner)
}

fn memtable_bytes_max(options: EmbeddedOptions) -> u64 {
    options.checkpoint_bytes.saturating_mul(MEMTABLE_FACTOR_MAX).max(MEMTABLE_BYTES_MIN)
}

/// What a directory holds.
struct Found {
    base: RedbBase,
    position: Version,
    newest: Newest,
    newest_segment: u64,
    loaded: Vec<Loaded>,
    names: Vec<PathBuf>,
}

/// Reads a directory; makes the base in a new one.
fn read_dir(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    store: u64,
    options: EmbeddedOptions,
) -> Result<Found, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| OpenError::Disk { path, source }
    };
    let base_path = dir.join(BASE_FILE);
    let names = disk.list(dir).map_err(at(dir))?;
    let logs = log_files(&names);
    let based = disk.exists(&base_path).map_err(at(&base_path))?;
    let (newest, newest_segment) = Newest::open(&**disk, dir, store, !based && logs.is_empty())?;
    if !based {
        if !logs.is_empty() || newest_segment > 0 {
            return Err(damaged(&base_path, 0, "the file is missing, but its log is there"));
        }
        let empty = NewBase::begin(disk.clone(), &base_path).and_then(|new| new.finish(0, store));
        empty.map_err(at(&base_path))?;
    }
    let base = RedbBase::open(disk.clone(), base_path.clone(), options.cache_bytes, store);
    let (base, position) = base.map_err(|error| error.at(&base_path))?;
    let loaded = load(&**disk, dir, logs)?;
    if loaded.is_empty() && position > 0 {
        return Err(damaged(dir, 0, "the log is missing, but a checkpoint of it is there"));
    }
    Ok(Found { base, position, newest, newest_segment, loaded, names })
}

fn check_options(options: EmbeddedOptions) -> Result<(), OpenError> {
    let least = 2 * RECORDS_BEGIN as u64;
    if options.segment_bytes < least || options.checkpoint_bytes == 0 {
        let what = format!("segments have at least {least} bytes, checkpoints come after one byte at least");
        return Err(OpenError::Options { what });
    }
    Ok(())
}

fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.exists(dir)? {
        return Ok(());
    }
    disk.create_dir(dir)?;
    match dir.parent() {
        Some(parent) => disk.sync_dir(parent),
        None => Ok(()),
    }
}

pub(super) fn locked(dir: &Path, error: io::Error) -> OpenError {
    if error.kind() == ErrorKind::WouldBlock {
        let said = error.to_string();
        let holder = said.rsplit_once("in use by ").map_or(said.as_str(), |(_, holder)| holder);
        return OpenError::Locked { dir: dir.to_owned(), holder: holder.to_owned() };
    }
    OpenError::Disk { path: dir.to_owned(), source: error }
}

/// Reads all segments, by generation.
pub(super) fn load(disk: &dyn Disk, dir: &Path, paths: Vec<PathBuf>) -> Result<Vec<Loaded>, OpenError> {
    let mut loaded = Vec::with_capacity(paths.len());
    for path in paths {
        let at = |source| OpenError::Disk { path: path.clone(), source };
        let file = disk.open(&path, Open::Existing).map_err(at)?;
        let mut bytes = vec![0; usize::try_from(file.len().map_err(at)?).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(at)?;
        let header = Header::decode(&bytes).map_err(|_| {
            damaged(&path, 0, &format!("the {HEADER_BYTES} bytes of the log segment's header are unreadable"))
        })?;
        if path != segment_path(dir, header.generation) {
            let what = format!("it holds segment {:016x}: give it its own name back", header.generation);
            return Err(damaged(&path, 0, &what));
        }
        if (bytes.len() as u64) < header.bytes {
            let what = format!("it ends here and had {} bytes", header.bytes);
            return Err(damaged(&path, bytes.len(), &what));
        }
        let scanned = scan(&bytes, header);
        loaded.push(Loaded { path, bytes, scanned });
    }
    loaded.sort_by_key(|segment| segment.scanned.header.generation);
    Ok(loaded)
}

/// Decides what the segments mean.
pub(super) fn judge(loaded: &[Loaded], known: Known, dir: &Path) -> Result<Recovered, OpenError> {
    let scanned: Vec<Scanned> = loaded.iter().map(|segment| segment.scanned.clone()).collect();
    recover(&scanned, known).map_err(|damage| {
        let path = |segment: &usize| loaded[*segment].path.clone();
        let (file, offset) = match &damage {
            Damage::Record { segment, offset, .. } => (path(segment), *offset),
            Damage::Missing { segment, .. } | Damage::Foreign { segment } => (path(segment), 0),
            Damage::Newest { newest, .. } => (segment_path(dir, *newest), 0),
            Damage::Short { .. } => loaded
                .last()
                .map_or_else(|| (dir.to_owned(), 0), |last| (last.path.clone(), last.scanned.end)),
        };
        damaged(&file, offset, &damage.to_string())
    })
}

/// Makes the tail durable that was read: a process that was killed between write and fsync,
/// or whose fsync failed, leaves records that the system shows and the disk may not hold.
/// Written anew, because what the system takes for written it does not write again. Earlier
/// segments were synced before the next one was begun.
fn harden(disk: &dyn Disk, loaded: &[Loaded], position: Version, steps: &LogSteps) -> io::Result<()> {
    let Some(tail) = loaded.last().filter(|tail| tail.scanned.records.iter().any(|r| r.lsn > position))
    else {
        steps.tell(LogStep::Hardened { needed: false });
        return Ok(());
    };
    if kelpie_core::mutant!("recovery_trusts_the_page_cache") {
        steps.tell(LogStep::Hardened { needed: false });
        return Ok(());
    }
    let file = disk.open(&tail.path, Open::Existing)?;
    steps.tell(LogStep::Hardened { needed: true });
    file.write_all_at(&tail.bytes[RECORDS_BEGIN..tail.scanned.end], RECORDS_BEGIN as u64)?;
    let synced = file.sync();
    steps.tell(if synced.is_ok() { LogStep::HardenSynced } else { LogStep::HardenFailed });
    synced
}

pub(super) fn replay(engine: &Engine, loaded: &[Loaded], recovered: &Recovered) -> Result<(), OpenError> {
    let partial = usize::from(kelpie_core::mutant!("CompleteRecovery_Partial"));
    let all = recovered.replay.len().saturating_sub(partial);
    for (segment, Placed { lsn, body, len }) in &recovered.replay[..all] {
        let segment = &loaded[*segment];
        let mutations = body::decode(&segment.bytes[*body..body + len])
            .map_err(|garbled| damaged(&segment.path, *body, &garbled.to_string()))?;
        drop(engine.memtable.insert(*lsn, mutations, *lsn));
    }
    engine.publish(recovered.last);
    let records = recovered.replay.len();
    tracing::info!(records, version = recovered.last, "the log is replayed");
    Ok(())
}

pub(super) fn damaged(file: &Path, offset: usize, what: &str) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), offset: offset as u64, what: what.to_owned() }
}

pub(super) fn begin_error(error: NotLogged) -> io::Error {
    match error {
        NotLogged::Refused(Outage::Disk(error)) => io::Error::new(error.kind(), error),
        NotLogged::Refused(outage) => io::Error::other(outage),
        NotLogged::Unknown => io::Error::other("an fsync failed"),
    }
}
