//! Whom a node may declare dead.
//!
//! Two grounds. A beat stood still for a term and the margin: counted only across the node's
//! own successful readings, at most a third of a term apart, from the moment that one
//! returned, while its own renewals succeed. Or two nodes found their connections *refused*,
//! each twice: a process that is there may be slow, but its port does not refuse.
//!
//! Invariant: after an outage of the store nobody is dead, since nobody watched through it.
//! What is declared is the beat that was watched; a renewal since then wins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Change, Member, Members};
use crate::id::{Boot, NodeId};
use crate::session::{Beat, Stillness};

/// Refused connections of one node that count as its word.
const REFUSALS_EACH: u32 = 2;
/// Nodes whose word is needed.
const REFUSED_NODES: usize = 2;
/// Nodes whose refusals are remembered of one suspect: more say nothing new.
const REFUSED_NODES_MAX: usize = 8;

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All sessions and leases, read together, at these times of the node's own clock.
    Read {
        /// Before it was asked.
        began: Duration,
        /// When the answer was there.
        returned: Duration,
        /// All of them.
        members: Vec<Member>,
    },
    /// The node has renewed its own lease.
    Renewed {
        /// When that renewal began.
        began: Duration,
    },
    /// It could not.
    NotRenewed,
    /// A node's connection to a process was refused, not merely lost or timed out.
    Refused {
        /// Whose connection.
        by: NodeId,
        /// To whom.
        node: NodeId,
        /// Which process was expected there.
        boot: Boot,
        /// When it was told of, by the node's own clock.
        at: Duration,
    },
}

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell of a change.
    Changed(Change),
    /// Declare it dead, if its beat still stands where it was watched.
    Declare(Suspicion),
}

/// Who is taken for dead, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// Its name.
    pub node: NodeId,
    /// The beat that must still stand.
    pub watched: Beat,
    /// Why.
    pub grounds: Grounds,
}

/// Why a process is taken for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// Its beat stood still.
    Silent,
    /// Two nodes' connections were refused, each twice.
    Refused,
}

/// Refused connections to one process since its last beat.
#[derive(Debug, Clone)]
struct Refusals {
    boot: Boot,
    by: BTreeMap<NodeId, (u32, Duration)>,
}

/// Watches the beats of all other nodes, for one node.
#[derive(Debug, Clone)]
pub struct Watcher {
    me: NodeId,
    term: Duration,
    members: Members,
    watched: BTreeMap<NodeId, Stillness>,
    refusals: BTreeMap<NodeId, Refusals>,
    /// When the last successful renewal of its own began.
    renewed: Option<Duration>,
}

impl Watcher {
    /// A node that has just joined, with this lease term.
    pub fn new(me: NodeId, term: Duration) -> Self {
        Self {
            me,
            term,
            members: Members::default(),
            watched: BTreeMap::new(),
            refusals: BTreeMap::new(),
            renewed: None,
        }
    }

    /// Between two readings: what fail-over takes beyond the term and the margin is two of them.
    pub fn pause(&self) -> Duration {
        self.term / 24
    }

    /// Who is in the cluster, as of the last reading.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Takes in one observation.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Read { began, returned, members } => self.read(began, returned, members),
            Input::Renewed { began } => {
                self.renewed = Some(began);
                vec![]
            }
            Input::NotRenewed => {
                self.watched.clear();
                vec![]
            }
            Input::Refused { by, node, boot, at } => {
                self.refused(by, node, boot, at);
                vec![]
            }
        }
    }

    fn read(&mut self, began: Duration, returned: Duration, members: Vec<Member>) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.members.read(members).into_iter().map(Effect::Changed).collect();
        if !self.is_renewing(began) {
            self.watched.clear();
        }
        // Each by its own term; a shorter one than this node's cannot be told from its pauses.
        let live: Vec<(NodeId, Beat, Duration)> = self
            .members
            .live()
            .filter(|member| member.node != self.me)
            .map(|member| (member.node.clone(), member.beat(), member.session.lease_term().max(self.term)))
            .collect();
        self.watched
            .retain(|node, still| live.iter().any(|(known, _, term)| known == node && *term == still.term()));
        for (node, beat, term) in live {
            let stillness = self.watched.entry(node.clone()).or_insert_with(|| Stillness::new(term));
            let moved = stillness.read(beat, returned);
            if moved {
                self.refusals.remove(&node);
            }
            let grounds = if stillness.is_silent(began) {
                Grounds::Silent
            } else if self.is_refused(&node, beat, returned) {
                Grounds::Refused
            } else {
                continue;
            };
            if crate::mutant!("watcher_declares_nobody") {
                continue;
            }
            effects.push(Effect::Declare(Suspicion { node, watched: beat, grounds }));
        }
        let watched = &self.watched;
        self.refusals.retain(|node, _| watched.contains_key(node));
        effects
    }

    /// Whether its own renewals succeed: what keeps a writer from the store may keep the others.
    fn is_renewing(&self, now: Duration) -> bool {
        self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) <= self.term / 2)
            || crate::mutant!("watches_without_renewing")
            // With the gap that hides the same pause.
            || crate::mutant!("watcher_counts_its_own_pause")
    }

    fn refused(&mut self, by: NodeId, node: NodeId, boot: Boot, at: Duration) {
        // Of a process that is not watched, or is another by now, it says nothing; and nobody is
        // a witness of himself.
        let watched = self.watched.get(&node).and_then(Stillness::beat);
        if by == node || watched.is_none_or(|beat| beat.boot() != boot) {
            return;
        }
        let refusals = self.refusals.entry(node).or_insert_with(|| Refusals { boot, by: BTreeMap::new() });
        if refusals.boot != boot {
            *refusals = Refusals { boot, by: BTreeMap::new() };
        }
        if refusals.by.len() < REFUSED_NODES_MAX || refusals.by.contains_key(&by) {
            let (count, last) = refusals.by.entry(by).or_insert((0, at));
            let is_old = at.saturating_sub(*last) > self.term;
            *count = if is_old { 1 } else { *count + 1 };
            *last = at;
        }
    }

    fn is_refused(&self, node: &NodeId, beat: Beat, now: Duration) -> bool {
        let Some(refusals) = self.refusals.get(node).filter(|refusals| refusals.boot == beat.boot()) else {
            return false;
        };
        let word = |(count, last): &&(u32, Duration)| {
            *count >= REFUSALS_EACH && now.saturating_sub(*last) <= self.term
        };
        refusals.by.values().filter(word).count() >= REFUSED_NODES
    }
}

#[cfg(test)]
mod tests;
