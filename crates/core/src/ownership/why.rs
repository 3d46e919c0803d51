//! Why an actor is where it is, in types for the record and in words for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, NodeId};
use crate::placement::Strategy;

/// Why an actor is where it is, kept with its entry in its owner's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It was called here, and nobody had it.
    Called,
    /// It was placed.
    Chosen {
        /// How, among those that were fit.
        strategy: Strategy,
        /// Only nodes with this label were fit.
        label: Option<String>,
        /// What those that were fit and had room had last said that they held: a few of them,
        /// and in any case the chosen one.
        loads: BTreeMap<NodeId, u64>,
        /// Those that were fit and had no room, or were out of reach: a few of them.
        full: BTreeSet<NodeId>,
        /// What was wished and could not be had.
        unmet: Unmet,
    },
    /// It was to be with another actor.
    Near {
        /// Which one.
        actor: ActorId,
    },
    /// Its owner lived and could not be reached.
    ClaimedOver {
        /// Who had it.
        node: NodeId,
        /// For how long it could not be reached.
        unreachable_ms: u64,
    },
    /// Its owner gave it away.
    Migrated {
        /// Who had it.
        from: NodeId,
        /// On whose account.
        by: Mover,
    },
}

/// Wishes that a placement could not follow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unmet {
    /// No active node with this label had room, and was within reach.
    pub label: Option<String>,
    /// The node of this actor had no room, or not what else was wished.
    pub near: Option<ActorId>,
}

/// On whose account an actor moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mover {
    /// Somebody said so.
    Operator,
    /// Its node was to leave.
    Drain,
    /// Its node held more than others.
    Balance,
}

impl Why {
    /// A name for programs.
    ///
    /// ```
    /// use kelpie_core::ownership::Why;
    ///
    /// assert_eq!(Why::Called.reason(), "called");
    /// assert_eq!(Why::Called.to_string(), "it was called there, and nobody had it");
    /// ```
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Called => "called",
            Self::Chosen { label: Some(_), .. } => "label",
            Self::Chosen { strategy, .. } => strategy.name(),
            Self::Near { .. } => "affinity",
            Self::ClaimedOver { .. } => "claimed_over",
            Self::Migrated { .. } => "migrated",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Called => write!(f, "it was called there, and nobody had it"),
            Self::Chosen { strategy, label, loads, full, unmet } => {
                match label {
                    Some(label) => write!(f, "label {label}, and there {}", strategy.words())?,
                    None => write!(f, "{}", strategy.words())?,
                }
                let held = loads.iter().map(|(node, load)| format!("{node} held {load}"));
                write!(f, ": {}", held.collect::<Vec<_>>().join(", "))?;
                if !full.is_empty() {
                    let full = full.iter().map(NodeId::as_str).collect::<Vec<_>>();
                    write!(f, "; no room within reach on {}", full.join(", "))?;
                }
                if let Some(label) = &unmet.label {
                    write!(f, "; no node with the label {label} had room within reach")?;
                }
                unmet
                    .near
                    .as_ref()
                    .map_or(Ok(()), |near| write!(f, "; not with {near}, whose node was not fit"))
            }
            Self::Near { actor } => write!(f, "with {actor}, which was there"),
            Self::ClaimedOver { node, unreachable_ms } => {
                let time = Duration::from_millis(*unreachable_ms);
                write!(f, "claimed over {node}, which lived and could not be reached for {time:?}")
            }
            Self::Migrated { from, by } => write!(f, "{from} gave it away: {}", by.words()),
        }
    }
}

impl Mover {
    fn words(self) -> &'static str {
        match self {
            Self::Operator => "its operator said so",
            Self::Drain => "it was to leave",
            Self::Balance => "it held more than others",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::node;

    #[test]
    fn a_reason_is_told_with_what_was_seen() {
        let chosen = Why::Chosen {
            strategy: Strategy::LeastLoaded,
            label: None,
            loads: BTreeMap::from([(node("a"), 3), (node("b"), 10)]),
            full: BTreeSet::from([node("c")]),
            unmet: Unmet { label: Some("gpu".to_owned()), near: None },
        };
        assert_eq!(
            chosen.to_string(),
            "among the least loaded: a held 3, b held 10; no room within reach on c; no node with the label gpu had room within reach"
        );
        let over = Why::ClaimedOver { node: node("a"), unreachable_ms: 3_200 };
        assert_eq!(over.to_string(), "claimed over a, which lived and could not be reached for 3.2s");
        let moved = Why::Migrated { from: node("a"), by: Mover::Drain };
        assert_eq!(
            (moved.to_string().as_str(), moved.reason()),
            ("a gave it away: it was to leave", "migrated")
        );
    }
}
