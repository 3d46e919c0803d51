//! Sessions and ownership: `specs/KelpieRegistry.tla`.
//!
//! Who may join, renew, go on, declare dead, claim and give away is decided by `session` and
//! `ownership`, in transactions that read what the shells in `registry` read. A commit lands if
//! nothing of that has changed; its answer can get lost, and its process can die before it lands.

use std::collections::BTreeSet;

use kelpie_core::id::{Boot, NodeId};
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::session::{Beat, Holder, Lease, Session};
use stateright::{Model, Property};

mod commit;
mod step;

/// A process, by its number.
pub type Process = usize;
/// The name of a node, by its number.
pub type Name = usize;

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The name that each process joins under.
    pub names: Vec<Name>,
    /// Renewals of a process.
    pub beats_max: u64,
    /// Bounds the claims.
    pub epoch_max: u64,
    /// Bounds crashes and lost answers.
    pub faults_max: u32,
    /// The seeded bug that is armed.
    pub mutant: Option<&'static str>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    rows: Rows,
    processes: Vec<Standing>,
    /// Processes whose session another has taken the place of.
    ended: BTreeSet<Process>,
    wrong: BTreeSet<&'static str>,
    faults: u32,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rows {
    sessions: Vec<Option<Session>>,
    leases: Vec<Option<Lease>>,
    own: Option<Own>,
}

/// The name of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Session(Name),
    Lease(Name),
    Own,
}

/// What stands in a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Value {
    Session(Option<Session>),
    Lease(Option<Lease>),
    Own(Option<Own>),
}

/// A process, and what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Standing {
    phase: Phase,
    holder: Option<Holder>,
    beat: u64,
    /// The beat that it has seen standing still since its last transaction.
    watched: Option<(Name, Beat)>,
    tx: Option<Tx>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Joining,
    Active,
    Draining,
    Gone,
}

/// A commit under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Tx {
    kind: Kind,
    reads: Vec<(Row, Value)>,
    writes: Vec<(Row, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Join(Holder),
    Rejoin(Holder),
    Renew,
    Drain,
    Leave,
    Declare(Name, Beat),
    Claim,
    Migrate,
    Settle,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A process asks for its name, or finds that it has it.
    Join(Process),
    /// It renews, and finds out what its session has become.
    Renew(Process),
    /// It stops claiming.
    Drain(Process),
    /// It goes.
    Leave(Process),
    /// It reads a beat; whether that stands still shows later.
    Watch(Process, Name),
    /// It has what it watched declared dead.
    Declare(Process),
    /// It claims the actor.
    Claim(Process),
    /// It gives the actor to another one.
    Migrate(Process, Process),
    /// It claims the actor from itself.
    Settle(Process),
    /// What it has under way commits.
    Committed(Process),
    /// It commits, and nobody hears of it.
    AnswerLost(Process),
    /// It is refused by the store.
    Conflicted(Process),
    /// The process dies; what is on its way may still land.
    Crashed(Process),
}

impl Model for Registry {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let names = self.names.iter().max().map_or(0, |last| last + 1);
        let rows = Rows { sessions: vec![None; names], leases: vec![None; names], own: None };
        let standing = Standing { phase: Phase::Joining, holder: None, beat: 0, watched: None, tx: None };
        let processes = vec![standing; self.names.len()];
        vec![World { rows, processes, ended: BTreeSet::new(), wrong: BTreeSet::new(), faults: 0 }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for process in 0..self.names.len() {
            actions.extend([
                Action::Join(process),
                Action::Renew(process),
                Action::Drain(process),
                Action::Leave(process),
                Action::Declare(process),
                Action::Claim(process),
                Action::Settle(process),
                Action::Committed(process),
                Action::AnswerLost(process),
                Action::Conflicted(process),
                Action::Crashed(process),
            ]);
            actions.extend((0..world.rows.sessions.len()).map(|name| Action::Watch(process, name)));
            actions.extend((0..self.names.len()).map(|other| Action::Migrate(process, other)));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        #[cfg(feature = "mutants")]
        let _armed = self.mutant.map(kelpie_core::mutant::arm);
        let mut next = world.clone();
        next.take(self, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn right(name: &'static str, world: &World) -> bool {
            !world.wrong.contains(name)
        }
        vec![
            Property::always("UniqueIncarnation", |model: &Self, world: &World| {
                world.incarnations_are_unique(model)
            }),
            Property::always("HeartbeatStatusSync", |_, world: &World| {
                right("HeartbeatStatusSync", world) && world.leases_are_of_their_sessions()
            }),
            Property::always("DeadIsFinal", |_, world: &World| right("DeadIsFinal", world)),
            Property::always("NoDuel", |_, world: &World| right("NoDuel", world)),
            Property::always("OneWins", |_, world: &World| right("OneWins", world)),
            Property::always("OwnSessionOnly", |_, world: &World| right("OwnSessionOnly", world)),
            Property::always("PlacementConsistency", |_, world: &World| right("PlacementConsistency", world)),
            Property::always("NoStillbornClaim", |_, world: &World| right("NoStillbornClaim", world)),
            Property::always("LeaseExclusivity", |_, world: &World| right("LeaseExclusivity", world)),
        ]
    }
}

/// Each process is a boot.
fn boot(process: Process) -> Boot {
    Boot(process as u128 + 1)
}

fn node(name: Name) -> NodeId {
    NodeId::new(&format!("n{name}")).expect("a short name")
}

/// The name that a record names.
fn name_of(own: &Own) -> Name {
    own.node.as_str()[1..].parse().expect("a node's name is its number")
}

impl Registry {
    /// A process as it knows itself.
    fn myself(&self, process: Process, holder: &Holder) -> Myself {
        let node = node(self.names[process]);
        Myself { node, incarnation: holder.incarnation, boot: holder.boot }
    }
}
