//! Explorations of the models, beside what TLC counts of their specifications.

mod agent_turn;
mod log;
mod migration;
mod registry;
mod single_activation;

/// The number of distinct states that a config of `specs/` records; `cargo xtask specs` holds TLC to
/// it.
fn recorded(config: &str) -> usize {
    let header = config.lines().find_map(|line| line.strip_prefix("\\* states: "));
    let states = header.map(|states| states.replace('_', "")).expect("a good config records its states");
    states.parse().expect("a number of states")
}

/// A seeded bug, armed while a model is explored, has to violate the property that it is named with.
#[cfg(feature = "mutants")]
fn caught<M>(bugs: &[(&'static str, &'static str)], model: impl Fn(&'static str) -> M)
where
    M: stateright::Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    for (mutant, property) in bugs {
        let steps = kelpie_models::violate(model(mutant), property);
        assert!(steps.is_some(), "`{mutant}` does not violate {property}");
    }
}
