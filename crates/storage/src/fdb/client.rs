//! The backend: a connection to a cluster, commits, watches.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use foundationdb::options::{ConflictRangeType, DatabaseOption, MutationType, TransactionOption};
use foundationdb::{Database, FdbError, FdbResult, Transaction};
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;

use super::faults::Fault;
use super::network;
use super::size::Size;
use super::subspace::Subspace;
use super::view::View;
use crate::atomic::AtomicOp;
use crate::config::Prefix;
use crate::contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Export, ExportError, Op, OpenError,
    Outage, Properties, ReadError, Snapshot, Stats, Version, Watch,
};
use crate::keys::KeyRange;
use crate::limits::{TRANSACTION_BYTES_MAX, TRANSACTION_TIME_MAX};

/// A transaction that takes longer has no answer to wait for: the contract's five seconds,
/// and two for the commit that was sent in the last of them.
const TIMEOUT_MS: i32 = 7_000;
/// Watches of one store that have not completed; one more is refused.
const WATCHES_MAX: usize = 10_000;
/// FoundationDB counts a watch that was dropped until its network thread comes to it.
const CLIENT_WATCHES_MAX: i32 = 20_000;

const _: () = assert!(TIMEOUT_MS as u128 > TRANSACTION_TIME_MAX.as_millis(), "old before it is timed out");
const _: () = assert!(CLIENT_WATCHES_MAX as usize >= 2 * WATCHES_MAX, "ours refuses first");

/// An open store in a FoundationDB cluster.
pub struct Fdb {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    env: Env,
    database: Database,
    pub(super) subspace: Subspace,
    closed: AtomicBool,
    /// Of the newest commit; before the first, what there was at the opening.
    version: AtomicU64,
    commits: AtomicU64,
    watches: AtomicUsize,
}

impl Fdb {
    /// Connects to the cluster that `cluster_file` names (without one: FoundationDB's default),
    /// to the store under `prefix`.
    pub async fn open(env: &Env, cluster_file: Option<&Path>, prefix: &Prefix) -> Result<Self, OpenError> {
        let path = cluster_file.map(as_text).transpose()?;
        let refused = |error: FdbError| OpenError::Unreachable {
            store: format!(
                "FoundationDB, cluster file {}",
                path.unwrap_or(foundationdb::default_config_path())
            ),
            reason: format!("{} (error {})", error.message(), error.code()),
        };
        network::start().map_err(refused)?;
        let database = Database::new(path).map_err(refused)?;
        let bytes_max = i32::try_from(TRANSACTION_BYTES_MAX).expect("ten million");
        for option in [
            DatabaseOption::TransactionTimeout(TIMEOUT_MS),
            DatabaseOption::TransactionRetryLimit(0),
            DatabaseOption::TransactionSizeLimit(bytes_max),
            DatabaseOption::MaxWatches(CLIENT_WATCHES_MAX),
        ] {
            database.set_option(option).map_err(refused)?;
        }
        let inner = Inner {
            env: env.clone(),
            database,
            subspace: Subspace::new(prefix),
            closed: AtomicBool::new(false),
            version: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            watches: AtomicUsize::new(0),
        };
        // The first contact: a cluster that is not there is told of here and not at the first call.
        let first = inner.transaction().map_err(refused)?;
        inner.seen(first.get_read_version().await.map_err(refused)?);
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn as_text(path: &Path) -> Result<&str, OpenError> {
    path.to_str().filter(|path| !path.contains('\0')).ok_or_else(|| OpenError::Options {
        what: format!("the name of the cluster file {} is not UTF-8", path.display()),
    })
}

impl Inner {
    fn transaction(&self) -> FdbResult<Transaction> {
        let transaction = self.database.create_trx()?;
        transaction.set_option(TransactionOption::ReadYourWritesDisable)?;
        Ok(transaction)
    }

    fn seen(&self, version: i64) -> Option<Version> {
        let version = Version::try_from(version).ok()?;
        self.version.fetch_max(version, Ordering::Relaxed);
        Some(version)
    }

    pub(super) fn read_error(&self, error: FdbError, key_bytes: usize) -> ReadError {
        fault(error).of_read(key_bytes, self.subspace.key_bytes_max())
    }

    /// Sends the commit at once; the future is its answer.
    pub(super) fn commit(
        self: Arc<Self>,
        transaction: FdbResult<Transaction>,
        request: &CommitRequest,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        if self.closed.load(Ordering::Acquire) {
            return refused(CommitError::Unavailable(Outage::Closed));
        }
        let size = Size::of(request, &self.subspace);
        let filled = transaction.and_then(|transaction| {
            self.fill(&transaction, request)?;
            Ok(transaction)
        });
        let sent = match filled {
            Ok(transaction) => transaction.commit(),
            // Before the commit was asked for, so nothing can have happened.
            Err(error) => return refused(fault(error).of_read(size.key, size.key_max).into()),
        };
        let env = self.env.clone();
        let answer = async move {
            let committed = sent.await.map_err(|error| fault(*error).of_commit(size))?;
            self.commits.fetch_add(1, Ordering::Relaxed);
            // It has happened, whatever is told about its number.
            let version = committed.committed_version().ok().and_then(|version| self.seen(version));
            Ok(Committed { version })
        };
        Sent { answer: Some(answer.boxed()), env }.boxed()
    }

    /// Conflict ranges and mutations, clears before writes.
    fn fill(&self, transaction: &Transaction, request: &CommitRequest) -> FdbResult<()> {
        let space = &self.subspace;
        for key in &request.reads {
            transaction.add_conflict_range(&space.key(key), &space.behind(key), ConflictRangeType::Read)?;
        }
        self.conflict_ranges(transaction, &request.read_ranges, ConflictRangeType::Read)?;
        // The C function ends the process at an inverted range; `range` gives none.
        for (begin, end) in request.clears.iter().filter_map(|range| space.range(range)) {
            transaction.clear_range(&begin, &end);
        }
        for (key, op) in &request.writes {
            let key = space.key(key);
            match op {
                Op::Set(value) => transaction.set(&key, value),
                Op::Clear => transaction.clear(&key),
                Op::Atomic(changes) => {
                    for (op, operand) in changes {
                        transaction.atomic_op(&key, operand, mutation(*op));
                    }
                }
            }
        }
        for row in &request.stamped {
            transaction.atomic_op(&space.stamped(row), &row.value, MutationType::SetVersionstampedKey);
        }
        self.conflict_ranges(transaction, &request.write_conflicts, ConflictRangeType::Write)
    }

    fn conflict_ranges(
        &self,
        transaction: &Transaction,
        ranges: &[KeyRange],
        kind: ConflictRangeType,
    ) -> FdbResult<()> {
        for (begin, end) in ranges.iter().filter_map(|range| self.subspace.range(range)) {
            transaction.add_conflict_range(&begin, &end, kind)?;
        }
        Ok(())
    }

    async fn watch(self: Arc<Self>, key: Bytes) -> Result<Watch, ReadError> {
        let place = WatchPlace::take(self.clone())?;
        let told = |error| self.read_error(error, key.len());
        // Not the transaction of a view: watches need that reading one's own writes is on.
        let transaction = self.database.create_trx().map_err(told)?;
        let changed = transaction.watch(&self.subspace.key(&key));
        // Waits until the value is read that the watch compares with.
        transaction.commit().await.map_err(|error| told(*error))?;
        Ok(Watch::new(async move {
            // One that failed completes, so that whoever waits looks again.
            if let Err(error) = changed.await {
                tracing::debug!(code = error.code(), reason = error.message(), "a watch failed");
            }
            drop(place);
        }))
    }
}

/// FoundationDB's operations are those of [`AtomicOp`]. `And` and `Min` without a stored value
/// store the operand: so since API version 510.
fn mutation(op: AtomicOp) -> MutationType {
    match op {
        AtomicOp::Add => MutationType::Add,
        AtomicOp::And => MutationType::BitAnd,
        AtomicOp::Or => MutationType::BitOr,
        AtomicOp::Xor => MutationType::BitXor,
        AtomicOp::Max => MutationType::Max,
        AtomicOp::Min => MutationType::Min,
        AtomicOp::ByteMax => MutationType::ByteMax,
        AtomicOp::ByteMin => MutationType::ByteMin,
    }
}

fn fault(error: FdbError) -> Fault {
    Fault { code: error.code(), text: error.message() }
}

fn refused(error: CommitError) -> BoxFuture<'static, Result<Committed, CommitError>> {
    futures::future::ready(Err(error)).boxed()
}

impl Backend for Fdb {
    fn properties(&self) -> Properties {
        Properties { name: "fdb", unknown_possible: true, single_process: false }
    }

    fn key_bytes_max(&self) -> usize {
        self.inner.subspace.key_bytes_max()
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        let inner = self.inner.clone();
        let begun = async move {
            let told = |error| inner.read_error(error, 0);
            let transaction = inner.transaction().map_err(told)?;
            transaction.get_read_version().await.map_err(told)?;
            Ok(Box::new(View { transaction, inner }) as Box<dyn Snapshot>)
        };
        Answer::Later(begun.boxed())
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        let transaction = self.inner.transaction();
        Answer::Later(self.inner.clone().commit(transaction, &request))
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        Answer::Later(self.inner.clone().watch(key).boxed())
    }

    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        let instead = "use fdbbackup, and fdbrestore for the way back";
        futures::future::ready(Err(ExportError::Refused { instead })).boxed()
    }

    fn stats(&self) -> Stats {
        Stats {
            version: self.inner.version.load(Ordering::Relaxed),
            commits: self.inner.commits.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.closed.store(true, Ordering::Release);
        futures::future::ready(Ok(())).boxed()
    }
}

/// The answer to a commit that was sent. When who waits for it goes away, a task waits on:
/// dropping FoundationDB's own future would take the commit back.
struct Sent {
    answer: Option<BoxFuture<'static, Result<Committed, CommitError>>>,
    env: Env,
}

impl Future for Sent {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("not polled after its end");
        let ended = ready!(answer.as_mut().poll(cx));
        self.answer = None;
        Poll::Ready(ended)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.env.spawn("store-commit", answer.map(drop));
        }
    }
}

/// One of the watches that a store may have.
struct WatchPlace(Arc<Inner>);

impl WatchPlace {
    fn take(inner: Arc<Inner>) -> Result<Self, ReadError> {
        let one_more = |taken: usize| (taken < WATCHES_MAX).then_some(taken + 1);
        match inner.watches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Self(inner)),
            Err(_) => Err(ReadError::Unavailable(Outage::Overloaded)),
        }
    }
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}
