//! Short words for what properties do all the time.

use bytes::Bytes;
use kelpie_storage::{CommitError, Committed, RangeQuery, ReadError, Store, Transaction};

pub(crate) type Rows = Vec<(Bytes, Bytes)>;
pub(crate) type Commit = Result<Committed, CommitError>;

/// Commits one row.
pub(crate) async fn put(store: &Store, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Commit {
    let mut tx = store.begin();
    tx.set(key, value);
    tx.commit().await
}

/// Whether a read had to give way to other transactions.
pub(crate) fn gave_way(error: &ReadError) -> bool {
    matches!(CommitError::from(error.clone()), CommitError::Conflict)
}

/// What a new transaction reads.
pub(crate) async fn value(store: &Store, key: &[u8]) -> Option<Bytes> {
    loop {
        match store.begin().get(key).await {
            Err(error) if gave_way(&error) => {}
            read => return read.unwrap(),
        }
    }
}

/// What a new transaction finds.
pub(crate) async fn found(store: &Store, query: &RangeQuery) -> Rows {
    loop {
        match try_pages(&mut store.begin(), query.clone()).await {
            Err(error) if gave_way(&error) => {}
            read => return read.unwrap(),
        }
    }
}

/// What a new transaction finds under a prefix.
pub(crate) async fn rows(store: &Store, prefix: &str) -> Rows {
    found(store, &RangeQuery::prefix(prefix.as_bytes())).await
}

/// All rows of a query in a transaction that has no reason to give way.
pub(crate) async fn pages(tx: &mut Transaction, query: RangeQuery) -> Rows {
    try_pages(tx, query).await.unwrap()
}

/// All rows of a query, page by page, each no longer than asked for.
pub(crate) async fn try_pages(tx: &mut Transaction, query: RangeQuery) -> Result<Rows, ReadError> {
    let (limit, mut rows, mut next) = (query.limit, Rows::new(), Some(query));
    while let Some(query) = next {
        let page = tx.get_range(query).await?;
        assert!(page.rows.len() <= limit, "{} rows where {limit} were asked for", page.rows.len());
        rows.extend(page.rows);
        next = page.more;
    }
    Ok(rows)
}

/// A little-endian number, as atomic operations count; nothing is zero.
pub(crate) fn number(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()))
}

pub(crate) fn le(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// One of two transactions that contradict each other had to give way: never both
/// committed, and what did not commit says why.
pub(crate) fn at_most_one(ended: [Commit; 2]) {
    let committed = ended.iter().filter(|end| end.is_ok()).count();
    let said = ended.iter().all(|end| matches!(end, Ok(_) | Err(CommitError::Conflict)));
    assert!(said && committed < 2, "{ended:?}");
}
