//! Nodes: their lives and deaths.
//!
//! ```text
//!   node() ──▶ alive ──(kill, power cut)──▶ dead ──(restart)──▶ alive, new tasks and memory,
//!                ▲ │                                             same disk and clocks
//!         resume └─┘ pause
//! ```
//!
//! Invariant: nothing of an ended life has an effect: its tasks never run again, its files
//! and connections fail, its timers stay silent.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::chance::{Event, digest, of_node};
use super::clock::{Clocks, Drift, SimClock, TimerError};
use super::disk::{DiskControl, DiskImage, SimDisk, Storage, Survival};
use super::fault::Fault;
use super::net::{Mailbox, SimNet};
use super::processor::Processor;
use super::sights::Sight;
use super::tasks::SimTasks;
use super::world::World;
use crate::{Env, Parts, Random};

/// One run of a node, from its start to its end.
pub(super) struct Life {
    number: u64,
    alive: AtomicBool,
    /// Who waits for its end.
    mourners: Mutex<Vec<Waker>>,
}

impl Life {
    pub(super) fn new(number: u64) -> Self {
        Self { number, alive: AtomicBool::new(true), mourners: Mutex::default() }
    }

    /// Unique in the simulation.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Ends it; true the first time.
    pub(super) fn end(&self) -> bool {
        let first = self.alive.swap(false, Ordering::Relaxed);
        let mourners = std::mem::take(&mut *self.mourners.lock());
        for mourner in mourners {
            mourner.wake();
        }
        first
    }
}

/// What outlives a node's lives.
pub(super) struct NodeState {
    id: u32,
    name: String,
    pub(super) clocks: Mutex<Clocks>,
    pub(super) disk: Arc<Storage>,
    random: Mutex<ChaCha8Rng>,
    life: Mutex<Arc<Life>>,
    pub(super) processor: Processor,
}

impl NodeState {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn life(&self) -> Arc<Life> {
        self.life.lock().clone()
    }

    /// What can be seen of it from outside at the instant `now`: in which life it is, what its
    /// clocks read, what its disk was asked for.
    pub(super) fn digest(&self, now: u64) -> u64 {
        let (life, alive) = {
            let life = self.life.lock();
            (life.number(), life.is_alive())
        };
        let (monotonic, wall) = self.clocks.lock().lines(now);
        digest(&[life, alive.into(), monotonic, wall, self.disk.operations()])
    }
}

/// Where a part of an [`Env`] stands: in this world, at this node, in this life of it.
pub(super) struct Place {
    pub(super) world: Arc<World>,
    pub(super) node: Arc<NodeState>,
    pub(super) life: Arc<Life>,
}

/// A simulated machine. A handle: clones mean the same node.
#[derive(Clone)]
pub struct Node {
    world: Arc<World>,
    state: Arc<NodeState>,
}

impl Node {
    pub(super) fn add(world: &Arc<World>, name: &str, disk: Arc<Storage>) -> Self {
        let mut nodes = world.nodes.lock();
        assert!(nodes.iter().all(|node| node.name != name), "two nodes are called {name}");
        let id = u32::try_from(nodes.len()).expect("few nodes");
        let state = Arc::new(NodeState {
            id,
            name: name.to_owned(),
            clocks: Mutex::new(drawn_clocks(world)),
            disk,
            random: Mutex::new(of_node(world.options.seed, id)),
            life: Mutex::new(world.new_life()),
            processor: Processor::default(),
        });
        state.clocks.lock().start(world.now());
        nodes.push(state.clone());
        Self { world: world.clone(), state }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its address, at which it listens for connections.
    pub fn ip(&self) -> IpAddr {
        ip(self.state.id)
    }

    /// Virtual time since the world began, by no node's clock: as [`super::Sim::elapsed`].
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.world.now())
    }

    /// What its monotonic clock reads, for a test that only looks on: what the node itself reads is
    /// in its [`Env`], and counts as an effect of the faults of its clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.state.clocks.lock().looked_at(self.world.now()))
    }

    /// The view of its present life.
    ///
    /// # Panics
    /// When the node is dead: [`Node::restart`] it.
    pub fn env(&self) -> Env {
        let place = self.place();
        Env::new(Parts {
            clock: Arc::new(SimClock { place: place.clone() }),
            random: Arc::new(SimRandom { place: place.clone() }),
            tasks: Arc::new(SimTasks { place: place.clone() }),
            disk: Arc::new(SimDisk { place: place.clone() }),
            net: Arc::new(SimNet { place }),
        })
    }

    /// Opens a mailbox for messages of its present life at a port (0: any free one), which
    /// is free again when that life ends. Ports of mailboxes and of listeners have nothing
    /// to do with each other.
    ///
    /// # Panics
    /// When the node is dead, or has a mailbox at that port.
    pub fn mailbox(&self, port: u16) -> Mailbox {
        Mailbox::open(self.place(), port)
    }

    fn place(&self) -> Arc<Place> {
        assert!(self.is_alive(), "{} is dead: restart it", self.name());
        Arc::new(Place { world: self.world.clone(), node: self.state.clone(), life: self.state.life() })
    }

    /// The tasks of its present life that wait or are ready, counted by the names that they were
    /// started with. The task that asks is not among them.
    pub fn tasks(&self) -> BTreeMap<&'static str, usize> {
        self.world.executor.named(&self.state.life())
    }

    /// Whether it runs (a paused one does).
    pub fn is_alive(&self) -> bool {
        self.state.life.lock().is_alive()
    }

    /// Cuts its power: drops its tasks wherever they wait, resets its connections, and
    /// keeps of its disk what was synced plus what the seed decides of the rest. The page
    /// cache survives as long as another live node shares the disk. Fine if it is dead.
    pub fn kill(&self) {
        self.end(Survival::Drawn);
    }

    /// Cuts its power as [`Node::kill`] does, and tells nobody: until it is started again its
    /// connections stand open at their other ends, and new ones to it time out.
    pub fn kill_silently(&self) {
        self.world.network.set_dark(self.state.id, true);
        self.end(Survival::Drawn);
    }

    /// Kills its process alone, as SIGKILL does: everything that it wrote stays.
    pub fn kill_process(&self) {
        self.end(Survival::Everything);
    }

    fn end(&self, survival: Survival) {
        let life = self.state.life();
        let was_alive = life.is_alive();
        self.world.end_life(&life);
        let survival = if self.disk_in_use() { Survival::Everything } else { survival };
        let fault = match survival {
            Survival::Drawn => Fault::Crash,
            Survival::Everything => Fault::ProcessKill,
        };
        self.world.marks.add(fault, was_alive.into());
        if was_alive {
            self.world.see(Sight::Ended { node: self.state.id });
        }
        self.world.decide(|chance| self.state.disk.ended(chance, &life, survival));
        self.state.processor.clear();
        self.world.reap();
    }

    /// Starts it again over its disk, with its monotonic clock at zero.
    ///
    /// # Panics
    /// When it is alive: [`Node::kill`] it first.
    pub fn restart(&self) -> Env {
        assert!(!self.is_alive(), "{} is alive: kill it first", self.name());
        // After a power cut in the middle of a turn the pause and the tasks are still there.
        self.end(Survival::Everything);
        self.world.network.set_dark(self.state.id, false);
        self.state.clocks.lock().start(self.world.now());
        *self.state.life.lock() = self.world.new_life();
        self.world.see(Sight::Started { node: self.state.id });
        self.env()
    }

    /// Starts it again over a disk that holds what `image` does, in place of all that its own
    /// held: an earlier image of it, [`DiskImage::empty`], or any other.
    ///
    /// # Panics
    /// When it is alive, or another live node uses its disk.
    pub fn restart_with(&self, image: &DiskImage) -> Env {
        assert!(!self.is_alive(), "{} is alive: kill it first", self.name());
        assert!(!self.disk_in_use(), "the disk of {} is in use", self.name());
        self.state.disk.replace(image);
        self.restart()
    }

    fn disk_in_use(&self) -> bool {
        let nodes = self.world.nodes.lock();
        nodes.iter().any(|other| Arc::ptr_eq(&other.disk, &self.state.disk) && other.life().is_alive())
    }

    /// Carries out `work` for as long as this life of the node lasts; `None` when it ends
    /// first, or with the last of the work.
    pub async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let life = self.state.life();
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = if life.is_alive() { work.as_mut().poll(cx) } else { Poll::Pending };
            if !life.is_alive() {
                return Poll::Ready(None);
            }
            let mut mourners = life.mourners.lock();
            if polled.is_pending() && !mourners.iter().any(|waker| waker.will_wake(cx.waker())) {
                mourners.push(cx.waker().clone());
            }
            polled.map(Some)
        })
        .await
    }

    /// Stops its tasks as SIGSTOP does: time and its connections go on without it.
    pub fn pause(&self) {
        self.state.processor.pause();
        self.world.see(Sight::Paused { node: self.state.id });
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.world.executor.put_ready(&self.state.processor.resume());
        self.world.see(Sight::Resumed { node: self.state.id });
    }

    /// Lets each turn of its tasks take up to `max` of virtual time, during which none of
    /// them runs and the other nodes do; zero for as fast as the others. Survives restarts.
    pub fn set_turn_cost(&self, max: Duration) {
        self.state.processor.set_turn_cost(max);
    }

    /// Changes how fast its clocks run from now on; survives restarts.
    pub fn set_drift(&self, drift: Drift) {
        self.state.clocks.lock().set_drift(self.world.now(), drift);
        self.world.timers.wake_node(self.state.id);
    }

    /// Moves its wall clock forward (or back); its monotonic clock stays.
    pub fn jump_wall(&self, by_ms: i64) {
        self.state.clocks.lock().jump_wall(by_ms);
    }

    /// Stops its wall clock, or lets it go on from where it would be by then.
    pub fn freeze_wall(&self, frozen: bool) {
        self.state.clocks.lock().freeze_wall(self.world.now(), frozen);
    }

    /// Lets its clocks go on in steps of that length, as coarse ones do.
    pub fn set_clock_granularity(&self, granularity: Duration) {
        self.state.clocks.lock().set_granularity(granularity);
    }

    /// Lets its timers miss their instant: those set from now on.
    pub fn set_timer_error(&self, error: TimerError) {
        self.state.clocks.lock().set_timer_error(error);
    }

    /// Its disk: faults, crash points and counts.
    pub fn disk(&self) -> DiskControl {
        DiskControl::new(self.state.disk.clone())
    }

    /// A handle to a node that there is.
    pub(super) fn of(world: &Arc<World>, state: &Arc<NodeState>) -> Self {
        Self { world: world.clone(), state: state.clone() }
    }

    pub(super) fn state(&self) -> &Arc<NodeState> {
        &self.state
    }
}

impl Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name()).field("alive", &self.is_alive()).finish()
    }
}

/// The address of node number 0; the others follow.
const FIRST_IP: u32 = Ipv4Addr::new(10, 0, 0, 1).to_bits();

/// The address of node number `id`.
pub(super) fn ip(id: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(FIRST_IP + id))
}

/// The number of the node that has that address, or would have.
pub(super) fn node_at(ip: IpAddr) -> Option<u32> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(FIRST_IP),
        IpAddr::V6(_) => None,
    }
}

/// Every node has clocks of its own, so that nothing comes to rest on equal ones.
fn drawn_clocks(world: &World) -> Clocks {
    let options = &world.options;
    world.decide(|chance| {
        let mut drift = || {
            let span = u64::from(options.drift_ppm_max);
            let drawn = chance.below(Event::Node, 2 * span + 1);
            let drawn = i64::try_from(drawn).expect("small") - i64::from(options.drift_ppm_max);
            i32::try_from(drawn).expect("at most a u16 either way")
        };
        let drift = Drift { monotonic_ppm: drift(), wall_ppm: drift() };
        let spread = chance.below(Event::Node, 2 * options.wall_spread_ms_max + 1);
        let wall_ms = options.wall_start_ms - options.wall_spread_ms_max + spread;
        Clocks::new(wall_ms * 1_000_000, wall_ms != options.wall_start_ms, drift)
    })
}

struct SimRandom {
    place: Arc<Place>,
}

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.place.node.random.lock().fill_bytes(bytes);
        self.place.world.decide(|chance| chance.note_bytes(Event::NodeRandom, bytes));
    }
}
