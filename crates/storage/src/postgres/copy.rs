//! All rows out of the database at one version, and into an empty one.
//!
//! ```text
//!   export:  BEGIN … READ ONLY, DEFERRABLE ─▶ pages in key order ─▶ COMMIT
//!   import:  BEGIN ─▶ lock, empty? ─▶ batches ─▶ read back, compare ─▶ COMMIT
//! ```
//!
//! Both take as long as they need, on a connection of their own without the time limits of
//! transactions. An export keeps nobody waiting; the server may let it wait a moment, until no
//! order of the running commits can trouble it, and does not count it among the readers then.
//!
//! Invariant: an import is one transaction, and is read back before it is committed.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use tokio_postgres::Error;

use super::Inner;
use super::link::Link;
use super::outcome::{commit_failed, outage};
use super::read::{Question, ask};
use super::writes::{Bound, Writes};
use crate::backup::RowsDigest;
use crate::contract::{CommitError, Export, ExportError, ImportError, Outage, RowBatch, Scan, Version};
use crate::keys::{KeyRange, end_of_keys, successor};

/// Rows of a page: some megabytes with the largest values.
const PAGE_ROWS: usize = 256;

const UNLIMITED: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
const BEGIN_EXPORT: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE";
/// Keeps out who writes; readers go on.
const BEGIN_IMPORT: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; \
    LOCK TABLE kelpie_rows, kelpie_long_rows IN SHARE ROW EXCLUSIVE MODE";
/// Read when the rows are fixed: no version in them is later.
const LAST_VERSION: &str = "SELECT last_value FROM kelpie_version";
/// The next version is the one after it. Not undone by a rollback, which harms nobody.
const SET_VERSION: &str = "SELECT setval('kelpie_version', \
    GREATEST($1::int8, (SELECT last_value FROM kelpie_version)))";

pub(super) async fn export(inner: Arc<Inner>) -> Result<Export, ExportError> {
    let unavailable = |error: Error| ExportError::Unavailable(outage(&error));
    let link = open(&inner).await.map_err(ExportError::Unavailable)?;
    link.client.batch_execute(BEGIN_EXPORT).await.map_err(unavailable)?;
    let first = page(&link, Bytes::new()).await.map_err(unavailable)?;
    let row = link.client.query_one(LAST_VERSION, &[]).await.map_err(unavailable)?;
    let last: i64 = row.try_get(0).map_err(unavailable)?;
    Ok(Export { version: Version::try_from(last).unwrap_or_default(), batches: pages(link, first) })
}

/// The rows of an open transaction from its first page on. Its connection goes with it.
fn pages(link: Link, first: RowBatch) -> BoxStream<'static, Result<RowBatch, ExportError>> {
    try_unfold((link, first), |(link, batch)| async move {
        let Some((last, _)) = batch.last() else { return Ok(None) };
        let next = page(&link, successor(last)).await;
        let next = next.map_err(|error| ExportError::Unavailable(outage(&error)))?;
        Ok(Some((batch, (link, next))))
    })
    .boxed()
}

async fn page(link: &Link, begin: Bytes) -> Result<RowBatch, Error> {
    let scan = Scan { range: KeyRange::new(begin, end_of_keys()), limit: PAGE_ROWS, reverse: false };
    ask(link, Question::Range(&scan)).await
}

pub(super) async fn import(inner: Arc<Inner>, rows: Export) -> Result<(), ImportError> {
    let link = open(&inner).await.map_err(ImportError::Unavailable)?;
    link.client.batch_execute(BEGIN_IMPORT).await.map_err(unavailable)?;
    if !page(&link, Bytes::new()).await.map_err(unavailable)?.is_empty() {
        return Err(ImportError::NotEmpty);
    }
    let (version, written) = (rows.version, write(&link, rows).await?);
    if read_back(&link).await.map_err(unavailable)? != written {
        return Err(ImportError::Differs);
    }
    let version = i64::try_from(version).map_err(|_| {
        let reason = "its versions have come further than the database counts".into();
        ImportError::Unavailable(Outage::Remote { reason })
    })?;
    link.client.execute(SET_VERSION, &[&version]).await.map_err(unavailable)?;
    link.client.batch_execute("COMMIT").await.map_err(|error| match commit_failed(&error) {
        CommitError::Unknown(outage) => ImportError::Unknown(outage),
        CommitError::Conflict | CommitError::TooOld | CommitError::Limit(_) | CommitError::Unavailable(_) => {
            unavailable(error)
        }
    })
}

fn unavailable(error: Error) -> ImportError {
    ImportError::Unavailable(outage(&error))
}

async fn open(inner: &Inner) -> Result<Link, Outage> {
    if inner.is_closed() {
        return Err(Outage::Closed);
    }
    let link = inner.pool.manager().connect().await.map_err(|error| outage(&error))?;
    link.client.batch_execute(UNLIMITED).await.map_err(|error| outage(&error))?;
    Ok(link)
}

/// Writes all rows and gives their digest.
async fn write(link: &Link, mut rows: Export) -> Result<[u8; 32], ImportError> {
    let mut digest = RowsDigest::default();
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.map_err(ImportError::Source)?;
        batch.iter().for_each(|(key, value)| digest.add(key, value));
        let writes = Writes::of_rows(batch);
        let bound = Bound::new(&writes);
        for (statement, parameters) in bound.statements(&link.statements) {
            link.client.execute(statement, &parameters).await.map_err(unavailable)?;
        }
    }
    Ok(digest.digest())
}

async fn read_back(link: &Link) -> Result<[u8; 32], Error> {
    let (mut digest, mut begin) = (RowsDigest::default(), Bytes::new());
    loop {
        let rows = page(link, begin).await?;
        let Some((last, _)) = rows.last() else { return Ok(digest.digest()) };
        begin = successor(last);
        rows.iter().for_each(|(key, value)| digest.add(key, value));
    }
}
