//! The folded part of the store: a redb file over the environment's disk.
//!
//! Invariant: rows and log position change in one redb commit, so that after a crash the
//! base is the old fold or the new one, and says which.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kelpie_env::{Disk, File, Open};
use parking_lot::{Mutex, RwLock};
use redb::{
    AccessGuard, Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageBackend,
    StorageError, TableDefinition, WriteTransaction,
};

use crate::contract::{Outage, Rows, Version};
use crate::engine::{Base, FOLD_KEYS, Memtable, take_rows};
use crate::keys::KeyRange;
use crate::limits::PAGE_ROWS_MAX;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// Everything up to this record of the log is in `ROWS`.
const POSITION: &str = "position";

pub(super) struct RedbBase {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    /// redb refuses everything after one failed call; then it is opened anew.
    database: RwLock<Option<Opened>>,
    /// Held by whoever writes the file or opens it anew.
    writing: Mutex<()>,
}

/// The rows of one fold, whatever is folded later.
pub(super) struct Frozen {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) position: Version,
    database: Arc<Database>,
}

#[derive(Clone)]
struct Opened {
    database: Arc<Database>,
    faults: Arc<Faults>,
}

impl RedbBase {
    /// Makes an empty one under a temporary name first, so that a half-made file never bears
    /// the real one.
    pub(super) fn create(disk: &dyn Disk, path: &Path, dir: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        if disk.exists(&temporary)? {
            disk.remove(&temporary)?;
        }
        let file = disk.open(&temporary, Open::New)?;
        let database = Builder::new().create_with_backend(RedbFile { file, faults: Arc::default() });
        let database = database.map_err(io::Error::other)?;
        let transaction = begin_write(&database).map_err(io::Error::other)?;
        transaction.open_table(ROWS).map_err(io::Error::other)?;
        write_position(&transaction, 0).map_err(io::Error::other)?;
        transaction.commit().map_err(io::Error::other)?;
        database.close().map_err(io::Error::other)?;
        disk.rename(&temporary, path)?;
        disk.sync_dir(dir)
    }

    /// Opens it and reads its position.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        cache_bytes: usize,
    ) -> io::Result<(Self, Version)> {
        harden(&*disk, &path)?;
        let opened = open_database(&*disk, &path, cache_bytes)?;
        let position = read_position(&opened.database).map_err(io::Error::other)?;
        let database = RwLock::new(Some(opened));
        Ok((Self { disk, path, cache_bytes, database, writing: Mutex::new(()) }, position))
    }

    /// Closes the file.
    pub(super) fn close(&self) {
        let _writing = self.writing.lock();
        drop(self.database.write().take());
    }

    /// Runs `fold` under a marker that tells the next process whether it ended. The marker
    /// needs no sync: with the power goes the page cache, and with it what it warns of.
    fn marked(&self, fold: impl FnOnce() -> Result<(), redb::Error>) -> Result<(), redb::Error> {
        let marker = marker(&self.path);
        if !self.disk.exists(&marker)? {
            self.disk.open(&marker, Open::New)?;
        }
        fold()?;
        Ok(self.disk.remove(&marker)?)
    }

    /// The rows of the last fold, for as long as the result is kept.
    pub(super) fn freeze(&self) -> Result<Frozen, Outage> {
        let opened = self.opened()?;
        let frozen = || -> Result<Frozen, redb::Error> {
            let transaction = opened.database.begin_read()?;
            let position = position_of(&transaction)?;
            Ok(Frozen { rows: transaction.open_table(ROWS)?, position, database: opened.database.clone() })
        };
        frozen().map_err(disk_outage)
    }

    /// The next rows of a fold from `from` on. It ends with the open database: another one on
    /// the same file may write over what only this one kept.
    pub(super) fn read_frozen(&self, frozen: &Frozen, from: &[u8]) -> Result<Rows, Outage> {
        let opened = self.database.read();
        if !opened.as_ref().is_some_and(|opened| Arc::ptr_eq(&opened.database, &frozen.database)) {
            return Err(Outage::Closed);
        }
        let read =
            || -> Result<Rows, redb::Error> { Ok(take(frozen.rows.range::<&[u8]>(from..)?, PAGE_ROWS_MAX)?) };
        read().map_err(disk_outage)
    }

    fn opened(&self) -> Result<Opened, Outage> {
        self.database.read().clone().ok_or(Outage::Closed)
    }

    /// Reads; after a failure once more on a database opened anew.
    fn read<T>(&self, read: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, Outage> {
        let opened = self.opened()?;
        let error = match read(&opened.database) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tracing::warn!(error = %error, path = %self.path.display(), "a read of the base failed, opening it anew");
        let _writing = self.writing.lock();
        self.reopen(&opened).map_err(|error| Outage::Disk(Arc::new(error)))?;
        read(&self.opened()?.database).map_err(disk_outage)
    }

    /// Replaces the database `failed`, unless somebody has. With `writing` held.
    fn reopen(&self, failed: &Opened) -> io::Result<()> {
        let mut database = self.database.write();
        if database.as_ref().is_some_and(|current| Arc::ptr_eq(&current.database, &failed.database)) {
            *database = Some(open_database(&*self.disk, &self.path, self.cache_bytes)?);
        }
        Ok(())
    }

    fn write_rows(
        transaction: &WriteTransaction,
        memtable: &Memtable,
        version: Version,
    ) -> Result<(), redb::Error> {
        let mut rows = transaction.open_table(ROWS)?;
        for KeyRange { begin, end } in memtable.folded_clears(version) {
            rows.retain_in::<&[u8], _>(&begin[..]..&end[..], |_, _| false)?;
        }
        let mut after = None;
        loop {
            let (puts, next) = memtable.folded_puts(after.as_ref(), version, FOLD_KEYS);
            for (key, value) in puts {
                match value {
                    Some(value) => drop(rows.insert(&key[..], &value[..])?),
                    None => drop(rows.remove(&key[..])?),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn fold_into(database: &Database, memtable: &Memtable, version: Version) -> Result<(), redb::Error> {
        if kelpie_core::mutant!("wal_position_in_second_commit") {
            let transaction = begin_write(database)?;
            write_position(&transaction, version)?;
            transaction.commit()?;
        }
        let transaction = begin_write(database)?;
        Self::write_rows(&transaction, memtable, version)?;
        write_position(&transaction, version)?;
        Ok(transaction.commit()?)
    }
}

impl Base for RedbBase {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Outage> {
        self.read(|database| {
            let rows = database.begin_read()?.open_table(ROWS)?;
            Ok(rows.get(key)?.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Rows, Outage> {
        self.read(|database| {
            let rows = database.begin_read()?.open_table(ROWS)?;
            let within = rows.range::<&[u8]>(&range.begin[..]..&range.end[..])?;
            Ok(if reverse { take(within.rev(), limit)? } else { take(within, limit)? })
        })
    }

    fn fold(&self, memtable: &Memtable, version: Version) -> Result<(), Outage> {
        let _writing = self.writing.lock();
        let opened = self.opened()?;
        let folded = self.marked(|| Self::fold_into(&opened.database, memtable, version));
        let Err(error) = folded else { return Ok(()) };
        let fault = opened.faults.first.lock().take();
        let (outage, again) = match fault {
            // Nothing of this fold counts; with room it can be tried again.
            Some(Fault::Full) => (Outage::DiskFull, "when there is room"),
            // What the file holds beyond the last fold is unknown.
            Some(Fault::Other) | None => (Outage::Poisoned, "after a restart"),
        };
        tracing::error!(%error, path = %self.path.display(), "a checkpoint failed; {again} it is made again");
        if let Err(error) = self.reopen(&opened) {
            tracing::error!(%error, path = %self.path.display(), "the base cannot be opened anew");
        }
        Err(outage)
    }
}

fn marker(path: &Path) -> PathBuf {
    path.with_extension("folding")
}

/// After a fold that did not end in an earlier process, the system may show pages that the
/// disk does not hold, and may take them for written. A copy is written for certain, and
/// takes the file's place in one step.
fn harden(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if !disk.exists(&marker(path))? || kelpie_core::mutant!("recovery_trusts_the_page_cache") {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the last checkpoint was interrupted: copying the base");
    let copy = path.with_extension("new");
    if disk.exists(&copy)? {
        disk.remove(&copy)?;
    }
    let (from, to) = (disk.open(path, Open::Existing)?, disk.open(&copy, Open::New)?);
    let len = from.len()?;
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let bytes = usize::try_from(len - at).unwrap_or(usize::MAX).min(piece.len());
        from.read_exact_at(&mut piece[..bytes], at)?;
        to.write_all_at(&piece[..bytes], at)?;
        at += bytes as u64;
    }
    to.sync()?;
    disk.rename(&copy, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))?;
    disk.remove(&marker(path))
}

type Row<'a> = Result<(AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>), StorageError>;

/// Rows up to a limit, or the first failure.
fn take<'a>(rows: impl Iterator<Item = Row<'a>>, limit: usize) -> Result<Rows, StorageError> {
    let mut failed = None;
    let copied = rows.map_while(|row| match row {
        Ok((key, value)) => {
            Some((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
        }
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let taken = take_rows(copied, limit);
    failed.map_or(Ok(taken), Err)
}

fn open_database(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> io::Result<Opened> {
    let faults = Arc::<Faults>::default();
    let backend = RedbFile { file: disk.open(path, Open::Existing)?, faults: faults.clone() };
    let database = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend);
    Ok(Opened { database: Arc::new(database.map_err(io::Error::other)?), faults })
}

/// Quick repair: a restart after a crash need not walk the whole file.
fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn write_position(transaction: &WriteTransaction, position: Version) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(POSITION, position)?;
    Ok(())
}

fn read_position(database: &Database) -> Result<Version, redb::Error> {
    position_of(&database.begin_read()?)
}

fn position_of(transaction: &ReadTransaction) -> Result<Version, redb::Error> {
    let state = transaction.open_table(STATE)?;
    let position = state.get(POSITION)?.map(|position| position.value());
    Ok(position.expect("written in the commit that created the table"))
}

fn disk_outage(error: redb::Error) -> Outage {
    Outage::Disk(Arc::new(io::Error::other(error)))
}

/// redb's file. It reports a fault once and refuses everything afterwards, so what the first
/// one was is kept here.
#[derive(Debug)]
struct RedbFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    first: Mutex<Option<Fault>>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// No room, found out before any sync.
    Full,
    Other,
}

impl RedbFile {
    fn seen<T>(&self, result: io::Result<T>, writing: bool) -> io::Result<T> {
        if let Err(error) = &result {
            let full = writing && error.kind() == ErrorKind::StorageFull;
            self.faults.first.lock().get_or_insert(if full { Fault::Full } else { Fault::Other });
        }
        result
    }
}

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.seen(self.file.len(), false)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.seen(self.file.read_exact_at(out, offset), false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.seen(self.file.set_len(len), true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.seen(self.file.sync(), false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.seen(self.file.write_all_at(data, offset), true)
    }
}
