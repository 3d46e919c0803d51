//! Which process of which cluster.

use std::fmt;

use kelpie_core::id::{Boot, Incarnation, NodeId};
use kelpie_core::ownership::Myself;
use serde::{Deserialize, Serialize};

/// The store's generation: whoever reads another one is in another cluster, or in a life of
/// this one that a restore has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// One process, as its session names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub node: NodeId,
    /// Which life of that name.
    pub incarnation: Incarnation,
    /// Which process.
    pub boot: Boot,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (incarnation {})", self.node, self.incarnation.0)
    }
}

impl From<Myself> for Identity {
    fn from(Myself { node, incarnation, boot }: Myself) -> Self {
        Self { node, incarnation, boot }
    }
}
