//! An actor's committed records in memory, and reading those that are not.

use std::sync::Arc;

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_core::row;
use kelpie_storage::{RangeQuery, Store, Transaction};

use crate::actor::{RecordRange, TurnError};
use crate::eviction::Cached;
use crate::fence::Fence;
use crate::large;

/// Bytes of records that one activation keeps in memory. Beyond that it forgets them all and
/// reads them again: what is committed is in the store.
const CACHED_BYTES_MAX: usize = 1 << 20;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;

/// Committed records as of one fence, in their order. Absent ones are remembered too.
///
/// A list: most activations hold one record, and a map's first node is larger than all else
/// that an idle activation needs.
#[derive(Debug)]
pub(crate) struct Cache {
    records: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
    /// What all activations of the node keep.
    all: Arc<Cached>,
}

fn cost(record: &[u8], value: Option<&Bytes>) -> usize {
    record.len() + value.map_or(0, Bytes::len) + ENTRY_BYTES
}

impl Cache {
    pub(crate) fn new(all: Arc<Cached>) -> Self {
        Self { records: Vec::new(), bytes: 0, all }
    }

    /// What is known of a record.
    pub(crate) fn get(&self, record: &[u8]) -> Option<Option<Bytes>> {
        self.place(record).ok().map(|place| self.records[place].1.clone())
    }

    fn place(&self, record: &[u8]) -> Result<usize, usize> {
        self.records.binary_search_by(|(known, _)| known[..].cmp(record))
    }

    /// Notes a committed record.
    pub(crate) fn put(&mut self, record: Bytes, value: Option<Bytes>) {
        let cost_now = cost(&record, value.as_ref());
        if self.bytes + cost_now > CACHED_BYTES_MAX {
            self.records.clear();
            self.resize(0);
        }
        match self.place(&record) {
            Ok(place) => {
                let before = std::mem::replace(&mut self.records[place].1, value);
                self.resize((self.bytes + cost_now).saturating_sub(cost(&record, before.as_ref())));
            }
            Err(place) => {
                // One more and not four, as long as there are none.
                self.records.reserve_exact(usize::from(self.records.is_empty()));
                self.records.insert(place, (record, value));
                self.resize(self.bytes + cost_now);
            }
        }
    }

    /// Forgets a range that was cleared.
    pub(crate) fn forget(&mut self, range: &RecordRange) {
        self.records.retain(|(record, _)| !range.contains(record));
        self.resize(self.records.iter().map(|(record, value)| cost(record, value.as_ref())).sum());
    }

    fn resize(&mut self, bytes: usize) {
        self.all.changed(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// Reads one record from the store, if the fence still holds there.
pub(crate) async fn read(
    store: &Store,
    actor: &ActorId,
    fence: &Fence,
    record: &[u8],
) -> Result<Option<Bytes>, TurnError> {
    let mut tx = store.begin();
    let key = row::state(actor, record);
    match fence.get(&mut tx, actor, &key).await? {
        None => Ok(None),
        Some(stored) => Ok(Some(large::value(&mut tx, &key, stored).await?)),
    }
}

/// Reads one record at the version of `tx`.
pub(crate) async fn read_at(
    tx: &mut Transaction,
    actor: &ActorId,
    record: &[u8],
) -> Result<Option<Bytes>, TurnError> {
    let key = row::state(actor, record);
    match tx.get_snapshot(&key).await? {
        None => Ok(None),
        Some(stored) => Ok(Some(large::value(tx, &key, stored).await?)),
    }
}

/// Reads a range of records from the store, if the fence still holds there.
pub(crate) async fn read_range(
    store: &Store,
    actor: &ActorId,
    fence: &Fence,
    range: &RecordRange,
) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
    let mut tx = store.begin();
    if !fence.holds(&mut tx, actor).await? {
        return Err(TurnError::Moved);
    }
    read_range_at(&mut tx, actor, range).await
}

/// Reads a range of records at the version of `tx`.
pub(crate) async fn read_range_at(
    tx: &mut Transaction,
    actor: &ActorId,
    range: &RecordRange,
) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
    if kelpie_core::mutant!("range_of_every_actor") {
        return range_of_every_actor(tx, actor, range).await;
    }
    let prefix = row::state(actor, b"");
    let end = if range.end.is_empty() { row::after(&prefix) } else { row::state(actor, &range.end) };
    let mut rows = Vec::new();
    for (key, stored) in pages(tx, row::state(actor, &range.begin), end, range.limit, range.reverse).await? {
        let value = large::value(tx, &key, stored).await?;
        rows.push((key.slice(prefix.len()..), value));
    }
    Ok(rows)
}

/// The seeded bug: rows are chosen by their record's name, whoever's they are.
async fn range_of_every_actor(
    tx: &mut Transaction,
    actor: &ActorId,
    range: &RecordRange,
) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
    let own = row::state(actor, b"");
    let all = own.slice(..own.len() - actor.key().len() - 1);
    let mut rows = Vec::new();
    for (key, stored) in pages(tx, all.clone(), row::after(&all), usize::MAX, range.reverse).await? {
        let Some(end) = key[all.len()..].iter().position(|&byte| byte == 0) else { continue };
        let record = key.slice(all.len() + end + 1..);
        if range.contains(&record) && rows.len() < range.limit {
            rows.push((record, large::value(tx, &key, stored).await?));
        }
    }
    Ok(rows)
}

/// Reads up to `limit` rows, page by page.
pub(crate) async fn pages(
    tx: &mut Transaction,
    begin: Bytes,
    end: Bytes,
    limit: usize,
    reverse: bool,
) -> Result<Vec<(Bytes, Bytes)>, TurnError> {
    let mut rows = Vec::new();
    let mut query = Some(RangeQuery { reverse, ..RangeQuery::new(begin, end).snapshot() });
    while let Some(next) = query
        && rows.len() < limit
    {
        let page = tx.get_range(next.limit(limit - rows.len())).await?;
        rows.extend(page.rows);
        query = page.more;
    }
    Ok(rows)
}
