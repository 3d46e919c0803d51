//! Finding calls that wait for each other in a circle.
//!
//! ```text
//!   turn of A ──edge 1──▶ B, whose turn ──edge 2──▶ C, whose turn ──edge 3──▶ A
//!       └─ probe {edge 1} ─▶ B: {1, 2} ─▶ C: {1, 2, 3} ─▶ A: its turn still waits with edge 1: home
//! ```
//!
//! An edge is a call that waits in the mailbox of an actor behind a turn. A call that has
//! waited for a while sends a probe to the actor that it waits for; that actor passes it on
//! along the calls of its running turn, if the very edge that the probe came by still waits
//! there. A probe that comes back to its first edge has found a circle, and since no edge of
//! it can go before the next one goes, all of it still stands. Each call of the circle finds
//! it; all agree that the one with the highest key gives way.
//!
//! Invariant: no edge is refused unless a probe has come home by it.

use serde::{Deserialize, Serialize};

use crate::call::{CallKey, TurnId};
use crate::id::{ActorId, Epoch};
use crate::limits::PROBE_EDGES_MAX;

/// A call of a turn, and whom it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Whose turn waits.
    pub from: ActorId,
    /// The epoch under which that turn runs.
    pub epoch: Epoch,
    /// The turn.
    pub turn: TurnId,
    /// The call that it waits for.
    pub call: CallKey,
    /// The actor that has been called.
    pub to: ActorId,
}

/// A question on its way along the edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    edges: Vec<Edge>,
}

/// What the actor at a probe's end sees of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether the call that the probe came by waits in its mailbox, behind its running turn.
    pub waits: bool,
    /// What that running turn waits for.
    pub edges: Vec<Edge>,
}

/// Where a probe goes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// It has found a circle: this edge of it gives way.
    Home {
        /// The call with the highest key.
        refused: Edge,
        /// The actors of the circle in their order, the first one again at the end.
        cycle: Vec<ActorId>,
    },
    /// To the actors at the ends of these; nowhere, if there are none.
    On(Vec<Probe>),
}

impl Probe {
    /// A probe of a call that has waited for long.
    pub fn new(edge: Edge) -> Self {
        Self { edges: vec![edge] }
    }

    /// The edge by which it comes to the next actor.
    pub fn last(&self) -> &Edge {
        self.edges.last().expect("a probe begins with an edge")
    }

    /// Goes on from the actor at its end.
    pub fn hop(&self, seen: Seen) -> Hop {
        if !seen.waits || self.edges.len() >= PROBE_EDGES_MAX {
            return Hop::On(Vec::new());
        }
        let first = self.edges.first();
        if seen.edges.iter().any(|edge| Some(edge) == first) {
            let refused = self.edges.iter().max_by_key(|edge| edge.call);
            let cycle = self.edges.iter().map(|edge| edge.from.clone());
            return Hop::Home {
                refused: refused.expect("a probe begins with an edge").clone(),
                cycle: cycle.chain(first.map(|edge| edge.from.clone())).collect(),
            };
        }
        // A circle that does not lead through the first edge is found by those in it.
        let new = seen.edges.into_iter().filter(|edge| !self.edges.contains(edge));
        Hop::On(new.map(|edge| Self { edges: self.edges.iter().cloned().chain([edge]).collect() }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str) -> ActorId {
        ActorId::new("t", "a", name).unwrap()
    }

    fn edge(from: &str, call: u8, to: &str) -> Edge {
        Edge {
            from: actor(from),
            epoch: Epoch(1),
            turn: TurnId([call; 16]),
            call: CallKey([call; 16]),
            to: actor(to),
        }
    }

    fn seen(edges: &[Edge]) -> Seen {
        Seen { waits: true, edges: edges.to_vec() }
    }

    /// Sends a probe along a fixed map of waits. Returns whom it refuses, with the cycle.
    fn run(first: &Edge, map: &[Edge]) -> Option<(u8, Vec<ActorId>)> {
        let mut probes = vec![Probe::new(first.clone())];
        for _ in 0..1_000 {
            let probe = probes.pop()?;
            let here: Vec<Edge> = map.iter().filter(|edge| edge.from == probe.last().to).cloned().collect();
            match probe.hop(seen(&here)) {
                Hop::Home { refused, cycle } => return Some((refused.call.0[0], cycle)),
                Hop::On(next) => probes.extend(next),
            }
        }
        panic!("the probe never ends");
    }

    #[test]
    fn all_calls_of_a_circle_agree_on_the_one_that_gives_way() {
        let map = [edge("a", 3, "b"), edge("b", 9, "c"), edge("c", 5, "a"), edge("c", 7, "d")];
        for (first, name) in [(0, "a"), (1, "b"), (2, "c")] {
            let (refused, cycle) = run(&map[first], &map).unwrap();
            assert_eq!(refused, 9);
            assert_eq!(cycle.len(), 4);
            assert_eq!((&cycle[0], &cycle[3]), (&actor(name), &actor(name)));
        }
    }

    #[test]
    fn a_chain_and_a_circle_further_on_refuse_nobody() {
        let map =
            [edge("a", 1, "b"), edge("b", 2, "c"), edge("x", 3, "a"), edge("c", 4, "d"), edge("d", 5, "c")];
        for first in [0, 1, 2] {
            assert_eq!(run(&map[first], &map), None);
        }
        assert_eq!(run(&map[3], &map).unwrap().0, 5);
    }

    #[test]
    fn a_probe_whose_edge_has_gone_ends() {
        let (ab, ba) = (edge("a", 1, "b"), edge("b", 2, "a"));
        let gone = Seen { waits: false, edges: vec![ba.clone()] };
        assert_eq!(Probe::new(ab.clone()).hop(gone), Hop::On(vec![]));
        // The turn of `a` is another one by now.
        let Hop::On(next) = Probe::new(ab).hop(seen(&[ba])) else { panic!("not home yet") };
        let other = edge("a", 8, "b");
        assert!(matches!(next[0].hop(seen(&[other])), Hop::On(_)));
    }
}
