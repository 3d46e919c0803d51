//! The simulated world: one seeded thread, virtual time, clocks and disks per node.
//!
//! ```
//! use std::time::Duration;
//! use kelpie_env::sim::Sim;
//!
//! let sim = Sim::new(7);
//! let node = sim.node("n1");
//! let env = node.env();
//! let slept = sim.block_on(async { env.sleep(Duration::from_secs(3600)).await; env.now() });
//! assert!(slept >= Duration::from_secs(3600)); // at once in real time
//! ```
//!
//! # What is simulated
//! - **Schedule**: the seed picks the next of the ready tasks. A turn takes 50 to 99 ns of
//!   virtual time; when nothing is ready, time jumps to the next timer. Timers may be late.
//! - **Clocks**: every node has a wall clock (own offset and rate, jumps, stands) and a
//!   monotonic clock (own rate, zero at each start); both may go on in steps. Timers may
//!   miss their instant.
//! - **Randomness**: every node has a seeded stream, which goes on after restarts.
//! - **Blocking work** takes its own turn after a random delay; inline work is preceded by
//!   one, which may be zero.
//! - **Disk**: see [`DiskControl`]: unsynced writes and names are lost, torn and reordered
//!   at a power cut, which can be put at every single operation; failed fsync, lying fsync,
//!   failed reads and writes, disk full, flipped bits, misdirected reads and writes, stale
//!   reads, slow disk; one by one, or by chance ([`DiskFaults`]).
//! - **Network**: byte streams ([`crate::Net`]) with random delays and random cuts of the
//!   stream into reads, refused and reset connections; messages ([`Mailbox`]) that arrive or
//!   do not. Both cross the same links, with partitions (also one way) and [`LinkFaults`]:
//!   loss, copies (also late ones), reordering, delays with a heavy tail, flipped bits, cut
//!   frames, resets within a frame, a bandwidth, full queues, clogs.
//! - **Faults that had an effect** are counted by name: [`Sim::fired`].
//! - **Nodes**: power cut (also one of which nobody learns), killed process, pause, slow processor, restart, also over an
//!   empty or an earlier disk ([`Node::restart_with`]).
//!
//! # What is not
//! Threads (`spawn_thread` is a task), races inside a turn, memory limits, the cost of
//! computing (but [`Node::set_turn_cost`]), packets below TCP other than by what TCP makes
//! of them, DNS, hard links, renamed directories and the order in which a file system writes
//! its own metadata. Whoever reads the operating system's clock, randomness or files past
//! [`crate::Env`] is not simulated at all.
//!
//! Plans are the caller's: a partition for good, a link that flaps, clogs that end in another
//! order, a crash loop, two processes of one name ([`Sim::node_on_disk_of`]) are sequences
//! of what is here.
//!
//! The same seed, options and code give the same run, in every process: [`same_twice`]
//! checks it by [`Sim::trace_hash`], and [`first_divergence`] finds where two runs part.

mod chance;
mod clock;
mod disk;
mod executor;
mod fault;
mod net;
mod node;
mod processor;
mod replay;
mod sights;
mod slip;
mod tasks;
mod timers;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use disk::Storage;
use timers::NEVER;
use trace::Whose;
use world::{Step, World};

pub use clock::{Drift, TimerError};
pub use disk::{DiskControl, DiskFaults, DiskImage, Survived};
pub use executor::TaskPanic;
pub use fault::FAULTS;
pub use net::{LinkFaults, Mailbox};
pub use node::Node;
pub use replay::{CHECKPOINT_EVERY, Divergence, Recording, first_divergence, parting, same_twice};
pub use sights::Sight;
pub use slip::{Entered, Slip, slipped_random, slipped_time};
pub use trace::TraceEvent;

/// How a simulated world behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What every decision is drawn from.
    pub seed: u64,
    /// How late a timer may be.
    pub timer_lateness_max: Duration,
    /// How long blocking work may take.
    pub blocking_max: Duration,
    /// How long inline work may take.
    pub inline_max: Duration,
    /// How long bytes travel between nodes.
    pub network_delay_max: Duration,
    /// How many millionths a node's clocks may run fast or slow.
    pub drift_ppm_max: u16,
    /// The wall clock when the simulation begins.
    pub wall_start_ms: u64,
    /// How far a node's wall clock may be off then.
    pub wall_spread_ms_max: u64,
    /// Turns after which one `block_on` or `run_…` is taken for endless.
    pub turns_max: u64,
    /// Keeps the hash of the trace after each so many events: [`Sim::checkpoints`].
    pub checkpoint_every: Option<u64>,
    /// Keeps the events with these numbers: [`Sim::recorded`]. Takes some 70 bytes each.
    pub record: Range<u64>,
    /// Keeps so many of the first [`Sight`]s: [`Sim::sights`].
    pub sights_max: usize,
}

impl Options {
    /// A well-behaved data centre; faults are for the test to add.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            timer_lateness_max: Duration::from_micros(500),
            blocking_max: Duration::from_millis(2),
            inline_max: Duration::from_millis(1),
            network_delay_max: Duration::from_millis(2),
            drift_ppm_max: 50,
            wall_start_ms: 1_800_000_000_000,
            wall_spread_ms_max: 250,
            turns_max: 50_000_000,
            checkpoint_every: None,
            record: 0..0,
            sights_max: 0,
        }
    }
}

/// One simulated world. Dropping it ends all its nodes; that panics when a task panicked
/// and nobody asked [`Sim::take_panics`].
pub struct Sim {
    world: Arc<World>,
    roots: AtomicU32,
}

impl Sim {
    /// A world that the seed decides.
    pub fn new(seed: u64) -> Self {
        Self::with(Options::new(seed))
    }

    /// A world with its own behaviour.
    pub fn with(options: Options) -> Self {
        Self { world: Arc::new(World::new(options)), roots: AtomicU32::new(0) }
    }

    /// Adds a node with an empty disk.
    pub fn node(&self, name: &str) -> Node {
        Node::add(&self.world, name, Arc::new(Storage::new()))
    }

    /// Adds a node whose disk holds what `image` does.
    pub fn node_with_disk(&self, name: &str, image: &DiskImage) -> Node {
        Node::add(&self.world, name, Arc::new(image.storage()))
    }

    /// Adds a process that uses the disk of another: two of them on one machine.
    pub fn node_on_disk_of(&self, other: &Node, name: &str) -> Node {
        Node::add(&self.world, name, other.state().disk.clone())
    }

    /// Runs the world until `future` is done. Tasks go on with the next call.
    ///
    /// # Panics
    /// When nothing can ever run again, or after [`Options::turns_max`] turns.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.block_on_watching(future, |_| ())
    }

    /// Like [`Sim::block_on`], and calls `watch` after each turn of any task, with the name of
    /// the task's node: to hold what lives in the nodes against an invariant. What it does is
    /// not part of the world: it must change nothing in it.
    ///
    /// # Panics
    /// As [`Sim::block_on`] does.
    pub fn block_on_watching<F: Future>(&self, future: F, mut watch: impl FnMut(&str)) -> F::Output {
        let _entered = self.enter();
        let generation = self.roots.fetch_add(1, Ordering::Relaxed);
        let root = self.world.executor.root(generation);
        let mut context = Context::from_waker(&root.waker);
        let mut future = pin!(future);
        let began = self.world.turns();
        root.waker.wake_by_ref();
        loop {
            match self.world.step(Some(generation), NEVER) {
                Step::Ran(node) => {
                    watch(node.name());
                    self.check_turns(began);
                }
                Step::Root => {
                    root.taken();
                    self.world.turn_of(None, Whose::Root);
                    let polled = future.as_mut().poll(&mut context);
                    self.world.turn_ends(None);
                    self.world.reap();
                    if let Poll::Ready(value) = polled {
                        return value;
                    }
                }
                Step::Idle => self.stuck(),
            }
        }
    }

    /// Runs until no task is ready and no timer is set.
    ///
    /// # Panics
    /// After [`Options::turns_max`] turns.
    pub fn run_until_idle(&self) {
        self.run_to(NEVER);
    }

    /// Lets the world run for `span` of virtual time.
    ///
    /// # Panics
    /// After [`Options::turns_max`] turns.
    pub fn run_for(&self, span: Duration) {
        let end = self.world.now().saturating_add(chance::nanos(span));
        self.run_to(end);
        self.world.skip_to(end);
    }

    fn run_to(&self, end: u64) {
        let _entered = self.enter();
        let began = self.world.turns();
        while self.world.now() < end && !matches!(self.world.step(None, end), Step::Idle) {
            self.check_turns(began);
        }
    }

    /// Virtual time since the world began, by no node's clock.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.world.now())
    }

    /// Turns of tasks so far.
    pub fn turns(&self) -> u64 {
        self.world.turns()
    }

    /// A hash of all that has happened so far (numbers drawn, tasks polled, bytes written
    /// and sent, the state of a node after each turn on it): equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }

    /// How many events the trace has so far.
    pub fn events(&self) -> u64 {
        self.world.decide(|chance| chance.trace.events())
    }

    /// The hash after each [`Options::checkpoint_every`] events.
    pub fn checkpoints(&self) -> Vec<u64> {
        self.world.decide(|chance| chance.trace.checkpoints().to_vec())
    }

    /// The events in [`Options::record`].
    pub fn recorded(&self) -> Vec<TraceEvent> {
        self.world.recorded()
    }

    /// What there was to see, in its order: at most [`Options::sights_max`] of it.
    pub fn sights(&self) -> Vec<(Duration, Sight)> {
        self.world.sights.all()
    }

    /// All nodes, in the order in which they were added.
    pub fn nodes(&self) -> Vec<Node> {
        self.world.nodes.lock().iter().map(|state| Node::of(&self.world, state)).collect()
    }

    /// What there is to compare with another run.
    pub fn recording(&self) -> Recording {
        Recording {
            hash: self.trace_hash(),
            events: self.events(),
            checkpoints: self.checkpoints(),
            recorded: self.recorded(),
        }
    }

    /// What was asked of the operating system past the [`crate::Env`], and by whom: in
    /// processes that have [`slipped_time`] and [`slipped_random`] asked.
    pub fn slips(&self) -> Vec<Slip> {
        self.world.slips()
    }

    /// Lets this world answer what is asked past the [`crate::Env`] on this thread, until the
    /// guard is dropped. Running the world does that as well; this is for what is made before,
    /// on a thread of its own: the standard library draws the keys of its hash maps once for
    /// each thread, and keeps them.
    pub fn enter(&self) -> Entered {
        slip::enter(&self.world)
    }

    /// The panics of tasks since the last call, which are hereby expected.
    pub fn take_panics(&self) -> Vec<TaskPanic> {
        std::mem::take(&mut *self.world.panics.lock())
    }

    /// Cuts the network between two nodes, both ways: bytes wait, connecting times out.
    pub fn partition(&self, a: &Node, b: &Node) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Cuts the network from one node to another and leaves the way back.
    pub fn partition_one_way(&self, from: &Node, to: &Node) {
        self.world.network.partition(from.state().id(), to.state().id());
    }

    /// Mends the network between two nodes, both ways.
    pub fn heal(&self, a: &Node, b: &Node) {
        self.world.network.heal(a.state().id(), b.state().id());
        self.world.network.heal(b.state().id(), a.state().id());
    }

    /// Cuts a node off from all others that there are, both ways.
    pub fn isolate(&self, node: &Node) {
        let nodes = u32::try_from(self.world.nodes.lock().len()).expect("few nodes");
        let own = node.state().id();
        for other in (0..nodes).filter(|other| *other != own) {
            self.world.network.partition(own, other);
            self.world.network.partition(other, own);
        }
    }

    /// Says what is wrong with the way from one node to another from now on. What a clog
    /// held back sets out anew when [`LinkFaults::clogged`] is false again.
    pub fn set_link_faults(&self, from: &Node, to: &Node, faults: LinkFaults) {
        self.world.network.set_link_faults(&self.world, from.state().id(), to.state().id(), faults);
    }

    /// What is wrong with the way from one node to another.
    pub fn link_faults(&self, from: &Node, to: &Node) -> LinkFaults {
        self.world.network.link_faults(from.state().id(), to.state().id())
    }

    /// Ends all partitions and all faults of links.
    pub fn heal_all(&self) {
        self.world.network.heal_all(&self.world);
    }

    /// How often each of [`FAULTS`] has had an effect.
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        self.world.marks.add_to(&mut all);
        let nodes = self.world.nodes.lock();
        for (index, node) in nodes.iter().enumerate() {
            // Nodes may share a disk.
            if !nodes[..index].iter().any(|other| Arc::ptr_eq(&other.disk, &node.disk)) {
                node.disk.fired(&mut all);
            }
        }
        all
    }

    fn check_turns(&self, began: u64) {
        let limit = self.world.options.turns_max;
        assert!(
            self.world.turns() - began < limit,
            "no end after {limit} turns (seed {}, {:?})",
            self.world.options.seed,
            self.elapsed()
        );
    }

    fn stuck(&self) -> ! {
        panic!(
            "nothing can run any more (seed {}, {:?}); panics: {:?}; waiting: {:?}",
            self.world.options.seed,
            self.elapsed(),
            self.world.panics.lock(),
            self.world.executor.waiting(),
        );
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Tasks own their world: without this neither would ever be freed.
        let nodes = std::mem::take(&mut *self.world.nodes.lock());
        for node in nodes {
            self.world.end_life(&node.life());
        }
        self.world.reap();
        let panics = self.take_panics();
        if !std::thread::panicking() {
            assert!(panics.is_empty(), "tasks panicked: {panics:?}");
        }
    }
}

impl Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.world.options.seed)
            .field("elapsed", &self.elapsed())
            .field("turns", &self.turns())
            .finish_non_exhaustive()
    }
}
