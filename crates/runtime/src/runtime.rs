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
///
/// ```
/// use std::time::Duration;
///
/// use kelpie::untyped::Options;
///
/// let options = Options { idle_after: Duration::from_secs(5), ..Options::alone("shop-1")? };
/// assert_eq!(options.node.node.as_str(), "shop-1");
/// assert!(Options::alone("").is_err(), "a node has a name");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// Shown at [`Options`].
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
///
/// ```
/// # use futures::future::BoxFuture;
/// # use kelpie::untyped::{Actor, Call, HandlerError, Turn, View};
/// # use kelpie::{ActorId, Bytes};
/// # struct Note;
/// # impl Actor for Note {
/// #     fn actor_type(&self) -> &str {
/// #         "note"
/// #     }
/// #     fn is_read(&self, operation: &str) -> bool {
/// #         operation == "read"
/// #     }
/// #     fn read<'a>(
/// #         &'a self, view: &'a View, _: &'a str, _: &'a [u8],
/// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
/// #         Box::pin(async move { Ok(view.get(b"text").await?.unwrap_or_default()) })
/// #     }
/// #     fn handle<'a>(
/// #         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
/// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
/// #         Box::pin(async move {
/// # match operation {
/// #     "write" => turn.set("text", payload.to_vec()),
/// #     _ => turn.send(turn.actor().clone(), "write", payload.to_vec()),
/// # }
/// # Ok(Bytes::new())
/// #         })
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use kelpie::untyped::{Health, Options, Runtime, Store, StoreConfig};
///
/// // What `kelpie::open(…).start()` does, in any world and with any store.
/// let env = kelpie_env::real::env();
/// let store = Store::open(&StoreConfig::Memory, &env).await?;
/// let runtime = Runtime::start(Options::alone("n1")?, env, store, vec![Arc::new(Note)]).await?;
///
/// let note = ActorId::new("default", "note", "a")?;
/// runtime.call(Call::new(note.clone(), "write", "milk")).await?;
/// assert_eq!(runtime.call(Call::new(note.clone(), "read", "")).await?, "milk");
/// // From the store, without the actor coming into memory.
/// assert_eq!(runtime.read_stored(Call::new(note.clone(), "read", "")).await?, "milk");
/// assert_eq!(runtime.view(&note).get(b"text").await?, Some("milk".into()));
///
/// // What it serves, and for whom it may commit.
/// assert_eq!(runtime.actor_types().collect::<Vec<_>>(), ["note"]);
/// assert_eq!(runtime.takes_json("note"), Some(false));
/// let all = runtime.actors("default", "note", None, 10).await?;
/// assert!(all.iter().all(|(actor, own)| *actor == note && runtime.is_node(&own.node)));
///
/// // How it does.
/// assert_eq!((runtime.health(), runtime.has_peers()), (Health::Ready, false));
/// assert_eq!((runtime.in_flight(), runtime.activations()), (0, 1));
/// assert!(runtime.cached_bytes() > 0 && runtime.env().wall_ms() > 0);
///
/// let drained = runtime.drain(Duration::from_secs(5)).await;
/// assert_eq!(drained.cut_off, 0);
/// assert!(runtime.is_draining() && runtime.is_told_to_drain());
/// runtime.store().close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime {
    pub(crate) node: Arc<Node>,
}

impl Runtime {
    /// Joins and begins to serve, first of all what is owed from before.
    ///
    /// Shown at [`Runtime`].
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
    #[doc(hidden)]
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
    ///
    /// Shown at [`Runtime`].
    pub async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.node.clone().call(call, Admission::New).await
    }

    /// A read turn on what was committed last, straight from the store: it activates nothing,
    /// and an actor that was never called reads as it begins.
    ///
    /// Shown at [`Runtime`].
    ///
    /// # Errors
    /// [`CallError::NotARead`] when the operation may change the actor; else as of any call.
    pub async fn read_stored(&self, call: Call) -> Result<Bytes, CallError> {
        self.node.clone().read_stored(call).await
    }

    /// Whether the actors of a type take and give JSON. Nothing: this node has no such type.
    ///
    /// Shown at [`Runtime`].
    pub fn takes_json(&self, actor_type: &str) -> Option<bool> {
        self.node.behaviour(actor_type).map(|behaviour| behaviour.takes_json())
    }

    /// The names of the actor types of this node.
    ///
    /// Shown at [`Runtime`].
    pub fn actor_types(&self) -> impl Iterator<Item = &str> {
        self.node.actor_types()
    }

    /// The actors of a type that were ever called and who may commit for each, in the order of
    /// their keys: those after the key `after`, at most `limit`.
    ///
    /// Shown at [`Runtime`].
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
    #[doc(hidden)]
    pub async fn serve(&self, body: &[u8], remaining: Duration) -> Bytes {
        self.node.clone().serve(body, remaining).await
    }

    /// Takes notice of what the runtime of another node says by its [`Peers`].
    #[doc(hidden)]
    pub fn note(&self, body: &[u8]) {
        self.node.note(body);
    }

    /// An actor's records straight from the store: the last committed ones, without
    /// activating the actor.
    ///
    /// Shown at [`Runtime`].
    pub fn view(&self, actor: &ActorId) -> View {
        self.node.view(actor)
    }

    /// Entries of an index, without what they all start with. The range's bounds are entries.
    ///
    /// Shown at [`Turn::index_set`](crate::Turn::index_set).
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
    /// ```
    /// use std::time::Duration;
    ///
    /// use kelpie::{ActorId, MigrateError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// let (note, other) = (ActorId::new("default", "note", "a")?, kelpie::NodeId::new("n2")?);
    /// let moved = cluster.runtime().migrate(&note, &other, Duration::from_secs(5)).await;
    /// assert_eq!(moved, Err(MigrateError::Alone), "there is no other node");
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// Shown at [`Runtime`].
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
    #[doc(hidden)]
    pub fn abandon(&self) {
        self.node.residents.clear();
    }

    /// Whether the node admits calls, and why not.
    ///
    /// Shown at [`Runtime`].
    pub fn health(&self) -> Health {
        self.node.membership.health()
    }

    /// Whether the node is draining or has drained.
    ///
    /// Shown at [`Runtime`].
    pub fn is_draining(&self) -> bool {
        !self.node.is_open()
    }

    /// Whether the operator has told the node to drain, or it does so by itself.
    ///
    /// Shown at [`Runtime`].
    pub fn is_told_to_drain(&self) -> bool {
        self.node.membership.is_draining()
    }

    /// Whether the node has that name.
    ///
    /// Shown at [`Runtime`].
    pub fn is_node(&self, node: &NodeId) -> bool {
        self.node.membership.myself().node == *node
    }

    /// Calls and effects that were admitted and have not ended.
    ///
    /// Shown at [`Runtime`].
    pub fn in_flight(&self) -> u64 {
        self.node.in_flight()
    }

    /// Actors in memory.
    ///
    /// Shown at [`Runtime`].
    pub fn activations(&self) -> usize {
        self.node.residents.len()
    }

    /// Shows each actor that is loaded, with the owner record and the commit that it stands at
    /// in memory: for those who compare it with the store.
    #[doc(hidden)]
    pub fn loaded(&self, mut see: impl FnMut(&ActorId, &Own, Seq)) {
        self.node.residents.loaded(&mut see);
    }

    /// Bytes of actors' records in memory.
    ///
    /// Shown at [`Runtime`].
    pub fn cached_bytes(&self) -> usize {
        self.node.idle.cached.bytes()
    }

    /// The world.
    ///
    /// Shown at [`Runtime`].
    pub fn env(&self) -> &Env {
        &self.node.env
    }

    /// The store.
    ///
    /// Shown at [`Runtime`].
    pub fn store(&self) -> &Store {
        &self.node.store
    }
}
