//! What decides one run, as data: replayed, it gives the same run.

mod draw;
mod placing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::agents::WorldFaults;
use crate::service::StoreFaults;

pub use draw::{Draw, FaultKinds, draw_churn, draw_faults};
pub(crate) use placing::rack;
pub use placing::{Placing, Wishes};

/// Everything that decides one run. Written to a file it can be replayed, and taken apart to
/// find the smallest part that still fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Which workload, by its name.
    pub scenario: String,
    /// Decides what the world decides: the order of ready tasks, delays, the fate of unsynced
    /// writes.
    pub seed: u64,
    /// Machines that run actors.
    pub nodes: u32,
    /// How they know each other.
    #[serde(default)]
    pub peers: Peers,
    /// How many actors each takes into memory, if that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Whether clients ask only machines that are ready, as behind a balancer that looks; else
    /// any machine.
    #[serde(default)]
    pub balanced: bool,
    /// How they place actors.
    #[serde(default, skip_serializing_if = "Placing::is_plain")]
    pub placing: Placing,
    /// Machines whose first process is of the build before that of all others; whoever starts them
    /// again has replaced it by then. If there are none, all are of this build.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub old_builds: BTreeSet<u32>,
    /// Whether the nodes alone say who is dead: no operator ends the session of whoever seems to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwatched: bool,
    /// Whether the store keeps its rows in the embedded engine on its own disk; else in
    /// memory that outlives it.
    pub embedded: bool,
    /// What clients ask, each client's in its order.
    pub operations: Vec<Operation>,
    /// What the environment does to the cluster.
    pub faults: Vec<Fault>,
    /// The seeded bug that was armed, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
}

impl Schedule {
    /// Whether nothing goes wrong but that machines go in order and actors are moved, which clients
    /// that look whom they ask are not to notice: there is always a machine that nobody asked to go.
    pub fn is_orderly(&self) -> bool {
        let in_order = |fault: &Fault| match &fault.what {
            What::RollingRestart => true,
            What::Machine { fault, .. } => matches!(
                fault,
                MachineFault::Drain
                    | MachineFault::ToldToDrain
                    | MachineFault::JoinsLate
                    | MachineFault::Migrate { crash: None, .. }
            ),
            What::Block { .. }
            | What::Isolate { .. }
            | What::CutOff { .. }
            | What::CutWay { .. }
            | What::Swizzle { .. }
            | What::Link { .. }
            | What::Store { .. }
            | What::World { .. }
            | What::StoreCrash { .. }
            | What::StorePause
            | What::StoreDisk { .. } => false,
        };
        let alone = self.nodes == 1 || self.peers == Peers::Alone;
        let one_stays = usize::try_from(self.nodes).is_ok_and(|nodes| self.asked_to_go() < nodes);
        self.balanced && !alone && self.capacity.is_none() && one_stays && self.faults.iter().all(in_order)
    }

    /// Whether there is no process on this machine at first.
    pub fn joins_late(&self, machine: u32) -> bool {
        let late = |fault: &Fault| matches!(fault.what, What::Machine { node, fault: MachineFault::JoinsLate } if node == machine);
        self.faults.iter().any(late)
    }

    /// How many machines may be away at one time because they were asked to go, or have not come yet.
    fn asked_to_go(&self) -> usize {
        let mut drained = BTreeSet::new();
        for fault in &self.faults {
            if let What::Machine {
                node,
                fault: MachineFault::Drain | MachineFault::ToldToDrain | MachineFault::JoinsLate,
            } = &fault.what
            {
                drained.insert(*node);
            }
        }
        let rolling = self.faults.iter().any(|fault| matches!(fault.what, What::RollingRestart));
        drained.len() + usize::from(rolling)
    }
}

/// How the nodes of a cluster know each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// Not at all: each serves alone, and what it owns nobody else can ask for.
    #[default]
    Alone,
    /// By a secret. Nodes that go without one have to be on one machine, which simulated ones are
    /// not.
    Secret,
}

/// One call of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which client; it makes one call at a time.
    pub client: u32,
    /// Milliseconds that it waits before it calls.
    pub after_ms: u64,
    /// The actor's type and key.
    pub actor: (String, String),
    /// The operation's name.
    pub operation: String,
    /// Its payload, as text so that a schedule can be read.
    pub payload: String,
}

/// Something that goes wrong, from an instant on and for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds of virtual time since the clients began.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
    /// What it is.
    pub what: What,
}

/// The kinds of faults. Machines are numbered from zero; `from` and `to` are places on the
/// network: a machine's number, [`STORE`] or [`CLIENTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum What {
    /// Something happens to the process or the machine of number `node`.
    Machine {
        /// Which.
        node: u32,
        /// What.
        #[serde(flatten)]
        fault: MachineFault,
    },
    /// Nothing gets through from one place to another.
    Block {
        /// Where it comes from.
        from: u32,
        /// Where it does not arrive.
        to: u32,
        /// Whether nothing comes back either.
        both: bool,
        /// If not zero: it goes down and up again, each for so many milliseconds.
        every_ms: u64,
    },
    /// A machine reaches nobody and nobody reaches it.
    Isolate {
        /// Which.
        node: u32,
    },
    /// A machine reaches nobody and nobody reaches it, and so it stays: what is healed in the
    /// end is the cluster without it. Only as long as another machine is left.
    CutOff {
        /// Which.
        node: u32,
    },
    /// Nothing gets through from one machine to another, and so it stays: the healed cluster has to
    /// do without that way.
    CutWay {
        /// Where it comes from.
        from: u32,
        /// Where it does not arrive.
        to: u32,
    },
    /// Machines are drained and started again, one after the other, each once the one before is
    /// ready.
    RollingRestart,
    /// Ways are clogged one after the other, and opened one after the other in another order.
    Swizzle {
        /// From where to where, in the order in which they are clogged.
        ways: Vec<(u32, u32)>,
        /// Their indices, in the order in which they are opened.
        order: Vec<u32>,
    },
    /// What gets through from one place to another suffers.
    Link {
        /// Where it comes from.
        from: u32,
        /// Where it goes.
        to: u32,
        /// What it suffers.
        #[serde(flatten)]
        fault: LinkFault,
    },
    /// The store serves badly.
    Store {
        /// How.
        faults: StoreFaults,
    },
    /// Models and tools serve badly.
    World {
        /// How.
        faults: WorldFaults,
    },
    /// The server of the store goes down and comes back.
    StoreCrash {
        /// Whether it loses what was not synced.
        power: bool,
    },
    /// The server of the store stands still.
    StorePause,
    /// The disk of the store misbehaves in a way that a correct store survives.
    StoreDisk {
        /// How.
        #[serde(flatten)]
        fault: DiskFault,
    },
}

/// What can happen to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum MachineFault {
    /// It loses its power and comes back after the time.
    PowerCut,
    /// Its process is killed and started again after the time.
    Kill,
    /// Its process dies again and again.
    CrashLoop {
        /// Milliseconds of each life.
        every_ms: u64,
    },
    /// Its process stands still, as by SIGSTOP or a long pause of its virtual machine.
    Pause,
    /// Its process is asked to go while calls are on their way, and started again after the
    /// time.
    Drain,
    /// Its operator tells it to drain, by its session in the store; it is started again when it
    /// has.
    ToldToDrain,
    /// Its operator ends its session; its process finds out, ends and is started again.
    Evicted,
    /// Actors that it has in memory are moved to other machines, one after the other.
    Migrate {
        /// Milliseconds between two of them.
        every_ms: u64,
        /// The number of the first of them.
        actor: u32,
        /// The machine to which the first one goes.
        to: u32,
        /// The machine that is asked to do it.
        through: u32,
        /// Who dies meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crash: Option<MigrationCrash>,
    },
    /// It joins only now: until then there was no process on it.
    JoinsLate,
    /// A second process is started under its name.
    Twin,
    /// Its wall clock jumps, and is set right after the time.
    WallJump {
        /// Milliseconds forward, or back.
        by_ms: i64,
    },
    /// Its clocks run fast or slow.
    Drift {
        /// Millionths.
        ppm: i32,
    },
    /// Its wall clock stands.
    Freeze,
    /// Its clocks go on in steps.
    Coarse {
        /// Milliseconds of a step.
        step_ms: u64,
    },
    /// Its timers miss their instant.
    Timers {
        /// In millionths of the time slept: early if negative.
        ppm: i32,
        /// In milliseconds on top.
        offset_ms: i32,
    },
    /// Some calls of clients find a panic in the handler of their actor, at its begin or at its end.
    Panics {
        /// How many, in millionths.
        ppm: u32,
    },
    /// Each turn of its tasks takes long.
    Slow {
        /// Microseconds of a turn, at most.
        turn_us: u64,
    },
}

/// One of the two machines between which an actor moves dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationCrash {
    /// The one that it leaves; else the one that it goes to.
    pub source: bool,
    /// Microseconds after the move was asked for.
    pub after_us: u64,
}

/// What the disk of an embedded store can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum DiskFault {
    /// Some fsyncs fail, in millionths; a later one succeeds.
    SyncError {
        /// How many.
        ppm: u32,
    },
    /// Some writes fail.
    WriteError {
        /// How many, in millionths.
        ppm: u32,
    },
    /// There is room for so many bytes more.
    Full {
        /// How many.
        bytes: u64,
    },
    /// Each operation takes long.
    Slow {
        /// Milliseconds, at most.
        max_ms: u64,
    },
}

/// What a link can do to what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum LinkFault {
    /// It loses some, in millionths.
    Drop {
        /// How many.
        ppm: u32,
    },
    /// It delivers some twice.
    Duplicate {
        /// How many, in millionths.
        ppm: u32,
    },
    /// It delivers copies of some long after.
    Replay {
        /// How many, in millionths.
        ppm: u32,
        /// How long after, at most.
        after_ms: u64,
    },
    /// It holds some up so that others overtake them.
    Reorder {
        /// How many, in millionths.
        ppm: u32,
        /// For how long at most.
        max_ms: u64,
    },
    /// It takes longer.
    Delay {
        /// By how much.
        ms: u64,
    },
    /// It rarely takes much longer.
    Tail {
        /// How often, in millionths.
        ppm: u32,
        /// By how much at most.
        max_ms: u64,
    },
    /// It flips a bit in some.
    FlipBit {
        /// How many, in millionths.
        ppm: u32,
    },
    /// It cuts the end off some.
    Truncate {
        /// How many, in millionths.
        ppm: u32,
    },
    /// It carries only so much, and loses what does not fit into its queue.
    Narrow {
        /// Bytes in a second.
        bytes_per_second: u64,
        /// Bytes that may wait.
        queue_bytes: u64,
    },
    /// It breaks connections off in the midst of what they carry.
    Reset {
        /// How often, in millionths of what a connection sends.
        ppm: u32,
    },
    /// It holds everything back, and delivers it in the end.
    Clog,
}

/// The place of the store on the network.
pub const STORE: u32 = u32::MAX;
/// The place of all clients on the network.
pub const CLIENTS: u32 = u32::MAX - 1;

/// Faults that whole clusters do not meet, and why.
pub const NOT_DRAWN: &[(&str, &str)] = &[
    ("bit-rot", "no store keeps what its disk has lost: that it is noticed is tested on the store alone"),
    (
        "lying-fsync",
        "no store keeps what its disk has lost: tests of the store lie to it, and see what is missing",
    ),
    ("misdirected-read", "damage: that it is noticed is tested on the store alone"),
    ("misdirected-write", "damage: that it is noticed is tested on the store alone"),
    ("read-error", "damage: that it is made again is tested on the store alone"),
    (
        "stale-read",
        "not noticed: the check of an old page is right, and nothing in it says when it was written",
    ),
    ("late-expiry-notice", "nothing in a cluster watches keys: nodes read the sessions anew"),
    ("lost-notice", "nothing in a cluster watches keys: nodes read the sessions anew"),
    ("rename-not-durable", "needs a power cut at one operation: tried at each of them on the store alone"),
    ("store-overloaded", "these clusters rarely ask for so much at once, and no batch can be held to it"),
    ("restart-with-empty-disk", "nodes of a cluster keep nothing on their disks: all is in the store"),
    ("restart-with-old-disk", "nodes of a cluster keep nothing on their disks: all is in the store"),
    ("allocation-limit", "not simulated: who asks for too much memory is killed, as by `process-kill`"),
    (
        "checkpoint-crash",
        "waits for snapshots of virtual machines; at the store's own checkpoints the power is cut in its tests",
    ),
    ("embedding-failure", "meaning is a table in the process: nothing is asked that could fail"),
    ("mcp-server-crash", "waits for MCP servers"),
    ("mcp-slow-start", "waits for MCP servers"),
    ("sandbox-boot-failure", "waits for sandboxes"),
    ("sandbox-crash", "waits for sandboxes"),
    ("sandbox-exec-time-out", "waits for sandboxes"),
    ("sandbox-pool-exhausted", "waits for sandboxes"),
    ("snapshot-corrupt", "waits for snapshots of virtual machines"),
    ("snapshot-too-large", "waits for snapshots of virtual machines"),
    ("snapshot-wrong-architecture", "waits for snapshots of virtual machines"),
];

/// The names of all faults that the environment, the store, models, tools and operators can commit;
/// each is counted when it has an effect.
pub fn fault_names() -> Vec<&'static str> {
    let own = [
        crate::service::STORE_FAULTS,
        crate::run::HAND_FAULTS,
        crate::agents::AGENT_FAULTS,
        crate::marks::VERSION_FAULTS,
    ];
    let mut names = [&own.concat(), kelpie_env::sim::FAULTS].concat();
    names.sort_unstable();
    names.dedup();
    names
}
