//! Why a history is not linearizable, in few words.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Formatter};

use super::super::history::{Operation, Outcome};
use super::super::spec::Specification;
use super::search::{Demand, Item, Searched, Stuck, search};

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 160;
/// Operations of an order that are shown, from its end.
const ORDER_SHOWN_MAX: usize = 8;
/// Operations, of those that ended last, among which a contradiction is looked for. Each of
/// which nothing is demanded any more doubles what a search has to look at.
const SUSPECTS_MAX: usize = 12;
/// Configurations that one search for it may cost beyond the first.
const CONFIGURATIONS_MAX: usize = 10_000;

/// The longest part of a history that fits, and what does not. Operations are named by their
/// positions in the history; [`Display`] tells it as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What had ended before this operation ended has an order; with it there is none.
    pub stuck: usize,
    /// How many operations had ended before.
    pub fitting: usize,
    /// Orders that come so far, and why they end there. Not all of them.
    pub attempts: Vec<Attempt>,
    /// Operations that cannot all have ended as they did after what had ended before `given`,
    /// whatever became of all others since. None can be left out, as far as that was found
    /// with little effort.
    pub contradiction: Vec<usize>,
    /// What had ended before this is taken as it was.
    pub given: u64,
    /// Operations of the contradiction whose answer does not matter to it.
    pub any_answer: Vec<usize>,
    /// Every operation that is named, as text.
    lines: BTreeMap<usize, String>,
}

/// An order of operations behind which no other can be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The operations in this order.
    pub order: Vec<usize>,
    /// The state after the last of them.
    pub state: String,
    /// What should come next and does not fit.
    pub misfits: Vec<Misfit>,
}

/// An operation that would have been answered differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Which.
    pub operation: usize,
    /// What it would have been answered.
    pub expected: String,
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let line = |operation: &usize| self.lines.get(operation).map_or("?", String::as_str);
        writeln!(f, "not linearizable: {} operations fit, and with this one no more", self.fitting)?;
        write!(f, "  {}", line(&self.stuck))?;
        write!(f, "\nafter what had ended before {} these cannot all be true", self.given)?;
        for operation in &self.contradiction {
            let any = if self.any_answer.contains(operation) { " (or anything else)" } else { "" };
            write!(f, "\n  {}{any}", line(operation))?;
        }
        for Attempt { order, state, misfits } in &self.attempts {
            let hidden = order.len().saturating_sub(ORDER_SHOWN_MAX);
            write!(f, "\nafter")?;
            if hidden > 0 {
                write!(f, " {hidden} others and")?;
            }
            if order.is_empty() {
                write!(f, " nothing")?;
            }
            write!(f, " the state is {state}")?;
            for operation in &order[hidden..] {
                write!(f, "\n  + {}", line(operation))?;
            }
            for Misfit { operation, expected } in misfits {
                write!(f, "\n  ? {} - would have answered {expected}", line(operation))?;
            }
        }
        Ok(())
    }
}

/// Explains why `items` (those of `history`) have no order.
pub(super) fn explanation<S: Specification>(
    specification: &S,
    history: &[Operation<S::Input, S::Output>],
    items: &[Item<'_, S::Input, S::Output>],
    stuck: &Stuck<S::State>,
) -> Explanation {
    let end = items[stuck.item].demand.at().unwrap_or(u64::MAX);
    let prefix = prefix(items, end);
    let attempts =
        stuck.reached.iter().map(|(order, state)| attempt(specification, items, end, order, state));
    let mut explanation = Explanation {
        stuck: items[stuck.item].position,
        fitting: prefix.iter().filter(|item| item.demand.at().is_some_and(|at| at < end)).count(),
        attempts: attempts.collect(),
        contradiction: Vec::new(),
        given: given(&prefix),
        any_answer: Vec::new(),
        lines: BTreeMap::new(),
    };
    for item in contradiction(specification, prefix, explanation.given) {
        match item.demand {
            Demand::Nothing => continue,
            Demand::Any { .. } => explanation.any_answer.push(item.position),
            Demand::Answer { .. } | Demand::IfPlaced { .. } => {}
        }
        explanation.contradiction.push(item.position);
    }
    let orders = explanation.attempts.iter().flat_map(|attempt| {
        let misfits = attempt.misfits.iter().map(|misfit| misfit.operation);
        attempt.order.iter().rev().take(ORDER_SHOWN_MAX).copied().chain(misfits)
    });
    let named = orders.chain(explanation.contradiction.iter().copied()).chain([explanation.stuck]);
    explanation.lines = named.map(|position| (position, shown_operation(&history[position]))).collect();
    explanation
}

/// What has to be explained at `end`. Of what was under way it is known how it ended later,
/// and not whether it has taken effect yet.
fn prefix<'a, I, O>(items: &[Item<'a, I, O>], end: u64) -> Vec<Item<'a, I, O>> {
    let invoked = items.iter().filter(|item| item.invoked <= end);
    let known = |demand: Demand<'a, O>| match demand {
        Demand::Answer { output, at } if at > end => Demand::IfPlaced { output },
        Demand::Any { at } if at > end => Demand::Nothing,
        known @ (Demand::Answer { .. } | Demand::Any { .. } | Demand::IfPlaced { .. } | Demand::Nothing) => {
            known
        }
    };
    invoked.map(|item| Item { demand: known(item.demand), ..item.clone() }).collect()
}

fn attempt<S: Specification>(
    specification: &S,
    items: &[Item<'_, S::Input, S::Output>],
    end: u64,
    order: &[usize],
    state: &S::State,
) -> Attempt {
    let mut misfits = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Demand::Answer { output, .. } = item.demand else { continue };
        if item.invoked > end || order.contains(&index) {
            continue;
        }
        let expected = specification.apply(&mut state.clone(), item.input);
        if !specification.accepts(&expected, output) {
            misfits.push(Misfit { operation: item.position, expected: shown(&expected) });
        }
    }
    let order = order.iter().map(|index| items[*index].position).collect();
    Attempt { order, state: shown(state), misfits }
}

/// From when on operations are suspected.
fn given<I, O>(items: &[Item<'_, I, O>]) -> u64 {
    let mut ends: Vec<u64> = items.iter().filter_map(|item| item.demand.at()).collect();
    ends.sort_unstable();
    ends[ends.len().saturating_sub(SUSPECTS_MAX)..].first().copied().unwrap_or_default()
}

/// Takes as many demands away as the rest stays without an order, and returns what is still
/// demanded of the suspects. An operation of which less is demanded fits into more orders, so
/// what remains is a reason by itself.
fn contradiction<'a, S: Specification>(
    specification: &S,
    mut items: Vec<Item<'a, S::Input, S::Output>>,
    given: u64,
) -> impl Iterator<Item = Item<'a, S::Input, S::Output>> {
    let configurations_max = 2 * items.len() + CONFIGURATIONS_MAX;
    let suspects: Vec<usize> =
        (0..items.len()).filter(|index| items[*index].demand.at().is_none_or(|at| at >= given)).collect();
    for keeps_time in [false, true] {
        for index in &suspects {
            let before = items[*index].demand;
            let Some(demand) = weaker(before, keeps_time) else { continue };
            items[*index].demand = demand;
            if !matches!(search(specification, &items, configurations_max), Searched::Stuck(_)) {
                items[*index].demand = before;
            }
        }
    }
    items.into_iter().enumerate().filter(move |(index, _)| suspects.contains(index)).map(|(_, item)| item)
}

/// Less than `demand`, if that is possible: nothing at all, or no certain answer.
fn weaker<O>(demand: Demand<'_, O>, keeps_time: bool) -> Option<Demand<'_, O>> {
    match (demand, keeps_time) {
        (Demand::Answer { at, .. }, true) => Some(Demand::Any { at }),
        (Demand::Answer { .. } | Demand::Any { .. } | Demand::IfPlaced { .. }, false) => {
            Some(Demand::Nothing)
        }
        (Demand::Any { .. } | Demand::IfPlaced { .. }, true) | (Demand::Nothing, _) => None,
    }
}

fn shown_operation<I: Debug, O: Debug>(operation: &Operation<I, O>) -> String {
    let Operation { client, input, invoked, outcome } = operation;
    let input = shown(input);
    match outcome {
        Outcome::Answered { output, at } => {
            format!("[{invoked}..{at}] client {client}: {input} answered {}", shown(output))
        }
        Outcome::Done { at } => format!("[{invoked}..{at}] client {client}: {input} was done"),
        Outcome::Unknown => format!("[{invoked}..?] client {client}: {input} with an unknown outcome"),
    }
}

fn shown(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    if let Some((cut, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
