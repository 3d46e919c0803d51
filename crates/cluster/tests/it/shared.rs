//! One store for several nodes of one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Export, ExportError, Memory,
    Properties, ReadError, Rows, Scan, Snapshot, Stats, Watch,
};

/// A store in memory that says of itself that others write it too: several runtimes share it. It counts.
pub(crate) struct Shared {
    memory: Memory,
    /// Transactions begun.
    begun: AtomicU64,
    /// Commits asked for.
    commits: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, begun: AtomicU64::new(0), commits: Arc::default() }
    }

    /// Transactions that were begun and commits that were asked for so far.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.commits.load(Ordering::Relaxed))
    }
}

impl Backend for Shared {
    fn properties(&self) -> Properties {
        Properties { single_process: false, ..self.memory.properties() }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let commits = self.commits.clone();
        let counted = |snapshot| Box::new(Counted { snapshot, commits }) as Box<dyn Snapshot>;
        match self.memory.begin() {
            Answer::Now(begun) => Answer::Now(begun.map(counted)),
            Answer::Later(begun) => Answer::Later(begun.map_ok(counted).boxed()),
        }
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.memory.commit(request)
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        self.memory.watch(key)
    }

    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        self.memory.export()
    }

    fn stats(&self) -> Stats {
        self.memory.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.memory.close()
    }
}

/// A version of the store, whose commit is counted.
struct Counted {
    snapshot: Box<dyn Snapshot>,
    commits: Arc<AtomicU64>,
}

impl Snapshot for Counted {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.snapshot.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        self.snapshot.get_many(keys)
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        self.snapshot.scan(scan)
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.snapshot.commit(request)
    }
}
