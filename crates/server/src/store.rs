//! The store behind the agents, for whoever runs the server.
//!
//! ```text
//!   kelpie store stats|backup|dump|checkpoint --server URL ─▶ these routes ─▶ store
//! ```
//!
//! Kelpie's own routes, behind the same token as all others: who may read one agent here may
//! read all of them.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;
use kelpie_api::store::{StoreConflicts, StoreStats, StoreTimes};
use kelpie_core::advice::Advice;
use kelpie_env::Env;
use kelpie_storage::{Conflicts, ExportError, Outage, ReadError, Stats, Times};
use tokio::sync::mpsc;

use crate::error::HttpError;
use crate::front::Front;
use crate::guard::Admission;

/// A client that takes nothing of its backup for so long is left: what it reads keeps room
/// on the disk that commits have freed.
const BACKUP_PATIENCE: Duration = Duration::from_secs(60);
/// Pieces, of a megabyte or so, that are read ahead of a client.
const PIECES_AHEAD: usize = 2;
/// The type of a backup.
const BACKUP_TYPE: &str = "application/vnd.kelpie.backup";

/// What the store holds and has done since it was opened.
#[utoipa::path(get, path = "/v1/store/stats", tag = "store", responses((status = 200, body = StoreStats)))]
pub(crate) async fn stats(State(front): State<Front>) -> Result<Json<StoreStats>, HttpError> {
    Ok(Json(show(&front).await?))
}

/// Folds the log into the base, so that the next start is quick.
#[utoipa::path(post, path = "/v1/store/checkpoint", tag = "store", responses((status = 200, body = StoreStats)))]
pub(crate) async fn checkpoint(State(front): State<Front>) -> Result<Json<StoreStats>, HttpError> {
    front.store().checkpoint().await.map_err(|outage| unavailable(&outage))?;
    Ok(Json(show(&front).await?))
}

/// All rows at one version, as a file that `kelpie store restore` takes. Only with its last
/// byte it is a backup: the file says itself whether it is whole.
#[utoipa::path(get, path = "/v1/store/backup", tag = "store",
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.kelpie.backup")))]
pub(crate) async fn backup(
    State(front): State<Front>,
    Extension(admission): Extension<Admission>,
) -> Result<Response, HttpError> {
    let pieces = front.store().backup().await.map_err(|error| refused(&error))?;
    let (tx, rx) = mpsc::channel(PIECES_AHEAD);
    let (env, server) = (front.env().clone(), front.clone());
    front.env().spawn("store-backup", async move {
        let _admission = admission;
        let sent = std::pin::pin!(send(&env, pieces, tx));
        if let Either::Right(_) = select(sent, std::pin::pin!(server.must_end())).await {
            tracing::warn!("a backup was cut off by the end of this server");
        }
    });
    let body = futures::stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) });
    Ok(([(header::CONTENT_TYPE, BACKUP_TYPE)], Body::from_stream(body)).into_response())
}

async fn send(
    env: &Env,
    mut pieces: BoxStream<'static, Result<Bytes, ExportError>>,
    tx: mpsc::Sender<Result<Bytes, ExportError>>,
) {
    while let Some(piece) = pieces.next().await {
        if let Err(error) = &piece {
            tracing::error!(%error, "a backup failed");
        }
        if let Err(why) = hand_over(env, piece, &tx).await {
            return tracing::warn!("a backup was not taken to its end: {why}");
        }
    }
}

async fn hand_over(
    env: &Env,
    piece: Result<Bytes, ExportError>,
    tx: &mpsc::Sender<Result<Bytes, ExportError>>,
) -> Result<(), String> {
    let sent = env.timeout(BACKUP_PATIENCE, tx.send(piece)).await;
    sent.map_err(|elapsed| elapsed.to_string())?.map_err(|_| "the client has gone".to_owned())
}

async fn show(front: &Front) -> Result<StoreStats, HttpError> {
    let store = front.store();
    let generation = store.generation().await.map_err(|error| unread(&error))?;
    Ok(shown(store.properties().name, generation, &store.stats()))
}

/// What a store says of itself, on the wire.
pub fn shown(backend: &str, generation: Option<u128>, stats: &Stats) -> StoreStats {
    let Conflicts { point_reads, range_reads, too_old, by_server } = stats.conflicts;
    StoreStats {
        backend: backend.to_owned(),
        generation: generation.map(|generation| format!("{generation:032x}")),
        version: stats.version,
        checkpoint: stats.checkpoint,
        memtable_keys: stats.memtable_keys,
        memtable_bytes: stats.memtable_bytes,
        log_bytes: stats.log_bytes,
        checkpoints: stats.checkpoints,
        batches: stats.batches,
        commits: stats.commits,
        unfolded_commits: stats.unfolded_commits,
        unfolded_bytes: stats.unfolded_bytes,
        conflicts: StoreConflicts { point_reads, range_reads, too_old, by_server },
        commit_times: times(&stats.commit_times),
        fsync_times: times(&stats.fsync_times),
        checkpoint_times: times(&stats.checkpoint_times),
    }
}

fn times(times: &Times) -> StoreTimes {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let Times { count, p50, p99, max } = *times;
    StoreTimes { count, p50_us: micros(p50), p99_us: micros(p99), max_us: micros(max) }
}

fn unread(error: &ReadError) -> HttpError {
    match error {
        ReadError::Unavailable(outage) => unavailable(outage),
        ReadError::TooOld | ReadError::Conflict | ReadError::Limit(_) => unavailable(&Outage::Overloaded),
    }
}

fn unavailable(outage: &Outage) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "store.unavailable", Advice::NotRun, outage.to_string())
}

fn refused(error: &ExportError) -> HttpError {
    match error {
        ExportError::Refused { .. } => {
            HttpError::new(StatusCode::NOT_IMPLEMENTED, "store.no_backup", Advice::Fix, error.to_string())
        }
        ExportError::Unavailable(outage) => unavailable(outage),
        ExportError::Generation(error) => unread(error),
        ExportError::Backup { .. } => unavailable(&Outage::Overloaded),
    }
}
