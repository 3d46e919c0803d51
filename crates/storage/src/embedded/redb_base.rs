//! The folded part of the store: a redb file over the environment's disk.
//!
//! Invariant: rows and log position change in one redb commit, so that after a crash the
//! base is the old fold or the new one, and says which.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kelpie_env::{Disk, Open};
use parking_lot::{Mutex, RwLock};
use redb::{
    AccessGuard, Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageError,
    TableDefinition, WriteTransaction,
};

use super::blocks::{Blocks, Fault, Faults};
use super::folds::Folds;
use super::piece_cache::{Known, PieceCache};
use super::row_cache::RowCache;
use super::segments::outage_of;
use crate::contract::{OpenError, Outage, Rows, Version};
use crate::engine::{Base, Memtable};
use crate::keys::KeyRange;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::row_list::Packing;

pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// Everything up to this record of the log is in `ROWS`.
const POSITION: &str = "position";
/// Whose base it is.
const STORE: &str = "store";

pub(super) struct RedbBase {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// For redb's pages.
    cache_bytes: usize,
    rows: RowCache,
    pieces: PieceCache,
    folds: Folds,
    /// redb refuses everything after one failed call; then it is opened anew.
    database: RwLock<Option<Opened>>,
    /// Held by whoever writes the file or opens it anew.
    writing: Mutex<()>,
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The rows of one fold, whatever is folded later.
pub(super) struct Frozen {
    rows: Table,
    pub(super) position: Version,
    opened: Opened,
}

#[derive(Clone)]
struct Opened {
    /// The rows of the newest fold, opened by the first read after it: opening them costs as
    /// much as a get.
    newest: Arc<RwLock<Option<Arc<Table>>>>,
    database: Arc<Database>,
    faults: Arc<Faults>,
}

impl Opened {
    fn rows(&self) -> Result<Arc<Table>, redb::Error> {
        if let Some(rows) = &*self.newest.read() {
            return Ok(rows.clone());
        }
        // Under the lock: a fold that ends beside it lets go of what is opened here.
        let mut newest = self.newest.write();
        let rows = match newest.take() {
            Some(rows) => rows,
            None => Arc::new(self.database.begin_read()?.open_table(ROWS)?),
        };
        *newest = Some(rows.clone());
        Ok(rows)
    }

    /// A fold is done: reads from here on see it.
    fn folded(&self) {
        drop(self.newest.write().take());
    }
}

impl RedbBase {
    /// Opens the base of `store` and reads its position.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        cache_bytes: usize,
        store: u64,
    ) -> Result<(Self, Version), BaseError> {
        harden(&*disk, &path)?;
        Self::look(disk, path, cache_bytes, store)
    }

    /// Opens it as it stands, for reading only. Half of the cache is for rows, an eighth for
    /// pieces, the rest for pages.
    pub(super) fn look(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        cache_bytes: usize,
        store: u64,
    ) -> Result<(Self, Version), BaseError> {
        let (rows, pieces) = (RowCache::new(cache_bytes / 2, store), PieceCache::new(cache_bytes / 8));
        let cache_bytes = cache_bytes - cache_bytes / 2 - cache_bytes / 8;
        let opened = open_database(&*disk, &path, cache_bytes)?;
        let state = contained(|| state_of(&opened.database.begin_read()?));
        let (position, owner) = state.map_err(|error| BaseError::of(error, &opened.faults))?;
        if owner != Some(store) {
            return Err(BaseError::Damaged { offset: 0, what: "it belongs to another store".to_owned() });
        }
        let database = RwLock::new(Some(opened));
        let (folds, writing) = (Folds::default(), Mutex::new(()));
        Ok((Self { disk, path, cache_bytes, rows, pieces, folds, database, writing }, position))
    }

    /// Closes the file.
    pub(super) fn close(&self) {
        let _writing = self.writing.lock();
        drop(self.database.write().take());
    }

    /// Cuts off what the file does not need, and closes it.
    pub(super) fn compact(&self) -> Result<(), BaseError> {
        let _writing = self.writing.lock();
        drop(self.database.write().take());
        let Opened { database, faults, .. } = open_database(&*self.disk, &self.path, self.cache_bytes)?;
        let mut database = Arc::into_inner(database).expect("opened a moment ago and not shared");
        self.mark()?;
        let compacted = contained(|| {
            // Each pass moves what the one before has made movable.
            while database.compact()? {}
            Ok(database.close()?)
        });
        compacted.map_err(|error| BaseError::of(error, &faults))?;
        self.unmark();
        Ok(())
    }

    /// Before the first write of a fold: leaves a marker, which tells the next process unless
    /// it ends. The marker needs no sync: with the power goes the page cache, and with it what
    /// it warns of.
    fn mark(&self) -> io::Result<()> {
        let marker = marker(&self.path);
        if !self.disk.exists(&marker)? {
            self.disk.open(&marker, Open::New)?;
        }
        Ok(())
    }

    /// After the fold is durable.
    fn unmark(&self) {
        if let Err(error) = self.disk.remove(&marker(&self.path)) {
            tracing::warn!(%error, "the next start copies the base although no fold was interrupted");
        }
    }

    /// The rows of the last fold, for as long as the result is kept.
    pub(super) fn freeze(&self) -> Result<Frozen, Outage> {
        let opened = self.opened()?;
        let frozen = contained(|| {
            let transaction = opened.database.begin_read()?;
            let (position, _) = state_of(&transaction)?;
            Ok(Frozen { rows: transaction.open_table(ROWS)?, position, opened: opened.clone() })
        });
        frozen.map_err(|error| self.outage(BaseError::of(error, &opened.faults)))
    }

    /// The next rows of a fold from `from` on. It ends with the open database: another one on
    /// the same file may write over what only this one kept.
    pub(super) fn read_frozen(&self, frozen: &Frozen, from: &[u8]) -> Result<Rows, Outage> {
        let opened = self.database.read();
        let current = |opened: &Opened| Arc::ptr_eq(&opened.database, &frozen.opened.database);
        if !opened.as_ref().is_some_and(current) {
            return Err(Outage::Closed);
        }
        let read = contained(|| Ok(take(frozen.rows.range::<&[u8]>(from..)?, PAGE_ROWS_MAX)?));
        read.map_err(|error| self.outage(BaseError::of(error, &frozen.opened.faults)))
    }

    fn opened(&self) -> Result<Opened, Outage> {
        self.database.read().clone().ok_or(Outage::Closed)
    }

    /// Reads; after a failure once more on a database opened anew, because what is read once
    /// may be wrong where the disk is right.
    fn read<T>(&self, read: impl Fn(&Table) -> Result<T, redb::Error>) -> Result<T, Outage> {
        let (error, opened) = {
            let database = self.database.read();
            let opened = database.as_ref().ok_or(Outage::Closed)?;
            match contained(|| read(&*opened.rows()?)) {
                Ok(value) => return Ok(value),
                Err(error) => (error, opened.clone()),
            }
        };
        tracing::warn!(error = %error, path = %self.path.display(), "a read of the base failed, opening it anew");
        let _writing = self.writing.lock();
        self.reopen(&opened).map_err(|error| self.outage(error))?;
        let opened = self.opened()?;
        contained(|| read(&*opened.rows()?)).map_err(|error| {
            let error = BaseError::of(error, &opened.faults);
            tracing::error!(%error, path = %self.path.display(), "the base cannot be read");
            self.outage(error)
        })
    }

    fn outage(&self, error: BaseError) -> Outage {
        match error {
            BaseError::Disk(error) => Outage::Disk(Arc::new(error)),
            BaseError::Damaged { offset, what } => {
                Outage::Damaged { file: self.path.as_path().into(), offset, what: what.into() }
            }
        }
    }

    /// Replaces the database `failed`, unless somebody has. With `writing` held.
    fn reopen(&self, failed: &Opened) -> Result<(), BaseError> {
        let mut database = self.database.write();
        if database.as_ref().is_some_and(|current| Arc::ptr_eq(&current.database, &failed.database)) {
            failed.faults.retire();
            *database = Some(open_database(&*self.disk, &self.path, self.cache_bytes)?);
        }
        Ok(())
    }

    fn write_rows(
        &self,
        transaction: &WriteTransaction,
        memtable: &Memtable,
        version: Version,
    ) -> Result<(), redb::Error> {
        let mut rows = transaction.open_table(ROWS)?;
        let clears = memtable.folded_clears(version);
        self.rows.forget_ranges(&clears);
        self.pieces.forget_ranges(&clears);
        for KeyRange { begin, end } in clears {
            rows.retain_in::<&[u8], _>(&begin[..]..&end[..], |_, _| false)?;
        }
        let mut after = None;
        loop {
            let (puts, next) = memtable.folded_puts(after.as_ref(), version);
            for (row, value) in puts {
                self.rows.forget(row.key());
                self.pieces.forget(row.key());
                match value {
                    Some(value) => drop(rows.insert(row.key(), &value[..])?),
                    None => drop(rows.remove(row.key())?),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn fold_into(
        &self,
        database: &Database,
        memtable: &Memtable,
        version: Version,
    ) -> Result<(), redb::Error> {
        if kelpie_core::mutant!("wal_position_in_second_commit") {
            let transaction = begin_write(database)?;
            write_position(&transaction, version)?;
            transaction.commit()?;
        }
        let transaction = begin_write(database)?;
        self.write_rows(&transaction, memtable, version)?;
        let premature = u64::from(kelpie_core::mutant!("Complete_Premature"));
        write_position(&transaction, version + premature)?;
        Ok(transaction.commit()?)
    }
}

impl Base for RedbBase {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Outage> {
        let began = self.folds.begin();
        self.read(|rows| {
            let found = rows.get(key)?;
            let value = found.as_ref().map(AccessGuard::value);
            self.rows.keep(began, key, value);
            Ok(value.map(Bytes::copy_from_slice))
        })
    }

    fn cached(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.rows.get(key)
    }

    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Rows, Outage> {
        let Known { mut rows, rest } = self.pieces.scan(range, limit, reverse);
        if rest.is_empty() || rows.len() >= limit || rows.bytes() >= PAGE_BYTES_MAX {
            return Ok(Rows { rows, more: !rest.is_empty() });
        }
        let (limit, began) = (limit - rows.len(), self.folds.begin());
        let found = self.read(|rows| {
            let within = rows.range::<&[u8]>(&rest.begin[..]..&rest.end[..])?;
            Ok(if reverse { take(within.rev(), limit)? } else { take(within, limit)? })
        })?;
        self.pieces.keep(began, &rest, &found, reverse);
        rows.append(found.rows);
        Ok(Rows { rows, more: found.more })
    }

    fn fold(&self, memtable: &Memtable, version: Version) -> Result<(), Outage> {
        let _writing = self.writing.lock();
        let mut opened = self.opened()?;
        if opened.faults.is_retired() {
            // It could not be opened anew when it failed.
            self.reopen(&opened).map_err(|error| self.outage(error))?;
            opened = self.opened()?;
        }
        // Nothing is written yet: it can be tried again.
        self.mark().map_err(outage_of)?;
        let folding = self.folds.fold();
        let folded = contained(|| self.fold_into(&opened.database, memtable, version));
        let Err(error) = folded else {
            self.unmark();
            opened.folded();
            // Only now, with the old rows let go: what is read from here on may be kept.
            drop(folding);
            return Ok(());
        };
        let outage = match opened.faults.take() {
            // Nothing of this fold counts; with room it can be tried again.
            Some(Fault::Full) => Outage::DiskFull,
            Some(Fault::Damaged { offset, what }) => {
                self.outage(BaseError::Damaged { offset, what: what.to_owned() })
            }
            // What the file holds beyond the last fold is unknown.
            Some(Fault::Other) | None => {
                tracing::error!(%error, path = %self.path.display(), "a checkpoint failed in its file");
                Outage::Poisoned
            }
        };
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
    let (mut copied, mut more) = (Packing::default(), false);
    for row in rows {
        let (key, value) = row?;
        if copied.len() >= limit || copied.bytes() >= PAGE_BYTES_MAX {
            more = true;
            break;
        }
        copied.push(key.value(), value.value());
    }
    Ok(Rows { rows: copied.finish(), more })
}

/// The base cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BaseError {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error("damaged at byte {offset}: {what}")]
    Damaged { offset: u64, what: String },
}

impl BaseError {
    /// As the error of whoever opens a store.
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Disk(source) => OpenError::Disk { path, source },
            Self::Damaged { offset, what } => OpenError::Damaged { file: path, offset, what },
        }
    }

    /// What failed below redb says more than what redb makes of it.
    fn of(error: redb::Error, faults: &Faults) -> Self {
        match (faults.take(), error) {
            (Some(Fault::Damaged { offset, what }), _) => Self::Damaged { offset, what: what.to_owned() },
            (None, redb::Error::Corrupted(what)) => Self::Damaged { offset: 0, what },
            (_, error) => Self::Disk(io::Error::other(error)),
        }
    }
}

fn open_database(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Opened, BaseError> {
    let faults = Arc::<Faults>::default();
    let file = disk.open(path, Open::Existing)?;
    // redb would make a new one of it.
    if file.is_empty()? {
        return Err(BaseError::Damaged { offset: 0, what: "it is empty".to_owned() });
    }
    let opened = contained(|| {
        let backend = Blocks::open(file, faults.clone())?;
        Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?)
    });
    match opened {
        Ok(database) => Ok(Opened { newest: Arc::default(), database: Arc::new(database), faults }),
        Err(error) => Err(BaseError::of(error, &faults)),
    }
}

/// redb asserts what it takes for granted about its own pages. Damage that their checksums do
/// not show must end one call, not the process.
fn contained<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    // A database that has panicked is opened anew and its file refused to it.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(redb::Error::Corrupted(format!("redb gave up: {words}")))
    })
}

/// Reads every page that counts, and compares redb's own checksums and accounts.
pub(super) fn verify(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<(), BaseError> {
    let Opened { database, faults, .. } = open_database(disk, path, cache_bytes)?;
    let mut database = Arc::into_inner(database).expect("opened a moment ago and not shared");
    match contained(|| Ok(database.check_integrity()?)) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let what = "its trees and its accounts of them do not agree".to_owned();
            Err(BaseError::Damaged { offset: 0, what })
        }
        Err(error) => Err(BaseError::of(error, &faults)),
    }
}

/// Quick repair: a restart after a crash need not walk the whole file.
pub(super) fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

pub(super) fn write_position(transaction: &WriteTransaction, position: Version) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(POSITION, position)?;
    Ok(())
}

pub(super) fn write_store(transaction: &WriteTransaction, store: u64) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(STORE, store)?;
    Ok(())
}

/// The position, and whose base it is.
fn state_of(transaction: &ReadTransaction) -> Result<(Version, Option<u64>), redb::Error> {
    let state = transaction.open_table(STATE)?;
    let position = state.get(POSITION)?.map(|position| position.value());
    let position = position.ok_or_else(|| redb::Error::Corrupted("it says no position".to_owned()))?;
    Ok((position, state.get(STORE)?.map(|store| store.value())))
}
