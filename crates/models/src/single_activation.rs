//! One actor on nodes whose sessions may end at any moment: `specs/KelpieSingleActivation.tla`.
//!
//! Who may claim is decided by `ownership`, how a session ends and goes on by `session`, and
//! who is answered what by the activation of `turn`. The store, the wire and the callers are the
//! model's. Each action has the name that it has in the specification.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use kelpie_core::id::{Boot, Incarnation};
use kelpie_core::ownership::Own;
use kelpie_core::session::{Protocols, Session, SessionState};
use kelpie_core::turn::Activation;
use stateright::{Model, Property};

mod abs;
mod step;

pub use abs::Abs;

/// A node, by its number.
pub type Node = usize;
/// A key, by its number: one turn.
pub type Key = usize;

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub struct SingleActivation {
    /// How many nodes.
    pub nodes: usize,
    /// How many keys, one turn each.
    pub keys: usize,
    /// Bounds the claims.
    pub epoch_max: u64,
    /// Bounds the lives of a node.
    pub incarnation_max: u64,
    /// Bounds drops and lost answers.
    pub faults_max: u32,
    /// Whether there is a read.
    pub reading: bool,
    /// The seeded bug that is armed.
    pub mutant: Option<&'static str>,
    /// The states as the specification sees them.
    pub seen: Arc<Mutex<HashSet<Abs>>>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    sessions: Vec<Session>,
    my: Vec<Incarnation>,
    store: Store,
    claims: Vec<Option<Claiming>>,
    activations: Vec<Option<Held>>,
    wire: Vec<Commit>,
    calls: Vec<Call>,
    read: Read,
    wrong: BTreeSet<&'static str>,
    faults: u32,
}

/// The actor's rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Store {
    own: Option<Own>,
    seq: u64,
    log: Vec<Key>,
    replies: Vec<Option<u64>>,
    done: Vec<u64>,
}

/// A claim under way: what its transaction has read, and what it will write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Claiming {
    own: Option<Own>,
    mine: Session,
    holder: Option<Session>,
    take: Own,
}

/// An activation, and what its shell holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    machine: Activation,
    own: Own,
    seq: u64,
    state: Vec<Key>,
    /// The commit that was sent and has not ended.
    sent: Option<Sent>,
    /// Tells a commit from an earlier one that looks the same.
    nth: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sent {
    key: Key,
    /// Whether its answer was lost.
    unknown: bool,
}

/// A commit on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    node: Node,
    own: Own,
    seq: u64,
    key: Key,
    state: Vec<Key>,
    nth: u32,
}

/// What a caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    /// Nobody was asked yet, or it has to be asked again.
    New,
    /// It was asked there.
    Waiting(Node),
    /// With this reply.
    Acked(u64),
    /// It was told there that nothing has happened.
    Denied(Node),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Read {
    phase: ReadPhase,
    at: Option<Node>,
    /// What was acknowledged before it was asked.
    floor: u64,
    computed: Option<(Own, u64, Vec<Key>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ReadPhase {
    None,
    Asked,
    Computed,
    Answered,
}

/// The process on a node: there is only one, which lives on.
fn boot(node: Node) -> Boot {
    Boot(node as u128 + 1)
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A session is declared dead.
    Declared(Node),
    /// Its process goes on as the next incarnation.
    Rejoined(Node),
    /// The actor is loaded under the record that names this life.
    Loaded(Node),
    /// A claim has read what it reads.
    ClaimBegun(Node),
    /// And commits.
    ClaimLanded(Node),
    /// Or is refused by the store.
    ClaimConflicted(Node),
    /// A caller asks.
    Called(Node, Key),
    /// It has its reply already.
    DedupHit(Node, Key),
    /// Its handler has run and the commit is on its way.
    TurnRan(Node, Key),
    /// A commit is in.
    Landed(Commit),
    /// A commit is refused.
    Conflicted(Commit),
    /// The answer of a commit is lost.
    Unknown(Node),
    /// A lost commit is settled by its own node.
    Settled(Node),
    /// A lost commit is settled by another one's claim.
    Moved(Node),
    /// An activation ends in the middle.
    Dropped(Node),
    /// A read is asked for.
    ReadAsked(Node),
    /// Its answer is there.
    ReadComputed,
    /// And leaves, or not.
    ReadChecked,
}

impl Model for SingleActivation {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let session = |node| Session {
            incarnation: Incarnation(1),
            boot: boot(node),
            state: SessionState::Active,
            address: String::new(),
            version: String::new(),
            labels: BTreeSet::new(),
            capacity: None,
            protocols: Protocols::default(),
            lease_ms: 3_000,
        };
        vec![World {
            sessions: (0..self.nodes).map(session).collect(),
            my: vec![Incarnation(1); self.nodes],
            store: Store {
                own: None,
                seq: 0,
                log: vec![],
                replies: vec![None; self.keys],
                done: vec![0; self.keys],
            },
            claims: vec![None; self.nodes],
            activations: vec![None; self.nodes],
            wire: vec![],
            calls: vec![Call::New; self.keys],
            read: Read { phase: ReadPhase::None, at: None, floor: 0, computed: None },
            wrong: BTreeSet::new(),
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for node in 0..self.nodes {
            actions.extend([
                Action::Declared(node),
                Action::Rejoined(node),
                Action::Loaded(node),
                Action::ClaimBegun(node),
                Action::ClaimLanded(node),
                Action::ClaimConflicted(node),
                Action::Unknown(node),
                Action::Settled(node),
                Action::Moved(node),
                Action::Dropped(node),
                Action::ReadAsked(node),
            ]);
            for key in 0..self.keys {
                actions.extend([
                    Action::Called(node, key),
                    Action::DedupHit(node, key),
                    Action::TurnRan(node, key),
                ]);
            }
        }
        for commit in &world.wire {
            actions.extend([Action::Landed(commit.clone()), Action::Conflicted(commit.clone())]);
        }
        actions.extend([Action::ReadComputed, Action::ReadChecked]);
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
            Property::always("SingleActivation", |_, world: &World| world.activations_that_can_commit() <= 1),
            Property::always("PlacementConsistency", |_, world: &World| right("PlacementConsistency", world)),
            Property::always("NoStillbornClaim", |_, world: &World| right("NoStillbornClaim", world)),
            Property::always("LeaseValidityIfActive", |_, world: &World| {
                right("LeaseValidityIfActive", world)
            }),
            Property::always("Chain", |_, world: &World| right("Chain", world)),
            Property::always("ReadsOk", |_, world: &World| right("ReadsOk", world)),
            Property::always("AtMostOnce", |_, world: &World| world.store.done.iter().all(|done| *done <= 1)),
            Property::always("DenialsHold", |_, world: &World| world.denials_hold()),
            Property::always("AckedKept", |_, world: &World| world.acked_is_kept()),
            Property::always("counted", |model: &Self, world: &World| {
                model.seen.lock().expect("no thread panics with the lock").insert(Abs::of(world));
                true
            }),
        ]
    }
}
