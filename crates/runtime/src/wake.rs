//! Who must be called when, though nobody calls.
//!
//! Every commit that leaves something owed keeps one entry `wake/<bucket>/<due>/<actor>` for
//! the earliest of it. Due times set by this node are also in memory; the store is scanned
//! at the start, a horizon ahead, so that what was under way in a former life goes on at
//! once, and from time to time for what others have left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::id::ActorId;
use kelpie_core::limits::WAKE_BUCKETS;
use kelpie_core::row;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::activation::Task;
use crate::actor::TurnError;
use crate::load::{describe, wake_name};
use crate::node::{Admission, Node};
use crate::records::pages;

/// How far ahead a starting node looks for work that a crash has interrupted. Whoever keeps
/// a wake entry as insurance for work under way sets it at most so far ahead.
pub const WAKE_HORIZON: Duration = Duration::from_mins(1);
/// When an outbox that was not emptied is looked at again.
pub(crate) const OUTBOX_RETRY_MS: u64 = 1_000;
/// When a turn that has recorded a step is looked at again.
pub(crate) const RUNNING_RETRY_MS: u64 = 5_000;
/// Waiting times of the runtime's own retries.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest of them.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often the store is scanned for entries that this node did not write.
const RESCAN_EVERY: Duration = Duration::from_secs(5);
/// Entries of one bucket that one scan takes.
const ENTRIES_PER_BUCKET: usize = 4_096;
/// How far ahead due times are kept in memory; later ones are found by a scan in time. So a
/// million reminders for tomorrow cost no memory.
const LOOK_AHEAD: Duration = Duration::from_secs(2 * RESCAN_EVERY.as_secs());
/// Actors woken at once: a start with much owed must not starve those who call.
const WAKES_AT_ONCE: usize = 32;
/// How long an actor's reminders hold up others who wait to be woken. One that takes longer
/// goes on beside them: it may be waiting for one of them.
const WAKE_HELD_MAX: Duration = Duration::from_secs(1);

/// Due times known in memory.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    due: Mutex<BTreeSet<(u64, ActorId)>>,
    changed: Notify,
}

impl Waker {
    /// Notes that an actor's entry is due then, if that is soon.
    pub(crate) fn expect(&self, actor: &ActorId, due_ms: u64, now_ms: u64) {
        if due_ms > now_ms.saturating_add(millis(LOOK_AHEAD)) {
            return;
        }
        let mut due = self.due.lock();
        let entry = (due_ms, actor.clone());
        let first = due.first().is_none_or(|first| entry < *first);
        due.insert(entry);
        drop(due);
        if first {
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<u64> {
        self.due.lock().first().map(|(due_ms, _)| *due_ms)
    }

    fn take_due(&self, now_ms: u64) -> Option<(u64, ActorId)> {
        let mut due = self.due.lock();
        if due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) { due.pop_first() } else { None }
    }
}

/// Wakes actors for as long as the node is open.
pub(crate) async fn wake_due(node: Arc<Node>) {
    let at_once = Arc::new(Semaphore::new(WAKES_AT_ONCE));
    scan(&node, &at_once, WAKE_HORIZON).await;
    let mut scanned_at = node.env.now();
    while node.is_open() {
        let until_due = node
            .waker
            .next()
            .map_or(RESCAN_EVERY, |due_ms| Duration::from_millis(due_ms.saturating_sub(node.env.wall_ms())));
        let changed = std::pin::pin!(node.waker.changed.notified());
        // Either way it looks again: which of the two ended the waiting does not matter.
        let waited = node.env.timeout(until_due.min(RESCAN_EVERY), changed).await;
        tracing::trace!(by_time = waited.is_err(), "wake scan");
        let now_ms = node.env.wall_ms();
        while let Some((due_ms, actor)) = node.waker.take_due(now_ms) {
            if stands(&node, &actor, due_ms).await {
                wake(&node, &at_once, actor).await;
            }
        }
        if node.env.now().saturating_sub(scanned_at) >= RESCAN_EVERY {
            scanned_at = node.env.now();
            scan(&node, &at_once, Duration::ZERO).await;
        }
    }
}

/// Whether the entry is still in the store; a later commit may have moved it.
async fn stands(node: &Node, actor: &ActorId, due_ms: u64) -> bool {
    match node.store.begin().get_snapshot(&row::wake(actor, due_ms)).await {
        Ok(entry) => entry.is_some(),
        // Waking for nothing is harmless, not waking is not.
        Err(_) => true,
    }
}

/// Wakes who is due `early` from now at the latest, and notes who is due soon.
async fn scan(node: &Arc<Node>, at_once: &Arc<Semaphore>, early: Duration) {
    let now_ms = node.env.wall_ms();
    let wake_until_ms = now_ms.saturating_add(millis(early));
    let until_ms = now_ms.saturating_add(millis(early.max(LOOK_AHEAD)));
    for bucket in 0..WAKE_BUCKETS {
        match due_in(node, bucket, until_ms).await {
            Ok(entries) => {
                for (due_ms, actor) in entries {
                    if due_ms <= wake_until_ms {
                        wake(node, at_once, actor).await;
                    } else {
                        node.waker.expect(&actor, due_ms, now_ms);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = describe(&error), "the wake index cannot be read; it is tried again");
                return;
            }
        }
    }
}

async fn due_in(node: &Node, bucket: u16, until_ms: u64) -> Result<Vec<(u64, ActorId)>, TurnError> {
    let mut tx = node.store.begin();
    let (begin, end) = (row::wakes(bucket), row::wakes_after(bucket, until_ms));
    let rows = pages(&mut tx, begin, end, ENTRIES_PER_BUCKET, false).await?;
    Ok(rows.iter().filter_map(|(key, _)| row::parse_wake(key)).collect())
}

async fn wake(node: &Arc<Node>, at_once: &Arc<Semaphore>, actor: ActorId) {
    let permit = at_once.clone().acquire_owned().await.expect("the semaphore is never closed");
    let node = node.clone();
    metrics::counter!("kelpie_wakes_total").increment(1);
    node.env.clone().spawn("wake", async move {
        let request = node.own_request(&actor, &wake_name(&actor));
        if let Err(error) = Node::enter(node.clone(), request, Task::Wake, Admission::Owed).await {
            // The entry stays, so the next scan tries again.
            tracing::warn!(%actor, error = describe(&error), "not woken");
            return;
        }
        let Some(activation) = node.existing(&actor) else { return };
        if activation.is_reminded(node.env.wall_ms()) {
            let mut firing = std::pin::pin!(activation.fire_due());
            if node.env.timeout(WAKE_HELD_MAX, firing.as_mut()).await.is_err() {
                drop(permit);
                firing.await;
            }
        }
    });
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_late_is_not_kept_in_memory_and_what_is_due_soon_comes_in_order() {
        let waker = Waker::default();
        let now_ms = 1_000_000;
        for i in 0..10_000 {
            let actor = ActorId::new("t", "a", &format!("late{i}")).unwrap();
            waker.expect(&actor, now_ms + millis(LOOK_AHEAD) + 1 + i, now_ms);
        }
        assert_eq!(waker.next(), None);
        let soon = |name| ActorId::new("t", "a", name).unwrap();
        for (name, after) in [("second", 20), ("first", 10), ("last", millis(LOOK_AHEAD))] {
            waker.expect(&soon(name), now_ms + after, now_ms);
        }
        assert_eq!(waker.next(), Some(now_ms + 10));
        assert_eq!(waker.take_due(now_ms + 9), None);
        assert_eq!(waker.take_due(now_ms + 20), Some((now_ms + 10, soon("first"))));
        assert_eq!(waker.take_due(now_ms + 20), Some((now_ms + 20, soon("second"))));
        assert_eq!(waker.take_due(now_ms + 20), None);
    }
}
