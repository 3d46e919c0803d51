//! This node's session: joined once, renewed for ever, left at the end; and what it knows of the
//! others.
//!
//! Invariants: after a term without a successful renewal, by the node's own monotonic clock,
//! [`Membership::health`] says so and the node admits nothing. That narrows the window for
//! effects outside of the store; what makes commits safe is the fence in each of them. A node
//! that finds itself declared dead goes on as its next incarnation, which owns nothing yet.

mod beat;
mod join;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kelpie_core::id::{Boot, NodeId};
use kelpie_core::limits::{LEASE_TERM, LEASE_TERM_MAX, LEASE_TERM_MIN};
use kelpie_core::membership::{Input, Members, Watcher};
use kelpie_core::ownership::Myself;
pub use kelpie_core::session::Health;
use kelpie_core::session::{Heard, Holder, JoinRefused, Joiner, NoCommonProtocol, OwnSession, Protocols};
use kelpie_env::Env;
use kelpie_storage::Store;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::RegistryError;
use crate::nodes::Nodes;

/// How a node joins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub node: NodeId,
    /// Where other nodes reach it; empty while it serves alone. Whoever gives one listens there
    /// before it joins: a refused connection counts as a sign of death.
    pub address: String,
    /// The lease term T. Nodes that have different ones judge each other by the longer.
    pub lease_term: Duration,
    /// What its operator says about it, for placement.
    pub labels: BTreeSet<String>,
    /// How many actors it takes into memory, if it is bounded.
    pub capacity: Option<u64>,
    /// Which versions of the protocol between nodes it speaks.
    pub protocols: Protocols,
}

impl Settings {
    /// A node that serves alone, with the default term.
    pub fn alone(node: NodeId) -> Self {
        Self {
            node,
            address: String::new(),
            lease_term: LEASE_TERM,
            labels: BTreeSet::new(),
            capacity: None,
            protocols: Protocols::default(),
        }
    }
}

/// A node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Another process lives under that name.
    #[error(transparent)]
    Refused(#[from] JoinRefused),
    /// A live node speaks nothing that this process does.
    #[error(transparent)]
    NoCommonProtocol(#[from] NoCommonProtocol),
    /// A lease that is shorter or longer than nodes keep one.
    #[error("a lease term of {term:?}: it has to be between {LEASE_TERM_MIN:?} and {LEASE_TERM_MAX:?}")]
    LeaseTerm {
        /// The wanted one.
        term: Duration,
    },
    /// The store did not answer.
    #[error("cannot join")]
    Registry(#[from] RegistryError),
}

/// A node's place in the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Membership {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    store: Store,
    nodes: Nodes,
    settings: Settings,
    standing: Mutex<OwnSession>,
    load: AtomicU64,
    watcher: Mutex<Watcher>,
    members: Mutex<Arc<Members>>,
    /// The members have changed, or this node's own standing has.
    news: Notify,
}

impl Membership {
    /// Joins under the wanted name, and until it leaves keeps the lease renewed and watches the
    /// other nodes. Over a store that other processes write too, a name whose process has died
    /// is free once its beat has stood still for a term and the margin, which this waits for. So does
    /// a process that has no protocol in common with a node that may be dead. Returns once it has
    /// read who else there is: what is asked of a node that has just started has to find its place
    /// among all.
    pub async fn join(env: Env, store: Store, settings: Settings) -> Result<Self, JoinError> {
        let term = settings.lease_term;
        if !(LEASE_TERM_MIN..=LEASE_TERM_MAX).contains(&term) {
            return Err(JoinError::LeaseTerm { term });
        }
        let joiner = Joiner {
            node: settings.node.clone(),
            boot: Boot(env.random_u128()),
            address: settings.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocols: settings.protocols,
            lease_ms: u64::try_from(term.as_millis()).expect("at most a minute"),
            labels: settings.labels.clone(),
            capacity: settings.capacity,
            holds_directory: store.properties().single_process,
            silent: None,
        };
        let (holder, renewed_at) = join::join(&env, &store, joiner, settings.lease_term).await?;
        let standing = OwnSession::new(holder, renewed_at, settings.lease_term);
        let mut watcher = Watcher::new(settings.node.clone(), settings.lease_term);
        watcher.step(Input::Renewed { began: renewed_at });
        let inner = Arc::new(Inner {
            env,
            nodes: Nodes::new(store.clone()),
            store,
            settings,
            standing: Mutex::new(standing),
            load: AtomicU64::new(0),
            watcher: Mutex::new(watcher),
            members: Mutex::default(),
            news: Notify::new(),
        });
        let (beating, watching) = (inner.clone(), inner.clone());
        // Both go on after a panic: what they know stands in `Inner`, and each attempt is a
        // transaction of its own. A lease task that only panics renews nothing, so that the node
        // admits nothing after a term, and is declared dead, as if its store were away.
        inner.env.supervise("lease", move || beating.clone().beat());
        inner.env.supervise("members", move || watching.clone().watch());
        let membership = Self { inner };
        membership.has_read().await;
        Ok(membership)
    }

    /// Returns once it knows who else there is, or has nothing to do with them any more.
    async fn has_read(&self) {
        loop {
            let news = self.inner.news.notified();
            if self.members().version() != 0 || self.has_ended() {
                return;
            }
            news.await;
        }
    }

    /// Who this node is now: a later incarnation after it was declared dead.
    pub fn myself(&self) -> Myself {
        let Holder { incarnation, boot, generation: _ } = self.inner.standing.lock().holder();
        Myself { node: self.inner.settings.node.clone(), incarnation, boot }
    }

    /// The store's generation, which all its nodes share: another one is another cluster.
    pub fn generation(&self) -> u128 {
        self.inner.standing.lock().holder().generation
    }

    /// Whether it may admit calls.
    pub fn health(&self) -> Health {
        let now = self.inner.now();
        self.inner.standing.lock().health(now)
    }

    /// Returns once it may begin what has an effect outside of the store, which no fence guards:
    /// with its lease. Or says why it never may again.
    pub async fn ready(&self) -> Result<(), Health> {
        loop {
            let news = self.inner.news.notified();
            match self.health() {
                Health::Ready => return Ok(()),
                Health::Silent { .. } => news.await,
                over @ (Health::Superseded | Health::Evicted | Health::Restored) => return Err(over),
            }
        }
    }

    /// Who is in the cluster, as of the last reading of the store.
    pub fn members(&self) -> Arc<Members> {
        self.inner.members.lock().clone()
    }

    /// Returns the members once a session has changed since those of this version.
    pub async fn changed(&self, version: u64) -> Arc<Members> {
        loop {
            let news = self.inner.news.notified();
            let members = self.members();
            if members.version() != version {
                return members;
            }
            news.await;
        }
    }

    /// Takes in that a connection of `by` (this node as well) to a process was refused: not that
    /// it was lost or timed out. Two nodes' word, twice each, has the process declared dead.
    pub fn refused(&self, by: NodeId, node: NodeId, boot: Boot) {
        let at = self.inner.now();
        self.inner.watcher.lock().step(Input::Refused { by, node, boot, at });
    }

    /// Says how many actors it holds; published with the next beat.
    pub fn publish_load(&self, load: u64) {
        self.inner.load.store(load, Ordering::Relaxed);
    }

    /// Whether it has left, or this process must stop.
    pub fn has_ended(&self) -> bool {
        self.inner.standing.lock().has_ended()
    }

    /// Whether it drains, by its own wish or the operator's.
    pub fn is_draining(&self) -> bool {
        self.inner.standing.lock().is_draining()
    }

    /// From now on it serves what it owns and claims nothing.
    pub async fn drain(&self) -> Result<(), RegistryError> {
        self.inner.write(Heard::DrainAsked).await
    }

    /// Ends the session. To be called when nothing is in flight any more.
    pub async fn leave(&self) -> Result<(), RegistryError> {
        self.inner.write(Heard::LeaveAsked).await
    }
}

impl Inner {
    /// The time by which it waits: that of a clock that never jumps.
    fn now(&self) -> Duration {
        if kelpie_core::mutant!("wall_clock_lease") {
            return Duration::from_millis(self.env.wall_ms());
        }
        self.env.now()
    }
}
