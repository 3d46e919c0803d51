//! An actor moves to another node, with what waits for it: `specs/KelpieMigration.tla`.
//!
//! When turns may begin and what is forwarded is decided by `migration`, whose the actor becomes
//! by `ownership`, what becomes of a call by the activation of `turn`.

use std::collections::BTreeSet;

use kelpie_core::id::{Boot, Epoch, Incarnation, NodeId};
use kelpie_core::migration::Migration;
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::turn::Activation;
use stateright::{Model, Property};

mod step;

/// A node: the source, or the target.
pub type Node = usize;
/// The node that has the actor first.
pub const SOURCE: Node = 0;
/// The node that it is given to.
pub const TARGET: Node = 1;
/// A key, by its number: one turn.
pub type Key = usize;

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub struct Moves {
    /// How many calls, each with a key of its own.
    pub keys: usize,
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
    own: Own,
    seq: u64,
    /// The turns that were committed, in their order.
    log: Vec<Key>,
    activations: [Option<Held>; 2],
    /// Calls that wait at a node.
    boxes: [BTreeSet<Key>; 2],
    moving: Option<Moving>,
    /// Commits of a migration that may still land, by the record that they read.
    late: Vec<Own>,
    /// Forwarded calls on their way.
    sent: BTreeSet<Key>,
    calls: Vec<Call>,
    /// A turn has begun where and when none may.
    ran: bool,
    faults: u32,
}

/// An activation, the record and the sequence that it was loaded under, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    machine: Activation,
    own: Own,
    seq: u64,
    runs: Option<Key>,
}

/// A migration under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Moving {
    machine: Migration,
    /// The record that is given away.
    held: Own,
    /// Whether it lets turns begin.
    lets_begin: bool,
    /// Whether it waits for an answer of the store.
    commits: bool,
}

/// What a caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    New,
    Waiting,
    Acked,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A caller asks a node.
    Called(Node, Key),
    /// The connection is lost: its caller asks again. The call goes on.
    AnswerLost(Key),
    /// A node that does not have the actor sends a call on.
    Redirected(Node, Key),
    /// The actor is loaded.
    Loaded(Node),
    /// A call has its reply already.
    Known(Node, Key),
    /// A turn begins.
    TurnBegan(Node, Key),
    /// Its commit is in.
    Committed(Node),
    /// It is refused, and its activation goes.
    Conflicted(Node),
    /// The source is to give the actor away.
    Asked,
    /// No turn runs there any more.
    TurnEnded,
    /// The store answers its commit.
    Answered,
    /// Or the answer is lost.
    Unknown,
    /// A commit lands whose answer was lost, by its place among those.
    LateLanded(usize),
    /// Nobody wants it any more.
    Cancelled,
    /// A forwarded call arrives.
    Arrived(Key),
    /// A process dies, and the other node claims the actor.
    Crashed(Node),
}

impl Model for Moves {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            own: owned(SOURCE, 1),
            seq: 0,
            log: vec![],
            activations: [None, None],
            boxes: [BTreeSet::new(), BTreeSet::new()],
            moving: None,
            late: vec![],
            sent: BTreeSet::new(),
            calls: vec![Call::New; self.keys],
            ran: false,
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for node in [SOURCE, TARGET] {
            actions.extend([
                Action::Loaded(node),
                Action::Committed(node),
                Action::Conflicted(node),
                Action::Crashed(node),
            ]);
            for key in 0..self.keys {
                actions.extend([
                    Action::Called(node, key),
                    Action::Redirected(node, key),
                    Action::Known(node, key),
                    Action::TurnBegan(node, key),
                ]);
            }
        }
        for key in 0..self.keys {
            actions.extend([Action::AnswerLost(key), Action::Arrived(key)]);
        }
        actions.extend((0..world.late.len()).map(Action::LateLanded));
        actions.extend([
            Action::Asked,
            Action::TurnEnded,
            Action::Answered,
            Action::Unknown,
            Action::Cancelled,
        ]);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        #[cfg(feature = "mutants")]
        let _armed = self.mutant.map(kelpie_core::mutant::arm);
        let mut next = world.clone();
        next.take(self, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("MigrationAtomicity", |_, world: &World| world.one_node_runs_turns()),
            Property::always("NoLostMessage", |_, world: &World| world.no_call_is_lost()),
            Property::always("OneEffect", |_, world: &World| {
                world.log.iter().enumerate().all(|(place, key)| !world.log[..place].contains(key))
            }),
        ]
    }
}

/// A process, as it knows itself. (Neither ever comes back as another one.)
fn process(node: Node) -> Myself {
    Myself {
        node: NodeId::new(&format!("n{node}")).expect("a short name"),
        incarnation: Incarnation(1),
        boot: Boot(node as u128 + 1),
    }
}

/// The record under which a process has the actor.
fn owned(node: Node, epoch: u64) -> Own {
    let Myself { node, incarnation, boot } = process(node);
    Own { node, incarnation, boot, epoch: Epoch(epoch) }
}

/// The node that a record names.
fn number(own: &Own) -> Node {
    if process(SOURCE).owns(own) { SOURCE } else { TARGET }
}
