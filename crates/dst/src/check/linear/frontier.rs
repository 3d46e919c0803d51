//! The search in breadth: every configuration that is possible at once, from one return to
//! the next.
//!
//! ```text
//!   front ──▶ return of d ──▶ in each of them: place others, and d behind them ──▶ next front
//! ```
//!
//! An operation is placed only where a return demands it: right before the operation that
//! returns, behind others that are needed for that. Of two configurations with the same state
//! in which the same operations were placed before their return, the one that has used fewer
//! of those that need not be placed can do all that the other can, and the other is dropped.
//! So an operation with an unknown outcome costs little while nobody has seen its effect,
//! where the search in depth would try all sets of them before it gives up. At first few of
//! them are placed before each return: there mostly is an order with few.

use std::collections::HashMap;

use super::super::spec::Specification;
use super::search::{Demand, FixedHash, Item, REACHED_MAX, Searched, Stuck, twins};

/// Steps of orders that are kept for each configuration that may be.
const STEPS_PER_CONFIGURATION: usize = 64;

/// Operations placed one after the other, each behind another step.
struct Steps(Vec<(usize, Option<usize>)>);

impl Steps {
    fn add(&mut self, item: usize, behind: Option<usize>) -> usize {
        self.0.push((item, behind));
        self.0.len() - 1
    }

    fn order(&self, last: Option<usize>) -> Vec<usize> {
        let mut order = Vec::new();
        let mut at = last;
        while let Some((item, behind)) = at.map(|step| self.0[step]) {
            order.push(item);
            at = behind;
        }
        order.reverse();
        order
    }
}

#[derive(Clone)]
struct Configuration<State> {
    state: State,
    /// Placed, and not returned yet; ascending.
    early: Vec<usize>,
    /// Placed, and need not be; ascending.
    used: Vec<usize>,
    last: Option<usize>,
    /// How many that need not be placed were placed since the last return.
    spent: usize,
    /// Whether the last one placed since then is such.
    behind_free: bool,
}

impl<State> Configuration<State> {
    fn has_placed(&self, item: usize) -> bool {
        self.early.binary_search(&item).is_ok() || self.used.binary_search(&item).is_ok()
    }
}

/// Configurations, none of which can do all that an earlier one can.
struct Front<State> {
    configurations: Vec<Configuration<State>>,
    /// By early operations and state.
    places: HashMap<(Vec<usize>, State), Vec<usize>, FixedHash>,
}

impl<State: Clone + Eq + std::hash::Hash> Front<State> {
    fn new() -> Self {
        Self { configurations: Vec::new(), places: HashMap::default() }
    }

    fn add(&mut self, configuration: Configuration<State>) -> bool {
        let key = (configuration.early.clone(), configuration.state.clone());
        let others = self.places.entry(key).or_default();
        let can_more = |other: &usize| is_part(&self.configurations[*other].used, &configuration.used);
        if others.iter().any(can_more) {
            return false;
        }
        others.push(self.configurations.len());
        self.configurations.push(configuration);
        true
    }
}

/// Whether all of `part` is in `of`; both ascend.
fn is_part(part: &[usize], of: &[usize]) -> bool {
    let mut of = of.iter();
    part.iter().all(|wanted| of.any(|other| other == wanted))
}

struct Search<'a, 's, S: Specification> {
    specification: &'s S,
    items: &'s [Item<'a, S::Input, S::Output>],
    twins: Vec<Option<usize>>,
    /// Invoked, and to return.
    owed: Vec<usize>,
    /// Invoked, and need not be placed: those that make the state the same whatever it was,
    /// and the others.
    overwriting: Vec<usize>,
    free: Vec<usize>,
    steps: Steps,
    limits: Limits,
}

/// How much a search may cost.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Configurations held at once.
    pub(super) configurations: usize,
    /// Operations that need not be placed, placed between two returns.
    pub(super) free: usize,
}

/// Looks for an order of `items`. Stuck is a verdict only without a limit of free ones.
pub(super) fn search<S: Specification>(
    specification: &S,
    items: &[Item<'_, S::Input, S::Output>],
    limits: Limits,
) -> Searched<S::State> {
    let calls = items.iter().enumerate().map(|(index, item)| (item.invoked, false, index));
    let returns = items.iter().enumerate().filter_map(|(index, item)| Some((item.demand.at()?, true, index)));
    let mut events: Vec<(u64, bool, usize)> = calls.chain(returns).collect();
    events.sort_unstable();
    let mut search = Search {
        specification,
        items,
        twins: twins(items),
        owed: Vec::new(),
        overwriting: Vec::new(),
        free: Vec::new(),
        steps: Steps(Vec::new()),
        limits,
    };
    let mut front = Front::new();
    front.add(Configuration {
        state: specification.initial(),
        early: Vec::new(),
        used: Vec::new(),
        last: None,
        spent: 0,
        behind_free: false,
    });
    for (_, is_return, item) in events {
        if !is_return {
            search.called(item);
            continue;
        }
        let Some(next) = search.returned(item, &front) else { return Searched::Undecided };
        if next.configurations.is_empty() {
            return Searched::Stuck(search.stuck(item, front));
        }
        search.owed.retain(|other| *other != item);
        front = next;
    }
    let first = front.configurations.first();
    Searched::Order(search.steps.order(first.and_then(|configuration| configuration.last)))
}

impl<S: Specification> Search<'_, '_, S> {
    fn called(&mut self, index: usize) {
        let item = &self.items[index];
        match item.demand {
            Demand::Answer { .. } | Demand::Any { .. } => self.owed.push(index),
            Demand::Nothing if self.specification.overwrites(item.input) => self.overwriting.push(index),
            Demand::IfPlaced { .. } | Demand::Nothing => self.free.push(index),
        }
    }

    /// The configurations in which `returning` is placed; nothing if there are too many.
    fn returned(&mut self, returning: usize, front: &Front<S::State>) -> Option<Front<S::State>> {
        let (mut looked_at, mut next) = (Front::new(), Front::new());
        for configuration in &front.configurations {
            let mut configuration = configuration.clone();
            (configuration.spent, configuration.behind_free) = (0, false);
            match configuration.early.binary_search(&returning) {
                Ok(place) => {
                    configuration.early.remove(place);
                    next.add(configuration);
                }
                Err(_) => {
                    looked_at.add(configuration);
                }
            }
        }
        // In the order of their lengths, so that the ones that use less come first.
        let mut at = 0;
        while let Some(configuration) = looked_at.configurations.get(at).cloned() {
            at += 1;
            for index in self.candidates(&configuration) {
                let Some(mut with) = self.with(&configuration, index) else { continue };
                if index == returning {
                    with.early.retain(|item| *item != returning);
                    next.add(with);
                } else {
                    looked_at.add(with);
                }
            }
            let many = looked_at.configurations.len() + next.configurations.len();
            let Limits { configurations, .. } = self.limits;
            if many > configurations || self.steps.0.len() / STEPS_PER_CONFIGURATION > configurations {
                return None;
            }
        }
        Some(next)
    }

    /// What may be placed next. What overwrites the state is not placed behind one that need
    /// not be placed either: without that one it comes to the same.
    fn candidates(&self, configuration: &Configuration<S::State>) -> Vec<usize> {
        let mut candidates = self.owed.clone();
        if configuration.spent < self.limits.free {
            candidates.extend(&self.free);
            if !configuration.behind_free {
                candidates.extend(&self.overwriting);
            }
        }
        candidates
    }

    /// The configuration with one more item placed, if that can be.
    fn with(
        &mut self,
        configuration: &Configuration<S::State>,
        index: usize,
    ) -> Option<Configuration<S::State>> {
        let waits = |twin: usize| !configuration.has_placed(twin);
        if configuration.has_placed(index) || self.twins[index].is_some_and(waits) {
            return None;
        }
        let item = &self.items[index];
        let mut state = configuration.state.clone();
        let answer = self.specification.apply(&mut state, item.input);
        if !item.demand.is_met(self.specification, &answer, state != configuration.state) {
            return None;
        }
        let last = Some(self.steps.add(index, configuration.last));
        let mut with = Configuration { state, last, behind_free: false, ..configuration.clone() };
        let placed = match item.demand {
            Demand::Answer { .. } | Demand::Any { .. } => &mut with.early,
            Demand::IfPlaced { .. } | Demand::Nothing => {
                (with.spent, with.behind_free) = (with.spent + 1, true);
                &mut with.used
            }
        };
        let place = placed.partition_point(|other| *other < index);
        placed.insert(place, index);
        Some(with)
    }

    fn stuck(&self, item: usize, front: Front<S::State>) -> Stuck<S::State> {
        let mut reached: Vec<(Vec<usize>, S::State)> = Vec::new();
        for Configuration { state, last, .. } in front.configurations {
            if reached.len() < REACHED_MAX && reached.iter().all(|(_, other)| *other != state) {
                reached.push((self.steps.order(last), state));
            }
        }
        Stuck { item, reached }
    }
}
