//! Idle activations leave memory, by time and when it gets short. Ownership stays, so coming back writes nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kelpie_core::turn::{Effect, Input};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::activation::{Activation, Moment};
use crate::node::Node;

/// Activations in the order in which they became idle, each at most once, and what all
/// activations hold.
#[derive(Default)]
pub(crate) struct IdleQueue {
    queue: Mutex<VecDeque<(Moment, Weak<Activation>)>>,
    pub(crate) cached: Arc<Cached>,
    pressed: Notify,
}

/// Bytes of records that activations keep in memory, all together.
#[derive(Debug, Default)]
pub(crate) struct Cached(AtomicUsize);

impl Cached {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that an activation keeps `now` bytes instead of `before`.
    pub(crate) fn changed(&self, before: usize, now: usize) {
        // Wraps where it shrinks; the sum never does.
        self.0.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Activation {
    /// Notes that the activation may have become idle.
    pub(crate) fn idle(self: &Arc<Self>) {
        let now = Moment::of(self.node.env.now());
        let mut state = self.state.lock();
        state.last_used = now;
        if state.rest() && !state.queued_as_idle {
            state.queued_as_idle = true;
            drop(state);
            self.node.idle.queue.lock().push_back((now, Arc::downgrade(self)));
        }
        if self.node.is_pressed() {
            self.node.idle.pressed.notify_one();
        }
    }

    /// Leaves memory if nobody has called since `before`. Returns whether it stays.
    fn evict(self: &Arc<Self>, before: Moment) -> bool {
        let effects = {
            let mut state = self.state.lock();
            if state.last_used > before {
                return true;
            }
            state.queued_as_idle = false;
            state.step(self.node.env.now(), Input::Evicted)
        };
        if effects.contains(&Effect::Drop) {
            self.node.residents.forget(self);
            metrics::counter!("kelpie_evictions_total").increment(1);
        }
        false
    }
}

impl Node {
    /// Takes the activation out of memory that has been idle for longest. Whether there was one.
    pub(crate) fn evict_longest_idle(&self) -> bool {
        loop {
            let Some((_, activation)) = self.idle.queue.lock().pop_front() else { return false };
            let Some(activation) = activation.upgrade() else { continue };
            if !activation.evict(Moment::of(Duration::MAX)) && activation.state.lock().is_gone() {
                return true;
            }
        }
    }

    /// Whether activations hold more than they may.
    fn is_pressed(&self) -> bool {
        self.idle.cached.bytes() > self.options.cached_bytes_max
    }
}

/// Looks for idle activations for as long as the node lives.
pub(crate) async fn evict_idle(node: Arc<Node>) {
    let idle_after = node.options.idle_after;
    loop {
        let pressed = std::pin::pin!(node.idle.pressed.notified());
        // Either way it looks: which of the two ended the waiting does not matter.
        let waited = node.env.timeout(idle_after / 4, pressed).await;
        tracing::trace!(by_time = waited.is_err(), "eviction");
        // Those that were used since they became idle get a second chance, while there are
        // others.
        evict(&node, Moment::of(node.env.now().saturating_sub(idle_after)), false);
        if node.is_pressed() || node.idle.queue.lock().len() > node.options.idle_activations_max {
            evict(&node, Moment::of(Duration::ZERO), true);
        }
        metrics::gauge!("kelpie_cached_bytes").set(node.idle.cached.bytes() as f64);
        if !node.is_open() {
            return;
        }
    }
}

/// One pass: those idle since `before`; and while there is too much in memory the oldest, with
/// `force` whether they were used since or not.
fn evict(node: &Arc<Node>, before: Moment, force: bool) {
    let looked_at = node.idle.queue.lock().len();
    for _ in 0..looked_at {
        let mut queue = node.idle.queue.lock();
        let crowded = queue.len() > node.options.idle_activations_max || node.is_pressed();
        let due = queue.front().is_some_and(|(since, _)| *since <= before || crowded);
        let Some((since, activation)) = due.then(|| queue.pop_front()).flatten() else { return };
        drop(queue);
        let Some(activation) = activation.upgrade() else { continue };
        let unused_since = match (crowded, force) {
            (true, true) => Moment::of(Duration::MAX),
            (true, false) => since.max(before),
            (false, _) => before,
        };
        if activation.evict(unused_since) {
            let last_used = activation.state.lock().last_used;
            node.idle.queue.lock().push_back((last_used, Arc::downgrade(&activation)));
        }
    }
}
