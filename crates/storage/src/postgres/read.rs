//! Questions to the server, and its answers as rows.
//!
//! An entry of a PostgreSQL index holds about 2,700 bytes, and keys may have 10,000. So rows
//! with long keys have a table of their own, found by a digest of the whole key and, in
//! ranges, by its beginning; every question that may concern both tables goes to both.

use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::link::Link;
use crate::contract::Scan;
use crate::keys::KeyRange;

/// Bytes of a key that still fits an index entry, with room to spare.
pub(super) const SHORT_KEY_BYTES_MAX: usize = 2_000;

pub(super) type FoundRows = Vec<(Bytes, Bytes)>;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// The rows of these keys, in any order.
    Keys(&'a [&'a [u8]]),
    /// The first rows of a range.
    Range(&'a Scan),
}

pub(super) fn is_long(key: &[u8]) -> bool {
    key.len() > SHORT_KEY_BYTES_MAX
}

/// What the index of long keys orders by.
pub(super) fn prefix(key: &[u8]) -> &[u8] {
    &key[..key.len().min(SHORT_KEY_BYTES_MAX)]
}

pub(super) fn digest(key: &[u8]) -> [u8; 32] {
    *blake3::hash(key).as_bytes()
}

/// The parameters that name a range in both tables.
pub(super) fn bounds(range: &KeyRange) -> [&[u8]; 4] {
    [&range.begin, &range.end, prefix(&range.begin), prefix(&range.end)]
}

/// Asks. The question is sent when the answer is first polled.
pub(super) async fn ask(link: &Link, question: Question<'_>) -> Result<FoundRows, Error> {
    match question {
        Question::Keys(keys) => by_key(link, keys).await,
        Question::Range(scan) => in_range(link, scan).await,
    }
}

async fn by_key(link: &Link, keys: &[&[u8]]) -> Result<FoundRows, Error> {
    let short: Vec<&[u8]> = keys.iter().copied().filter(|key| !is_long(key)).collect();
    if short.len() == keys.len() {
        return rows(&link.client.query(&link.statements.get, &[&short]).await?);
    }
    let digests: Vec<[u8; 32]> = keys.iter().filter(|key| is_long(key)).map(|key| digest(key)).collect();
    let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest[..]).collect();
    let short: [&(dyn ToSql + Sync); 1] = [&short];
    let long: [&(dyn ToSql + Sync); 1] = [&digests];
    let (short, long) = futures::join!(
        link.client.query(&link.statements.get, &short),
        link.client.query(&link.statements.get_long, &long),
    );
    let mut found = rows(&short?)?;
    found.extend(rows(&long?)?);
    Ok(found)
}

async fn in_range(link: &Link, scan: &Scan) -> Result<FoundRows, Error> {
    let [begin, end, from, to] = bounds(&scan.range);
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let statement = if scan.reverse { &link.statements.scan_reverse } else { &link.statements.scan };
    rows(&link.client.query(statement, &[&begin, &end, &from, &to, &limit]).await?)
}

fn rows(found: &[Row]) -> Result<FoundRows, Error> {
    let bytes = |row: &Row, column| row.try_get::<_, &[u8]>(column).map(Bytes::copy_from_slice);
    found.iter().map(|row| Ok((bytes(row, 0)?, bytes(row, 1)?))).collect()
}

/// The values of `keys` in their order.
pub(super) fn in_order(keys: &[&[u8]], found: FoundRows) -> Vec<Option<Bytes>> {
    let values: HashMap<Bytes, Bytes> = found.into_iter().collect();
    keys.iter().map(|key| values.get(*key).cloned()).collect()
}
