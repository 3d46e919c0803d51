//! The nodes of a cluster, as an operator sees them. Kelpie's own, not part of the Letta format.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::ActorPlacement;

/// All nodes that ever joined the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeList {
    /// By name.
    pub nodes: Vec<ListedNode>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedNode {
    /// Its name.
    pub node: String,
    /// `active`, `draining`, `left`, `dead` or `evicted`.
    pub state: String,
    /// Which life of it.
    pub incarnation: u64,
    /// Where other nodes reach it; empty if it serves alone.
    pub address: String,
    /// The version of Kelpie that it runs.
    pub version: String,
    /// What actors may ask for.
    pub labels: Vec<String>,
    /// How many actors it may hold in memory; missing if as many as fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// How many it said that it holds with its last beat; missing before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<u64>,
    /// Whether it has given this answer.
    pub answers: bool,
}

/// A part of the actors of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeActors {
    /// By life of the node, then by type and key. May be fewer than asked for before the end.
    pub actors: Vec<NodeActor>,
    /// What `after` has to be for the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An actor of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeActor {
    /// `tenant/type/key`.
    pub actor: String,
    /// Which life of the node has it.
    pub incarnation: u64,
    /// Whether that life goes on; if not, another node has the actor with the next call.
    pub owner_lives: bool,
    /// How often it has changed hands.
    pub epoch: u64,
    /// Why it came there; missing if it came there before that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<ActorPlacement>,
}
