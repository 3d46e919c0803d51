//! What lies below the memtable: one version of every key.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;

use super::memtable::Memtable;
use crate::contract::{Outage, Rows, Version};
use crate::keys::KeyRange;
use crate::limits::PAGE_BYTES_MAX;
use crate::row_list::Packing;

/// The folded part of a store.
pub(crate) trait Base: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Outage>;

    /// What [`Base::get`] would say, if that is known without a look at a disk.
    fn cached(&self, _key: &[u8]) -> Option<Option<Bytes>> {
        None
    }

    /// Up to `limit` rows, from the end when `reverse`.
    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Rows, Outage>;

    /// Takes over everything in `memtable` up to `version`, durably and all or nothing
    /// together with that version.
    fn fold(&self, memtable: &Memtable, version: Version) -> Result<(), Outage>;
}

impl<T: Base> Base for std::sync::Arc<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Outage> {
        (**self).get(key)
    }

    fn cached(&self, key: &[u8]) -> Option<Option<Bytes>> {
        (**self).cached(key)
    }

    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Rows, Outage> {
        (**self).scan(range, limit, reverse)
    }

    fn fold(&self, memtable: &Memtable, version: Version) -> Result<(), Outage> {
        (**self).fold(memtable, version)
    }
}

/// A base in memory.
#[derive(Default)]
pub(crate) struct MapBase {
    rows: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl Base for MapBase {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Outage> {
        Ok(self.rows.read().get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Rows, Outage> {
        let rows = self.rows.read();
        let within = rows.range(range.begin.clone()..range.end.clone());
        Ok(if reverse { take_rows(within.rev(), limit) } else { take_rows(within, limit) })
    }

    fn fold(&self, memtable: &Memtable, version: Version) -> Result<(), Outage> {
        let mut rows = self.rows.write();
        for range in memtable.folded_clears(version) {
            rows.extract_if(range.begin..range.end, |_, _| true).for_each(drop);
        }
        let mut after = None;
        loop {
            let (puts, next) = memtable.folded_puts(after.as_ref(), version);
            for (row, value) in puts {
                match value {
                    Some(value) => drop(rows.insert(Bytes::copy_from_slice(row.key()), value)),
                    None => drop(rows.remove(row.key())),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// Rows until a limit is reached.
fn take_rows<'a>(rows: impl Iterator<Item = (&'a Bytes, &'a Bytes)>, limit: usize) -> Rows {
    let (mut taken, mut more) = (Packing::default(), false);
    for (key, value) in rows {
        if taken.len() >= limit || taken.bytes() >= PAGE_BYTES_MAX {
            more = true;
            break;
        }
        taken.push_shared(key, value);
    }
    Rows { rows: taken.finish(), more }
}
