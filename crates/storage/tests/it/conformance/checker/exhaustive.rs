//! Tries all orders, as Wing and Gong do, and remembers where it has been, as Lowe does.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, List, Observed, Op, Outcome};

/// More would take too long.
const TRANSACTIONS_MAX: usize = 16;

type State = BTreeMap<Key, List>;

/// Whether there is an order that explains everything.
pub(crate) fn has_order(history: &[Observed]) -> bool {
    let candidates: Vec<&Observed> = history.iter().filter(|tx| tx.outcome != Outcome::Refused).collect();
    assert!(candidates.len() <= TRANSACTIONS_MAX, "{} transactions", candidates.len());
    search(&candidates, 0, &State::new(), &mut BTreeSet::new())
}

/// Whether the transactions that are not in `done` can follow on `state`.
fn search(all: &[&Observed], done: u32, state: &State, seen: &mut BTreeSet<(u32, State)>) -> bool {
    let left = || all.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
    if left().all(|(_, tx)| tx.outcome == Outcome::Unknown) {
        return true;
    }
    if !seen.insert((done, state.clone())) {
        return false;
    }
    // Nothing can come after one that was over before it began.
    let first_over = left().filter_map(|(_, tx)| tx.over()).min().unwrap_or(u64::MAX);
    left()
        .filter(|(_, tx)| tx.invoked <= first_over)
        .any(|(n, tx)| after(state, tx).is_some_and(|next| search(all, done | (1 << n), &next, seen)))
}

/// The state after `tx`, if `state` explains what it saw.
fn after(state: &State, tx: &Observed) -> Option<State> {
    let mut next = state.clone();
    for op in &tx.ops {
        match op {
            Op::Read(key, list) => {
                if next.get(key).map_or(&[][..], |list| list) != list {
                    return None;
                }
            }
            Op::Append(key, list) => {
                if next.get(key).map_or(&[][..], |list| list) != &list[..list.len() - 1] {
                    return None;
                }
                next.insert(*key, list.clone());
            }
            Op::Set(key, list) => {
                next.insert(*key, list.clone());
            }
        }
    }
    Some(next)
}
