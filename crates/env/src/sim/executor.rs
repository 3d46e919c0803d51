//! Tasks, and which of the ready ones runs next.
//!
//! ```text
//!   spawn ──▶ ready ──(drawn by the seed)──▶ polled ──▶ done, panicked, or its node is dead
//!               ▲                              │
//!               └────────── woken ── waiting ◀─┘
//! ```
//!
//! Tasks live in a slab, the ready ones in a list of their indices: a turn costs the same
//! however many tasks wait. Wakers may be called from anywhere; what they do is push an
//! index.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::node::{Life, NodeState};
use crate::Origin;
use crate::panic::words;

/// A place in the slab, and its how manieth use: a stale index finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    /// The same number for the same task in each run of a seed.
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

/// A panic of a simulated task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPanic {
    /// The node.
    pub node: String,
    /// The name that the task was started with.
    pub task: &'static str,
    /// Where it was started: file and line.
    pub started: String,
    /// What the panic said.
    pub message: String,
    /// Virtual time since the simulation began.
    pub at: Duration,
}

pub(super) struct Task {
    pub(super) origin: Origin,
    /// What the task is called that started it.
    pub(super) by: &'static str,
    pub(super) node: Arc<NodeState>,
    pub(super) life: Arc<Life>,
    future: BoxFuture<'static, ()>,
    ready: Arc<Ready>,
    waker: Waker,
}

/// How a turn of a task ended.
pub(super) enum Polled {
    Waits,
    Done,
    Panicked(String),
}

impl Task {
    pub(super) fn poll(&mut self) -> Polled {
        self.ready.queued.store(false, Ordering::Release);
        let mut context = Context::from_waker(&self.waker);
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| future.poll(&mut context))) {
            Ok(poll) if poll.is_pending() => Polled::Waits,
            Ok(_) => Polled::Done,
            Err(panic) => Polled::Panicked(words(panic.as_ref()).to_owned()),
        }
    }

    /// Drops what is left of the task. A process that is killed runs no destructors, so
    /// what one does here proves nothing, not even by a panic.
    pub(super) fn discard(self) {
        drop(catch_unwind(AssertUnwindSafe(|| drop(self))));
    }
}

/// The waker of one task.
struct Ready {
    task: TaskId,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.ready.lock().push(self.task);
        }
    }
}

/// The waker of the future that `block_on` was given.
pub(super) struct Root {
    pub(super) waker: Waker,
    ready: Arc<Ready>,
}

impl Root {
    /// It is about to be polled: woken from here on means one more turn.
    pub(super) fn taken(&self) {
        self.ready.queued.store(false, Ordering::Release);
    }
}

#[derive(Default)]
struct Queue {
    ready: Mutex<Vec<TaskId>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    /// Away while it is polled.
    task: Option<Task>,
}

#[derive(Default)]
struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// The slab and the ready list.
#[derive(Default)]
pub(super) struct Executor {
    queue: Arc<Queue>,
    slab: Mutex<Slab>,
}

/// The future that the caller of `block_on` waits for: it has no place in the slab.
const ROOT: u32 = u32::MAX;

impl Executor {
    pub(super) fn spawn(
        &self,
        node: Arc<NodeState>,
        life: Arc<Life>,
        (origin, by): (Origin, &'static str),
        future: BoxFuture<'static, ()>,
    ) -> TaskId {
        let mut slab = self.slab.lock();
        let index = match slab.free.pop() {
            Some(index) => index,
            None => {
                slab.slots.push(Slot::default());
                u32::try_from(slab.slots.len() - 1).expect("fewer than four thousand million tasks")
            }
        };
        let slot = &mut slab.slots[index as usize];
        let id = TaskId { index, generation: slot.generation };
        let ready = self.waker(id);
        let waker = Waker::from(ready.clone());
        slot.task = Some(Task { origin, by, node, life, future, ready: ready.clone(), waker });
        drop(slab);
        ready.wake();
        id
    }

    /// What wakes the future of `block_on` number `generation`.
    pub(super) fn root(&self, generation: u32) -> Root {
        let ready = self.waker(TaskId { index: ROOT, generation });
        Root { waker: Waker::from(ready.clone()), ready }
    }

    pub(super) fn is_root(task: TaskId, generation: u32) -> bool {
        task == TaskId { index: ROOT, generation }
    }

    fn waker(&self, task: TaskId) -> Arc<Ready> {
        Arc::new(Ready { task, queued: AtomicBool::new(false), queue: self.queue.clone() })
    }

    /// Takes the ready task that `choose` picks.
    pub(super) fn pick(&self, choose: impl FnOnce(&[TaskId]) -> usize) -> Option<TaskId> {
        let mut ready = self.queue.ready.lock();
        if ready.is_empty() {
            return None;
        }
        let chosen = choose(&ready);
        Some(ready.swap_remove(chosen))
    }

    /// How many tasks are ready.
    pub(super) fn ready(&self) -> usize {
        self.queue.ready.lock().len()
    }

    /// Puts ready tasks back that were taken and not polled.
    pub(super) fn put_ready(&self, tasks: &[TaskId]) {
        self.queue.ready.lock().extend_from_slice(tasks);
    }

    /// Takes a task out for its turn; nothing when it has ended.
    pub(super) fn take(&self, id: TaskId) -> Option<Task> {
        let mut slab = self.slab.lock();
        let slot = slab.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.task.take() } else { None }
    }

    /// Returns a task that waits.
    pub(super) fn put_back(&self, id: TaskId, task: Task) {
        self.slab.lock().slots[id.index as usize].task = Some(task);
    }

    /// Frees the place of a task that was taken and has ended.
    pub(super) fn free(&self, id: TaskId) {
        let mut slab = self.slab.lock();
        let slot = &mut slab.slots[id.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slab.free.push(id.index);
    }

    /// Takes all tasks that `which` names out of the slab, for good.
    pub(super) fn remove(&self, which: impl Fn(&Task) -> bool) -> Vec<Task> {
        let mut slab = self.slab.lock();
        let Slab { slots, free } = &mut *slab;
        let mut removed = Vec::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            if let Some(task) = slot.task.take_if(|task| which(task)) {
                removed.push(task);
                slot.generation = slot.generation.wrapping_add(1);
                free.push(u32::try_from(index).expect("an index that spawn gave"));
            }
        }
        removed
    }

    /// How many tasks of a life wait or are ready, by their names. A task whose turn it is now is
    /// away and not counted.
    pub(super) fn named(&self, life: &Arc<Life>) -> BTreeMap<&'static str, usize> {
        let mut named = BTreeMap::new();
        for task in self.slab.lock().slots.iter().filter_map(|slot| slot.task.as_ref()) {
            if Arc::ptr_eq(&task.life, life) {
                *named.entry(task.origin.name).or_default() += 1;
            }
        }
        named
    }

    /// `node: task` of everything that waits.
    pub(super) fn waiting(&self) -> Vec<String> {
        let slab = self.slab.lock();
        let tasks = slab.slots.iter().filter_map(|slot| slot.task.as_ref());
        tasks.map(|task| format!("{}: {}", task.node.name(), task.origin.name)).collect()
    }
}
