//! One transaction on one connection.
//!
//! ```text
//!   first read ──▶ BEGIN and the question, one round trip ──▶ more reads ──▶ commit
//!                     │ lost against others: nothing was told     └─ dropped ──▶ COMMIT all the same
//!                     └─▶ again, unseen by the caller
//! ```
//!
//! Invariant: what was read stays in the server's account of conflicts (its SIREAD locks)
//! until everything that overlapped is over. A rollback would remove it, and a later commit
//! of others could then make what was read impossible; so a transaction that only read is
//! committed when it is dropped. A pure reader loses, if at all, in one of its reads, never
//! in its `COMMIT`: nobody waits for that answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_postgres::Client;

use super::Inner;
use super::commit::{self, RunToEnd};
use super::link::{Guarded, Pooled, close};
use super::outcome::{is_conflict, is_gone, no_answer, read_failed};
use super::read::{FoundRows, Question, ask, in_order};
use crate::contract::{Answer, CommitError, CommitRequest, Committed, ReadError, Rows, Scan, Snapshot};
use crate::keys::{KeyRange, successor};
use crate::limits::PAGE_BYTES_MAX;

/// Serializable also where no default says so.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";
/// Longer than the server lets a statement run.
const READ_TIME_MAX: Duration = Duration::from_secs(6);
/// How often a transaction that nobody has seen anything of begins again.
const FIRST_READ_ATTEMPTS_MAX: u32 = 8;
/// Rows of the first scan of a transaction. The server counts rows, not bytes: with the
/// largest values some megabytes come at once, and what exceeds a page is asked for again.
const SCAN_ROWS_FIRST: usize = 128;
const SCAN_ROWS_MAX: usize = 4096;

/// A transaction, from its first read on one connection.
pub(super) struct View {
    inner: Arc<Inner>,
    link: OnceLock<Pooled>,
    /// Held by the first read, so that others wait for the link.
    first: tokio::sync::Mutex<()>,
    /// A question stayed without answer: the link's state is unknown.
    broken: AtomicBool,
    scanned: Mutex<Vec<KeyRange>>,
    scan_rows: AtomicUsize,
}

/// What a transaction begins with.
pub(super) fn begin() -> &'static str {
    if kelpie_core::mutant!("postgres_snapshot_isolation") {
        return "BEGIN ISOLATION LEVEL REPEATABLE READ";
    }
    BEGIN
}

impl View {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            link: OnceLock::new(),
            first: tokio::sync::Mutex::default(),
            broken: AtomicBool::new(false),
            scanned: Mutex::default(),
            scan_rows: AtomicUsize::new(SCAN_ROWS_FIRST),
        }
    }

    async fn read(&self, question: Question<'_>) -> Result<FoundRows, ReadError> {
        if let Some(link) = self.link.get() {
            return self.read_on(link, question).await;
        }
        let _first = self.first.lock().await;
        if let Some(link) = self.link.get() {
            return self.read_on(link, question).await;
        }
        self.first_read(question).await
    }

    async fn read_on(&self, link: &Pooled, question: Question<'_>) -> Result<FoundRows, ReadError> {
        match self.inner.env.timeout(READ_TIME_MAX, ask(link, question)).await {
            Ok(answer) => answer.map_err(|error| {
                self.broken.fetch_or(is_gone(&error), Ordering::Relaxed);
                let failed = read_failed(&error);
                self.inner.read_ended(&failed);
                failed
            }),
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(ReadError::Unavailable(no_answer()))
            }
        }
    }

    /// Begins with the first question. Nothing has been told yet, so that a transaction that
    /// loses, or whose connection had died in the pool, is simply begun again.
    async fn first_read(&self, question: Question<'_>) -> Result<FoundRows, ReadError> {
        let mut last = ReadError::Conflict;
        for attempt in 0..FIRST_READ_ATTEMPTS_MAX {
            self.inner.back_off(attempt).await;
            let link = Guarded::new(self.inner.link().await.map_err(ReadError::Unavailable)?);
            let both = async { futures::join!(link.client.batch_execute(begin()), ask(&link, question)) };
            let Ok((begun, answer)) = self.inner.env.timeout(READ_TIME_MAX, both).await else {
                return Err(ReadError::Unavailable(no_answer()));
            };
            let error = match begun.and(answer) {
                Ok(rows) => {
                    assert!(self.link.set(link.keep()).is_ok(), "only one first read at a time");
                    return Ok(rows);
                }
                Err(error) => error,
            };
            last = read_failed(&error);
            if is_conflict(&error) {
                metrics::counter!("kelpie_storage_postgres_begun_again").increment(1);
                roll_back(link);
            } else if !is_gone(&error) {
                roll_back(link);
                return Err(last);
            }
        }
        Err(last)
    }

    /// Some rows: few at first, more as they turn out to be small.
    async fn some_rows(&self, mut scan: Scan) -> Result<Rows, ReadError> {
        let asked = scan.limit.max(1);
        scan.limit = asked.min(self.scan_rows.load(Ordering::Relaxed));
        let mut rows = self.read(Question::Range(&scan)).await?;
        let mut bytes = 0;
        // Up to the row that fills the page, so that the caller sees that it is full.
        let fits = rows.iter().take_while(|(key, value)| {
            let room = bytes < PAGE_BYTES_MAX;
            bytes += key.len() + value.len();
            room
        });
        let fitting = fits.count();
        let more = rows.len() == scan.limit || rows.len() > fitting;
        if rows.len() > fitting {
            rows.truncate(fitting);
            self.scan_rows.store(fitting, Ordering::Relaxed);
        } else if more && bytes < PAGE_BYTES_MAX / 4 {
            self.scan_rows.store((scan.limit * 2).clamp(SCAN_ROWS_FIRST, SCAN_ROWS_MAX), Ordering::Relaxed);
        }
        self.scanned.lock().push(looked_at(scan.range, scan.reverse, more.then_some(&rows)));
        Ok(Rows { rows: rows.into_iter().collect(), more })
    }
}

/// The part of `range` that an answer that stopped at `rows` speaks for.
fn looked_at(mut range: KeyRange, reverse: bool, rows: Option<&FoundRows>) -> KeyRange {
    if let Some((last, _)) = rows.and_then(|rows| rows.last()) {
        if reverse {
            range.begin = last.clone();
        } else {
            range.end = successor(last);
        }
    }
    range
}

/// Gives up a transaction in which nothing was written. Whatever comes next on the link
/// comes after the rollback.
pub(super) fn roll_back(link: Guarded) {
    if is_sent(&link.client, "ROLLBACK") {
        drop(link.keep());
    }
}

/// Sends a statement whose answer nobody waits for; on a fast server it may be there already.
fn is_sent(client: &Client, statement: &str) -> bool {
    matches!(client.batch_execute(statement).now_or_never(), None | Some(Ok(())))
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        Answer::Later(
            async move {
                let found = self.read(Question::Keys(&[key])).await?;
                Ok(found.into_iter().next().map(|(_, value)| value))
            }
            .boxed(),
        )
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        Answer::Later(
            async move {
                let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let found = self.read(Question::Keys(&keys)).await?;
                Ok(in_order(&keys, found))
            }
            .boxed(),
        )
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        Answer::Later(self.some_rows(scan).boxed())
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let env = self.inner.env.clone();
        // The view goes along: if nobody ever polls this, it ends as one that only read.
        let work = async move {
            let (inner, began) = (self.inner.clone(), self.inner.env.now());
            let ended = self.end(request).await;
            inner.commit_ended(began, &ended);
            ended
        };
        RunToEnd::new(env, work).boxed()
    }
}

impl View {
    async fn end(mut self: Box<Self>, request: CommitRequest) -> Result<Committed, CommitError> {
        let inner = self.inner.clone();
        let link = match self.link.take() {
            Some(link) if *self.broken.get_mut() || link.client.is_closed() => {
                close(link);
                return Err(CommitError::Unavailable(no_answer()));
            }
            Some(link) => Guarded::new(link),
            None => commit::begin(&inner).await?,
        };
        let scanned = std::mem::take(self.scanned.get_mut());
        commit::in_transaction(&inner, link, request, &scanned).await
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        if *self.broken.get_mut() || !is_sent(&link.client, "COMMIT") {
            close(link);
        }
    }
}
