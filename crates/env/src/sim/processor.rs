//! The processor of a node: who may run on it at present.
//!
//! ```text
//!   ready ──(picked)──▶ runs, unless the node is paused, or still busy with the last turn
//!     ▲                        │
//!     └──(resumed, free) parked ◀┘
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::chance::{Event, nanos};
use super::executor::TaskId;
use super::fault::Fault;
use super::node::NodeState;
use super::timers::Due;
use super::world::World;

#[derive(Default)]
pub(super) struct Processor {
    paused: AtomicBool,
    /// The most that a turn takes; nothing on a node as fast as the others.
    turn_cost: AtomicU64,
    /// The instant at which the last turn is over.
    busy_until: AtomicU64,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    tasks: Vec<TaskId>,
    /// Whether a timer will look after them.
    alarmed: bool,
    /// Whether the present pause has kept one from running.
    stood: bool,
}

impl Parked {
    fn stands(&mut self, world: &World) {
        if !std::mem::replace(&mut self.stood, true) {
            world.marks.fire(Fault::ProcessPause);
        }
    }
}

impl Processor {
    pub(super) fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Ends a pause; returns the tasks that it kept from running.
    pub(super) fn resume(&self) -> Vec<TaskId> {
        self.paused.store(false, Ordering::Relaxed);
        let mut parked = self.parked.lock();
        parked.stood = false;
        std::mem::take(&mut parked.tasks)
    }

    /// The process is gone.
    pub(super) fn clear(&self) {
        self.busy_until.store(0, Ordering::Relaxed);
        self.resume();
    }

    pub(super) fn set_turn_cost(&self, max: Duration) {
        self.turn_cost.store(nanos(max), Ordering::Relaxed);
    }

    /// Keeps a ready task of `node`, whose processor this is, for later if it cannot run now.
    pub(super) fn park(&self, world: &World, node: &NodeState, task: TaskId) -> bool {
        let paused = self.paused.load(Ordering::Relaxed);
        let busy_until = self.busy_until.load(Ordering::Relaxed);
        if !paused && busy_until <= world.now() {
            return false;
        }
        let mut parked = self.parked.lock();
        if paused {
            parked.stands(world);
        } else {
            world.marks.fire(Fault::SlowNode);
            if !std::mem::replace(&mut parked.alarmed, true) {
                world.timers.add(busy_until, None, Due::Frees(node.id()));
            }
        }
        parked.tasks.push(task);
        true
    }

    /// A turn is over, but for what it costs.
    pub(super) fn turned(&self, world: &World) {
        let most = self.turn_cost.load(Ordering::Relaxed);
        if most > 0 {
            let cost = world.decide(|chance| chance.below(Event::Node, most + 1));
            self.busy_until.store(world.now().saturating_add(cost), Ordering::Relaxed);
        }
    }

    /// The last turn is over, costs and all: lets one of those go on that wait.
    pub(super) fn frees(&self, world: &World, node: &NodeState) {
        let mut parked = self.parked.lock();
        parked.alarmed = false;
        if parked.tasks.is_empty() {
            return;
        }
        if self.paused.load(Ordering::Relaxed) {
            parked.stands(world);
            return;
        }
        let busy_until = self.busy_until.load(Ordering::Relaxed);
        let now = world.now();
        if busy_until <= now {
            let chosen = world.decide(|chance| chance.index(Event::Node, parked.tasks.len()));
            let task = parked.tasks.swap_remove(chosen);
            world.executor.put_ready(&[task]);
        }
        if !parked.tasks.is_empty() {
            // What was let go may be dead, and keep the processor from nobody.
            parked.alarmed = true;
            world.timers.add(busy_until.max(now + 1), None, Due::Frees(node.id()));
        }
    }
}
