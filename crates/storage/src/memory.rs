//! The engine without a log: for tests, gone with its process.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use parking_lot::Mutex;

use crate::contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Outage, Properties, ReadError, Rows,
    Scan, Stats, Version, Watch,
};
use crate::engine::{Engine, FOLD_KEYS, MapBase};

/// Small, so that tests meet rows on both sides of the fold.
const FOLD_BYTES: u64 = 64 << 10;

/// A store in memory.
pub struct Memory {
    env: Env,
    engine: Engine,
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
        let seed = env.random_u64();
        Self { env, engine: Engine::new(Box::new(MapBase::default()), 0, seed), writer: Mutex::default() }
    }

    fn commit_now(&self, request: CommitRequest) -> Result<Committed, CommitError> {
        let mut writer = self.writer.lock();
        if writer.closed {
            return Err(CommitError::Unavailable(Outage::Closed));
        }
        self.engine.resolve(&request)?;
        let version = writer.version + 1;
        let mutations = self.engine.mutations(request, version).map_err(CommitError::Unavailable)?;
        self.engine.insert(version, &mutations);
        self.engine.publish(version);
        writer.version = version;
        writer.commits += 1;
        if self.engine.memtable.bytes() > FOLD_BYTES {
            self.fold(&mut writer).map_err(CommitError::Unavailable)?;
        }
        Ok(Committed { version })
    }

    fn fold(&self, writer: &mut Writer) -> Result<(), Outage> {
        self.engine.fold(self.env.now())?;
        writer.folds += 1;
        let mut next = None;
        loop {
            next = self.engine.memtable.forget_some(next.as_ref(), FOLD_KEYS);
            if next.is_none() {
                return Ok(());
            }
        }
    }
}

impl Backend for Memory {
    fn properties(&self) -> Properties {
        Properties { name: "memory", unknown_possible: false, single_process: true }
    }

    fn open_version(&self) -> Answer<'_, Result<Version, ReadError>> {
        Answer::Now(Ok(self.engine.readers.open(self.env.now())))
    }

    fn close_version(&self, version: Version) {
        self.engine.readers.close(version);
    }

    fn get<'a>(&'a self, version: Version, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        Answer::Now(self.engine.get(version, key).unwrap_or_else(|| self.engine.get_below(version, key)))
    }

    fn scan(&self, version: Version, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        Answer::Now(self.engine.scan(version, &scan))
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        Answer::Now(self.commit_now(request))
    }

    fn watch(&self, key: Bytes) -> Watch {
        let _writer = self.writer.lock();
        self.engine.watch(key)
    }

    fn stats(&self) -> Stats {
        let writer = self.writer.lock();
        Stats {
            version: writer.version,
            checkpoint: self.engine.memtable.base(),
            memtable_keys: self.engine.memtable.keys(),
            memtable_bytes: self.engine.memtable.bytes(),
            checkpoints: writer.folds,
            commits: writer.commits,
            ..Stats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.writer.lock().closed = true;
        async { Ok(()) }.boxed()
    }
}
