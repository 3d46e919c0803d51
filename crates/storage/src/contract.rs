//! What a backend must give, and the outcomes it may have.

mod errors;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::atomic::AtomicOp;
use crate::keys::KeyRange;
use crate::limits::KEY_BYTES_MAX;
use crate::row_list::RowList;
pub use errors::{CloseError, CommitError, ExportError, ImportError, OpenError, Outage, ReadError};

/// A point in the order of all commits. Larger is later; numbers may be skipped. A backend
/// that commits in batches may give one number to a batch: then versionstamps, which are never
/// used twice, tell its commits apart.
pub type Version = u64;

/// A result that is often there at once, so that the common path needs no boxed future.
pub enum Answer<'a, T> {
    /// It is here.
    Now(T),
    /// It takes a disk or a network.
    Later(BoxFuture<'a, T>),
}

impl<T> Answer<'_, T> {
    /// Waits for the result if one must.
    pub async fn wait(self) -> T {
        match self {
            Self::Now(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

/// What callers may rely on beyond the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Short name, for logs and metrics.
    pub name: &'static str,
    /// Whether a commit answered `Unknown` may still land while this process lives. Then
    /// [`crate::Store::run`] carries an idempotency row.
    pub unknown_possible: bool,
    /// Whether this process is the only one that can write.
    pub single_process: bool,
}

/// A range read at one version.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many rows; at least one.
    pub limit: usize,
    /// From the end towards the beginning.
    pub reverse: bool,
}

/// What a [`Scan`] found, in the order of the scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Keys and values.
    pub rows: RowList,
    /// Whether it stopped at a limit, so that keys behind the last row were not looked at.
    pub more: bool,
}

/// One write of a transaction to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The value becomes this.
    Set(Bytes),
    /// The key goes.
    Clear,
    /// The value changes, in this order.
    Atomic(Vec<(AtomicOp, Bytes)>),
}

/// A row whose key receives the commit's versionstamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The key with room for the stamp.
    pub key: Vec<u8>,
    /// Where the stamp goes.
    pub offset: usize,
    /// The value.
    pub value: Bytes,
}

/// All that a transaction asks to happen at once. `clears` come before `writes`; no key is
/// written twice.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Single keys that the commit depends on.
    pub reads: Vec<Bytes>,
    /// Ranges that the commit depends on.
    pub read_ranges: Vec<KeyRange>,
    /// Ranges that become empty.
    pub clears: Vec<KeyRange>,
    /// Keys that change, in key order.
    pub writes: Vec<(Bytes, Op)>,
    /// Rows under versionstamped keys.
    pub stamped: Vec<Stamped>,
    /// Ranges that count as written although nothing changes there.
    pub write_conflicts: Vec<KeyRange>,
}

impl CommitRequest {
    /// Whether it depends on anything that was read.
    pub fn has_reads(&self) -> bool {
        !self.reads.is_empty() || !self.read_ranges.is_empty()
    }
}

/// The commit happened, durably, and is visible to all later reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the order of all commits, if it has written and the backend numbers what
    /// it writes. Where numbers cost a lock, only commits with versionstamps have one.
    pub version: Option<Version>,
}

/// Completes when the value of a key may have changed since the watch was made.
#[must_use]
pub struct Watch(BoxFuture<'static, ()>);

impl Watch {
    /// A watch that completes with `future`.
    pub fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for Watch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Keys and values.
pub type RowBatch = Vec<(Bytes, Bytes)>;

/// All rows of a store at one version.
pub struct Export {
    /// That version: no versionstamp in the rows is later. Zero where nothing was stamped and
    /// the backend numbers only what is.
    pub version: Version,
    /// The rows in key order, some at a time. Reading them may take as long as it likes.
    pub batches: BoxStream<'static, Result<RowBatch, ExportError>>,
}

/// What a store holds and has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The last visible version.
    pub version: Version,
    /// Everything up to here is folded below the log.
    pub checkpoint: Version,
    /// Keys held in memory above the checkpoint.
    pub memtable_keys: u64,
    /// Bytes held in memory above the checkpoint.
    pub memtable_bytes: u64,
    /// Bytes of log above the checkpoint.
    pub log_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Batches made durable.
    pub batches: u64,
    /// Commits made durable.
    pub commits: u64,
    /// Commits that the log holds and no checkpoint yet: a start would replay them. Exact to
    /// a part in 256 of a checkpoint.
    pub unfolded_commits: u64,
    /// Their bytes in the log.
    pub unfolded_bytes: u64,
    /// Commits refused because of what they had read.
    pub conflicts: Conflicts,
    /// From the entry of a batch's first commit to its acknowledgement: of each batch the
    /// commit that waited longest. Where there are no batches, each commit.
    pub commit_times: Times,
    /// Writing and syncing a batch.
    pub fsync_times: Times,
    /// Whole checkpoints.
    pub checkpoint_times: Times,
}

/// How often something happened and how long it took. Percentiles are at most an eighth too
/// large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Of a hundred one took longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Commits refused because of what they had read, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// A key that was read has been written since.
    pub point_reads: u64,
    /// Something in a range that was read has been written since.
    pub range_reads: u64,
    /// The transaction was older than the store keeps versions for.
    pub too_old: u64,
    /// A database underneath decided, and does not say over what: at the commit, or at a read.
    pub by_server: u64,
}

/// A transactional store. [`crate::Transaction`] does all that is common; a backend gives
/// snapshots, commits, and wakes watchers.
pub trait Backend: Send + Sync + 'static {
    /// What callers may rely on.
    fn properties(&self) -> Properties;

    /// Bytes of the longest key that it takes: fewer where it puts a prefix before them.
    fn key_bytes_max(&self) -> usize {
        KEY_BYTES_MAX
    }

    /// A view of the newest visible version: every commit acknowledged before this call is
    /// in it. Which one may be left open until the first read.
    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>>;

    /// Commits what depends on nothing that was read.
    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>>;

    /// Watches a key: a commit that becomes visible after this has answered and touches
    /// `key` completes the watch.
    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>>;

    /// All rows at one version, not older than the newest visible one at the call. Commits go
    /// on meanwhile and are not slowed by how long the reader takes.
    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        let instead = "use the backup of the database underneath";
        Box::pin(std::future::ready(Err(ExportError::Refused { instead })))
    }

    /// Fills a store that holds no row: all of `rows` become visible at once, or nothing
    /// happens. Versions drawn afterwards are larger than the export's.
    fn import(&self, rows: Export) -> BoxFuture<'_, Result<(), ImportError>> {
        drop(rows);
        let instead = "restore into embedded:<directory>";
        Box::pin(std::future::ready(Err(ImportError::Refused { instead })))
    }

    /// Folds what its log holds, where there is one, as far as no reader stands in between.
    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Outage>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What it holds and has done.
    fn stats(&self) -> Stats;

    /// Ends the store: later commits are refused, what it held is released.
    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>>;
}

/// One version of the store, for one transaction: readable until it is dropped or too old.
/// What was read is strictly serializable with what others commit, also when this
/// transaction is dropped instead of committed.
pub trait Snapshot: Send + Sync {
    /// The value of `key`.
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>>;

    /// The values of `keys`, in their order; one round trip where a backend is remote. With no
    /// keys, it still fixes what is seen from here on.
    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>>;

    /// Some rows. May stop before the limit, saying so in [`Rows::more`], but only after one
    /// row at least.
    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>>;

    /// Commits if no order of all commits is contradicted by what was read: nothing in
    /// `reads` and `read_ranges` was written since, or writing it comes later in that order.
    /// Refusing more than that is allowed. Going away while waiting does not take back what
    /// was asked.
    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>>;
}
