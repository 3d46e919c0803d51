//! Plays the faults of a schedule, and heals what they have left.
//!
//! What is wrong at an instant follows from the faults that are active then: each that begins
//! or ends has the state of links, store and clocks made anew from those that are left, so
//! that two that overlap do not heal each other.

mod churn;
mod healing;
mod links;
mod services;
mod shape;
mod swizzle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use parking_lot::Mutex;

use crate::agents::{AGENT_FAULTS, World};
use crate::cluster::{self, Connect, Machine, Program};
use crate::invariant::Invariants;
use crate::schedule::{CLIENTS, Fault, MachineFault, STORE, Schedule, What};
use crate::service::{ServerCrash, StoreService};

use shape::{panics, shape_clocks};

/// How often a fault happens that happens again and again.
const REPEATS_MAX: u64 = 50;

/// Faults that are counted here: the world does not know them as such.
pub const HAND_FAULTS: &[&str] = &[
    "crash-loop",
    "eviction",
    "flapping-link",
    "graceful-shutdown",
    "join-of-a-new-node",
    "migration",
    "migration-source-crash",
    "migration-target-crash",
    "panic-in-a-handler",
    "permanent-one-way-partition",
    "permanent-partition",
    "rolling-restart",
    "swizzle-clog",
    "told-to-drain",
    "two-processes-one-id",
];

/// Machines that will be started under the name of another, by the number of their fault.
pub(super) struct Twins(BTreeMap<usize, Machine>);

impl Twins {
    pub(super) fn add(
        sim: &Sim,
        schedule: &Schedule,
        program: impl Fn() -> Arc<dyn Program>,
        connect: &Connect,
        invariants: &Arc<Invariants>,
    ) -> Self {
        let twins = schedule.faults.iter().enumerate().filter_map(|(index, fault)| {
            let What::Machine { node, fault: MachineFault::Twin } = fault.what else { return None };
            let simulated = format!("n{node}-twin-{index}");
            let (connect, invariants) = (connect.clone(), invariants.clone());
            let twin = cluster::machine(sim, &simulated, node, schedule, program(), connect, invariants);
            Some((index, twin))
        });
        Self(twins.collect())
    }

    /// The machines.
    pub(super) fn all(&self) -> impl Iterator<Item = &Machine> {
        self.0.values()
    }
}

/// The environment's hand in a cluster.
pub(super) struct Faults<'a> {
    sim: &'a Sim,
    service: StoreService,
    /// The way to the store of anyone.
    connect: Connect,
    world: Option<Arc<World>>,
    clients: Node,
    operator: Node,
    machines: Vec<Machine>,
    twins: Twins,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The numbers of the faults that are active.
    active: BTreeSet<usize>,
    /// Links that flap and are down, by the number of their fault.
    down: BTreeSet<usize>,
    /// Ways that are held back, by the number of their fault and their place in it.
    swizzled: BTreeSet<(usize, usize)>,
    /// Machines that stay cut off when all others are healed.
    lost: BTreeSet<u32>,
    /// Ways that stay cut.
    lost_ways: BTreeSet<(u32, u32)>,
    /// Machines that were killed while an actor moved, with the number of the fault.
    died: Vec<(usize, Machine)>,
    /// Ways on which nothing gets through.
    closed: BTreeSet<(u32, u32)>,
    /// Machines that are cut off from everybody.
    isolated: BTreeSet<u32>,
    /// What is left of the disk, if it is limited.
    room: Option<u64>,
    fired: BTreeMap<String, u64>,
}

impl State {
    fn count(&mut self, fault: &str) {
        *self.fired.entry(fault.to_owned()).or_default() += 1;
    }
}

/// What happens to a fault at an instant. Ends come before beginnings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    End,
    /// For the how manieth time.
    Begin(u64),
}

impl<'a> Faults<'a> {
    pub(super) fn new(
        sim: &'a Sim,
        machines: Vec<Machine>,
        twins: Twins,
        (service, connect): (StoreService, Connect),
        world: Option<Arc<World>>,
        (clients, operator): (Node, Node),
    ) -> Self {
        Self { sim, service, connect, world, clients, operator, machines, twins, state: Arc::default() }
    }

    /// How often each fault had an effect.
    pub(super) fn fired(&self) -> BTreeMap<String, u64> {
        let mut fired = self.state.lock().fired.clone();
        for (fault, times) in self.sim.fired().into_iter().chain(self.service.fired()) {
            *fired.entry(fault.to_owned()).or_default() += times;
        }
        *fired.entry("panic-in-a-handler".to_owned()).or_default() +=
            self.machines.iter().chain(self.twins.all()).map(Machine::panicked).sum::<u64>();
        if let Some(world) = &self.world {
            fired.extend(world.fired().into_iter().map(|(fault, times)| (fault.to_owned(), times)));
        }
        for fault in HAND_FAULTS.iter().chain(AGENT_FAULTS) {
            fired.entry((*fault).to_owned()).or_default();
        }
        fired
    }

    /// Does everything at its time. Returns when all of it is over.
    pub(super) async fn play(&self, env: &Env, faults: &[Fault]) {
        self.give_up(faults);
        let began = env.now();
        let mut edges: Vec<(u64, Edge, usize)> = Vec::new();
        for (index, fault) in faults.iter().enumerate() {
            for (time, after_ms) in (0..).zip(begins_after(fault)) {
                edges.push((fault.at_ms + after_ms, Edge::Begin(time), index));
            }
            edges.push((fault.at_ms + fault.for_ms.max(1), Edge::End, index));
        }
        edges.sort();
        for (at_ms, edge, index) in edges {
            env.sleep_until(began + Duration::from_millis(at_ms)).await;
            match edge {
                Edge::Begin(time) => self.begin(index, &faults[index].what, time),
                Edge::End => self.end(index, &faults[index].what),
            }
            self.shape(faults);
        }
    }

    /// Virtual time, on no node's clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Makes everything whole again.
    pub(super) fn heal(&self) {
        self.state.lock().active.clear();
        self.shape(&[]);
        self.sim.heal_all();
        for twin in self.twins.all() {
            twin.end(false);
        }
        self.service.resume();
        if !self.service.node().is_alive() {
            self.service.restart();
        }
        for machine in &self.machines {
            machine.node.resume();
            machine.hold(false);
            machine.start_again();
        }
        self.cut_the_lost_ways();
        self.cut_off_the_lost();
    }

    fn count(&self, fault: &str) {
        self.state.lock().count(fault);
    }

    /// All nodes of the world.
    fn everybody(&self) -> impl Iterator<Item = &Node> {
        let machines = self.machines.iter().chain(self.twins.all()).map(|machine| &machine.node);
        machines.chain([self.service.node(), &self.clients, &self.operator])
    }

    pub(super) fn service(&self) -> &StoreService {
        &self.service
    }

    /// What second runs of turns have come to, on all machines.
    pub(super) fn replayed(&self) -> cluster::Replayed {
        let mut all = cluster::Replayed::default();
        self.machines.iter().chain(self.twins.all()).for_each(|machine| all.add(machine.replayed()));
        all
    }

    /// The machine on the simulated node of that name.
    pub(super) fn machine_of(&self, node: &str) -> Option<&Machine> {
        self.machines.iter().chain(self.twins.all()).find(|machine| machine.node.name() == node)
    }

    fn machine(&self, node: u32) -> Option<&Machine> {
        self.machines.get(usize::try_from(node).ok()?)
    }

    fn place(&self, number: u32) -> Option<&Node> {
        match number {
            STORE => Some(self.service.node()),
            CLIENTS => Some(&self.clients),
            node => self.machine(node).map(|machine| &machine.node),
        }
    }

    fn begin(&self, index: usize, what: &What, time: u64) {
        self.state.lock().active.insert(index);
        match what {
            What::Machine { node, fault } => {
                if let Some(machine) = self.machine(*node) {
                    self.begin_on(machine, index, fault, time);
                }
            }
            What::Block { every_ms: 1.., .. } => {
                let mut state = self.state.lock();
                if time.is_multiple_of(2) {
                    state.down.insert(index);
                    *state.fired.entry("flapping-link".to_owned()).or_default() += 1;
                } else {
                    state.down.remove(&index);
                }
            }
            What::StoreCrash { power } => {
                let how = if *power { ServerCrash::PowerCut } else { ServerCrash::Killed };
                if self.service.node().is_alive() {
                    self.service.crash(how);
                }
            }
            What::StorePause => self.service.pause(),
            What::RollingRestart => self.rolling_restart(index),
            What::Swizzle { ways, order } => self.swizzle(index, ways, order, time),
            What::Block { .. }
            | What::Isolate { .. }
            | What::CutOff { .. }
            | What::CutWay { .. }
            | What::Link { .. }
            | What::Store { .. }
            | What::World { .. }
            | What::StoreDisk { .. } => {}
        }
    }

    fn begin_on(&self, machine: &Machine, index: usize, fault: &MachineFault, time: u64) {
        let alive = machine.node.is_alive();
        match fault {
            MachineFault::PowerCut => machine.end(true),
            MachineFault::Kill => machine.end(false),
            MachineFault::CrashLoop { .. } => {
                machine.end(false);
                machine.start_again();
                if alive {
                    self.count("crash-loop");
                }
            }
            MachineFault::Pause => machine.node.pause(),
            MachineFault::Drain => {
                machine.hold(true);
                if alive && machine.process().is_some() {
                    machine.leave();
                    self.count("graceful-shutdown");
                }
            }
            MachineFault::ToldToDrain => self.tell(machine, false),
            MachineFault::Evicted => self.tell(machine, true),
            MachineFault::Migrate { .. } => self.migrate(index, machine, fault, time),
            MachineFault::JoinsLate => {
                if machine.boot_first() {
                    self.count("join-of-a-new-node");
                }
            }
            MachineFault::Twin => {
                if let Some(twin) = self.twins.0.get(&index).filter(|twin| twin.node.is_alive()) {
                    twin.boot();
                    self.count("two-processes-one-id");
                }
            }
            MachineFault::WallJump { by_ms } => machine.node.jump_wall(*by_ms),
            MachineFault::Drift { .. }
            | MachineFault::Freeze
            | MachineFault::Coarse { .. }
            | MachineFault::Timers { .. }
            | MachineFault::Panics { .. }
            | MachineFault::Slow { .. } => {}
        }
    }

    fn end(&self, index: usize, what: &What) {
        if self.lasts(what) {
            return;
        }
        let mut state = self.state.lock();
        state.active.remove(&index);
        state.down.remove(&index);
        state.swizzled.retain(|(fault, _)| *fault != index);
        drop(state);
        match what {
            What::Machine { node, fault } => {
                if let Some(machine) = self.machine(*node) {
                    self.end_on(machine, index, fault);
                }
            }
            What::StoreCrash { .. } => {
                if !self.service.node().is_alive() {
                    self.service.restart();
                }
            }
            What::StorePause => self.service.resume(),
            What::RollingRestart
            | What::Block { .. }
            | What::Isolate { .. }
            | What::CutOff { .. }
            | What::CutWay { .. }
            | What::Swizzle { .. }
            | What::Link { .. }
            | What::Store { .. }
            | What::World { .. }
            | What::StoreDisk { .. } => {}
        }
    }

    fn end_on(&self, machine: &Machine, index: usize, fault: &MachineFault) {
        match fault {
            MachineFault::PowerCut | MachineFault::Kill | MachineFault::CrashLoop { .. } => {
                machine.start_again();
            }
            MachineFault::Pause => machine.node.resume(),
            MachineFault::Drain => {
                machine.end_drain();
            }
            MachineFault::Migrate { .. } => self.end_migrations(index),
            MachineFault::Twin => {
                if let Some(twin) = self.twins.0.get(&index) {
                    twin.end(false);
                }
            }
            // Somebody sets the clock right.
            MachineFault::WallJump { by_ms } => machine.node.jump_wall(-by_ms),
            MachineFault::Drift { .. }
            | MachineFault::Freeze
            | MachineFault::Coarse { .. }
            | MachineFault::Timers { .. }
            | MachineFault::Panics { .. }
            | MachineFault::ToldToDrain
            | MachineFault::Evicted
            | MachineFault::JoinsLate
            | MachineFault::Slow { .. } => {}
        }
    }

    /// Gives links, store and clocks the state that follows from the active faults.
    fn shape(&self, faults: &[Fault]) {
        let state = self.state.lock();
        let active: Vec<(usize, &What)> = state
            .active
            .iter()
            .filter_map(|index| faults.get(*index).map(|fault| (*index, &fault.what)))
            .collect();
        let down = state.down.clone();
        drop(state);
        self.shape_links(&active, &down);
        self.shape_store(&active);
        self.shape_world(&active);
        for (number, machine) in (0..).zip(&self.machines) {
            shape_clocks(&machine.node, number, &active);
            machine.set_panics(panics(number, &active));
        }
    }
}

/// Milliseconds after which a fault begins, again and again if it is one that does.
fn begins_after(fault: &Fault) -> Vec<u64> {
    let repeats = |every: u64| {
        let every = every.max(1);
        (0..(fault.for_ms / every).clamp(1, REPEATS_MAX)).map(|time| time * every).collect()
    };
    match &fault.what {
        What::Machine {
            fault: MachineFault::CrashLoop { every_ms } | MachineFault::Migrate { every_ms, .. },
            ..
        } => repeats(*every_ms),
        What::Block { every_ms: every @ 1.., .. } => repeats(*every),
        What::Swizzle { ways, .. } => swizzle::steps(ways.len(), fault.for_ms),
        What::Machine { .. }
        | What::Block { .. }
        | What::Isolate { .. }
        | What::CutOff { .. }
        | What::CutWay { .. }
        | What::RollingRestart
        | What::Link { .. }
        | What::Store { .. }
        | What::World { .. }
        | What::StoreCrash { .. }
        | What::StorePause
        | What::StoreDisk { .. } => vec![0],
    }
}
