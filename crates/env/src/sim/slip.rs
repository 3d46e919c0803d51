//! What code asks of the operating system past its [`crate::Env`], answered by the world.
//!
//! A binary that puts itself in the place of the C library's `getrandom` and `clock_gettime`
//! asks here first. While a world runs on the thread, the answer is the world's, the same in
//! each run of a seed, and the task that asked is remembered: [`Sim::slips`].
//!
//! [`Sim::slips`]: super::Sim::slips

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::chance::{Event, aside};
use super::trace::{Turn, Whose};
use super::world::World;

thread_local! {
    /// The world that runs on this thread.
    static RUNNING: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// How far each look at a clock moves it on, in nanoseconds: who looks until time has passed,
/// within one turn, must see it pass.
const LOOK_NS: u64 = 100;

/// Somebody asked the operating system past the [`crate::Env`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// What was asked for: `getrandom`, or `clock_gettime`.
    pub what: &'static str,
    /// The node whose task had its turn; empty outside of turns.
    pub node: String,
    /// The name of the task.
    pub task: String,
    /// By which task it was started, and in which line; empty where there is no task.
    pub started: String,
    /// How often.
    pub times: u64,
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, node, task, started, times: _ } = self;
        write!(f, "\"{node}: {task}\"")?;
        if !started.is_empty() {
            write!(f, ", started {started},")?;
        }
        write!(f, " called {what} past its Env")
    }
}

/// Who has slipped past, how often, and what answers them.
pub(super) struct Slips {
    random: ChaCha8Rng,
    looks: u64,
    by: BTreeMap<(&'static str, Option<u32>, Whose), u64>,
}

impl Slips {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: aside(seed), looks: 0, by: BTreeMap::new() }
    }

    fn count(&mut self, what: &'static str, turn: Turn) {
        *self.by.entry((what, turn.node, turn.task)).or_default() += 1;
    }
}

/// The world answers on this thread until this is dropped.
#[must_use = "the world answers until this is dropped"]
pub struct Entered {
    before: Option<Arc<World>>,
}

pub(super) fn enter(world: &Arc<World>) -> Entered {
    Entered { before: RUNNING.replace(Some(world.clone())) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Not dropped under the borrow: what it takes with it may ask as well.
        let ended = RUNNING.replace(self.before.take());
        drop(ended);
    }
}

/// Lets `answer` answer if a world runs on this thread and is not itself at work there.
fn slipped<T>(what: &'static str, answer: impl FnOnce(&World, &mut Slips) -> T) -> Option<T> {
    // Called from anywhere, also where a thread ends and in the middle of this very module.
    let world = RUNNING.try_with(|running| running.try_borrow().ok()?.clone()).ok().flatten()?;
    let mut slips = world.slips.try_lock()?;
    let turn = world.try_decide(|chance| {
        let turn = chance.trace.whose();
        chance.note(Event::Slip, u64::from(turn.node.unwrap_or(u32::MAX)));
        turn
    })?;
    slips.count(what, turn);
    Some(answer(&world, &mut slips))
}

/// What a clock of the operating system reads in the world that runs on this thread: the wall
/// clock, since the epoch, or the others, since the world began. Of the world itself, not of a
/// node. Nothing outside of a world.
pub fn slipped_time(wall: bool) -> Option<Duration> {
    slipped("clock_gettime", |world, slips| {
        slips.looks += 1;
        let start = if wall { world.options.wall_start_ms } else { 0 };
        Duration::from_millis(start) + Duration::from_nanos(world.now() + slips.looks * LOOK_NS)
    })
}

/// Fills `bytes` with numbers of the world that runs on this thread; false outside of a world.
pub fn slipped_random(bytes: &mut [u8]) -> bool {
    slipped("getrandom", |_, slips| slips.random.fill_bytes(bytes)).is_some()
}

impl World {
    pub(super) fn slips(&self) -> Vec<Slip> {
        let by = self.slips.lock().by.clone();
        let nodes = self.nodes.lock();
        let shown = |((what, node, task), times): ((&'static str, Option<u32>, Whose), u64)| Slip {
            what,
            node: node.map_or(String::new(), |node| nodes[node as usize].name().to_owned()),
            task: task.name().to_owned(),
            started: task.started(),
            times,
        };
        by.into_iter().map(shown).collect()
    }
}
