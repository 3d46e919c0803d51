//! What waits for virtual time: wakers and messages.
//!
//! A timer that is dropped is gone: time never jumps to an instant for which nobody waits.
//! Its key stays in the heap until it comes up, or until most keys are such.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::net::Letter;
use super::world::World;

/// The instant that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// What happens at an instant.
pub(super) enum Due {
    Wake(Waker),
    Arrives(Letter),
    /// A node's processor is free again.
    Frees(u32),
}

/// When, which of those of that instant, and where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    at: u64,
    number: u64,
    slot: u32,
}

struct Entry {
    number: u64,
    /// Whose clock it hangs on, if any.
    node: Option<u32>,
    due: Due,
}

/// Keys of dropped timers that are not worth a search.
const DROPPED_MIN: usize = 64;

#[derive(Default)]
struct Entries {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    count: u64,
    /// Keys in the heap without an entry.
    dropped: usize,
}

impl Entries {
    fn get(&mut self, key: Key) -> Option<&mut Entry> {
        self.slots[key.slot as usize].as_mut().filter(|entry| entry.number == key.number)
    }

    fn add(&mut self, at: u64, node: Option<u32>, due: Due) -> Key {
        self.count += 1;
        let number = self.count;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than four thousand million timers")
        });
        self.slots[slot as usize] = Some(Entry { number, node, due });
        let key = Key { at, number, slot };
        self.heap.push(Reverse(key));
        key
    }

    /// Takes an entry and leaves its key.
    fn take(&mut self, key: Key) -> Option<Entry> {
        let entry = self.slots[key.slot as usize].take_if(|entry| entry.number == key.number)?;
        self.free.push(key.slot);
        Some(entry)
    }

    fn drop_key(&mut self, key: Key) -> Option<Entry> {
        let entry = self.take(key)?;
        self.dropped += 1;
        if self.dropped > DROPPED_MIN && self.dropped * 2 > self.heap.len() {
            let Self { heap, slots, .. } = self;
            heap.retain(|Reverse(key)| is_set(slots, *key));
            self.dropped = 0;
        }
        Some(entry)
    }

    /// The earliest instant for which something waits.
    fn next(&mut self) -> u64 {
        while let Some(Reverse(key)) = self.heap.peek() {
            if is_set(&self.slots, *key) {
                return key.at;
            }
            self.heap.pop();
            self.dropped -= 1;
        }
        NEVER
    }
}

fn is_set(slots: &[Option<Entry>], key: Key) -> bool {
    slots[key.slot as usize].as_ref().is_some_and(|entry| entry.number == key.number)
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

    /// Takes the earliest of those whose instant has come.
    pub(super) fn due(&self, now: u64) -> Option<Due> {
        if self.next() > now {
            return None;
        }
        let mut entries = self.entries.lock();
        let Reverse(key) = entries.heap.pop()?;
        let entry = entries.take(key);
        self.publish(&mut entries);
        entry.map(|entry| entry.due)
    }

    /// Wakes all that wait by a node's clock, since it has changed.
    pub(super) fn wake_node(&self, node: u32) {
        let mut entries = self.entries.lock();
        let mut keys: Vec<Key> = entries.heap.iter().map(|Reverse(key)| *key).collect();
        keys.retain(|key| entries.get(*key).is_some_and(|entry| entry.node == Some(node)));
        keys.sort_unstable();
        let woken: Vec<Entry> = keys.into_iter().filter_map(|key| entries.drop_key(key)).collect();
        self.publish(&mut entries);
        drop(entries);
        for entry in woken {
            if let Due::Wake(waker) = entry.due {
                waker.wake();
            }
        }
    }

    /// Has something happen at `at`. `node`: whose clock it hangs on, if any.
    pub(super) fn add(&self, at: u64, node: Option<u32>, due: Due) -> Key {
        let mut entries = self.entries.lock();
        let key = entries.add(at, node, due);
        self.publish(&mut entries);
        key
    }

    /// Replaces the waker of a timer; false when it has fired.
    fn renew(&self, key: Key, waker: &Waker) -> bool {
        match self.entries.lock().get(key) {
            Some(Entry { due: Due::Wake(set), .. }) => {
                set.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    fn remove(&self, key: Key) {
        let mut entries = self.entries.lock();
        let removed = entries.drop_key(key);
        self.publish(&mut entries);
        drop(entries);
        // Its waker may be the last owner of something: not under the lock.
        drop(removed);
    }

    fn publish(&self, entries: &mut Entries) {
        self.next.store(entries.next(), Ordering::Relaxed);
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
            if key.at == at && self.world.timers.renew(key, waker) {
                return;
            }
            self.clear();
        }
        if at != NEVER {
            self.set = Some(self.world.timers.add(at, self.node, Due::Wake(waker.clone())));
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
