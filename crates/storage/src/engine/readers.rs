//! Which versions are being read, so that no one's version is folded or dropped under it.
//!
//! Invariant: a fold never passes a version that was opened within
//! [`TRANSACTION_TIME_MAX`]; whoever holds an older one is told that it is too old, before
//! and after each read, so that a forgotten transaction cannot stop the checkpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::contract::Version;
use crate::limits::TRANSACTION_TIME_MAX;

#[derive(Default)]
pub(crate) struct Readers {
    open: Mutex<BTreeMap<Version, Opened>>,
    /// Versions below are readable no more.
    floor: AtomicU64,
    published: AtomicU64,
}

struct Opened {
    count: usize,
    /// When the last one was opened.
    at: Duration,
}

impl Readers {
    /// None yet, over a store that stands at `version`.
    pub(crate) fn new(version: Version) -> Self {
        Self { floor: AtomicU64::new(version), published: AtomicU64::new(version), ..Self::default() }
    }

    /// The newest visible version.
    pub(crate) fn published(&self) -> Version {
        self.published.load(Ordering::Acquire)
    }

    /// Makes everything up to `version` visible.
    pub(crate) fn publish(&self, version: Version) {
        self.published.store(version, Ordering::Release);
    }

    /// Opens the newest visible version.
    pub(crate) fn open(&self, now: Duration) -> Version {
        let mut open = self.open.lock();
        let version = self.published();
        let opened = open.entry(version).or_insert(Opened { count: 0, at: now });
        opened.count += 1;
        opened.at = opened.at.max(now);
        version
    }

    pub(crate) fn close(&self, version: Version) {
        let mut open = self.open.lock();
        let opened = open.get_mut(&version).expect("whoever closes a version has opened it");
        opened.count -= 1;
        if opened.count == 0 {
            open.remove(&version);
        }
    }

    /// Of what is at or below this version, only the newest can matter to a reader.
    pub(crate) fn keep(&self) -> Version {
        let open = self.open.lock();
        let readable = open.range(self.floor.load(Ordering::Acquire)..).next();
        readable.map_or_else(|| self.published(), |(oldest, _)| *oldest)
    }

    /// Chooses the version to fold up to: the newest that no valid reader stands below. It
    /// stays open until closed, so that it can be read meanwhile.
    pub(crate) fn raise_floor(&self, now: Duration) -> Version {
        let mut open = self.open.lock();
        // A margin, because the transaction took its time after it took its version.
        let oldest = now.saturating_sub(TRANSACTION_TIME_MAX + Duration::from_secs(1));
        // Passed over, not forgotten: others may open the same version later, and what closes
        // then must not uncount them.
        let valid = open.iter().find(|(_, opened)| opened.at >= oldest);
        let version = valid.map_or_else(|| self.published(), |(oldest, _)| *oldest);
        self.floor.fetch_max(version, Ordering::AcqRel);
        open.entry(version).or_insert(Opened { count: 0, at: now }).count += 1;
        version
    }

    /// Whether `version` may have been folded over.
    pub(crate) fn is_too_old(&self, version: Version) -> bool {
        version < self.floor.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::contract::{Outage, Rows};
    use crate::engine::{Base, Engine, Memtable, Mutations};
    use crate::keys::KeyRange;

    const LATER: Duration = Duration::from_secs(7);

    /// An empty base whose disk is full.
    struct Full;

    impl Base for Full {
        fn get(&self, _: &[u8]) -> Result<Option<Bytes>, Outage> {
            Ok(None)
        }

        fn scan(&self, _: &KeyRange, _: usize, _: bool) -> Result<Rows, Outage> {
            Ok(Rows::default())
        }

        fn fold(&self, _: &Memtable, _: Version) -> Result<(), Outage> {
            Err(Outage::DiskFull)
        }
    }

    #[test]
    fn a_forgotten_transaction_stops_neither_the_checkpoint_nor_the_pruning() {
        let readers = Readers::new(5);
        let forgotten = readers.open(Duration::ZERO);
        readers.publish(9);
        assert_eq!(readers.keep(), 5);
        assert_eq!(readers.raise_floor(LATER), 9);
        assert!(readers.is_too_old(forgotten));
        assert_eq!(readers.keep(), 9);
    }

    #[test]
    fn a_reader_keeps_its_version_when_an_old_one_of_the_same_version_goes() {
        let engine = Engine::new(Box::new(Full), 0, 0);
        let put = |version: Version| {
            let value = Some(Bytes::from(version.to_string()));
            let puts = vec![(Bytes::from_static(b"k"), value)];
            engine.insert(version, &Mutations { puts, ..Mutations::default() });
            engine.publish(version);
        };
        put(1);
        let old = engine.readers.open(Duration::ZERO);
        engine.fold(LATER).expect_err("the disk is full");
        let fresh = engine.readers.open(LATER);
        engine.readers.close(old);
        put(2);
        put(3);
        let seen = engine.get(fresh, b"k").expect("it is in memory").expect("it is not too old");
        assert_eq!(seen, Some(Bytes::from_static(b"1")));
    }
}
