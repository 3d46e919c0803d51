//! The runtime of one node, from start to drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::{ActorId, NameError, NodeId, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::placement::Strategy;
use kelpie_core::row;
use kelpie_env::Env;
use kelpie_registry::{Health, JoinError, Membership, RegistryError, Settings};
use kelpie_storage::{ReadError, Store};

use crate::actor::{Actor, RecordRange, TurnError};
use crate::admission::CallLimits;
use crate::call::{Call, CallError};
use crate::leaving::{MigrateError, Moved};
use crate::load::describe;
use crate::node::{Admission, Node};
use crate::peers::Peers;
use crate::records::pages;
use crate::view::View;
use crate::{balancing, eviction, route, wake};

/// How a node runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// How it joins.
    pub node: Settings,
    /// How long an activation stays in memory without calls.
    pub idle_after: Duration,
    /// How many idle activations stay in memory; the longest idle leave first.
    pub idle_activations_max: usize,
    /// Bytes of actors' records that stay in memory; beyond it the longest idle activations
    /// leave.
    pub cached_bytes_max: usize,
    /// What callers may ask of this node.
    pub call_limits: CallLimits,
    /// How it chooses a node for an actor that nobody has.
    pub placement: Strategy,
    /// Whether it gives actors at rest away when it holds many more than other nodes, and how
    /// long it waits after that before it does so again.
    pub rebalance: Option<Duration>,
}

impl Options {
    /// A node that serves alone.
    pub fn alone(node: &str) -> Result<Self, NameError> {
        let node = Settings::alone(NodeId::new(node)?);
        Ok(Self {
            node,
            idle_after: Duration::from_mins(1),
            idle_activations_max: 100_000,
            cached_bytes_max: 256 << 20,
            call_limits: CallLimits::default(),
            placement: Strategy::default(),
            rebalance: None,
        })
    }
}

/// A node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Two actor types have one name.
    #[error("two actor types are named `{actor_type}`")]
    TypeTwice {
        /// The name.
        actor_type: String,
    },
}

/// How a drain ended.
#[derive(Debug)]
pub struct Drained {
    /// Calls and effects that were cut off at the deadline. What they owe goes on after the
    /// next start.
    pub cut_off: u64,
    /// Whether the end of the session reached the store.
    pub left: Result<(), RegistryError>,
}

/// The runtime of one node. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) node: Arc<Node>,
}

impl Runtime {
    /// Joins and begins to serve, first of all what is owed from before.
    pub async fn start(
        options: Options,
        env: Env,
        store: Store,
        actors: Vec<Arc<dyn Actor>>,
    ) -> Result<Self, StartError> {
        Self::join(options, env, store, actors, |_| None).await
    }

    /// The same among other nodes: `peers` gets this one's place in the cluster, and gives the way
    /// to the others. Whoever calls listens at the address in `options` before.
    pub async fn start_among(
        options: Options,
        env: Env,
        store: Store,
        actors: Vec<Arc<dyn Actor>>,
        peers: impl FnOnce(&Membership) -> Arc<dyn Peers>,
    ) -> Result<Self, StartError> {
        Self::join(options, env, store, actors, |membership| Some(peers(membership))).await
    }

    async fn join(
        options: Options,
        env: Env,
        store: Store,
        actors: Vec<Arc<dyn Actor>>,
        peers: impl FnOnce(&Membership) -> Option<Arc<dyn Peers>>,
    ) -> Result<Self, StartError> {
        let mut by_type = BTreeMap::new();
        for actor in actors {
            let actor_type = actor.actor_type().to_owned();
            if by_type.insert(actor_type.clone(), actor).is_some() {
                return Err(StartError::TypeTwice { actor_type });
            }
        }
        let membership = Membership::join(env.clone(), store.clone(), options.node.clone()).await?;
        let peers = peers(&membership);
        let node = Node::new(env, store, options, membership, by_type, peers);
        let (wakes, evicts) = (node.clone(), node.clone());
        node.env.supervise("wake", move || wake::wake_due(wakes.clone()));
        node.env.supervise("eviction", move || eviction::evict_idle(evicts.clone()));
        if node.routing.is_some() {
            let loaded = node.clone();
            node.env.supervise("load", move || route::publish_load(loaded.clone()));
            if let Some(cooldown) = node.options.rebalance {
                let heavy = node.clone();
                node.env.supervise("balance", move || balancing::balance(heavy.clone(), cooldown));
            }
        }
        Ok(Self { node })
    }

    /// Calls an actor, wherever it is.
    pub async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.node.clone().call(call, Admission::New).await
    }

    /// A read turn on what was committed last, straight from the store: it activates nothing,
    /// and an actor that was never called reads as it begins.
    ///
    /// # Errors
    /// [`CallError::NotARead`] when the operation may change the actor; else as of any call.
    pub async fn read_stored(&self, call: Call) -> Result<Bytes, CallError> {
        self.node.clone().read_stored(call).await
    }

    /// Whether the actors of a type take and give JSON. Nothing: this node has no such type.
    pub fn takes_json(&self, actor_type: &str) -> Option<bool> {
        self.node.behaviour(actor_type).map(|behaviour| behaviour.takes_json())
    }

    /// The names of the actor types of this node.
    pub fn actor_types(&self) -> impl Iterator<Item = &str> {
        self.node.actor_types()
    }

    /// The actors of a type that were ever called and who may commit for each, in the order of
    /// their keys: those after the key `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer, or a record cannot be read.
    pub async fn actors(
        &self,
        tenant: &str,
        actor_type: &str,
        after: Option<&ActorId>,
        limit: usize,
    ) -> Result<Vec<(ActorId, Own)>, TurnError> {
        let prefix = row::owns(tenant, actor_type);
        let begin = after.map_or_else(|| prefix.clone(), |after| row::after(&row::own(after)));
        let mut tx = self.node.store.begin();
        let rows = pages(&mut tx, begin, row::after(&prefix), limit, false).await?;
        let actor = |(key, own): (Bytes, Bytes)| {
            row::parse_own(&key).map(|actor| Ok((actor, kelpie_core::record::decode(&own)?)))
        };
        rows.into_iter().filter_map(actor).collect()
    }

    /// Serves what the runtime of another node has sent by its [`Peers`]; `remaining` is left for it.
    pub async fn serve(&self, body: &[u8], remaining: Duration) -> Bytes {
        self.node.clone().serve(body, remaining).await
    }

    /// Takes notice of what the runtime of another node says by its [`Peers`].
    pub fn note(&self, body: &[u8]) {
        self.node.note(body);
    }

    /// An actor's records straight from the store: the last committed ones, without
    /// activating the actor.
    pub fn view(&self, actor: &ActorId) -> View {
        self.node.view(actor)
    }

    /// Entries of an index, without what they all start with. The range's bounds are entries.
    pub async fn index(
        &self,
        tenant: &str,
        actor_type: &str,
        index: &str,
        range: RecordRange,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let prefix = row::index(tenant, actor_type, index, b"");
        let begin = row::index(tenant, actor_type, index, &range.begin);
        let end = if range.end.is_empty() {
            row::after(&prefix)
        } else {
            row::index(tenant, actor_type, index, &range.end)
        };
        let mut tx = self.node.store.begin();
        match pages(&mut tx, begin, end, range.limit, range.reverse).await {
            Ok(rows) => Ok(rows.into_iter().map(|(key, value)| (key.slice(prefix.len()..), value)).collect()),
            Err(TurnError::Read(error)) => Err(error),
            Err(error) => unreachable!("pages only reads rows: {error}"),
        }
    }

    /// Moves an actor to another node, between two of its turns; whoever waits for it follows. Any
    /// node takes this, for actors of any node.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(
        &self,
        actor: &ActorId,
        to: &NodeId,
        limit: Duration,
    ) -> Result<Moved, MigrateError> {
        self.node.migrate_from_anywhere(actor, to, limit).await
    }

    /// Gives its actors to other nodes, if there are any; then refuses new calls, waits for what
    /// was admitted, and leaves. All that takes at most `limit`.
    pub async fn drain(&self, limit: Duration) -> Drained {
        if let Err(error) = self.node.membership.drain().await {
            tracing::warn!(error = describe(&error), "the store does not know that this node drains");
        }
        let deadline = self.node.env.now().saturating_add(limit);
        self.node.give_all_away(limit).await;
        let cut_off = self.node.drain(deadline.saturating_sub(self.node.env.now())).await;
        let left = if cut_off == 0 { self.node.membership.leave().await } else { Ok(()) };
        Drained { cut_off, left }
    }

    /// Frees what the node has in memory, of a runtime whose tasks are gone without a drain: that of a
    /// simulated process that was killed. Activations and their node hold each other, so nothing
    /// frees them otherwise before the process ends. The store is told nothing.
    pub fn abandon(&self) {
        self.node.residents.clear();
    }

    /// Whether the node admits calls, and why not.
    pub fn health(&self) -> Health {
        self.node.membership.health()
    }

    /// Whether the node is draining or has drained.
    pub fn is_draining(&self) -> bool {
        !self.node.is_open()
    }

    /// Whether the operator has told the node to drain, or it does so by itself.
    pub fn is_told_to_drain(&self) -> bool {
        self.node.membership.is_draining()
    }

    /// Whether the node has that name.
    pub fn is_node(&self, node: &NodeId) -> bool {
        self.node.membership.myself().node == *node
    }

    /// Calls and effects that were admitted and have not ended.
    pub fn in_flight(&self) -> u64 {
        self.node.in_flight()
    }

    /// Actors in memory.
    pub fn activations(&self) -> usize {
        self.node.residents.len()
    }

    /// Shows each actor that is loaded, with the owner record and the commit that it stands at
    /// in memory: for those who compare it with the store.
    pub fn loaded(&self, mut see: impl FnMut(&ActorId, &Own, Seq)) {
        self.node.residents.loaded(&mut see);
    }

    /// Bytes of actors' records in memory.
    pub fn cached_bytes(&self) -> usize {
        self.node.idle.cached.bytes()
    }

    /// The world.
    pub fn env(&self) -> &Env {
        &self.node.env
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.node.store
    }
}
