//! Lists tell the order of their appends, as Elle uses them: from what was read follows who
//! came before whom.
//!
//! ```text
//!   ww  appended the next element            T1 ──▶ T2
//!   wr  read the list that ends with it      T1 ──▶ T2
//!   rw  read the list before it was there    T1 ──▶ T2
//!   rt  had ended before the other began     T1 ──▶ T2
//! ```
//!
//! A history is strictly serializable exactly when all lists of a key are prefixes of one,
//! nothing was read that nobody appended, and the graph has no cycle: every append reads its
//! list, so nothing about the order of versions is guessed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::{Key, List, Observed, Op, Outcome};

/// Why there is no order. Transactions are told by their place in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A transaction contradicts itself.
    Internal(Observed),
    /// Two lists of one key of which none continues the other: an append was lost.
    Fork { key: Key, lists: [List; 2], seen_by: Box<[Observed; 2]> },
    /// Something was seen that nobody has committed.
    FromNobody { element: u64, seen_by: Observed, refused: Option<Box<Observed>> },
    /// The shortest circle of transactions that each come before the next.
    Cycle(Vec<(Observed, Edge)>),
}

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    WriteWrite(Key, u64),
    WriteRead(Key, u64),
    ReadWrite(Key, u64),
    RealTime,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal(tx) => write!(f, "a transaction contradicts itself:\n  {tx}"),
            Self::Fork { key, lists: [a, b], seen_by } => {
                let [first, second] = &**seen_by;
                write!(f, "k{key} has two histories, {a:?} and {b:?}, seen by\n  {first}\n  {second}")
            }
            Self::FromNobody { element, seen_by, refused } => {
                write!(f, "{element} was seen although nobody committed it, by\n  {seen_by}")?;
                refused.as_ref().map_or(Ok(()), |tx| write!(f, "\n  it was refused to\n  {tx}"))
            }
            Self::Cycle(steps) => {
                write!(f, "{} transactions, each before the next, the last before the first:", steps.len())?;
                for (tx, edge) in steps {
                    write!(f, "\n  {tx}\n    ── {edge} ──▶")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteWrite(key, next) => write!(f, "ww: appended to k{key} just before {next} was"),
            Self::WriteRead(key, last) => write!(f, "wr: appended {last}, with which k{key} was read"),
            Self::ReadWrite(key, next) => write!(f, "rw: read k{key} before {next} was appended"),
            Self::RealTime => write!(f, "rt: had ended before the next began"),
        }
    }
}

/// Whether a history of reads and appends is strictly serializable.
pub(crate) fn check(history: &[Observed]) -> Result<(), Violation> {
    let authors = Authors::of(history);
    let happened = happened(history, &authors)?;
    for tx in &happened {
        check_itself(tx)?;
    }
    let orders = orders(&happened)?;
    let graph = Graph::of(&happened, &orders);
    graph.shortest_cycle().map_or(Ok(()), |cycle| {
        let steps = cycle.into_iter().map(|(tx, edge)| (happened[tx].clone(), edge));
        Err(Violation::Cycle(steps.collect()))
    })
}

/// Who appended which element.
struct Authors<'a>(BTreeMap<u64, &'a Observed>);

impl<'a> Authors<'a> {
    fn of(history: &'a [Observed]) -> Self {
        let mut authors = BTreeMap::new();
        for tx in history {
            for op in &tx.ops {
                if let Op::Append(_, list) = op {
                    let before = authors.insert(list[list.len() - 1], tx);
                    assert!(before.is_none(), "the workload has appended an element twice");
                }
            }
        }
        Self(authors)
    }
}

/// What is in the order for certain: what committed, and what of the unknown was seen.
fn happened<'a>(history: &'a [Observed], authors: &Authors<'a>) -> Result<Vec<&'a Observed>, Violation> {
    let mut happened: Vec<&Observed> = history.iter().filter(|tx| tx.outcome == Outcome::Committed).collect();
    let mut unknown: Vec<&Observed> = history.iter().filter(|tx| tx.outcome == Outcome::Unknown).collect();
    let mut at = 0;
    while at < happened.len() {
        let seen_by = happened[at];
        for element in seen_by.ops.iter().flat_map(|op| list_of(op).1) {
            let author = authors.0.get(element).copied();
            if author.is_none_or(|author| author.outcome == Outcome::Refused) {
                let (seen_by, refused) = (seen_by.clone(), author.cloned().map(Box::new));
                return Err(Violation::FromNobody { element: *element, seen_by, refused });
            }
            let landed = unknown.iter().position(|tx| author.is_some_and(|author| std::ptr::eq(*tx, author)));
            happened.extend(landed.map(|n| unknown.swap_remove(n)));
        }
        at += 1;
    }
    Ok(happened)
}

fn list_of(op: &Op) -> (Key, &List) {
    match op {
        Op::Read(key, list) | Op::Append(key, list) => (*key, list),
        Op::Set(key, _) => panic!("k{key} is no list: its order is told by nobody"),
    }
}

/// Reads after own appends see them, and two reads of a key the same.
fn check_itself(tx: &Observed) -> Result<(), Violation> {
    let mut known: BTreeMap<Key, &[u64]> = BTreeMap::new();
    for op in &tx.ops {
        let (key, list) = list_of(op);
        let base = if matches!(op, Op::Append(..)) { &list[..list.len() - 1] } else { &list[..] };
        if *known.entry(key).or_insert(base) != base {
            return Err(Violation::Internal(tx.clone()));
        }
        known.insert(key, list);
    }
    Ok(())
}

/// Each key's elements in their order: its longest list, of which all others are prefixes.
fn orders<'a>(happened: &[&'a Observed]) -> Result<BTreeMap<Key, &'a List>, Violation> {
    let mut longest: BTreeMap<Key, (&List, &Observed)> = BTreeMap::new();
    for tx in happened {
        for (key, list) in tx.ops.iter().map(list_of) {
            let entry = longest.entry(key).or_insert((list, tx));
            let (short, long) = if list.len() > entry.0.len() { (entry.0, list) } else { (list, entry.0) };
            if !long.starts_with(short) {
                let lists = [entry.0.clone(), list.clone()];
                let seen_by = Box::new([entry.1.clone(), (*tx).clone()]);
                return Err(Violation::Fork { key, lists, seen_by });
            }
            if list.len() > entry.0.len() {
                *entry = (list, tx);
            }
        }
    }
    for (key, (list, tx)) in &longest {
        if list.iter().collect::<BTreeSet<_>>().len() < list.len() {
            let (lists, seen_by) =
                ([(*list).clone(), (*list).clone()], Box::new([(*tx).clone(), (*tx).clone()]));
            return Err(Violation::Fork { key: *key, lists, seen_by });
        }
    }
    Ok(longest.into_iter().map(|(key, (list, _))| (key, list)).collect())
}

/// Who comes before whom, and why.
struct Graph {
    after: Vec<Vec<(usize, Edge)>>,
}

impl Graph {
    fn of(happened: &[&Observed], orders: &BTreeMap<Key, &List>) -> Self {
        let mut author = BTreeMap::new();
        for (n, tx) in happened.iter().enumerate() {
            let appended = tx.ops.iter().filter(|op| matches!(op, Op::Append(..))).map(|op| list_of(op).1);
            author.extend(appended.map(|list| (list[list.len() - 1], n)));
        }
        let mut graph = Self { after: vec![Vec::new(); happened.len()] };
        for (key, order) in orders {
            for pair in order.windows(2) {
                graph.add(author[&pair[0]], author[&pair[1]], Edge::WriteWrite(*key, pair[1]));
            }
        }
        for (n, tx) in happened.iter().enumerate() {
            for op in &tx.ops {
                if let Op::Read(key, list) = op {
                    if let Some(last) = list.last() {
                        graph.add(author[last], n, Edge::WriteRead(*key, *last));
                    }
                    if let Some(next) = orders[key].get(list.len()) {
                        graph.add(n, author[next], Edge::ReadWrite(*key, *next));
                    }
                }
            }
        }
        for (n, first) in happened.iter().enumerate() {
            let Some(over) = first.over() else { continue };
            for (m, second) in happened.iter().enumerate() {
                if over < second.invoked {
                    graph.add(n, m, Edge::RealTime);
                }
            }
        }
        graph
    }

    fn add(&mut self, from: usize, to: usize, edge: Edge) {
        if from != to {
            self.after[from].push((to, edge));
        }
    }

    /// The shortest of all cycles, with the edge that leaves each of its nodes.
    fn shortest_cycle(&self) -> Option<Vec<(usize, Edge)>> {
        let inside = self.inside_cycles();
        inside.iter().filter_map(|start| self.cycle_through(*start, &inside)).min_by_key(Vec::len)
    }

    /// Takes away what has nothing before it or nothing after it, until nothing more goes.
    fn inside_cycles(&self) -> BTreeSet<usize> {
        let mut left: BTreeSet<usize> = (0..self.after.len()).collect();
        loop {
            let reached: BTreeSet<usize> =
                left.iter().flat_map(|n| self.after[*n].iter().map(|(to, _)| *to)).collect();
            let goes_on = |n: &usize| self.after[*n].iter().any(|(to, _)| left.contains(to));
            let kept: BTreeSet<usize> =
                left.iter().filter(|n| reached.contains(n) && goes_on(n)).copied().collect();
            if kept.len() == left.len() {
                return left;
            }
            left = kept;
        }
    }

    fn cycle_through(&self, start: usize, inside: &BTreeSet<usize>) -> Option<Vec<(usize, Edge)>> {
        let mut came: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(n) = queue.pop_front() {
            for (to, edge) in self.after[n].iter().filter(|(to, _)| inside.contains(to)) {
                if let std::collections::btree_map::Entry::Vacant(entry) = came.entry(*to) {
                    entry.insert((n, *edge));
                    queue.push_back(*to);
                }
            }
            if came.contains_key(&start) {
                let mut steps = vec![came[&start]];
                while steps[steps.len() - 1].0 != start {
                    steps.push(came[&steps[steps.len() - 1].0]);
                }
                steps.reverse();
                return Some(steps);
            }
        }
        None
    }
}
