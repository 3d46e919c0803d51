//! Which versions are being read, so that no one's version is folded or dropped under it.
//!
//! ```text
//!   newest ──▶ Opened { version }  ◀── Reader (one count each)     open: two counts, no search
//!   all:  oldest … newest, each of them once                        touched when a version is published
//! ```
//!
//! Invariant: a fold never passes a version that was opened within
//! [`TRANSACTION_TIME_MAX`]; whoever holds an older one is told that it is too old, before
//! and after each read, so that a forgotten transaction cannot stop the checkpoint. A version
//! that is not the newest gets no new readers: once it has none, it never has any again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::contract::Version;
use crate::limits::TRANSACTION_TIME_MAX;

/// The time of the last opening is only noted when it has moved so far: most openings leave
/// the line that all cores share alone.
const NOTED_EVERY: Duration = Duration::from_millis(100);
/// More than the transaction's own limit, because it took its time after it took its version,
/// and because the time of opening is not noted to the instant.
const OPEN_MAX: Duration = TRANSACTION_TIME_MAX.saturating_add(Duration::from_secs(1));

const _: () = assert!(NOTED_EVERY.as_millis() < 1000, "within the margin of OPEN_MAX");

pub(crate) struct Readers {
    newest: RwLock<Arc<Opened>>,
    /// Every version that may have readers, oldest first, the newest last.
    all: Mutex<VecDeque<Arc<Opened>>>,
    /// The first of `all`.
    oldest: AtomicU64,
    /// Versions below are readable no more.
    floor: AtomicU64,
    published: AtomicU64,
}

struct Opened {
    version: Version,
    /// When the last one was opened, in nanoseconds, to [`NOTED_EVERY`].
    at: AtomicU64,
}

impl Opened {
    fn new(version: Version) -> Arc<Self> {
        Arc::new(Self { version, at: AtomicU64::new(0) })
    }

    fn note(&self, now: Duration) {
        let now = nanos(now);
        if now >= self.at.load(Ordering::Relaxed).saturating_add(nanos(NOTED_EVERY)) {
            self.at.fetch_max(now, Ordering::Relaxed);
        }
    }
}

/// Holds a version open until dropped.
pub(crate) struct Reader(Arc<Opened>);

impl Reader {
    pub(crate) fn version(&self) -> Version {
        self.0.version
    }
}

impl Readers {
    /// None yet, over a store that stands at `version`.
    pub(crate) fn new(version: Version) -> Self {
        let opened = Opened::new(version);
        Self {
            all: Mutex::new(VecDeque::from([opened.clone()])),
            newest: RwLock::new(opened),
            oldest: AtomicU64::new(version),
            floor: AtomicU64::new(version),
            published: AtomicU64::new(version),
        }
    }

    /// The newest visible version.
    pub(crate) fn published(&self) -> Version {
        self.published.load(Ordering::Acquire)
    }

    /// Makes everything up to `version` visible.
    pub(crate) fn publish(&self, version: Version) {
        let mut all = self.all.lock();
        if version <= self.published() {
            return;
        }
        let opened = Opened::new(version);
        let before = std::mem::replace(&mut *self.newest.write(), opened.clone());
        self.published.store(version, Ordering::Release);
        all.push_back(opened);
        // From here on nobody opens it: if nobody has, it is not kept for others to pass over.
        let last_but_one = all.len() - 2;
        if Arc::strong_count(&before) == 2 {
            all.remove(last_but_one);
        }
        drop(before);
        self.pass_unread(&mut all);
    }

    /// Opens the newest visible version.
    pub(crate) fn open(&self, now: Duration) -> Reader {
        let opened = self.newest.read().clone();
        opened.note(now);
        Reader(opened)
    }

    /// Of what is at or below this version, only the newest can matter to a reader.
    pub(crate) fn keep(&self) -> Version {
        self.oldest.load(Ordering::Acquire)
    }

    /// Chooses the version to fold up to: the newest that no valid reader stands below. It
    /// stays open while held, so that it can be read meanwhile.
    pub(crate) fn raise_floor(&self, now: Duration) -> Reader {
        let mut all = self.all.lock();
        let since = nanos(now.saturating_sub(OPEN_MAX));
        let newest = all.back().expect("the newest is always there").version;
        all.retain(|opened| {
            opened.version == newest
                || (Arc::strong_count(opened) > 1 && opened.at.load(Ordering::Relaxed) >= since)
        });
        let oldest = all.front().expect("the newest is always there").clone();
        self.floor.fetch_max(oldest.version, Ordering::AcqRel);
        self.oldest.store(oldest.version, Ordering::Release);
        Reader(oldest)
    }

    /// Whether `version` may have been folded over.
    pub(crate) fn is_too_old(&self, version: Version) -> bool {
        version < self.floor.load(Ordering::Acquire)
    }

    /// Drops the oldest versions that nobody reads; those in between when they are many.
    fn pass_unread(&self, all: &mut VecDeque<Arc<Opened>>) {
        while all.len() > 1 && Arc::strong_count(&all[0]) == 1 {
            all.pop_front();
        }
        if all.len() == all.capacity() {
            let newest = all.len() - 1;
            let mut at = 0..;
            all.retain(|opened| at.next() == Some(newest) || Arc::strong_count(opened) > 1);
        }
        self.oldest.store(all[0].version, Ordering::Release);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::contract::{Outage, Rows};
    use crate::engine::{Base, Engine, Memtable, Mutations};
    use crate::keys::KeyRange;

    const SECOND: Duration = Duration::from_secs(1);
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
        assert_eq!(readers.raise_floor(LATER).version(), 9);
        assert!(readers.is_too_old(forgotten.version()));
        assert_eq!(readers.keep(), 9);
    }

    #[test]
    fn a_reader_keeps_its_version_when_an_old_one_of_the_same_version_goes() {
        let engine = Engine::new(Box::new(Full), 0, 0);
        let put = |version: Version| {
            let value = Some(Bytes::from(version.to_string()));
            let puts = vec![(Bytes::from_static(b"k"), value)];
            drop(engine.insert(version, Mutations { puts, ..Mutations::default() }));
            engine.publish(version);
        };
        put(1);
        let old = engine.readers.open(Duration::ZERO);
        engine.fold(LATER).expect_err("the disk is full");
        let fresh = engine.readers.open(LATER);
        drop(old);
        put(2);
        put(3);
        let seen = engine.get(fresh.version(), b"k").expect("it is in memory").expect("it is not too old");
        assert_eq!(seen, Some(Bytes::from_static(b"1")));
    }

    #[test]
    fn what_is_read_is_kept_and_not_folded_over() {
        let readers = Readers::new(10);
        let old = readers.open(SECOND);
        assert_eq!(old.version(), 10);
        for version in 11..=20 {
            readers.publish(version);
        }
        let newer = readers.open(SECOND);
        assert_eq!((newer.version(), readers.keep()), (20, 10));
        assert_eq!(readers.raise_floor(SECOND * 2).version(), 10);
        drop(old);
        assert_eq!(readers.raise_floor(SECOND * 2).version(), 20);
        assert!(readers.is_too_old(19) && !readers.is_too_old(newer.version()));
        readers.publish(21);
        assert_eq!(readers.keep(), 20, "it is still open");
        drop(newer);
        readers.publish(22);
        assert_eq!(readers.keep(), 22);
    }

    #[test]
    fn a_forgotten_reader_is_passed_when_its_time_is_over_and_not_before() {
        let readers = Readers::new(1);
        let forgotten = readers.open(SECOND * 10);
        readers.publish(2);
        assert_eq!(readers.raise_floor(SECOND * 10 + OPEN_MAX).version(), 1);
        assert!(!readers.is_too_old(forgotten.version()));
        assert_eq!(readers.raise_floor(SECOND * 11 + OPEN_MAX).version(), 2);
        assert!(readers.is_too_old(forgotten.version()));
        assert_eq!(readers.keep(), 2);
    }

    #[test]
    fn an_old_reader_does_not_make_later_versions_pile_up() {
        let readers = Readers::new(1);
        let old = readers.open(SECOND);
        let mut few = VecDeque::new();
        for version in 2..100_000 {
            few.push_back(readers.open(SECOND));
            if few.len() > 8 {
                few.pop_front();
            }
            readers.publish(version);
        }
        let kept = readers.all.lock().len();
        assert!(kept < 64, "{kept}");
        assert_eq!(readers.keep(), old.version());
    }
}
