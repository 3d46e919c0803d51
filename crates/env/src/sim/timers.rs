//! What waits for virtual time.
//!
//! A timer that is dropped is gone: time never jumps to an instant for which nobody waits.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::world::World;

/// The instant that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// When, and which of those of that instant.
type Key = (u64, u64);

struct Entry {
    node: Option<u32>,
    waker: Waker,
}

#[derive(Default)]
struct Entries {
    by_time: BTreeMap<Key, Entry>,
    count: u64,
}

pub(super) struct Timers {
    entries: Mutex<Entries>,
    /// The earliest instant, to be looked at before every turn without the lock.
    next: AtomicU64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { entries: Mutex::default(), next: AtomicU64::new(NEVER) }
    }

    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Wakes all whose instant has come.
    pub(super) fn fire(&self, now: u64) {
        loop {
            let mut entries = self.entries.lock();
            let Some(first) = entries.by_time.first_entry().filter(|first| first.key().0 <= now) else {
                self.publish(&entries);
                return;
            };
            let entry = first.remove();
            drop(entries);
            entry.waker.wake();
        }
    }

    /// Wakes all that wait by a node's clock, since it has changed.
    pub(super) fn wake_node(&self, node: u32) {
        let mut entries = self.entries.lock();
        let woken: Vec<Entry> =
            entries.by_time.extract_if(.., |_, entry| entry.node == Some(node)).map(|(_, e)| e).collect();
        self.publish(&entries);
        drop(entries);
        for entry in woken {
            entry.waker.wake();
        }
    }

    fn add(&self, at: u64, entry: Entry) -> Key {
        let mut entries = self.entries.lock();
        entries.count += 1;
        let key = (at, entries.count);
        entries.by_time.insert(key, entry);
        self.publish(&entries);
        key
    }

    /// Replaces the waker of a timer; false when it has fired.
    fn renew(&self, key: Key, waker: &Waker) -> bool {
        match self.entries.lock().by_time.get_mut(&key) {
            Some(entry) => {
                entry.waker.clone_from(waker);
                true
            }
            None => false,
        }
    }

    fn remove(&self, key: Key) {
        let mut entries = self.entries.lock();
        let removed = entries.by_time.remove(&key);
        self.publish(&entries);
        drop(entries);
        // Its waker may be the last owner of something: not under the lock.
        drop(removed);
    }

    fn publish(&self, entries: &Entries) {
        let next = entries.by_time.first_key_value().map_or(NEVER, |(key, _)| key.0);
        self.next.store(next, Ordering::Relaxed);
    }
}

/// One wait for an instant of virtual time, renewed as often as needed.
pub(super) struct Alarm {
    world: Arc<World>,
    /// Whose clock it hangs on, if any.
    node: Option<u32>,
    set: Option<Key>,
}

impl Alarm {
    pub(super) fn new(world: Arc<World>, node: Option<u32>) -> Self {
        Self { world, node, set: None }
    }

    /// Has `waker` woken at `at`, and at no other instant.
    pub(super) fn set(&mut self, at: u64, waker: &Waker) {
        if let Some(key) = self.set {
            if key.0 == at && self.world.timers.renew(key, waker) {
                return;
            }
            self.clear();
        }
        if at != NEVER {
            let entry = Entry { node: self.node, waker: waker.clone() };
            self.set = Some(self.world.timers.add(at, entry));
        }
    }

    /// Virtual time, now.
    pub(super) fn now(&self) -> u64 {
        self.world.now()
    }

    pub(super) fn clear(&mut self) {
        if let Some(key) = self.set.take() {
            self.world.timers.remove(key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Completes at an instant of virtual time.
pub(super) struct Delay {
    at: u64,
    alarm: Alarm,
}

impl Delay {
    pub(super) fn until(world: Arc<World>, at: u64) -> Self {
        Self { at, alarm: Alarm::new(world, None) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.alarm.world.now() >= self.at {
            return Poll::Ready(());
        }
        let at = self.at;
        self.alarm.set(at, cx.waker());
        Poll::Pending
    }
}
