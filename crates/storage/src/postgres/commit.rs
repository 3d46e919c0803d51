//! Commits: what must be known first in one round trip, all writes and `COMMIT` in the next.
//!
//! ```text
//!   with reads:  (reads …) ─▶ [atomics, version] ─▶ writes + COMMIT
//!   blind:       one statement alone, or BEGIN ─▶ [atomics, version] ─▶ writes + COMMIT,
//!                again when it lost: it depends on nothing, so losing means nothing
//! ```
//!
//! Invariant: a write is sent only inside a transaction that the server has confirmed, or
//! as the only statement. A failed `BEGIN` could else let the statements behind it commit
//! one by one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, MaybeDone, maybe_done, poll_fn};
use kelpie_env::Env;
use tokio_postgres::Error;

use super::Inner;
use super::link::{Guarded, Link};
use super::outcome::{commit_failed, is_gone, no_answer, nothing_happened, unknown, write_failed};
use super::read::{Question, ask};
use super::snapshot::{self, roll_back};
use super::writes::{Bound, Writes};
use crate::contract::{CommitError, CommitRequest, Committed, Op, Outage, Scan, Version};
use crate::keys::KeyRange;

/// Longer than a server needs for its slowest fsync; then the outcome counts as unknown.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(10);
/// Attempts of a commit that depends on nothing: far more than committers at one time.
const BLIND_ATTEMPTS_MAX: u32 = 200;
/// Serialises the commits that draw a version. Cold path only.
const VERSION_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.kelpie_version'))";

/// Begins a transaction that has read nothing.
pub(super) async fn begin(inner: &Inner) -> Result<Guarded, CommitError> {
    let link = Guarded::new(inner.link().await.map_err(CommitError::Unavailable)?);
    answered(&inner.env, link.client.batch_execute(snapshot::begin())).await?;
    Ok(link)
}

/// Waits for an answer before which nothing can have happened.
async fn answered<T>(env: &Env, question: impl Future<Output = Result<T, Error>>) -> Result<T, CommitError> {
    match env.timeout(COMMIT_TIME_MAX, question).await {
        Ok(answer) => answer.map_err(|error| nothing_happened(&error)),
        Err(_) => Err(CommitError::Unavailable(no_answer())),
    }
}

/// Commits what depends on nothing.
pub(super) async fn blind(inner: &Arc<Inner>, request: CommitRequest) -> Result<Committed, CommitError> {
    let mut lost = 0;
    loop {
        let ended = match Writes::alone(&request) {
            Some(writes) => alone(inner, &writes).await,
            None => in_transaction(inner, begin(inner).await?, request.clone(), &[]).await,
        };
        match ended {
            Err(CommitError::Conflict) if lost < BLIND_ATTEMPTS_MAX => {
                lost += 1;
                metrics::counter!("kelpie_storage_postgres_blind_retries").increment(1);
                inner.back_off(lost).await;
            }
            ended => return ended,
        }
    }
}

/// One statement, which is a transaction of its own.
async fn alone(inner: &Inner, writes: &Writes) -> Result<Committed, CommitError> {
    let link = Guarded::new(inner.link().await.map_err(CommitError::Unavailable)?);
    let bound = Bound::new(writes);
    let statements = bound.statements(&link.statements);
    let (statement, parameters) = statements.first().expect("it writes something");
    match inner.env.timeout(COMMIT_TIME_MAX, link.client.execute(*statement, parameters)).await {
        Ok(Ok(_)) => {
            drop(link.keep());
            Ok(inner.committed(writes, None))
        }
        Ok(Err(error)) => {
            if !is_gone(&error) {
                drop(link.keep());
            }
            Err(commit_failed(&error))
        }
        Err(_) => Err(unknown(no_answer())),
    }
}

/// Commits on a link with an open transaction.
pub(super) async fn in_transaction(
    inner: &Inner,
    link: Guarded,
    request: CommitRequest,
    scanned: &[KeyRange],
) -> Result<Committed, CommitError> {
    let mut writes = Writes::new(&request);
    let known = match prepare(inner, &link, &request, &mut writes).await {
        Ok(version) => version,
        Err(error) => {
            let refused = matches!(error, CommitError::Conflict | CommitError::TooOld);
            if refused && !link.client.is_closed() {
                roll_back(link);
            }
            return Err(error);
        }
    };
    let unread =
        request.read_ranges.into_iter().filter(|range| !scanned.iter().any(|seen| within(range, seen)));
    writes.looked_at.extend(unread);
    if link.client.is_closed() {
        return Err(CommitError::Unavailable(no_answer()));
    }
    match inner.env.timeout(COMMIT_TIME_MAX, write_and_commit(&link, &writes)).await {
        Ok(Ok(())) => {
            drop(link.keep());
            Ok(inner.committed(&writes, known))
        }
        Ok(Err((failure, usable))) => {
            if usable {
                drop(link.keep());
            }
            Err(failure)
        }
        Err(_) => Err(unknown(no_answer())),
    }
}

fn within(range: &KeyRange, other: &KeyRange) -> bool {
    other.begin <= range.begin && range.end <= other.end
}

/// Sends everything at once. A failure comes with whether the link is in order.
async fn write_and_commit(link: &Link, writes: &Writes) -> Result<(), (CommitError, bool)> {
    let bound = Bound::new(writes);
    let statements = bound.statements(&link.statements);
    let sent = statements.iter().map(|(statement, parameters)| {
        link.client.execute(*statement, parameters).map(|answer| answer.map(drop)).boxed()
    });
    let commit = link.client.batch_execute("COMMIT").boxed();
    let answers = in_order(sent.chain([commit]).map(maybe_done).collect()).await;
    let last = answers.len() - 1;
    for (index, answer) in answers.into_iter().enumerate() {
        if let Err(error) = answer {
            let failure = if index == last { commit_failed(&error) } else { write_failed(&error) };
            return Err((failure, !is_gone(&error)));
        }
    }
    Ok(())
}

/// All outputs. Every future is polled first in this order, and that is when it is sent.
async fn in_order<T: Send>(mut sent: Vec<MaybeDone<BoxFuture<'_, T>>>) -> Vec<T> {
    poll_fn(|cx| {
        let pending = sent.iter_mut().filter_map(|one| one.poll_unpin(cx).is_pending().then_some(())).count();
        if pending == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    sent.iter_mut().map(|one| Pin::new(one).take_output().expect("all of them are done")).collect()
}

/// Asks for all that decides what is written.
async fn prepare(
    inner: &Inner,
    link: &Link,
    request: &CommitRequest,
    writes: &mut Writes,
) -> Result<Option<Version>, CommitError> {
    let atomics: Vec<&[u8]> = request
        .writes
        .iter()
        .filter(|(_, op)| matches!(op, Op::Atomic(_)))
        .map(|(key, _)| &key[..])
        .collect();
    if !atomics.is_empty() {
        let stored = answered(&inner.env, ask(link, Question::Keys(&atomics))).await?;
        writes.change(&request.writes, stored.into_iter().collect());
    }
    for range in &request.write_conflicts {
        let all = Scan { range: range.clone(), limit: usize::MAX, reverse: false };
        let mut rows = answered(&inner.env, ask(link, Question::Range(&all))).await?;
        rows.extend(answered(&inner.env, ask(link, Question::Keys(&[&range.end]))).await?);
        writes.touch(range, rows, &request.clears);
    }
    if request.stamped.is_empty() {
        return Ok(None);
    }
    let version = answered(&inner.env, draw_version(link)).await?;
    let version = Version::try_from(version).map_err(|_| {
        CommitError::Unavailable(Outage::Remote { reason: Arc::from("the version sequence is negative") })
    })?;
    writes.stamp(&request.stamped, version);
    Ok(Some(version))
}

/// The next version, drawn under a lock that the server frees after the commit is visible:
/// versions are in the order of commits, and who sees one has seen all before it.
async fn draw_version(link: &Link) -> Result<i64, Error> {
    if kelpie_core::mutant!("postgres_version_without_lock") {
        return link.client.query_one(&link.statements.stamp, &[]).await?.try_get(0);
    }
    let (locked, row) = futures::join!(
        link.client.batch_execute(VERSION_LOCK),
        link.client.query_one(&link.statements.stamp, &[]),
    );
    locked?;
    row?.try_get(0)
}

/// A commit that runs to its end also when its caller goes away.
pub(super) struct RunToEnd<T: Send + 'static> {
    env: Env,
    work: Option<BoxFuture<'static, T>>,
    begun: bool,
}

impl<T: Send + 'static> RunToEnd<T> {
    pub(super) fn new(env: Env, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { env, work: Some(work.boxed()), begun: false }
    }
}

impl<T: Send + 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let work = self.work.as_mut().expect("not polled after its end");
        let ended = futures::ready!(work.poll_unpin(cx));
        self.work = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        if let (Some(work), true) = (self.work.take(), self.begun) {
            self.env.spawn("postgres commit", work.map(drop));
        }
    }
}
