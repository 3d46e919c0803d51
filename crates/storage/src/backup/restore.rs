//! A backup back into a store.
//!
//! ```text
//!   verify the whole file ─▶ write under a temporary name ─▶ read back, compare ─▶ visible in one step
//! ```
//!
//! Invariant: until the last step nothing bears the target's name or opens as a store, so an
//! interrupted restore is repeated and never continued.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use kelpie_core::session::Session;
use kelpie_core::{record, row};
use kelpie_env::{Env, File, Open};

use super::decode::{BackupError, Decoder, Piece};
use super::format::{Head, Summary};
use crate::config::StoreConfig;
use crate::contract::{CloseError, Export, ExportError, ImportError, OpenError, ReadError, RowBatch};
use crate::embedded;
use crate::store::Store;
use crate::transaction::RangeQuery;

/// Bytes read from the file at once.
const PIECE_BYTES: usize = 1 << 20;

/// How far a long work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
}

/// The parts of a restore that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the file to its end and comparing its digest.
    Verify,
    /// Writing its rows.
    Write,
}

/// Whom to tell.
pub type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// A file is no backup that could be restored.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its bytes are not right.
    #[error("{}: {source}", file.display())]
    Backup {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: BackupError,
    },
    /// It cannot be read.
    #[error("the backup cannot be read")]
    Disk(#[source] io::Error),
}

/// A backup was not restored. The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is not whole.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// There is something where the store should go.
    #[error("{} exists: restore into a directory that does not exist yet", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Nodes are in the target: rows that change under them would be mixed with what they
    /// remember.
    #[error("the store is in use: {} not left it: stop every node first", who(nodes))]
    InUse {
        /// Their names.
        nodes: Vec<String>,
    },
    /// The target cannot be read.
    #[error("cannot read whether nodes are in the store")]
    Read(#[from] ReadError),
    /// The target cannot hold a restored store.
    #[error("a `memory:` store ends with its process: restore into embedded:<directory>")]
    NotLasting,
    /// What was written reads back as something else.
    #[error("what was written reads back differently: this disk loses or changes data")]
    Differs,
    /// The target's directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target did not take the rows.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The target did not close.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says about itself.
    pub head: Head,
    /// What it holds.
    pub summary: Summary,
    /// The store's new generation.
    pub generation: u128,
}

/// Reads a backup to its end and checks everything in it.
pub async fn verify(env: &Env, file: &Path, report: Report) -> Result<(Head, Summary), VerifyError> {
    let mut pieces = Pieces::open(env, file, Step::Verify, report).map_err(VerifyError::Disk)?;
    let mut head = None;
    loop {
        match pieces.next().await? {
            Some(Piece::Head(found)) => head = Some(found),
            Some(Piece::Rows(_) | Piece::End(_)) => {}
            None => break,
        }
    }
    let summary = pieces.finish()?;
    Ok((head.expect("a backup without a head has no end either"), summary))
}

/// Restores a backup into the store that `target` names, which must not exist, or be an
/// empty database.
pub async fn restore(
    env: &Env,
    file: &Path,
    target: &StoreConfig,
    report: Report,
) -> Result<Restored, RestoreError> {
    if *target == StoreConfig::Memory {
        return Err(RestoreError::NotLasting);
    }
    if let StoreConfig::Embedded { dir, .. } = target {
        embedded::check_vacant(env, dir)?;
    }
    let (head, summary) = verify(env, file, report.clone()).await?;
    let generation = env.random_u128();
    let pieces = Pieces::open(env, file, Step::Write, report).map_err(VerifyError::Disk)?;
    let batches = with_generation(pieces.rows(), generation);
    let rows = Export { version: head.version, batches };
    if let StoreConfig::Embedded { dir, options } = target {
        embedded::fill(env, dir, *options, rows, &summary).await?;
    } else {
        import(env, target, rows).await?;
    }
    Ok(Restored { head, summary, generation })
}

async fn import(env: &Env, target: &StoreConfig, rows: Export) -> Result<(), RestoreError> {
    let store = Store::open(target, env).await?;
    let imported = import_unused(&store, rows).await;
    let closed = store.close().await;
    imported?;
    Ok(closed?)
}

/// Not under running nodes. One that comes in between has written its session, so that the
/// store is not empty; one whose session was removed finds another generation and stops.
async fn import_unused(store: &Store, rows: Export) -> Result<(), RestoreError> {
    let nodes = nodes_in(store).await?;
    if !nodes.is_empty() {
        return Err(RestoreError::InUse { nodes });
    }
    Ok(store.import(rows).await?)
}

/// The nodes that have neither left nor been declared dead; a page of them says enough.
async fn nodes_in(store: &Store) -> Result<Vec<String>, ReadError> {
    let query = RangeQuery::prefix(&row::nodes()).snapshot();
    let rows = store.begin().get_range(query).await?.rows;
    let live = rows.iter().filter_map(|(key, value)| {
        let node = row::parse_session(key)?;
        // What cannot be read may be a newer Kelpie's.
        let gone = record::decode(value).is_ok_and(|session: Session| !session.is_live());
        (!gone).then(|| node.to_string())
    });
    Ok(live.collect())
}

fn who(nodes: &[String]) -> String {
    format!("{} {}", nodes.join(", "), if nodes.len() == 1 { "has" } else { "have" })
}

/// The pieces of a backup in a file.
struct Pieces {
    env: Env,
    path: PathBuf,
    file: Arc<dyn File>,
    length: u64,
    read: u64,
    decoder: Decoder,
    step: Step,
    report: Report,
}

impl Pieces {
    fn open(env: &Env, path: &Path, step: Step, report: Report) -> io::Result<Self> {
        let file = env.disk().open(path, Open::Existing)?;
        let length = file.len()?;
        let decoder = Decoder::default();
        Ok(Self { env: env.clone(), path: path.to_owned(), file, length, read: 0, decoder, step, report })
    }

    /// The next piece; `None` where the file ends.
    async fn next(&mut self) -> Result<Option<Piece>, VerifyError> {
        loop {
            if let Some(piece) = self.decoder.next_piece().map_err(wrong(&self.path))? {
                return Ok(Some(piece));
            }
            if self.read == self.length {
                return Ok(None);
            }
            let (file, at) = (self.file.clone(), self.read);
            let bytes = usize::try_from(self.length - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let read = self.env.blocking(move || {
                let mut piece = vec![0; bytes];
                file.read_exact_at(&mut piece, at).map(|()| piece)
            });
            self.decoder.push(&read.await.map_err(VerifyError::Disk)?);
            self.read += bytes as u64;
            (self.report)(Progress { step: self.step, done: self.read, total: self.length });
        }
    }

    fn finish(self) -> Result<Summary, VerifyError> {
        self.decoder.finish().map_err(wrong(&self.path))
    }

    /// Only the rows. The file was whole a moment ago; if it is no longer, this ends with an
    /// error.
    fn rows(self) -> BoxStream<'static, Result<RowBatch, ExportError>> {
        try_unfold(self, |mut pieces| async move {
            loop {
                match pieces.next().await.map_err(changed)? {
                    Some(Piece::Rows(batch)) => return Ok(Some((batch, pieces))),
                    Some(Piece::Head(_) | Piece::End(_)) => {}
                    None => return pieces.finish().map(|_| None).map_err(changed),
                }
            }
        })
        .boxed()
    }
}

fn wrong(file: &Path) -> impl FnOnce(BackupError) -> VerifyError {
    move |source| VerifyError::Backup { file: file.to_owned(), source }
}

fn changed(error: VerifyError) -> ExportError {
    ExportError::Backup { reason: error.to_string().into() }
}

/// Puts the row of the store's generation in its place.
fn with_generation(
    batches: BoxStream<'static, Result<RowBatch, ExportError>>,
    generation: u128,
) -> BoxStream<'static, Result<RowBatch, ExportError>> {
    let own = (row::generation(), Bytes::copy_from_slice(&row::generation_value(generation)));
    try_unfold((batches, Some(own)), |(mut batches, mut own)| async move {
        let Some(mut batch) = batches.next().await.transpose()? else {
            return Ok(own.take().map(|own| (vec![own], (batches, None))));
        };
        let due = own.take_if(|(key, _)| batch.last().is_some_and(|(last, _)| last > key));
        if let Some(due) = due {
            let at = batch.partition_point(|(key, _)| *key < due.0);
            batch.insert(at, due);
        }
        Ok(Some((batch, (batches, own))))
    })
    .boxed()
}
