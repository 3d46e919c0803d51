//! Everything that can be wrong with a directory, looked for and told.
//!
//! A start stops at the first damage that it meets and reads of the base only what it needs.
//! This reads all of it: every header, every record, every page of the base with its checksum,
//! every row, and goes on after a damage as far as the rest can be judged without it. Nothing
//! is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kelpie_core::log::recovery::Known;
use kelpie_core::row;
use kelpie_env::{Disk, Env};

use super::identity::{BASE_FILE, FORMAT_FILE, NEWEST_FILE, Newest, read_format};
use super::open::{Loaded, judge, load, locked, replay};
use super::overlay::Overlay;
use super::redb_base::{self, RedbBase};
use super::segments::log_files;
use super::stopped::look_at_base;
use crate::backup::RowsDigest;
use crate::config::EmbeddedOptions;
use crate::contract::{OpenError, Version};
use crate::engine::Engine;
use crate::limits::{KEY_BYTES_MAX, check_key, check_value};

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub file: PathBuf,
    /// At which byte, if that can be told.
    pub offset: Option<u64>,
    /// What.
    pub what: String,
}

/// What a check has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is damaged; nothing, if all is well.
    pub findings: Vec<Finding>,
    /// What is not damaged but worth knowing.
    pub notes: Vec<String>,
    /// Segments of the log.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// The checkpoint.
    pub checkpoint: Version,
    /// The last version.
    pub version: Version,
    /// What all rows amount to, if they could all be read.
    pub rows: Option<RowsFound>,
}

/// All rows, base and log together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsFound {
    /// How many.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// BLAKE3 over them: that of a backup of the same rows.
    pub digest: [u8; 32],
}

/// Checks the store in `dir`, which no process may have open.
pub async fn check(env: &Env, dir: &Path, options: EmbeddedOptions) -> Result<Checked, OpenError> {
    let (own, dir) = (env.clone(), dir.to_owned());
    env.blocking(move || look(&own, &dir, options)).await
}

fn look(env: &Env, dir: &Path, options: EmbeddedOptions) -> Result<Checked, OpenError> {
    let at = |source| OpenError::Disk { path: dir.to_owned(), source };
    let names = env.disk().list(dir).map_err(at)?;
    let _lock = env.disk().lock_dir(dir).map_err(|error| locked(dir, error))?;
    let overlay = Arc::new(Overlay::new(env.disk().clone()));
    let store = read_format(&*overlay, dir)?;
    let mut checked = Checked { notes: notes(&names), ..Checked::default() };
    let newest = Newest::open(&*overlay, dir, store, false).map(|(_, newest)| newest);
    let newest = checked.sound(newest)?;
    let base = checked.base(&overlay, dir, options, store)?;
    let loaded = checked.log(&overlay, dir, &names)?;
    if let (Some((base, position)), Some(newest), Some(loaded)) = (base, newest, loaded) {
        checked.checkpoint = position;
        checked.rows(env, dir, base, &loaded, Known { store, newest, position })?;
    }
    Ok(checked)
}

/// Files that a start would deal with.
fn notes(names: &[PathBuf]) -> Vec<String> {
    let note = |path: &PathBuf| {
        let name = path.file_name()?.to_string_lossy();
        match &*name {
            "base.folding" => {
                Some("base.folding: a checkpoint was interrupted, the next start copies the base")
            }
            "base.new" | "format.new" | "newest.new" => {
                Some("*.new: something was interrupted, the next start removes it")
            }
            FORMAT_FILE | BASE_FILE | NEWEST_FILE => None,
            name if name.starts_with("wal-") || name.starts_with("spare-") => None,
            _ => return Some(format!("{name}: not a file of this store")),
        }
        .map(str::to_owned)
    };
    names.iter().filter_map(note).collect()
}

impl Checked {
    fn found(&mut self, file: &Path, offset: Option<u64>, what: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), offset, what: what.into() });
    }

    /// Takes a damage over; any other error ends the check.
    fn sound<T>(&mut self, part: Result<T, OpenError>) -> Result<Option<T>, OpenError> {
        match part {
            Ok(part) => Ok(Some(part)),
            Err(OpenError::Damaged { file, offset, what }) => {
                self.found(&file, Some(offset), what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The base, if it is sound.
    fn base(
        &mut self,
        overlay: &Arc<Overlay>,
        dir: &Path,
        options: EmbeddedOptions,
        store: u64,
    ) -> Result<Option<(RedbBase, Version)>, OpenError> {
        // First as redb alone can judge it, then as the base of this store.
        let path = dir.join(BASE_FILE);
        let base = match overlay.exists(&path) {
            Ok(true) => redb_base::verify(&**overlay, &path, options.cache_bytes),
            Ok(false) | Err(_) => Ok(()),
        };
        let base = base.map_err(|error| error.at(&path));
        self.sound(base.and_then(|()| look_at_base(overlay, dir, options, store)))
    }

    /// The segments, if all of them can be read.
    fn log(
        &mut self,
        overlay: &Arc<Overlay>,
        dir: &Path,
        names: &[PathBuf],
    ) -> Result<Option<Vec<Loaded>>, OpenError> {
        let mut all = Some(Vec::new());
        for path in log_files(names) {
            let loaded = self.sound(load(&**overlay, dir, vec![path]))?;
            for segment in loaded.iter().flatten() {
                self.segments += 1;
                self.records += segment.scanned.records.len() as u64;
            }
            all = all.zip(loaded).map(|(all, loaded)| all.into_iter().chain(loaded).collect());
        }
        Ok(all.map(|mut all: Vec<Loaded>| {
            all.sort_by_key(|segment| segment.scanned.header.generation);
            all
        }))
    }

    /// What base and log mean together.
    fn rows(
        &mut self,
        env: &Env,
        dir: &Path,
        base: RedbBase,
        loaded: &[Loaded],
        known: Known,
    ) -> Result<(), OpenError> {
        if loaded.is_empty() && known.position > 0 {
            self.found(dir, None, "the log is missing, but a checkpoint of it is there");
            return Ok(());
        }
        let engine = Engine::new(Box::new(Arc::new(base)), known.position, env.random_u64());
        let judged = judge(loaded, known, dir).and_then(|recovered| {
            replay(&engine, loaded, &recovered)?;
            Ok(recovered.last)
        });
        if let Some(last) = self.sound(judged)? {
            self.version = last;
            self.all_rows(&engine, &dir.join(BASE_FILE));
        }
        Ok(())
    }

    fn all_rows(&mut self, engine: &Engine, base: &Path) {
        let mut digest = RowsDigest::default();
        let mut from = Bytes::new();
        loop {
            match engine.export_page(self.version, from.clone()) {
                Ok(Some((rows, next))) => {
                    for (key, value) in &rows {
                        digest.add(key, value);
                        if let Err(error) = check_key(key, KEY_BYTES_MAX).and_then(|()| check_value(value)) {
                            self.found(base, None, format!("{}: {error}", row::readable(key)));
                        }
                    }
                    from = next;
                }
                Ok(None) => break,
                Err(error) => {
                    self.found(base, None, format!("the rows behind {}: {error}", row::readable(&from)));
                    return;
                }
            }
        }
        let (rows, bytes) = (digest.rows(), digest.bytes());
        self.rows = Some(RowsFound { rows, bytes, digest: digest.digest() });
    }
}
