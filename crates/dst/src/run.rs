//! One run of a schedule: the safety phase with its faults, the healing, the liveness phase,
//! the judgement.

mod faults;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_env::sim::{Options, Sim};
use kelpie_storage::{EmbeddedOptions, Store};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::cluster::{self, Client, Clients, Connect, Machine};
use crate::history::History;
use crate::invariant::Invariants;
use crate::judge::{self, Violation};
use crate::schedule::{Draw, Operation, Schedule, draw_faults};
use crate::service::{ServiceBackend, StoreService};
use crate::workload::{self, Outside, Size, Workload};

pub use faults::HAND_FAULTS;

/// After the faults every call has to be answered within this.
pub const LIVENESS: Duration = Duration::from_secs(60);
/// How long the healed cluster has to deliver what it owes before it is looked at.
const SETTLE: Duration = Duration::from_secs(40);

/// Small, so that a run meets checkpoints and segments that are used again.
const EMBEDDED: EmbeddedOptions =
    EmbeddedOptions { segment_bytes: 64 << 10, checkpoint_bytes: 32 << 10, cache_bytes: 1 << 20 };

/// How a run ended.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// Turns of tasks.
    pub events: u64,
    /// Virtual time.
    pub simulated: Duration,
    /// When the clients began, on the clock of their machine.
    pub began: Duration,
    /// When the faults were over, on the same clock.
    pub healed: Duration,
    /// How often each fault had an effect.
    pub fired: BTreeMap<String, u64>,
    /// What must never be, and was.
    pub violations: Vec<Violation>,
    /// What clients asked and were told.
    pub history: History,
}

/// Draws the schedule of a seed.
pub fn draw(workload: &Workload, seed: u64) -> Schedule {
    let mut draw = Draw::new(seed);
    let nodes = u32::try_from(draw.between(1, u64::from(workload.nodes_max))).expect("small");
    let size = Size {
        clients: u32::try_from(draw.between(1, 6)).expect("small"),
        calls: u32::try_from(draw.between(4, 24)).expect("small"),
        actors: u32::try_from(draw.between(1, 5)).expect("small"),
        span_ms: draw.between(2_000, 20_000),
    };
    let operations = workload.draw(&mut draw, size, nodes);
    let embedded = draw.one_in(2);
    let faults = draw_faults(&mut draw, nodes, embedded, size.span_ms);
    Schedule { scenario: workload.name.to_owned(), seed, nodes, embedded, operations, faults, mutant: None }
}

/// Runs a schedule to its verdict.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn run(schedule: &Schedule) -> Result<Verdict, UnknownScenario> {
    let workload = workload::by_name(&schedule.scenario)
        .ok_or_else(|| UnknownScenario { name: schedule.scenario.clone() })?;
    let outside = Arc::new(Outside::default());
    let sim = Sim::with(Options::new(schedule.seed));
    let world = World::new(&sim, schedule, workload, &outside);
    let ran = catch_unwind(AssertUnwindSafe(|| sim.block_on(world.run(schedule))));
    let mut violations = match ran {
        Ok(violations) => violations,
        Err(panic) => vec![Violation::new("Liveness", crate::judge::words(panic.as_ref()))],
    };
    violations.extend(sim.take_panics().into_iter().map(|panic| {
        Violation::new("NoPanic", format!("{}: task {}: {}", panic.node, panic.task, panic.message))
    }));
    violations.extend(world.invariants.violations());
    let history = world.clients.history();
    violations.extend(judge::judge(&history, &outside));
    let fired = world.faults.fired();
    Ok(Verdict {
        trace_hash: sim.trace_hash(),
        events: sim.turns(),
        simulated: sim.elapsed(),
        began: *world.began.lock(),
        healed: *world.healed.lock(),
        fired,
        violations,
        history,
    })
}

/// No workload has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario `{name}`: `kelpie-sim list` names them")]
pub struct UnknownScenario {
    /// What was asked for.
    pub name: String,
}

struct World<'a> {
    machines: Vec<Machine>,
    clients: Arc<Clients>,
    operator: Env,
    store: Store,
    faults: faults::Faults<'a>,
    invariants: Arc<Invariants>,
    began: Mutex<Duration>,
    healed: Mutex<Duration>,
}

impl<'a> World<'a> {
    fn new(sim: &'a Sim, schedule: &Schedule, workload: &Workload, outside: &Arc<Outside>) -> Self {
        let backend =
            if schedule.embedded { ServiceBackend::Embedded(EMBEDDED) } else { ServiceBackend::Memory };
        let service = StoreService::start(sim, "store", backend);
        let invariants = Arc::new(Invariants::default());
        // Of an embedded store, commits are told that a crash has hidden, or not told: its
        // histories are judged, its rows are not.
        if !schedule.embedded {
            service.observe(invariants.clone());
        }
        let operator = sim.node("operator");
        let clients_node = sim.node("clients");
        let server = service.clone();
        let connect: Connect = Arc::new(move |node| Arc::new(server.connect(node)));
        let machines: Vec<Machine> = (0..schedule.nodes)
            .map(|number| {
                let name = cluster::name(number);
                cluster::machine(sim, name.as_str(), name.clone(), workload.program(outside), connect.clone())
            })
            .collect();
        for machine in &machines {
            invariants.know(machine.node.ip(), machine.node.name());
        }
        let clients = Clients::start(&clients_node, machines.iter().map(Machine::addr).collect());
        let twins = faults::Twins::add(sim, schedule, || workload.program(outside), &connect);
        let store = service.store(&operator);
        let faults =
            faults::Faults::new(sim, machines.clone(), twins, service, (clients_node, operator.clone()));
        Self {
            machines,
            clients,
            operator: operator.env(),
            store,
            faults,
            invariants,
            began: Mutex::default(),
            healed: Mutex::default(),
        }
    }

    async fn run(&self, schedule: &Schedule) -> Vec<Violation> {
        for machine in &self.machines {
            machine.boot();
        }
        let nodes = (0..schedule.nodes).map(cluster::name).collect();
        self.operator.spawn("supervise", cluster::supervise(self.operator.clone(), self.machines.clone()));
        self.operator.spawn("watch", cluster::watch(self.operator.clone(), self.store.clone(), nodes));
        *self.began.lock() = self.clients.now();
        let scripts = self.start_clients(&schedule.operations);
        self.faults.play(&self.operator, &schedule.faults).await;
        self.faults.heal();
        self.clients.healed();
        *self.healed.lock() = self.clients.now();
        let mut late = Vec::new();
        for (number, done) in scripts {
            if self.operator.timeout(LIVENESS, done).await.is_err() {
                late.push(Violation::new(
                    "Liveness",
                    format!("client {number} still waits {LIVENESS:?} after the faults"),
                ));
            }
        }
        if !late.is_empty() {
            return late;
        }
        self.operator.sleep(SETTLE).await;
        for probe in workload::probes(&schedule.operations) {
            let client = self.clients.prober();
            let asked = client.call(&probe.actor.0, &probe.actor.1, &probe.operation, &probe.payload);
            if self.operator.timeout(LIVENESS, asked).await.is_err() {
                late.push(Violation::new(
                    "Liveness",
                    format!(
                        "{}/{} does not answer {LIVENESS:?} after the faults",
                        probe.actor.0, probe.actor.1
                    ),
                ));
            }
        }
        late
    }

    fn start_clients(&self, operations: &[Operation]) -> Vec<(u32, oneshot::Receiver<()>)> {
        let mut by_client: BTreeMap<u32, Vec<Operation>> = BTreeMap::new();
        for operation in operations {
            by_client.entry(operation.client).or_default().push(operation.clone());
        }
        let mut scripts = Vec::new();
        for (number, operations) in by_client {
            let client = self.clients.client(number);
            let (ended, done) = oneshot::channel();
            client.env().clone().spawn("client", script(client, operations, ended));
            scripts.push((number, done));
        }
        scripts
    }
}

async fn script(client: Client, operations: Vec<Operation>, ended: oneshot::Sender<()>) {
    for operation in operations {
        client.env().sleep(Duration::from_millis(operation.after_ms)).await;
        let Operation { actor: (actor_type, key), operation, payload, .. } = operation;
        client.call(&actor_type, &key, &operation, &payload).await;
    }
    // Nobody waits any more when the run has given up.
    let _ = ended.send(());
}
