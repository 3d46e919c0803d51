//! A directory that no process has open, read without changing anything in it.
//!
//! Nothing is cut, recycled or repaired on disk; what an opening would do there happens in
//! memory. The directory is locked meanwhile, so that no server starts on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use kelpie_core::log::recovery::Known;
use kelpie_core::row;
use kelpie_env::{DirectoryLock, Env};

use super::identity::{BASE_FILE, Newest, read_format};
use super::open::{Loaded, damaged, judge, load, locked, replay};
use super::overlay::Overlay;
use super::redb_base::RedbBase;
use super::segments::log_files;
use crate::backup::{Head, encode};
use crate::config::EmbeddedOptions;
use crate::contract::{Export, ExportError, OpenError, ReadError, Stats, Version};
use crate::engine::Engine;

/// A store as it stands in its directory.
pub struct Stopped {
    env: Env,
    engine: Arc<Engine>,
    version: Version,
    position: Version,
    log_bytes: u64,
    files: Vec<FileSize>,
    /// Held until this is dropped.
    lock: Arc<dyn DirectoryLock>,
}

/// One file of a store's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSize {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

impl Stopped {
    /// Reads the store in `dir` as a start would, and refuses what a start would refuse.
    pub async fn open(env: &Env, dir: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let (own, dir) = (env.clone(), dir.to_owned());
        env.blocking(move || look(own, &dir, options)).await
    }

    /// What it holds.
    pub fn stats(&self) -> Stats {
        Stats {
            version: self.version,
            checkpoint: self.position,
            memtable_keys: self.engine.memtable.keys(),
            memtable_bytes: self.engine.memtable.bytes(),
            log_bytes: self.log_bytes,
            ..Stats::default()
        }
    }

    /// Its files, without the lock.
    pub fn files(&self) -> &[FileSize] {
        &self.files
    }

    /// The store's generation, if it was ever restored.
    pub fn generation(&self) -> Result<Option<u128>, ReadError> {
        let key = row::generation();
        let found = match self.engine.get(self.version, &key) {
            Some(found) => found?,
            None => self.engine.get_below(self.version, &key)?,
        };
        Ok(found.as_deref().and_then(row::parse_generation))
    }

    /// All rows.
    pub fn export(&self) -> Export {
        let Self { env, engine, version, lock, .. } = self;
        let state = (env.clone(), engine.clone(), lock.clone(), *version, Bytes::new());
        let batches = try_unfold(state, |(env, engine, lock, version, from)| async move {
            let reader = engine.clone();
            let page = env.blocking(move || reader.export_page(version, from)).await?;
            Ok(page.map(|(rows, next)| (rows, (env, engine, lock, version, next))))
        });
        Export { version: *version, batches: batches.boxed() }
    }

    /// The bytes of a backup.
    pub fn backup(&self) -> Result<BoxStream<'static, Result<Bytes, ExportError>>, ReadError> {
        let generation = self.generation()?;
        let backend = "embedded".to_owned();
        let head = Head { version: self.version, wall_ms: self.env.wall_ms(), generation, backend };
        Ok(encode(&head, self.export()))
    }
}

fn look(env: Env, dir: &Path, options: EmbeddedOptions) -> Result<Stopped, OpenError> {
    let at = |source| OpenError::Disk { path: dir.to_owned(), source };
    // Never made: a directory without a store stays without one.
    let names = env.disk().list(dir).map_err(at)?;
    let lock = env.disk().lock_dir(dir).map_err(|error| locked(dir, error))?;
    let overlay = Arc::new(Overlay::new(env.disk().clone()));
    let store = read_format(&*overlay, dir)?;
    let files = sizes(&env, &names).map_err(at)?;
    let (_, newest) = Newest::open(&*overlay, dir, store, false)?;
    let (base, position) = look_at_base(&overlay, dir, options, store)?;
    let loaded = load(&*overlay, dir, log_files(&names))?;
    if loaded.is_empty() && position > 0 {
        return Err(damaged(dir, 0, "the log is missing, but a checkpoint of it is there"));
    }
    let recovered = judge(&loaded, Known { store, newest, position }, dir)?;
    let engine = Engine::new(Box::new(Arc::new(base)), position, env.random_u64());
    replay(&engine, &loaded, &recovered)?;
    let log_bytes = loaded.iter().map(Loaded::used).sum();
    let (engine, version) = (Arc::new(engine), recovered.last);
    Ok(Stopped { env, engine, version, position, log_bytes, files, lock: lock.into() })
}

pub(super) fn look_at_base(
    overlay: &Arc<Overlay>,
    dir: &Path,
    options: EmbeddedOptions,
    store: u64,
) -> Result<(RedbBase, Version), OpenError> {
    let path = dir.join(BASE_FILE);
    let at = |source| OpenError::Disk { path: path.clone(), source };
    let disk: Arc<dyn kelpie_env::Disk> = overlay.clone();
    if !disk.exists(&path).map_err(at)? {
        return Err(damaged(&path, 0, "the file is missing"));
    }
    RedbBase::look(disk, path.clone(), options.cache_bytes, store).map_err(|error| error.at(&path))
}

/// How large files are.
pub(super) fn sizes(env: &Env, paths: &[PathBuf]) -> std::io::Result<Vec<FileSize>> {
    let size = |path: &PathBuf| {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let bytes = env.disk().open(path, kelpie_env::Open::Existing)?.len()?;
        Ok(FileSize { name, bytes })
    };
    paths.iter().map(size).collect()
}
