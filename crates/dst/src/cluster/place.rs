//! The place of a process in its cluster: among other nodes, or alone on its store.

use std::sync::Arc;
use std::time::Duration;

use kelpie_cluster::Node;
use kelpie_core::id::{ActorId, NodeId};
use kelpie_env::Env;
use kelpie_runtime::{Actor, Runtime};
use kelpie_storage::Store;

/// How a process joins, as production code takes it.
#[derive(Debug, Clone)]
pub enum Place {
    /// It serves alone: what it owns nobody else can ask for.
    Alone(kelpie_runtime::Options),
    /// Among other nodes.
    Among(kelpie_cluster::Options),
}

impl Place {
    /// The name that it joins under.
    pub fn name(&self) -> &NodeId {
        match self {
            Self::Alone(options) => &options.node.node,
            Self::Among(options) => &options.runtime.node.node,
        }
    }

    /// The same, taken by a process of the next build.
    pub(super) fn upgraded(self) -> Self {
        match self {
            Self::Alone(options) => Self::Alone(options),
            Self::Among(options) => {
                let protocols = super::next(options.protocols);
                Self::Among(kelpie_cluster::Options { protocols, ..options })
            }
        }
    }

    /// Joins, and serves these actors.
    ///
    /// # Errors
    /// Says why not.
    pub async fn take(self, env: Env, store: Store, actors: Vec<Arc<dyn Actor>>) -> Result<Joined, String> {
        match self {
            Self::Alone(options) => {
                let runtime = Box::pin(Runtime::start(options, env, store, actors)).await;
                let runtime = runtime.map_err(|error| error.to_string())?;
                Ok(Joined { runtime, node: None })
            }
            Self::Among(options) => {
                let node = Box::pin(kelpie_cluster::start(options, env, store, actors)).await;
                let node = node.map_err(|error| error.to_string())?;
                Ok(Joined { runtime: node.runtime().clone(), node: Some(Arc::new(node)) })
            }
        }
    }
}

/// A process that has joined. Clones are the same.
#[derive(Clone)]
pub struct Joined {
    runtime: Runtime,
    node: Option<Arc<Node>>,
}

impl Joined {
    /// What serves calls.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Hands over what it has, ends what was admitted for at most `limit`, and leaves. Whether
    /// nothing was cut off.
    pub async fn drain(self, limit: Duration) -> bool {
        let drained = match &self.node {
            Some(node) => node.drain(limit).await,
            None => self.runtime.drain(limit).await,
        };
        drained.cut_off == 0
    }

    /// Moves an actor to another node. Whether it did.
    pub async fn migrate(self, actor: ActorId, to: NodeId, limit: Duration) -> bool {
        let moved = self.runtime.migrate(&actor, &to, limit).await;
        if let Err(error) = &moved {
            tracing::debug!(%actor, %to, %error, "not moved");
        }
        moved.is_ok()
    }
}
