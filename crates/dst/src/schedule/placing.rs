//! How the machines of a cluster place actors, as their operator and the actors would have it.

use std::time::Duration;

use kelpie_core::id::ActorId;
use kelpie_core::placement::Strategy;
use kelpie_runtime::PlacementWish;
use serde::{Deserialize, Serialize};

/// How machines place actors. Each machine is a rack of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    /// How a machine is chosen among those that are fit.
    #[serde(default)]
    pub strategy: Strategy,
    /// What actors wish.
    #[serde(default)]
    pub wishes: Wishes,
    /// Whether machines that hold many more than others give some away, and for how many
    /// milliseconds they wait after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance_ms: Option<u64>,
}

/// What the actors of a cluster wish. Agents wish nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wishes {
    /// Nothing.
    #[default]
    None,
    /// Some a rack, some the company of another actor, some nothing.
    Mixed,
    /// All of them the first machine.
    FirstRack,
}

/// Racks that some wish to be on, whether there are so many or not.
const RACKS: u64 = 4;

impl Placing {
    /// Whether there is nothing to tell of it.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn rebalance(&self) -> Option<Duration> {
        self.rebalance_ms.map(Duration::from_millis)
    }
}

impl Wishes {
    /// What this actor wishes: its key ends in its number.
    pub(crate) fn of(self, actor: &ActorId) -> PlacementWish {
        let name = actor.key().trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number: u64 = actor.key()[name.len()..].parse().unwrap_or(0);
        match (self, number % 3) {
            (Self::Mixed, 0) => PlacementWish { near: None, label: Some(rack(number % RACKS)) },
            (Self::Mixed, 1) => {
                let before = format!("{name}{}", number - 1);
                let near = ActorId::new(actor.tenant(), actor.actor_type(), &before);
                PlacementWish { near: near.ok(), label: None }
            }
            (Self::FirstRack, _) => PlacementWish { near: None, label: Some(rack(0)) },
            (Self::None | Self::Mixed, _) => PlacementWish::default(),
        }
    }
}

/// The label of a machine.
pub(crate) fn rack(machine: u64) -> String {
    format!("rack-{machine}")
}
