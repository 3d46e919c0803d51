//! The engine without a log: for tests, gone with its process.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kelpie_env::Env;
use parking_lot::Mutex;

use crate::contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Export, ExportError, Outage,
    Properties, ReadError, Rows, Scan, Snapshot, Stats, Version, Watch,
};
use crate::engine::{Engine, Forgetting, MapBase, Reader};

/// Small, so that tests meet rows on both sides of the fold.
const FOLD_BYTES: u64 = 64 << 10;

/// A store in memory.
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    engine: Engine,
    fold_bytes: u64,
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Writer {
    version: Version,
    folds: u64,
    commits: u64,
    closed: bool,
}

impl Memory {
    /// An empty one.
    pub fn new(env: Env) -> Self {
        Self::folding_at(env, FOLD_BYTES)
    }

    /// An empty one that keeps about so many bytes of recent versions.
    pub fn folding_at(env: Env, fold_bytes: u64) -> Self {
        let engine = Engine::new(Box::new(MapBase::default()), 0, env.random_u64());
        Self { inner: Arc::new(Inner { env, engine, fold_bytes, writer: Mutex::default() }) }
    }
}

impl Inner {
    fn commit(
        &self,
        request: CommitRequest,
        read_version: Option<Version>,
    ) -> Result<Committed, CommitError> {
        let ahead = self.engine.read_ahead(&request).map_err(CommitError::Unavailable)?;
        let mut writer = self.writer.lock();
        if writer.closed {
            return Err(CommitError::Unavailable(Outage::Closed));
        }
        self.engine.resolve(&request, read_version)?;
        let version = writer.version + 1;
        let mutations = self.engine.mutations(request, version, &ahead).map_err(CommitError::Unavailable)?;
        drop(self.engine.insert(version, mutations));
        self.engine.publish(version);
        writer.version = version;
        writer.commits += 1;
        if self.engine.memtable.bytes() > self.fold_bytes {
            self.fold(&mut writer).map_err(CommitError::Unavailable)?;
        }
        Ok(Committed { version: Some(version) })
    }

    fn fold(&self, writer: &mut Writer) -> Result<(), Outage> {
        self.engine.fold(self.env.now())?;
        writer.folds += 1;
        let mut next = Some(Forgetting::default());
        while let Some(from) = next {
            next = self.engine.memtable.forget_some(from);
        }
        Ok(())
    }
}

impl Backend for Memory {
    fn properties(&self) -> Properties {
        Properties { name: "memory", unknown_possible: false, single_process: true }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        let reader = self.inner.engine.readers.open(self.inner.env.now());
        Answer::Now(Ok(Box::new(View { inner: self.inner.clone(), reader })))
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        Answer::Now(self.inner.commit(request, None))
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        let _writer = self.inner.writer.lock();
        Answer::Now(Ok(self.inner.engine.watch(key)))
    }

    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        let writer = self.inner.writer.lock();
        // What is in memory is only referred to, so all of it is taken before anybody writes.
        let mut rows = Vec::new();
        let mut from = Bytes::new();
        let taken = loop {
            match self.inner.engine.export_page(writer.version, from) {
                Ok(Some((page, next))) => {
                    rows.push(Ok(page));
                    from = next;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let version = writer.version;
        let export = taken.map(|()| Export { version, batches: futures::stream::iter(rows).boxed() });
        std::future::ready(export).boxed()
    }

    fn stats(&self) -> Stats {
        let Inner { engine, writer, .. } = &*self.inner;
        let writer = writer.lock();
        Stats {
            version: writer.version,
            checkpoint: engine.memtable.base(),
            memtable_keys: engine.memtable.keys(),
            memtable_bytes: engine.memtable.bytes(),
            checkpoints: writer.folds,
            commits: writer.commits,
            conflicts: engine.conflicts(),
            ..Stats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.writer.lock().closed = true;
        async { Ok(()) }.boxed()
    }
}

/// One version of the store.
struct View {
    inner: Arc<Inner>,
    reader: Reader,
}

impl View {
    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let engine = &self.inner.engine;
        engine.get(self.reader.version(), key).unwrap_or_else(|| engine.get_below(self.reader.version(), key))
    }
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        Answer::Now(self.value(key))
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        Answer::Now(keys.iter().map(|key| self.value(key)).collect())
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        Answer::Now(self.inner.engine.scan(self.reader.version(), &scan))
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        async move { self.inner.commit(request, Some(self.reader.version())) }.boxed()
    }
}
