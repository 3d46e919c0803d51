//! Who must be called when, though nobody calls.
//!
//! Every commit that leaves something owed keeps one entry `wake/<bucket>/<due>/<actor>` for
//! the earliest of it. What is due soon is also in memory; of what is due later a node knows
//! when to look into which bucket, and not before: a million reminders for tomorrow cost
//! neither memory nor reads. The store is scanned at the start, a horizon ahead, so that what
//! was under way in a former life goes on at once; where others write too, also from time to
//! time for what they have left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::id::ActorId;
use kelpie_core::limits::WAKE_BUCKETS;
use kelpie_core::row;
use kelpie_storage::RangeQuery;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::activation::Task;
use crate::actor::TurnError;
use crate::load::{describe, wake_name};
use crate::node::Node;

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

/// How often the whole index is looked at for entries that this node does not know of: those
/// that others have left, where others write.
const RESCAN_EVERY: Duration = Duration::from_secs(5);
/// The same on a store that only this process writes: it knows all, unless it has a bug.
const RESCAN_ALONE_EVERY: Duration = Duration::from_mins(1);
/// Rows of one read.
const PAGE: usize = 1_024;
/// Entries of one bucket that one scan takes.
const ENTRIES_PER_BUCKET: usize = 4_096;
/// When a scan goes on that has taken so many, or could not read.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// How far ahead due times are kept in memory; later ones are found by a scan in time.
const LOOK_AHEAD: Duration = Duration::from_secs(10);
/// Actors woken at once: a start with much owed must not starve those who call.
const WAKES_AT_ONCE: usize = 32;
/// How long an actor's reminders hold up others who wait to be woken. One that takes longer
/// goes on beside them: it may be waiting for one of them.
const WAKE_HELD_MAX: Duration = Duration::from_secs(1);

/// What a node knows of due times.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug)]
struct Known {
    /// What is due soon.
    due: BTreeSet<(u64, ActorId)>,
    /// When to look into each bucket, in wall time: in time for whatever of this node's is there.
    look_ms: Vec<u64>,
}

impl Default for Known {
    fn default() -> Self {
        Self { due: BTreeSet::new(), look_ms: vec![u64::MAX; usize::from(WAKE_BUCKETS)] }
    }
}

impl Known {
    fn next_ms(&self) -> u64 {
        let due_ms = self.due.first().map_or(u64::MAX, |(due_ms, _)| *due_ms);
        self.look_ms.iter().copied().fold(due_ms, u64::min)
    }
}

impl Waker {
    /// Notes that an actor's entry is due then.
    pub(crate) fn expect(&self, actor: &ActorId, due_ms: u64, now_ms: u64) {
        if due_ms > now_ms.saturating_add(millis(LOOK_AHEAD)) {
            return self.look(row::wake_bucket(actor), due_ms - millis(LOOK_AHEAD));
        }
        self.change(|known| {
            known.due.insert((due_ms, actor.clone()));
        });
    }

    /// Notes that a bucket has to be looked into then at the latest.
    fn look(&self, bucket: u16, at_ms: u64) {
        self.change(|known| {
            let look_ms = &mut known.look_ms[usize::from(bucket)];
            *look_ms = at_ms.min(*look_ms);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock();
        let before = known.next_ms();
        change(&mut known);
        let sooner = known.next_ms() < before;
        drop(known);
        if sooner {
            self.changed.notify_one();
        }
    }

    /// When there is something to do next.
    fn next_ms(&self) -> u64 {
        self.known.lock().next_ms()
    }

    fn take_due(&self, now_ms: u64) -> Option<(u64, ActorId)> {
        let due = &mut self.known.lock().due;
        if due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) { due.pop_first() } else { None }
    }

    /// The next bucket that it is time to look into. Whatever is noted from now on counts for
    /// the next look: the scan may have read before it was there.
    fn take_bucket(&self, now_ms: u64) -> Option<u16> {
        let look_ms = &mut self.known.lock().look_ms;
        let bucket = look_ms.iter().position(|look_ms| *look_ms <= now_ms)?;
        look_ms[bucket] = u64::MAX;
        Some(u16::try_from(bucket).expect("there are few"))
    }

    /// Has every bucket looked into that it is time for then and not before.
    fn postpone(&self, now_ms: u64, until_ms: u64) {
        self.known.lock().look_ms.iter_mut().filter(|at| **at <= now_ms).for_each(|at| *at = until_ms);
    }
}

/// Wakes actors for as long as the node is open.
pub(crate) async fn wake_due(node: Arc<Node>) {
    let at_once = Arc::new(Semaphore::new(WAKES_AT_ONCE));
    let rescan_every = if node.single_process { RESCAN_ALONE_EVERY } else { RESCAN_EVERY };
    look_everywhere(&node);
    scan(&node, &at_once, WAKE_HORIZON).await;
    let mut scanned_at = node.env.now();
    while node.is_open() {
        let until_next = Duration::from_millis(node.waker.next_ms().saturating_sub(node.env.wall_ms()));
        let changed = std::pin::pin!(node.waker.changed.notified());
        // Either way it looks again: which of the two ended the waiting does not matter. The wall
        // clock may jump, so it never waits for long.
        let waited = node.env.timeout(until_next.min(RESCAN_EVERY), changed).await;
        tracing::trace!(by_time = waited.is_err(), "wake scan");
        let now_ms = node.env.wall_ms();
        while let Some((due_ms, actor)) = node.waker.take_due(now_ms) {
            if stands(&node, &actor, due_ms).await {
                wake(&node, &at_once, actor).await;
            }
        }
        if node.env.now().saturating_sub(scanned_at) >= rescan_every {
            scanned_at = node.env.now();
            look_everywhere(&node);
        }
        scan(&node, &at_once, Duration::ZERO).await;
    }
}

fn look_everywhere(node: &Node) {
    (0..WAKE_BUCKETS).for_each(|bucket| node.waker.look(bucket, 0));
}

/// Whether the entry is still in the store; a later commit may have moved it.
async fn stands(node: &Node, actor: &ActorId, due_ms: u64) -> bool {
    match node.store.begin().get_snapshot(&row::wake(actor, due_ms)).await {
        Ok(entry) => entry.is_some(),
        // Waking for nothing is harmless, not waking is not.
        Err(_) => true,
    }
}

/// Looks into the buckets that it is time for: wakes who is due `early` from now at the latest,
/// and notes who is due soon.
async fn scan(node: &Arc<Node>, at_once: &Arc<Semaphore>, early: Duration) {
    let now_ms = node.env.wall_ms();
    let wake_until_ms = now_ms.saturating_add(millis(early));
    let until_ms = now_ms.saturating_add(millis(early.max(LOOK_AHEAD)));
    while let Some(bucket) = node.waker.take_bucket(now_ms) {
        match due_in(node, bucket, until_ms).await {
            Ok((entries, look_ms)) => {
                if let Some(look_ms) = look_ms {
                    node.waker.look(bucket, look_ms.max(now_ms.saturating_add(millis(RESUME_AFTER))));
                }
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
                let again_ms = now_ms.saturating_add(millis(RESUME_AFTER));
                node.waker.look(bucket, again_ms);
                return node.waker.postpone(now_ms, again_ms);
            }
        }
    }
}

/// The entries of a bucket that are due until then, or as many of them as one scan takes; and
/// when to look again, if there are others.
async fn due_in(
    node: &Node,
    bucket: u16,
    until_ms: u64,
) -> Result<(Vec<(u64, ActorId)>, Option<u64>), TurnError> {
    let (mut tx, prefix) = (node.store.begin(), row::wakes(bucket));
    let mut query = Some(RangeQuery::new(prefix.clone(), row::after(&prefix)).snapshot());
    let mut entries = Vec::new();
    // Mostly the first entry is all there is to see.
    let mut limit = 1;
    while let Some(next) = query.take_if(|_| entries.len() < ENTRIES_PER_BUCKET) {
        let page = tx.get_range(next.limit(limit)).await?;
        for (due_ms, actor) in page.rows.iter().filter_map(|(key, _)| row::parse_wake(key)) {
            if due_ms > until_ms {
                return Ok((entries, Some(due_ms - millis(LOOK_AHEAD))));
            }
            entries.push((due_ms, actor));
        }
        (query, limit) = (page.more, PAGE);
    }
    Ok((entries, query.map(|_| 0)))
}

async fn wake(node: &Arc<Node>, at_once: &Arc<Semaphore>, actor: ActorId) {
    let permit = at_once.clone().acquire_owned().await.expect("the semaphore is never closed");
    let node = node.clone();
    // Whatever comes of it, an entry that still stands then is seen again.
    let again_ms = node.env.wall_ms().saturating_add(millis(RESCAN_EVERY));
    node.waker.look(row::wake_bucket(&actor), again_ms);
    metrics::counter!("kelpie_wakes_total").increment(1);
    node.env.clone().spawn("wake", async move {
        let request = node.own_request(&actor, &wake_name(&actor));
        if let Err(error) = Node::enter(node.clone(), request, Task::Wake).await {
            // The entry stays, so the next look into its bucket tries again.
            tracing::warn!(%actor, error = describe(&error), "not woken");
            return;
        }
        let Some(activation) = node.residents.get(&actor) else { return };
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
        // Of those there is only when to look for them.
        assert!(waker.known.lock().due.is_empty());
        assert_eq!(waker.next_ms(), now_ms + 1);
        assert_eq!(waker.take_bucket(now_ms), None);
        let looks = std::iter::from_fn(|| waker.take_bucket(now_ms + 10_000));
        assert_eq!(looks.count(), usize::from(WAKE_BUCKETS));
        assert_eq!(waker.next_ms(), u64::MAX);
        let soon = |name| ActorId::new("t", "a", name).unwrap();
        for (name, after) in [("second", 20), ("first", 10), ("last", millis(LOOK_AHEAD))] {
            waker.expect(&soon(name), now_ms + after, now_ms);
        }
        assert_eq!(waker.next_ms(), now_ms + 10);
        assert_eq!(waker.take_due(now_ms + 9), None);
        assert_eq!(waker.take_due(now_ms + 20), Some((now_ms + 10, soon("first"))));
        assert_eq!(waker.take_due(now_ms + 20), Some((now_ms + 20, soon("second"))));
        assert_eq!(waker.take_due(now_ms + 20), None);
    }
}
