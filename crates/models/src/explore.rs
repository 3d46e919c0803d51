//! Going through all states of a model.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model, Path};

/// Half of the machines that tests run on have no more.
const THREADS: usize = 2;

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored {
    /// Distinct states of the model.
    pub states: usize,
    /// The property that was violated first, if one was, with the steps that led there.
    pub violated: Option<(&'static str, String)>,
}

/// Goes through all states, or until a property is violated.
pub fn explore<M>(model: M) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let until = HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(THREADS).finish_when(until).spawn_bfs().join();
    let violated = checker.discoveries().into_iter().next().map(|(name, path)| (name, steps(path)));
    Explored { states: checker.unique_state_count(), violated }
}

/// Goes on until this property is violated. The steps that led there; nothing, if all states have
/// been seen and it holds in each.
pub fn violate<M>(model: M, property: &'static str) -> Option<String>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let until = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(THREADS).finish_when(until).spawn_bfs().join();
    checker.discovery(property).map(steps)
}

fn steps<S, A>(path: Path<S, A>) -> String
where
    S: Clone + Debug + PartialEq + Hash,
    A: Clone + Debug + PartialEq,
{
    path.into_actions().into_iter().map(|action| format!("{action:?}\n")).collect()
}
