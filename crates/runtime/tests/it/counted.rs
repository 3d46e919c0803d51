//! A store that counts what is scanned of the wake index and read of actors' records: a double, around
//! the real memory backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Properties, ReadError, Rows, Scan,
    Snapshot, Stats, Watch,
};

/// Scans of the wake index and the rows that they gave, and actors' records, however they were read.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) scans: AtomicU64,
    pub(crate) rows: AtomicU64,
    records: AtomicU64,
}

impl Counts {
    /// What was counted since the last look.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.scans.swap(0, Ordering::Relaxed), self.rows.swap(0, Ordering::Relaxed))
    }

    /// Records that were read since the last look.
    pub(crate) fn take_records(&self) -> u64 {
        self.records.swap(0, Ordering::Relaxed)
    }

    fn read<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        let records = keys.into_iter().filter(|key| key.starts_with(b"state/")).count();
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }
}

pub(crate) struct Counted {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) counts: Arc<Counts>,
    /// Whether it says that only this process writes it.
    pub(crate) single_process: bool,
}

impl Backend for Counted {
    fn properties(&self) -> Properties {
        Properties { name: "counted", unknown_possible: false, single_process: self.single_process }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        Answer::Later(
            async move {
                let inner = self.inner.begin().wait().await?;
                Ok(Box::new(CountedSnapshot { inner, counts: self.counts.clone() }) as Box<dyn Snapshot>)
            }
            .boxed(),
        )
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        self.inner.commit(request)
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        self.inner.watch(key)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.close()
    }
}

struct CountedSnapshot {
    inner: Box<dyn Snapshot>,
    counts: Arc<Counts>,
}

impl Snapshot for CountedSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.counts.read([key]);
        self.inner.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        self.counts.read(keys.iter().map(|key| &key[..]));
        self.inner.get_many(keys)
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        Answer::Later(
            async move {
                let counts = scan.range.begin.starts_with(b"wake/");
                let rows = self.inner.scan(scan).wait().await?;
                self.counts.read(rows.rows.iter().map(|(key, _)| key));
                if !counts {
                    return Ok(rows);
                }
                self.counts.scans.fetch_add(1, Ordering::Relaxed);
                self.counts.rows.fetch_add(rows.rows.len() as u64, Ordering::Relaxed);
                Ok(rows)
            }
            .boxed(),
        )
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        self.inner.commit(request)
    }
}
