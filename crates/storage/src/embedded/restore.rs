//! A new directory out of rows that come from elsewhere.
//!
//! ```text
//!   <dir>.restoring:  base ─▶ first log segment ─▶ read back, compare ─▶ format file
//!                     ─▶ renamed to <dir>
//! ```
//!
//! Invariant: the directory has no format file before all of it is durable and compared. A
//! start refuses a base without one, so what an interrupted restore leaves is no store under
//! any name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use kelpie_core::log::frame::Header;
use kelpie_env::{DirectoryLock, Env};

use super::identity::{BASE_FILE, FORMAT_FILE, Newest, write_format};
use super::new_base::NewBase;
use super::open::{begin_error, locked};
use super::redb_base::RedbBase;
use super::segments::Segments;
use super::steps::LogSteps;
use crate::backup::{RestoreError, RowsDigest, Summary};
use crate::config::EmbeddedOptions;
use crate::contract::{Export, ImportError, OpenError, RowBatch, Version};
use crate::keys::successor;

/// Whether a store may be made at `dir`: nothing is there.
pub(crate) fn check_vacant(env: &Env, dir: &Path) -> Result<(), RestoreError> {
    let disk = env.disk();
    if !disk.exists(dir).map_err(at(dir))? {
        return Ok(());
    }
    // A store that is at work is worth naming; in any other directory nothing is touched.
    if disk.exists(&dir.join(FORMAT_FILE)).map_err(at(dir))? {
        drop(disk.lock_dir(dir).map_err(|error| locked(dir, error))?);
    }
    Err(RestoreError::Occupied { dir: dir.to_owned() })
}

/// Makes the store `dir` out of rows, all or nothing.
pub(crate) async fn fill(
    env: &Env,
    dir: &Path,
    options: EmbeddedOptions,
    mut rows: Export,
    expected: &Summary,
) -> Result<(), RestoreError> {
    let (temporary, store) = (temporary(dir)?, env.random_u64());
    let place = Place { env: env.clone(), dir: dir.to_owned(), temporary, store };
    let began = place.clone();
    let (lock, mut base) = env.blocking(move || began.begin()).await?;
    while let Some(batch) = rows.batches.next().await {
        let batch: RowBatch = batch.map_err(ImportError::Source)?;
        let temporary = place.temporary.clone();
        let put = move || base.put(&batch).map(|()| base).map_err(at(&temporary));
        base = env.blocking(put).await?;
    }
    let (version, expected) = (rows.version, expected.clone());
    env.blocking(move || place.finish(base, version, options, &expected, lock)).await
}

#[derive(Clone)]
struct Place {
    env: Env,
    dir: PathBuf,
    temporary: PathBuf,
    store: u64,
}

impl Place {
    /// Locks the temporary directory and empties it of what an earlier restore has left.
    fn begin(&self) -> Result<(Box<dyn DirectoryLock>, NewBase), RestoreError> {
        let (disk, dir) = (self.env.disk(), &self.temporary);
        disk.create_dir(dir).map_err(at(dir))?;
        let lock = disk.lock_dir(dir).map_err(|error| locked(dir, error))?;
        for left in disk.list(dir).map_err(at(dir))? {
            disk.remove(&left).map_err(at(&left))?;
        }
        disk.sync_dir(dir).map_err(at(dir))?;
        // With this and without a format file no start takes the directory for a new one.
        Newest::open(&**disk, dir, self.store, true)?;
        let base = NewBase::begin(disk.clone(), &dir.join(BASE_FILE)).map_err(at(dir))?;
        Ok((lock, base))
    }

    fn finish(
        &self,
        base: NewBase,
        version: Version,
        options: EmbeddedOptions,
        expected: &Summary,
        lock: Box<dyn DirectoryLock>,
    ) -> Result<(), RestoreError> {
        let (disk, dir) = (self.env.disk(), &self.temporary);
        let store = self.store;
        let (newest, _) = Newest::open(&**disk, dir, store, false)?;
        base.finish(version, store).map_err(at(dir))?;
        // A log that goes on behind what the backup has seen: no later versionstamp is smaller.
        let segments =
            Segments::new(disk.clone(), dir.clone(), options.segment_bytes, newest, LogSteps::default());
        let header = Header {
            store,
            bytes: options.segment_bytes,
            generation: 1,
            first: version + 1,
            previous: 0,
            cut_after: version,
        };
        segments.begin(header, 0).map_err(|error| at(dir)(begin_error(error)))?;
        self.compare(options, expected)?;
        write_format(&**disk, dir, store)?;
        check_vacant(&self.env, &self.dir)?;
        disk.rename(dir, &self.dir).map_err(at(&self.dir))?;
        disk.sync_dir(parent(&self.dir)).map_err(at(&self.dir))?;
        drop(lock);
        Ok(())
    }

    /// Reads everything back.
    fn compare(&self, options: EmbeddedOptions, expected: &Summary) -> Result<(), RestoreError> {
        let path = self.temporary.join(BASE_FILE);
        let disk: Arc<_> = self.env.disk().clone();
        let opened = RedbBase::open(disk, path.clone(), options.cache_bytes, self.store);
        let (base, _) = opened.map_err(|error| error.at(&path))?;
        let mut digest = RowsDigest::default();
        let mut from = Bytes::new();
        let unreadable = |outage| RestoreError::Import(ImportError::Unavailable(outage));
        let frozen = base.freeze().map_err(unreadable)?;
        loop {
            let rows = base.read_frozen(&frozen, &from).map_err(unreadable)?.rows;
            let Some((last, _)) = rows.last() else { break };
            from = successor(last);
            rows.iter().for_each(|(key, value)| digest.add(key, value));
        }
        drop(frozen);
        base.close();
        if digest.digest() == expected.rows_digest { Ok(()) } else { Err(RestoreError::Differs) }
    }
}

fn parent(dir: &Path) -> &Path {
    dir.parent().unwrap_or(Path::new(""))
}

/// Beside the directory, so that it can be renamed.
fn temporary(dir: &Path) -> Result<PathBuf, RestoreError> {
    let Some(name) = dir.file_name() else {
        return Err(OpenError::Options { what: format!("{} has no name of its own", dir.display()) }.into());
    };
    let mut name = name.to_owned();
    name.push(".restoring");
    Ok(dir.with_file_name(name))
}

fn at(path: &Path) -> impl Fn(io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Disk { path: path.clone(), source }.into()
}
