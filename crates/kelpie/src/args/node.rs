//! The arguments of `kelpie node`.

use clap::{Args, Subcommand};
use kelpie_core::id::NodeId;

use super::Remote;

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) action: NodeAction,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeAction {
    /// List all nodes that ever joined the store
    List,
    /// List the actors of a node: those that it serves, and those that it had when it ended and
    /// that nobody has called since
    Actors {
        /// The node's name
        #[arg(value_name = "NODE", value_parser = name)]
        node: NodeId,
        /// At most this many (all, if not given)
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Have a node finish what it has begun, hand over its actors and end
    Drain {
        /// The node's name; any server of the store takes the order
        #[arg(value_name = "NODE", value_parser = name)]
        node: NodeId,
    },
    /// End a node that does not end by itself: its actors are free for others at once
    Evict {
        /// The node's name; any server of the store takes the order
        #[arg(value_name = "NODE", value_parser = name)]
        node: NodeId,
    },
}

pub(super) fn name(text: &str) -> Result<NodeId, String> {
    NodeId::new(text).map_err(|error| error.to_string())
}
