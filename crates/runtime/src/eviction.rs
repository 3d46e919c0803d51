//! Idle activations leave memory. Ownership stays, so coming back writes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kelpie_core::turn::{Effect, Input};
use parking_lot::Mutex;

use crate::activation::Activation;
use crate::node::Node;

/// Activations in the order in which they became idle, each at most once.
#[derive(Default)]
pub(crate) struct IdleQueue {
    queue: Mutex<VecDeque<(Duration, Weak<Activation>)>>,
}

impl Activation {
    /// Notes that the activation may have become idle.
    pub(crate) fn idle(self: &Arc<Self>) {
        let now = self.node.env.now();
        let mut state = self.state.lock();
        state.last_used = now;
        if state.machine.is_idle() && !state.queued_as_idle {
            state.queued_as_idle = true;
            drop(state);
            self.node.idle.queue.lock().push_back((now, Arc::downgrade(self)));
        }
    }

    /// Leaves memory if nobody has called since `before`. Returns whether it stays.
    fn evict(self: &Arc<Self>, before: Duration) -> bool {
        let effects = {
            let mut state = self.state.lock();
            if state.last_used > before {
                return true;
            }
            state.queued_as_idle = false;
            state.machine.step(self.node.env.now(), Input::Evicted)
        };
        if effects.contains(&Effect::Drop) {
            self.node.forget(self);
            metrics::counter!("kelpie_evictions_total").increment(1);
        }
        false
    }
}

/// Looks for idle activations for as long as the node lives.
pub(crate) async fn evict_idle(node: Arc<Node>) {
    let idle_after = node.options.idle_after;
    loop {
        node.env.sleep(idle_after / 4).await;
        evict(&node, node.env.now().saturating_sub(idle_after));
        if !node.is_open() {
            return;
        }
    }
}

/// One pass: those idle since `before`, and the oldest beyond the bound on their number.
fn evict(node: &Arc<Node>, before: Duration) {
    let looked_at = node.idle.queue.lock().len();
    for _ in 0..looked_at {
        let mut queue = node.idle.queue.lock();
        let crowded = queue.len() > node.options.idle_activations_max;
        let due = queue.front().is_some_and(|(since, _)| *since <= before || crowded);
        let Some((_, activation)) = due.then(|| queue.pop_front()).flatten() else { return };
        drop(queue);
        let Some(activation) = activation.upgrade() else { continue };
        let unused_since = if crowded { Duration::MAX } else { before };
        if activation.evict(unused_since) {
            let last_used = activation.state.lock().last_used;
            node.idle.queue.lock().push_back((last_used, Arc::downgrade(&activation)));
        }
    }
}
