//! What all parts of one simulation share, and its main loop.
//!
//! One turn: fire the timers whose instant has come, let the seed pick a ready task, poll
//! it, drop what died meanwhile. Nothing ready: time jumps to the next timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Options;
use super::chance::{Chance, Event, digest, scale_index};
use super::executor::{Executor, Polled, Task, TaskId, TaskPanic};
use super::fault::Marks;
use super::net::{Fate, Network};
use super::node::{Life, NodeState};
use super::sights::{Sight, Sights};
use super::slip::Slips;
use super::timers::{Due, NEVER, Timers};
use super::trace::{NO_TURN, Trace, TraceEvent, Turn, Whose};

/// What one turn of the main loop came to.
pub(super) enum Step {
    /// A task of this node ran.
    Ran(Arc<NodeState>),
    /// It is the turn of the future that `block_on` was given.
    Root,
    /// Nothing is ready, and no timer ends within the horizon.
    Idle,
}

/// The longest a turn takes in virtual time is twice this less one, the shortest this: a
/// task that looks at the clock until it moves must see it move.
const TURN_NS: u64 = 50;

pub(super) struct World {
    pub(super) options: Options,
    pub(super) timers: Timers,
    pub(super) executor: Executor,
    pub(super) network: Network,
    pub(super) nodes: Mutex<Vec<Arc<NodeState>>>,
    pub(super) panics: Mutex<Vec<TaskPanic>>,
    pub(super) marks: Marks,
    pub(super) slips: Mutex<Slips>,
    pub(super) sights: Sights,
    chance: Mutex<Chance>,
    now: AtomicU64,
    turns: AtomicU64,
    lives: AtomicU64,
    dying: Mutex<Vec<Arc<Life>>>,
    any_dying: AtomicBool,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let trace = Trace::new(options.seed, options.checkpoint_every, options.record.clone());
        Self {
            timers: Timers::new(),
            executor: Executor::default(),
            network: Network::default(),
            nodes: Mutex::default(),
            panics: Mutex::default(),
            marks: Marks::default(),
            slips: Mutex::new(Slips::new(options.seed)),
            sights: Sights::new(options.sights_max),
            chance: Mutex::new(Chance::new(options.seed, trace)),
            now: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            lives: AtomicU64::new(0),
            dying: Mutex::default(),
            any_dying: AtomicBool::new(false),
            options,
        }
    }

    /// Nanoseconds of virtual time since the simulation began.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Turns of tasks so far.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Makes a decision. Nothing else may be locked that a decision could need.
    pub(super) fn decide<T>(&self, decision: impl FnOnce(&mut Chance) -> T) -> T {
        decision(&mut self.chance.lock())
    }

    /// The instant a random delay of at most `max` from now.
    pub(super) fn after_delay(&self, event: Event, max: Duration) -> u64 {
        self.now().saturating_add(self.decide(|chance| chance.delay(event, max)))
    }

    /// What decides over something that sets out now.
    pub(super) fn fate<'a>(&'a self, chance: &'a mut Chance) -> Fate<'a> {
        Fate { now: self.now(), delay_max: self.options.network_delay_max, chance, marks: &self.marks }
    }

    pub(super) fn new_life(&self) -> Arc<Life> {
        Arc::new(Life::new(self.lives.fetch_add(1, Ordering::Relaxed)))
    }

    /// Takes one turn, without letting time pass `horizon`.
    pub(super) fn step(&self, root: Option<u32>, horizon: u64) -> Step {
        loop {
            while let Some(due) = self.timers.due(self.now()) {
                match due {
                    Due::Wake(waker) => waker.wake(),
                    Due::Arrives(letter) => self.network.arrived(self, letter),
                    Due::Frees(node) => {
                        let node = self.nodes.lock()[node as usize].clone();
                        node.processor.frees(self, &node);
                    }
                }
            }
            let Some(picked) = self.pick() else {
                let next = self.timers.next();
                if next > horizon || next == NEVER {
                    return Step::Idle;
                }
                self.now.fetch_max(next, Ordering::Relaxed);
                continue;
            };
            if let Some(generation) = root
                && Executor::is_root(picked, generation)
            {
                return Step::Root;
            }
            if let Some(task) = self.executor.take(picked) {
                let node = task.node.clone();
                if self.run(picked, task) {
                    return Step::Ran(node);
                }
            }
        }
    }

    /// Keeps what a person may want to see.
    pub(super) fn see(&self, sight: Sight) {
        self.sights.see(self.now(), sight);
    }

    /// Lets the time of a whole idle stretch pass.
    pub(super) fn skip_to(&self, instant: u64) {
        self.now.fetch_max(instant, Ordering::Relaxed);
    }

    fn pick(&self) -> Option<TaskId> {
        self.executor.pick(|ready| {
            let mut chance = self.chance.lock();
            let drawn = chance.draw(Event::Turn);
            let chosen = scale_index(drawn, ready.len());
            chance.note(Event::Turn, ready[chosen].number());
            chance.note(Event::Turn, self.now());
            self.now.fetch_add(TURN_NS + drawn % TURN_NS, Ordering::Relaxed);
            chosen
        })
    }

    /// Polls a task; false when it was not its turn after all.
    fn run(&self, id: TaskId, mut task: Task) -> bool {
        if !task.life.is_alive() {
            self.executor.free(id);
            task.discard();
            return false;
        }
        if task.node.processor.park(self, &task.node, id) {
            self.executor.put_back(id, task);
            return false;
        }
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.turn_of(Some(task.node.id()), Whose::Task(task.origin, task.by));
        let polled = task.poll();
        self.turn_ends(Some(&task.node));
        task.node.processor.turned(self);
        match polled {
            Polled::Waits if task.life.is_alive() => self.executor.put_back(id, task),
            Polled::Waits | Polled::Done => {
                self.executor.free(id);
                task.discard();
            }
            Polled::Panicked(message) => {
                self.executor.free(id);
                self.panics.lock().push(TaskPanic {
                    node: task.node.name().to_owned(),
                    task: task.origin.name,
                    started: task.origin.place.to_string(),
                    message,
                    at: Duration::from_nanos(self.now()),
                });
                task.discard();
            }
        }
        self.reap();
        true
    }

    /// Ends a life: from here on nothing of it has an effect. Its tasks are dropped by the
    /// next [`World::reap`]; not here, where one of them may hold a lock in mid-turn.
    pub(super) fn end_life(&self, life: &Arc<Life>) {
        if life.end() {
            self.decide(|chance| chance.note(Event::Node, life.number()));
            self.network.cut(life);
            self.dying.lock().push(life.clone());
            self.any_dying.store(true, Ordering::Relaxed);
        }
    }

    /// Drops the tasks of lives that have ended, except the one being polled, which its
    /// turn will drop.
    pub(super) fn reap(&self) {
        while self.any_dying.load(Ordering::Relaxed) {
            self.any_dying.store(false, Ordering::Relaxed);
            // Not under the lock: what is dropped may kill as well.
            let dying = std::mem::take(&mut *self.dying.lock());
            for life in dying {
                for task in self.executor.remove(|task| Arc::ptr_eq(&task.life, &life)) {
                    task.discard();
                }
            }
        }
    }

    /// Says whose turn it is.
    pub(super) fn turn_of(&self, node: Option<u32>, task: Whose) {
        let turn = Turn { node, task, at: self.now() };
        self.decide(|chance| chance.trace.turn(turn));
    }

    /// Puts into the trace what the turn has left behind: on its node, and in what comes next.
    pub(super) fn turn_ends(&self, node: Option<&NodeState>) {
        let of_node = node.map_or(0, |node| node.digest(self.now()));
        let ready = u64::try_from(self.executor.ready()).expect("a length");
        let digest = digest(&[of_node, ready, self.timers.next()]);
        self.decide(|chance| {
            chance.note(Event::Digest, digest);
            chance.trace.turn(NO_TURN);
        });
    }

    /// Looks at the decisions; nothing while this thread is making one.
    pub(super) fn try_decide<T>(&self, look: impl FnOnce(&mut Chance) -> T) -> Option<T> {
        self.chance.try_lock().map(|mut chance| look(&mut chance))
    }

    /// The events in [`Options::record`].
    pub(super) fn recorded(&self) -> Vec<TraceEvent> {
        let names: Vec<String> = self.nodes.lock().iter().map(|node| node.name().to_owned()).collect();
        self.decide(|chance| chance.trace.kept(|node| names[node as usize].clone()))
    }

    pub(super) fn trace_hash(&self) -> u64 {
        let now = self.now();
        self.decide(|chance| {
            let hash = chance.trace.hash();
            hash ^ now.rotate_left(17)
        })
    }
}
