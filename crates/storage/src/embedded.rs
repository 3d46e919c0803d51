//! The store of one machine: a write-ahead log, recent versions in memory, a folded base.
//!
//! ```text
//!  commit ─▶ resolver ─▶ log append ─▶ one fsync per batch ─▶ version published ─▶ acknowledged
//!                            │              (memtable: inserted, visible from here on)
//!                            └── checkpoint: a prefix of the log is folded into the base in
//!                                one commit that also records the position; then it may go
//! ```
//!
//! In the directory: `format`, `newest`, `base.redb`, `wal-<generation>.log`, spare segments, and
//! the lock. The decisions about the log's bytes are pure and live in `kelpie_core::log`.
//!
//! Invariant: an acknowledged commit is durable and visible; a visible version is durable;
//! after a crash the store is a prefix of the commits in version order that includes every
//! acknowledged one.

mod blocks;
mod body;
mod care;
mod check;
mod commit;
mod compact;
mod export;
mod flight;
mod folds;
mod identity;
mod inner;
mod meters;
mod new_base;
mod open;
mod overlay;
mod piece_cache;
mod redb_base;
mod restore;
mod row_cache;
mod segments;
mod steps;
mod stopped;
mod unfolded;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;

use crate::config::EmbeddedOptions;
use crate::contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Export, ExportError, OpenError,
    Outage, Properties, ReadError, Rows, Scan, Snapshot, Stats, Version, Watch,
};
use crate::engine::Reader;
pub use check::{Checked, Finding, RowsFound, check};
pub use compact::{CompactError, Compacted, compact};
use inner::Inner;
pub(crate) use restore::{check_vacant, fill};
pub use steps::{LogStep, LogSteps};
pub use stopped::{FileSize, Stopped};

/// An open embedded store. Dropped without [`Backend::close`] it makes no last checkpoint;
/// the next start replays its log.
pub struct Embedded {
    inner: Arc<Inner>,
}

impl Embedded {
    /// Opens the store in `dir`, replaying its log.
    pub async fn open(env: &Env, dir: PathBuf, options: EmbeddedOptions) -> Result<Self, OpenError> {
        Self::open_told(env, dir, options, LogSteps::default()).await
    }

    /// As [`Embedded::open`], and tells each step of its log.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    ///
    /// ```
    /// use std::path::Path;
    /// use std::sync::{Arc, Mutex};
    ///
    /// use kelpie_env::sim::Sim;
    /// use kelpie_storage::{Embedded, EmbeddedOptions, LogStep, LogSteps};
    ///
    /// let sim = Sim::new(1);
    /// let env = sim.node("n1").env();
    /// let told = Arc::new(Mutex::new(Vec::new()));
    /// let listener = told.clone();
    /// let steps = LogSteps::new(move |step| listener.lock().unwrap().push(step));
    /// let opened = Embedded::open_told(&env, Path::new("data").to_owned(), EmbeddedOptions::default(), steps);
    /// sim.block_on(opened).unwrap();
    /// assert!(told.lock().unwrap().contains(&LogStep::Noted { generation: 1 }));
    /// ```
    pub async fn open_told(
        env: &Env,
        dir: PathBuf,
        options: EmbeddedOptions,
        steps: LogSteps,
    ) -> Result<Self, OpenError> {
        let own = env.clone();
        let inner = env.blocking(move || open::open(own, &dir, options, steps)).await?;
        env.spawn_thread("store-log", inner.clone().flush_for_others());
        // There is work at once: a checkpoint if the replay was long, and a spare segment. Both go
        // on after a panic: of a checkpoint each part rests on what was made durable before it, and
        // the log keeps what none has folded; a spare segment is known once it is whole.
        let (checkpoints, segments) = (inner.clone(), inner.clone());
        env.supervise("store-checkpoints", move || {
            checkpoints.care_work.notify_one();
            checkpoints.clone().make_checkpoints()
        });
        env.supervise("store-segments", move || {
            segments.spare_work.notify_one();
            segments.clone().make_segments()
        });
        Ok(Self { inner })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

impl Backend for Embedded {
    fn properties(&self) -> Properties {
        Properties { name: "embedded", unknown_possible: false, single_process: true }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        let reader = self.inner.engine.readers.open(self.inner.env.now());
        let drawn = kelpie_core::mutant!("version_before_visibility");
        let version = if drawn { self.inner.writer.lock().log.next() - 1 } else { reader.version() };
        Answer::Now(Ok(Box::new(View { inner: self.inner.clone(), version, _reader: reader })))
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        Answer::Later(self.inner.commit(request, None).boxed())
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        let _writer = self.inner.writer.lock();
        Answer::Now(Ok(self.inner.engine.watch(key)))
    }

    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        self.inner.clone().export().boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Outage>> {
        let inner = self.inner.clone();
        self.inner.env.blocking(move || inner.checkpoint()).boxed()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.clone().close().boxed()
    }
}

/// One version of the store.
struct View {
    inner: Arc<Inner>,
    version: Version,
    _reader: Reader,
}

impl View {
    /// What reads see.
    fn visible(&self) -> Version {
        if kelpie_core::mutant!("version_before_visibility") {
            return self.version.min(self.inner.engine.readers.published());
        }
        self.version
    }

    /// The values of `keys` behind those that were `found`, of which the next is on its way.
    async fn get_rest(
        &self,
        keys: &[Bytes],
        mut found: Vec<Option<Bytes>>,
        next: BoxFuture<'_, Result<Option<Bytes>, ReadError>>,
    ) -> Result<Vec<Option<Bytes>>, ReadError> {
        found.push(next.await?);
        for key in &keys[found.len()..] {
            found.push(self.get(key).wait().await?);
        }
        Ok(found)
    }
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        let (inner, version) = (&self.inner, self.visible());
        match inner.engine.get(version, key) {
            Some(found) => Answer::Now(found),
            None => Answer::Later(inner.env.inline(move || inner.engine.get_below(version, key)).boxed()),
        }
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match self.get(key) {
                Answer::Now(Ok(value)) => found.push(value),
                Answer::Now(Err(error)) => return Answer::Now(Err(error)),
                Answer::Later(value) => {
                    return Answer::Later(self.get_rest(keys, found, value).boxed());
                }
            }
        }
        Answer::Now(Ok(found))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        let (inner, version) = (&self.inner, self.visible());
        Answer::Later(inner.env.inline(move || inner.engine.scan(version, &scan)).boxed())
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        async move { self.inner.commit(request, Some(self.version)).await }.boxed()
    }
}
