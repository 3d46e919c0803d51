//! Giving back the room that the base does not need.
//!
//! redb moves pages from the end of its file into holes and cuts the file. It needs the
//! database for itself, so this is for a store that no process has open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelpie_env::Env;

use super::identity::BASE_FILE;
use super::inner::Inner;
use super::open::open;
use super::steps::LogSteps;
use super::stopped::sizes;
use crate::config::EmbeddedOptions;
use crate::contract::{OpenError, Outage};

/// What a compaction has gained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the directory before.
    pub before: u64,
    /// Bytes of the directory after.
    pub after: u64,
}

/// A compaction failed. The store is whole: it ended before, between or after two commits of
/// the base.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log could not be folded.
    #[error("the log could not be folded")]
    Checkpoint(#[source] Outage),
}

/// Folds the log of the store in `dir` and cuts what its base does not need.
pub async fn compact(env: &Env, dir: &Path, options: EmbeddedOptions) -> Result<Compacted, CompactError> {
    let (own, dir) = (env.clone(), dir.to_owned());
    env.blocking(move || run(&own, &dir, options)).await
}

fn run(env: &Env, dir: &Path, options: EmbeddedOptions) -> Result<Compacted, CompactError> {
    let at = |source| OpenError::Disk { path: dir.to_owned(), source };
    let bytes = || -> std::io::Result<u64> {
        let names: Vec<PathBuf> = env.disk().list(dir)?;
        Ok(sizes(env, &names)?.iter().map(|file| file.bytes).sum())
    };
    let before = bytes().map_err(at)?;
    // Neither of the two tasks of an open store runs here, so nobody else writes.
    let inner: Arc<Inner> = open(env.clone(), dir, options, LogSteps::default())?;
    inner.checkpoint().map_err(CompactError::Checkpoint)?;
    inner.base.compact().map_err(|error| error.at(&dir.join(BASE_FILE)))?;
    drop(inner);
    Ok(Compacted { before, after: bytes().map_err(at)? })
}
