//! The checkers' own proof: on small histories, sound ones and ones that were broken on
//! purpose, the graph finds a contradiction exactly when no order of all explains them.

use std::collections::BTreeMap;

use kelpie_env::Env;
use kelpie_env::sim::Sim;

use super::exhaustive::has_order;
use super::graph::{Edge, Violation, check};
use super::{Key, List, Observed, Op, Outcome};

/// Numbers below a bound from one seeded stream.
struct Draw(Env);

impl Draw {
    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.0.random_u64() % bound as u64).expect("below a usize")
    }

    fn one_in(&self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A history that a correct store could have given, of transactions that happened one after
/// the other, each within the time that its client waited.
fn sound(draw: &Draw) -> Vec<Observed> {
    let mut state: BTreeMap<Key, List> = BTreeMap::new();
    let mut element = 0;
    let count = 2 + draw.below(6);
    let transaction = |at: usize| {
        let outcome = match draw.below(10) {
            0 => Outcome::Refused,
            1 | 2 => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        let mut after = state.clone();
        let mut ops = Vec::new();
        for _ in 0..=draw.below(3) {
            let key = Key::try_from(draw.below(3)).expect("small");
            let list = after.entry(key).or_default();
            if draw.one_in(2) {
                element += 1;
                list.push(element);
                ops.push(Op::Append(key, list.clone()));
            } else {
                ops.push(Op::Read(key, list.clone()));
            }
        }
        let landed = match outcome {
            Outcome::Committed => true,
            Outcome::Unknown => draw.one_in(2),
            Outcome::Refused => false,
        };
        if landed {
            state = after;
        }
        let at = (at as u64 + 10) * 10;
        let (invoked, ended) = (at - draw.below(25) as u64, at + draw.below(25) as u64);
        Observed { client: draw.below(4), ops, outcome, invoked, ended }
    };
    (0..count).map(transaction).collect()
}

/// Changes something that somebody saw, or when.
fn broken(draw: &Draw, mut history: Vec<Observed>) -> Vec<Observed> {
    let n = draw.below(history.len());
    let other = history[draw.below(history.len())].clone();
    let tx = &mut history[n];
    let op = draw.below(tx.ops.len());
    match draw.below(5) {
        // Did not see the newest element.
        0 => {
            if let Op::Read(_, list) = &mut tx.ops[op] {
                list.pop();
            }
        }
        // Saw what another one saw or wrote.
        1 => {
            let seen: Vec<&Op> = other.ops.iter().filter(|o| key_of(o) == key_of(&tx.ops[op])).collect();
            if let (Op::Read(_, list), Some(Op::Read(_, seen) | Op::Append(_, seen))) =
                (&mut tx.ops[op], seen.first())
            {
                list.clone_from(seen);
            }
        }
        // Appended to an older list.
        2 => {
            if let Op::Append(_, list) = &mut tx.ops[op]
                && list.len() > 1
            {
                list.remove(list.len() - 2);
            }
        }
        // Happened at another time.
        3 => (tx.invoked, tx.ended) = (other.invoked, other.ended),
        // Was told something else.
        _ => tx.outcome = if draw.one_in(2) { Outcome::Committed } else { Outcome::Refused },
    }
    history
}

fn key_of(op: &Op) -> Key {
    match op {
        Op::Read(key, _) | Op::Append(key, _) | Op::Set(key, _) => *key,
    }
}

#[test]
fn the_graph_and_the_search_of_all_orders_agree() {
    let sim = Sim::new(7);
    let draw = Draw(sim.node("checker").env());
    let (mut explained, mut refuted) = (0, BTreeMap::new());
    for run in 0..20_000 {
        let mut history = sound(&draw);
        assert!(check(&history).is_ok() && has_order(&history), "run {run}: sound: {history:#?}");
        for _ in 0..=draw.below(3) {
            history = broken(&draw, history);
        }
        let judged = check(&history);
        if let Err(violation) = &judged {
            *refuted.entry(name(violation)).or_insert(0) += 1;
        } else {
            explained += 1;
        }
        assert_eq!(judged.is_ok(), has_order(&history), "run {run}: {judged:?}\n{history:#?}");
    }
    println!("{explained} explained, {refuted:?}");
    let kinds = ["a cycle of data", "a cycle with time", "a fork", "from nobody", "itself"];
    let seen = kinds.map(|kind| refuted.get(kind).is_some_and(|count| *count > 100));
    assert!(explained > 1000 && seen.iter().all(|seen| *seen), "{explained} explained, {refuted:?}");
}

fn name(violation: &Violation) -> &'static str {
    match violation {
        Violation::Internal(_) => "itself",
        Violation::Fork { .. } => "a fork",
        Violation::FromNobody { .. } => "from nobody",
        Violation::Cycle(steps) if steps.iter().any(|(_, edge)| *edge == Edge::RealTime) => {
            "a cycle with time"
        }
        Violation::Cycle(_) => "a cycle of data",
    }
}

fn tx(client: usize, at: (u64, u64), ops: &[Op]) -> Observed {
    let (invoked, ended) = at;
    Observed { client, ops: ops.to_vec(), outcome: Outcome::Committed, invoked, ended }
}

#[test]
fn the_shortest_cycle_is_told_in_words() {
    let history = [
        tx(0, (1, 5), &[Op::Read(1, vec![]), Op::Append(2, vec![7])]),
        tx(1, (2, 6), &[Op::Read(2, vec![]), Op::Append(1, vec![8])]),
        tx(2, (7, 9), &[Op::Read(1, vec![8]), Op::Read(2, vec![7])]),
    ];
    let said = check(&history).unwrap_err().to_string();
    let expected = "2 transactions, each before the next, the last before the first:
  client 0, 1–5, Committed: read k1 = []; append k2 → [7];
    ── rw: read k1 before 8 was appended ──▶
  client 1, 2–6, Committed: read k2 = []; append k1 → [8];
    ── rw: read k2 before 7 was appended ──▶";
    assert_eq!(said, expected);
    assert!(!has_order(&history));
}

#[test]
fn a_stale_read_is_refuted_by_time_alone() {
    let history = [tx(0, (1, 2), &[Op::Append(1, vec![1])]), tx(1, (3, 4), &[Op::Read(1, vec![])])];
    let said = check(&history).unwrap_err().to_string();
    assert!(said.contains("rt: had ended before the next began"), "{said}");
    assert!(!has_order(&history));
    let beside = [tx(0, (1, 3), &[Op::Append(1, vec![1])]), tx(1, (2, 4), &[Op::Read(1, vec![])])];
    assert!(check(&beside).is_ok() && has_order(&beside), "they overlap");
}

#[test]
fn blind_writes_have_an_order_or_not() {
    let set = |client, at, value: u64| tx(client, at, &[Op::Set(1, vec![value])]);
    let read = |client, at, value: u64| tx(client, at, &[Op::Read(1, vec![value])]);
    let fine = [set(0, (1, 9), 1), set(1, (2, 8), 2), read(2, (3, 4), 2), read(2, (5, 6), 1)];
    assert!(has_order(&fine));
    let back = [set(0, (1, 2), 1), set(1, (3, 4), 2), read(2, (5, 6), 2), read(2, (7, 8), 1)];
    assert!(!has_order(&back), "a value came back");
}
