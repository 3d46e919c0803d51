//! All nodes of a cluster: who they are, and what is done to them by others.

use std::collections::BTreeMap;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::membership::{Member, Suspicion};
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{self, Declaration, Lease, Session};
use kelpie_core::{record, row};
use kelpie_storage::{RangeQuery, Store, Transaction};

use crate::error::{RegistryError, decode};

/// Nodes come and go, and their records stay; far more than a cluster has.
const NODES_MAX: usize = 10_000;

/// What a declaration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// It is dead.
    Dead,
    /// It had ended already, or is another life by now.
    Over,
    /// It has renewed since it was watched: it lives.
    Renewed,
}

/// What was asked of a node came to this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Its session says so now.
    Done(Session),
    /// Its session had ended, or said so already.
    Already(Session),
    /// No node ever had that name.
    NoSuchNode,
}

/// The nodes of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nodes {
    store: Store,
}

impl Nodes {
    /// The nodes of this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// All nodes that there ever were, with their leases, from one serializable transaction.
    pub async fn list(&self) -> Result<Vec<Member>, RegistryError> {
        read(&mut self.store.begin(), RangeQuery::prefix(&row::nodes())).await
    }

    /// The session that stands under a name, if it was ever one's.
    pub async fn session(&self, node: &NodeId) -> Result<Option<Session>, RegistryError> {
        decode("session", self.store.begin().get(&row::session(node)).await?.as_deref())
    }

    /// Declares a life of a node dead, if its beat still stands where it was watched.
    pub async fn declare_dead(&self, suspicion: &Suspicion) -> Result<Declared, RegistryError> {
        let suspicion = suspicion.clone();
        self.store
            .run(move |tx| {
                let suspicion = suspicion.clone();
                async move { declare_dead(tx, &suspicion).await }.boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    /// Ends a node's session for the operator: its process stops, and its actors are free. It may
    /// be started again.
    pub async fn evict(&self, node: &NodeId) -> Result<Told, RegistryError> {
        self.tell(node, session::evict).await
    }

    /// Tells a node to drain: it serves what it owns and claims nothing.
    pub async fn drain(&self, node: &NodeId) -> Result<Told, RegistryError> {
        self.tell(node, session::drain).await
    }

    async fn tell(
        &self,
        node: &NodeId,
        change: fn(&Session) -> Option<Session>,
    ) -> Result<Told, RegistryError> {
        let node = node.clone();
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let key = row::session(&node);
                    let standing: Option<Session> = decode("session", tx.get(&key).await?.as_deref())?;
                    let Some(standing) = standing else { return Ok(Told::NoSuchNode) };
                    Ok(match change(&standing) {
                        Some(session) => {
                            tx.set(key, record::encode(&session));
                            tx.record(|| Step::Told {
                                node: node.clone(),
                                before: Life::from(&standing),
                                after: Life::from(&session),
                            });
                            Told::Done(session)
                        }
                        None => Told::Already(standing),
                    })
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }
}

/// The nodes in that range of rows, with their leases.
pub(crate) async fn read(tx: &mut Transaction, rows: RangeQuery) -> Result<Vec<Member>, RegistryError> {
    let mut next = Some(rows);
    let (mut sessions, mut leases) = (Vec::new(), BTreeMap::new());
    while let Some(query) = next {
        let page = tx.get_range(query).await?;
        for (key, value) in &page.rows {
            if let Some(node) = row::parse_session(key) {
                sessions.push((node, decode::<Session>("session", Some(value))?));
            } else if let Some(node) = row::parse_lease(key) {
                leases.insert(node, decode::<Lease>("lease", Some(value))?);
            }
        }
        next = page.more.filter(|_| sessions.len() < NODES_MAX);
    }
    let member = |(node, session): (NodeId, Option<Session>)| {
        let lease = leases.remove(&node).flatten();
        session.map(|session| Member { node, session, lease })
    };
    Ok(sessions.into_iter().filter_map(member).collect())
}

async fn declare_dead(tx: &mut Transaction, suspicion: &Suspicion) -> Result<Declared, RegistryError> {
    let Suspicion { node, watched, grounds: _ } = suspicion;
    let keys = [row::session(node), row::lease(node)];
    let stored = if kelpie_core::mutant!("declare_unvalidated") {
        tx.get_many_snapshot(&keys).await?
    } else {
        tx.get_many(&keys).await?
    };
    let [session, lease] = &stored[..] else { unreachable!("as many values as keys") };
    let session: Option<Session> = decode("session", session.as_deref())?;
    let lease: Option<Lease> = decode("lease", lease.as_deref())?;
    Ok(match session::declare_dead(session.as_ref(), lease.as_ref(), watched) {
        Declaration::Write(dead) => {
            tx.set(row::session(node), record::encode(&dead));
            tx.record(|| Step::Declare {
                node: node.clone(),
                after: Life::from(&dead),
                beat: watched.number(),
            });
            Declared::Dead
        }
        Declaration::Over => Declared::Over,
        Declaration::Renewed => Declared::Renewed,
    })
}
