//! One run of a schedule: the safety phase with its faults, the healing, the liveness phase,
//! the judgement.

mod draw;
mod faults;
mod settled;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kelpie_core::protocol::Step;
use kelpie_env::Env;
use kelpie_env::sim::{CHECKPOINT_EVERY, Options, Recording, Sim};
use kelpie_storage::{EmbeddedOptions, Store};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::agents;
use crate::cluster::{self, Client, Clients, Connect, Machine, PROBER, Program, Replayed};
use crate::history::History;
use crate::invariant::Invariants;
use crate::judge::{self, Violation};
use crate::schedule::{Fault, MachineFault, Operation, Schedule, What};
use crate::service::{ServiceBackend, StoreService};
use crate::timeline::{self, Commits, Seen, Timeline};
use crate::workload::{self, Outside, Workload};

pub use draw::{draw, draw_churning};
pub use faults::HAND_FAULTS;

/// After the faults every call has to be answered within this.
pub const LIVENESS: Duration = Duration::from_secs(60);
/// How often it is looked whether the call that a client waits for is a new one.
const LOOKS_MAX: u32 = 20;
/// How long the healed cluster has to deliver what it owes before it is looked at.
const SETTLE: Duration = Duration::from_secs(25);
/// The same where tools may hang, or a wall clock by which a reminder was set was ahead.
const SETTLE_LONG: Duration = Duration::from_secs(40);

/// Of three clients of a workload, the one that asks once and takes what it is told for the end.
const IMPATIENT: u32 = 2;

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
    /// How often each fault had an effect, and each mark was met.
    pub fired: BTreeMap<String, u64>,
    /// Turns with steps or calls that ran a second time from what those gave.
    pub replayed: u64,
    /// What was asked of the operating system past the environment, and how often.
    pub slips: BTreeMap<String, u64>,
    /// What must never be, and was.
    pub violations: Vec<Violation>,
    /// What clients asked and were told.
    pub history: History,
}

/// Runs a schedule to its verdict.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn run(schedule: &Schedule) -> Result<Verdict, UnknownScenario> {
    traced(schedule, &(0..0)).map(|(verdict, _)| verdict)
}

/// Runs a schedule to its verdict, and keeps the events with the numbers in `record` besides
/// what a comparison with another run needs.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn traced(schedule: &Schedule, record: &Range<u64>) -> Result<(Verdict, Recording), UnknownScenario> {
    let watch = Watch { record: record.clone(), ..Watch::default() };
    judged(schedule, &watch).map(|ran| (ran.verdict, ran.recording))
}

/// Runs a schedule to its verdict, and keeps what there was to see of it.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn watched(schedule: &Schedule) -> Result<(Verdict, Timeline), UnknownScenario> {
    let ran = judged(schedule, &Watch { sights_max: timeline::SIGHTS_MAX, ..Watch::default() })?;
    let timeline = Timeline::new(schedule, &ran.verdict, &ran.seen);
    Ok((ran.verdict, timeline))
}

/// Runs a schedule to its verdict over a store that records, and reads the protocol steps that
/// were committed. A run that gets stuck leaves those that were committed until then.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn recorded(schedule: &Schedule) -> Result<(Verdict, Vec<Step>), UnknownScenario> {
    let ran = judged(schedule, &Watch { protocol: true, ..Watch::default() })?;
    Ok((ran.verdict, ran.steps))
}

fn judged(schedule: &Schedule, watch: &Watch) -> Result<Ran, UnknownScenario> {
    let (mut ran, outside) = unjudged(schedule, watch)?;
    let verdict = &mut ran.verdict;
    let judged = catch_unwind(AssertUnwindSafe(|| {
        assert!(!kelpie_core::mutant!("judge_without_words"), "the seeded bug");
        judge::judge(&verdict.history, &outside)
    }));
    match judged {
        Ok(violations) => verdict.violations.extend(violations),
        // A history that the judge has no words for is a find as any other: it is kept and shrunk.
        Err(panic) => verdict.violations.push(Violation::new("Judge", judge::words(panic.as_ref()))),
    }
    Ok(ran)
}

/// Runs a schedule. What its history means has not been judged; with it comes what was done to the
/// world outside.
pub(crate) fn unjudged(schedule: &Schedule, watch: &Watch) -> Result<(Ran, Arc<Outside>), UnknownScenario> {
    let workload = workload::by_name(&schedule.scenario)
        .ok_or_else(|| UnknownScenario { name: schedule.scenario.clone() })?;
    let outside = Arc::new(Outside::default());
    let ran = execute(schedule, load(workload, schedule, &outside), watch);
    Ok((ran, outside))
}

/// What one client does.
pub(crate) type Script = Box<dyn FnOnce(Client) -> BoxFuture<'static, ()> + Send>;

/// What a cluster runs, and what is asked of it.
pub(crate) struct Load {
    /// What is installed on a machine.
    pub(crate) program: Box<dyn Fn() -> Arc<dyn Program> + Send>,
    /// What models and tools that machines ask are in, if they ask any.
    pub(crate) world: Option<Arc<agents::World>>,
    /// What each client does, by its number.
    pub(crate) clients: Vec<(u32, Script)>,
    /// The last look at the healed and settled cluster.
    pub(crate) last: Script,
}

/// The load of a workload.
fn load(workload: &'static Workload, schedule: &Schedule, outside: &Arc<Outside>) -> Load {
    let mut by_client: BTreeMap<u32, Vec<Operation>> = BTreeMap::new();
    for operation in &schedule.operations {
        by_client.entry(operation.client).or_default().push(operation.clone());
    }
    let script = |operations: Vec<Operation>| -> Script {
        Box::new(move |client| {
            // They know of nothing that has not run only once it is told so.
            let impatient = client.number() % 3 == IMPATIENT;
            let client = if impatient { client.impatient() } else { client };
            Box::pin(async move {
                for operation in operations {
                    client.env().sleep(Duration::from_millis(operation.after_ms)).await;
                    let Operation { actor: (actor_type, key), operation, payload, .. } = operation;
                    client.call(&actor_type, &key, &operation, &payload).await;
                }
            })
        })
    };
    let (outside, wishes) = (outside.clone(), schedule.placing.wishes);
    if workload.has_agents() {
        agents::draw_once();
    }
    Load {
        world: workload.has_agents().then(|| outside.world.clone()),
        program: Box::new(move || workload.program(&outside, wishes)),
        last: script(workload::probes(&schedule.operations)),
        clients: by_client.into_iter().map(|(number, operations)| (number, script(operations))).collect(),
    }
}

/// What is kept of a run besides its verdict.
#[derive(Default)]
pub(crate) struct Watch {
    /// The events with these numbers.
    pub(crate) record: Range<u64>,
    /// So much of what there was to see.
    pub(crate) sights_max: usize,
    /// The protocol steps of its transactions.
    pub(crate) protocol: bool,
}

/// A run that is over.
pub(crate) struct Ran {
    pub(crate) verdict: Verdict,
    pub(crate) recording: Recording,
    pub(crate) seen: Seen,
    pub(crate) steps: Vec<Step>,
}

/// Runs a cluster under a load. What its histories mean is for the caller to judge.
///
/// On a thread of its own: what the standard library keeps for each thread, as the keys of its
/// hash maps, is drawn again in each run.
pub(crate) fn execute(schedule: &Schedule, load: Load, watch: &Watch) -> Ran {
    #[cfg(feature = "mutants")]
    let armed = kelpie_core::mutant::armed();
    let ran = std::thread::scope(|scope| {
        let run = move || {
            #[cfg(feature = "mutants")]
            let _armed = armed.map(kelpie_core::mutant::arm);
            execute_here(schedule, load, watch)
        };
        scope.spawn(run).join()
    });
    ran.unwrap_or_else(|panic| resume_unwind(panic))
}

fn execute_here(schedule: &Schedule, load: Load, watch: &Watch) -> Ran {
    let sim = Sim::with(Options {
        checkpoint_every: Some(CHECKPOINT_EVERY),
        record: watch.record.clone(),
        sights_max: watch.sights_max,
        ..Options::new(schedule.seed)
    });
    let _entered = sim.enter();
    let world = World::new(&sim, schedule, &load.program, load.world, watch);
    let run = world.run(schedule, load.clients, load.last);
    let ran = catch_unwind(AssertUnwindSafe(|| sim.block_on_watching(run, |node| world.turned(node))));
    let mut violations = match ran {
        Ok(violations) => violations,
        Err(panic) => vec![Violation::new("Liveness", crate::judge::words(panic.as_ref()))],
    };
    violations.extend(sim.take_panics().into_iter().map(|panic| {
        Violation::new(
            "NoPanic",
            format!("{}: task {}, started at {}: {}", panic.node, panic.task, panic.started, panic.message),
        )
    }));
    violations.extend(world.invariants.violations());
    let Replayed { turns: replayed, parted } = world.faults.replayed();
    violations.extend(parted.into_iter().map(|what| Violation::new("TurnsRepeat", what)));
    let mut fired = world.faults.fired();
    fired.extend(world.invariants.marks().into_iter().map(|(mark, times)| (mark.to_owned(), times)));
    let slips = sim.slips().into_iter().map(|slip| (slip.to_string(), slip.times)).collect();
    let verdict = Verdict {
        trace_hash: sim.trace_hash(),
        events: sim.turns(),
        simulated: sim.elapsed(),
        began: *world.began.lock(),
        healed: *world.healed.lock(),
        fired,
        replayed,
        slips,
        violations,
        history: world.clients.history(),
    };
    let seen = Seen {
        nodes: sim.nodes().iter().map(|node| (node.ip(), node.name().to_owned())).collect(),
        sights: sim.sights(),
        commits: world.commits.as_ref().map_or_else(Vec::new, |commits| commits.all()),
        began: world.began_at.lock().unwrap_or_default(),
        healed: world.healed_at.lock().unwrap_or_default(),
        full: watch.sights_max,
    };
    let recording = sim.recording();
    let steps = if watch.protocol { world.steps(&sim) } else { Vec::new() };
    Ran { verdict, recording, seen, steps }
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
    settle: Duration,
    invariants: Arc<Invariants>,
    /// If somebody wants to see them.
    commits: Option<Arc<Commits>>,
    /// On the clock of the clients.
    began: Mutex<Duration>,
    healed: Mutex<Duration>,
    /// On no node's clock.
    began_at: Mutex<Option<Duration>>,
    healed_at: Mutex<Option<Duration>>,
}

impl<'a> World<'a> {
    fn new(
        sim: &'a Sim,
        schedule: &Schedule,
        program: &dyn Fn() -> Arc<dyn Program>,
        outside: Option<Arc<agents::World>>,
        watch: &Watch,
    ) -> Self {
        if let Some(outside) = &outside {
            outside.open(sim.node("outside").env());
        }
        let backend =
            if schedule.embedded { ServiceBackend::Embedded(EMBEDDED) } else { ServiceBackend::Memory };
        let service = StoreService::start(sim, "store", backend);
        let invariants = Arc::new(Invariants::new(schedule.embedded));
        let records = watch.protocol;
        let commits = (watch.sights_max > 0)
            .then(|| Arc::new(Commits::new(service.node().clone(), invariants.clone())));
        match &commits {
            Some(commits) => service.observe(commits.clone()),
            None => service.observe(invariants.clone()),
        }
        let operator = sim.node("operator");
        let clients_node = sim.node("clients");
        let server = service.clone();
        let connect: Connect = Arc::new(move |node| {
            let store = server.store(node);
            if records { store.recording() } else { store }
        });
        let machines: Vec<Machine> = (0..schedule.nodes)
            .map(|number| {
                let (name, connect, invariants) =
                    (cluster::name(number), connect.clone(), invariants.clone());
                cluster::machine(sim, name.as_str(), number, schedule, program(), connect, invariants)
            })
            .collect();
        let clients = Clients::start(&clients_node, machines.clone(), schedule);
        let twins = faults::Twins::add(sim, schedule, program, &connect, &invariants);
        for machine in machines.iter().chain(twins.all()) {
            invariants.know(&machine.node, machine.name().as_str());
        }
        let store = connect(&operator);
        let jumps =
            |fault: &Fault| matches!(fault.what, What::Machine { fault: MachineFault::WallJump { .. }, .. });
        let is_long = outside.is_some() || schedule.faults.iter().any(jumps);
        let rests = workload::rests(&schedule.operations);
        let settle = rests + if is_long || !rests.is_zero() { SETTLE_LONG } else { SETTLE };
        let faults = faults::Faults::new(
            sim,
            machines.clone(),
            twins,
            (service, connect.clone()),
            outside,
            (clients_node, operator.clone()),
        );
        Self {
            machines,
            clients,
            operator: operator.env(),
            store,
            faults,
            settle,
            invariants,
            commits,
            began: Mutex::default(),
            healed: Mutex::default(),
            began_at: Mutex::default(),
            healed_at: Mutex::default(),
        }
    }

    /// The protocol steps that were committed, as they stand in the store at the end.
    fn steps(&self, sim: &Sim) -> Vec<Step> {
        sim.block_on(self.store.protocol_steps()).expect("the store is healed and serves")
    }

    /// A task of this node has had its turn.
    fn turned(&self, node: &str) {
        if node == self.faults.service().node().name() {
            if let Some(backend) = self.faults.service().backend() {
                let operations = self.faults.service().node().disk().operations();
                self.invariants.store_turned(&*backend, operations);
            }
        } else if let Some(machine) = self.faults.machine_of(node) {
            self.invariants.turned(node, machine.process().as_deref());
        }
    }

    async fn run(&self, schedule: &Schedule, clients: Vec<(u32, Script)>, last: Script) -> Vec<Violation> {
        for (number, machine) in (0..).zip(&self.machines) {
            if !schedule.joins_late(number) {
                machine.boot();
            }
        }
        let nodes = (0..schedule.nodes).map(cluster::name).collect();
        self.operator.spawn("supervise", cluster::supervise(self.operator.clone(), self.machines.clone()));
        if !schedule.unwatched {
            self.operator.spawn("watch", cluster::watch(self.operator.clone(), self.store.clone(), nodes));
        }
        *self.began.lock() = self.clients.now();
        *self.began_at.lock() = Some(self.faults.elapsed());
        let scripts: Vec<_> = clients
            .into_iter()
            .map(|(number, script)| (number, self.start(self.clients.client(number), script)))
            .collect();
        self.faults.play(&self.operator, &schedule.faults).await;
        self.faults.heal();
        self.clients.healed(self.faults.core());
        *self.healed.lock() = self.clients.now();
        *self.healed_at.lock() = Some(self.faults.elapsed());
        let mut late = Vec::new();
        for (number, done) in scripts {
            if !self.ends(number, done).await {
                let what = format!("a call of client {number} is not answered after {LIVENESS:?}");
                late.push(Violation::new("Liveness", what));
            }
        }
        if !late.is_empty() {
            return late;
        }
        self.operator.sleep(self.settle).await;
        let done = self.start(self.clients.prober(), last);
        if !self.ends(PROBER, done).await {
            let what = format!("a last look at an actor has not ended after {LIVENESS:?}");
            late.push(Violation::new("Liveness", what));
            return late;
        }
        let core = self.faults.core();
        let left = settled::left_undone(&self.store, &core, self.operator.wall_ms());
        let found = match self.operator.timeout(LIVENESS, left).await {
            Ok(found) => found,
            Err(_) => vec![format!("the store of a healed cluster is not read within {LIVENESS:?}")],
        };
        late.extend(found.into_iter().map(|what| Violation::new("NothingLeftUndone", what)));
        late
    }

    /// Whether the calls that a client still has to make end, each in its time. A way that stays cut
    /// can take a lease term of each of them.
    async fn ends(&self, number: u32, done: impl Future) -> bool {
        let mut done = pin!(done);
        for _ in 0..LOOKS_MAX {
            if self.operator.timeout(LIVENESS, done.as_mut()).await.is_ok() {
                return true;
            }
            let asked = self.clients.waits_since(number);
            if asked.is_some_and(|asked| self.clients.now().saturating_sub(asked) >= LIVENESS) {
                return false;
            }
        }
        false
    }

    /// Starts a client's script; what it gives tells of its end.
    fn start(&self, client: Client, script: Script) -> oneshot::Receiver<()> {
        let (ended, done) = oneshot::channel();
        let env = client.env().clone();
        let work = script(client);
        env.spawn("client", async move {
            work.await;
            // Nobody waits any more when the run has given up.
            let _ = ended.send(());
        });
        done
    }
}
