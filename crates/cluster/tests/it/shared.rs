//! One store for several nodes of one process.

use std::sync::atomic::{AtomicU64, Ordering};

use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Export, ExportError, Memory,
    Properties, ReadError, Snapshot, Stats, Watch,
};

/// A store in memory that says of itself that others write it too: several runtimes share it. It counts.
pub(crate) struct Shared {
    memory: Memory,
    /// Transactions begun.
    begun: AtomicU64,
    /// Commits asked for.
    commits: AtomicU64,
}

impl Shared {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, begun: AtomicU64::new(0), commits: AtomicU64::new(0) }
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
        self.memory.begin()
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.memory.commit(request)
    }

    fn watch(&self, key: bytes::Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        self.memory.watch(key)
    }

    fn export(&self) -> futures::future::BoxFuture<'_, Result<Export, ExportError>> {
        self.memory.export()
    }

    fn stats(&self) -> Stats {
        self.memory.stats()
    }

    fn close(&self) -> futures::future::BoxFuture<'_, Result<(), CloseError>> {
        self.memory.close()
    }
}
