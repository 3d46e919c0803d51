//! Reads at one version.

use std::ops::Deref as _;
use std::sync::Arc;

use bytes::Bytes;
use foundationdb::future::{FdbSlice, FdbValues};
use foundationdb::options::StreamingMode;
use foundationdb::{FdbResult, RangeOption, Transaction};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};

use super::client::Inner;
use crate::contract::{
    Answer, CommitError, CommitRequest, Committed, Outage, ReadError, Rows, Scan, Snapshot,
};
use crate::limits::PAGE_BYTES_MAX;
use crate::row_list::Packing;

/// Reads note nothing in FoundationDB: what the commit depends on comes with its request.
const AS_SNAPSHOT: bool = true;

/// One version of the store. The transaction goes before the connection that it belongs to.
pub(super) struct View {
    pub(super) transaction: Transaction,
    pub(super) inner: Arc<Inner>,
}

impl View {
    /// Asks at once, also when nobody waits for the answer yet.
    fn ask(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>, ReadError>> + Send + use<> {
        let asked = self.transaction.get(&self.inner.subspace.key(key), AS_SNAPSHOT);
        let (inner, bytes) = (self.inner.clone(), key.len());
        asked.map(move |found: FdbResult<Option<FdbSlice>>| match found {
            Ok(value) => Ok(value.map(|value| Bytes::copy_from_slice(&value))),
            Err(error) => Err(inner.read_error(error, bytes)),
        })
    }

    fn rows(&self, found: &FdbValues) -> Result<Rows, ReadError> {
        let outside = || unexpected("a row outside of the range that was asked for");
        let mut rows = Packing::default();
        for row in found.deref() {
            let key = self.inner.subspace.strip(row.key()).ok_or_else(outside)?;
            rows.push(&key, row.value());
        }
        if rows.len() == 0 && found.more() {
            return Err(unexpected("an empty page that is not the last"));
        }
        Ok(Rows { rows: rows.finish(), more: found.more() })
    }
}

fn unexpected(what: &str) -> ReadError {
    ReadError::Unavailable(Outage::Remote { reason: Arc::from(format!("FoundationDB gave {what}")) })
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        Answer::Later(self.ask(key).boxed())
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        let asked: Vec<_> = keys.iter().map(|key| self.ask(key)).collect();
        Answer::Later(try_join_all(asked).boxed())
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        let Some(range) = self.inner.subspace.range(&scan.range) else {
            return Answer::Now(Ok(Rows::default()));
        };
        let asked = self.transaction.get_range(
            &RangeOption {
                limit: Some(scan.limit.max(1)),
                target_bytes: PAGE_BYTES_MAX,
                // Up to both limits in one call; the other modes end a page earlier.
                mode: StreamingMode::Exact,
                reverse: scan.reverse,
                ..RangeOption::from(range)
            },
            1,
            AS_SNAPSHOT,
        );
        let found = async move {
            let found = asked.await.map_err(|error| self.inner.read_error(error, 0))?;
            self.rows(&found)
        };
        Answer::Later(found.boxed())
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let Self { transaction, inner } = *self;
        inner.commit(Ok(transaction), &request)
    }
}
