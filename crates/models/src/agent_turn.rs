//! A run of an agent, and what its owner carries out: `specs/KelpieAgentTurn.tla`.
//!
//! What a run becomes, and what is carried out after each commit, is decided by `run`. What is
//! under way, whether tools have acted, and what people do is the model's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use kelpie_core::run::{Owed, Run};
use stateright::{Model, Property};

mod abs;
mod step;

pub use abs::Abs;

/// A call: its step, and its place in the answer.
pub type Id = (u32, usize);

/// What an answer may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It is done within the turn.
    Done,
    /// The same, and asks for a pause.
    Pauses,
    /// Its tool knows keys.
    Idempotent,
    /// Its tool knows no keys.
    Plain,
    /// The same, after somebody has approved it.
    Asks,
    /// After somebody has approved it, and its tool knows keys.
    AsksIdempotent,
}

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub struct AgentTurn {
    /// Answers of the model.
    pub steps_max: u32,
    /// What an answer may call.
    pub answers: &'static [&'static [Kind]],
    /// Bounds crashes, doubled results and what people do.
    pub faults_max: u32,
    /// The seeded bug that is armed.
    pub mutant: Option<&'static str>,
    /// The states as the specification sees them.
    pub seen: Arc<Mutex<HashSet<Abs>>>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    run: Run,
    /// Whether a wake-up is due some time.
    wake: bool,
    /// Results in the history.
    closed: BTreeMap<Id, u32>,
    /// The calls in the history.
    made: BTreeMap<Id, Kind>,
    approved: BTreeSet<Id>,
    /// What the process carries out, and whether its tool has acted.
    flight: BTreeMap<Owed, bool>,
    /// How often calls acted; each key once where the tool knows keys.
    outside: BTreeMap<Id, u32>,
    /// Calls that somebody was told were decided.
    told: BTreeSet<Id>,
    wrong: BTreeSet<&'static str>,
    faults: u32,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The run's turn has come.
    Began,
    /// The model answers, in one of its ways.
    ModelAnswered(Owed, usize),
    /// The model gives no answer.
    ModelFailed(Owed),
    /// A tool acts.
    Acted(Owed),
    /// A tool returns: whether it succeeded, and whether that comes once more later.
    ToolReturned(Owed, bool, bool),
    /// Somebody decides about all calls that wait for it.
    Decided(bool),
    /// A question does not fit.
    Overflowed(Owed),
    /// A summary is there.
    Summarized(Owed),
    /// Somebody speaks to the agent.
    Spoken,
    /// Somebody wants the run to end.
    Cancelled,
    /// The wake-up comes; whether the time for a decision, or of a pause, is over.
    Woken(bool),
    /// The process dies.
    Crashed,
}

impl Model for AgentTurn {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            run: Run::new(self.steps_max),
            wake: true,
            closed: BTreeMap::new(),
            made: BTreeMap::new(),
            approved: BTreeSet::new(),
            flight: BTreeMap::new(),
            outside: BTreeMap::new(),
            told: BTreeSet::new(),
            wrong: BTreeSet::new(),
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend([Action::Began, Action::Spoken, Action::Cancelled, Action::Crashed]);
        for either in [false, true] {
            actions.extend([Action::Decided(either), Action::Woken(either)]);
        }
        for owed in world.flight.keys().copied() {
            actions.extend((0..self.answers.len()).map(|answer| Action::ModelAnswered(owed, answer)));
            actions.extend([
                Action::ModelFailed(owed),
                Action::Acted(owed),
                Action::Overflowed(owed),
                Action::Summarized(owed),
            ]);
            for again in [false, true] {
                actions.extend([true, false].map(|ok| Action::ToolReturned(owed, ok, again)));
            }
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
            Property::always("NoRepeatedEffect", |_, world: &World| {
                world.outside.values().all(|times| *times <= 1)
            }),
            Property::always("EffectAfterRecord", |_, world: &World| right("EffectAfterRecord", world)),
            Property::always("ApprovedOnly", |_, world: &World| right("ApprovedOnly", world)),
            Property::always("NoOrphanCall", |_, world: &World| world.calls_have_their_results()),
            Property::always("DecisionKept", |_, world: &World| world.decisions_are_kept()),
            Property::always("OwedWake", |_, world: &World| world.run.finished().is_some() || world.wake),
            Property::always("counted", |model: &Self, world: &World| {
                model.seen.lock().expect("no thread panics with the lock").insert(Abs::of(world));
                true
            }),
        ]
    }
}
