//! Whether a history of one object is linearizable.
//!
//! ```text
//!   operations ──▶ search in depth ──(too long)──▶ search in breadth ──▶ an order
//!                                                         │
//!                                                         └─▶ none: the longest prefix that fits, what
//!                                                             cannot be placed behind it, answers that
//!                                                             contradict
//! ```
//!
//! The search in depth is that of Wing and Gong with Lowe's memory of configurations: an
//! operation is placed when all that ended before its invocation are placed; what has been
//! placed (as a set) and the state that came of it make a configuration, and none is visited
//! twice. An operation whose outcome is unknown may be placed anywhere behind its invocation,
//! or left out. It is quick where there is an order. Where there is none and many outcomes
//! are unknown it would try all sets of them: before that it gives way to the search in
//! breadth. Either comes to the same verdict.

mod explain;
mod frontier;
mod search;

use super::history::{Operation, Outcome};
use super::spec::Specification;
pub use explain::{Attempt, Explanation, Misfit};
use frontier::Limits;
use search::{Demand, Item, Searched, search};

/// Configurations for each operation after which the search in depth gives way.
const IN_DEPTH: usize = 20;
/// Configurations that are kept by default: with a state of some ten bytes about 100 MB.
const CONFIGURATIONS_MAX: usize = 1_000_000;

/// Judges histories of one object against its specification.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder};
/// use kelpie_dst::check::spec::{Register, RegisterInput, RegisterOutput};
///
/// let recorder = Recorder::new();
/// recorder.invoke(1, RegisterInput::Write("a")).answered(RegisterOutput::Written);
/// recorder.invoke(1, RegisterInput::Write("b")).answered(RegisterOutput::Written);
/// recorder.invoke(2, RegisterInput::Read).answered(RegisterOutput::Value(Some("a")));
///
/// let judge = Linearizability::new(Register::empty());
/// let stale = judge.check(&recorder.operations()).unwrap_err();
/// assert!(stale.to_string().contains(r#"would have answered Value(Some("b"))"#));
/// ```
#[derive(Debug, Clone)]
pub struct Linearizability<S> {
    specification: S,
    configurations_max: usize,
}

/// Why a history was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinearizabilityError {
    /// No order of its operations explains what was answered.
    #[error("{0}")]
    Broken(Box<Explanation>),
    /// The search came to its bound before its end: neither accepted nor refused.
    #[error("undecided: there are more than {configurations} configurations to look at")]
    Undecided {
        /// The bound.
        configurations: usize,
    },
    /// An operation ended before it began: this is no history.
    #[error("operation {operation} ended before it began")]
    Malformed {
        /// Its position in the history.
        operation: usize,
    },
}

impl<S: Specification> Linearizability<S> {
    /// A judge that knows what the object does.
    pub fn new(specification: S) -> Self {
        Self { specification, configurations_max: CONFIGURATIONS_MAX }
    }

    /// Keeps at most so many configurations: each is one state and a few dozen bytes.
    #[must_use]
    pub fn configurations_max(self, configurations_max: usize) -> Self {
        Self { configurations_max, ..self }
    }

    /// An order (as positions in `history`) in which one operation after the other answers
    /// what was answered, and none comes before one that had ended when it was invoked.
    /// Operations whose outcome is unknown are in it where they help.
    pub fn check(
        &self,
        history: &[Operation<S::Input, S::Output>],
    ) -> Result<Vec<usize>, LinearizabilityError> {
        let mut items = Vec::with_capacity(history.len());
        for (position, operation) in history.iter().enumerate() {
            if operation.outcome.at().is_some_and(|at| at < operation.invoked) {
                return Err(LinearizabilityError::Malformed { operation: position });
            }
            items.push(item(position, operation));
        }
        // Equal numbers count as at the same time: invocations first.
        items.sort_by_key(|item| (item.invoked, item.position));
        match search_for(&self.specification, &items, self.configurations_max) {
            Searched::Order(order) => Ok(order.into_iter().map(|index| items[index].position).collect()),
            Searched::Undecided => {
                Err(LinearizabilityError::Undecided { configurations: self.configurations_max })
            }
            Searched::Stuck(stuck) => {
                let explanation = explain::explanation(&self.specification, history, &items, &stuck);
                Err(LinearizabilityError::Broken(Box::new(explanation)))
            }
        }
    }
}

/// Looks for an order in both ways.
fn search_for<S: Specification>(
    specification: &S,
    items: &[Item<'_, S::Input, S::Output>],
    configurations_max: usize,
) -> Searched<S::State> {
    let in_depth = configurations_max.min(IN_DEPTH * (items.len() + IN_DEPTH));
    let mut searched = search(specification, items, in_depth);
    if !matches!(searched, Searched::Undecided) {
        return searched;
    }
    for free in [1, 2, usize::MAX] {
        let limits = Limits { configurations: configurations_max, free };
        searched = frontier::search(specification, items, limits);
        if matches!(searched, Searched::Order(_)) {
            break;
        }
    }
    searched
}

fn item<I, O>(position: usize, operation: &Operation<I, O>) -> Item<'_, I, O> {
    let Operation { input, invoked, outcome, .. } = operation;
    let demand = match outcome {
        Outcome::Answered { output, at } => Demand::Answer { output, at: *at },
        Outcome::Done { at } => Demand::Any { at: *at },
        Outcome::Unknown => Demand::Nothing,
    };
    Item { position, input, invoked: *invoked, demand }
}

#[cfg(test)]
mod tests;
