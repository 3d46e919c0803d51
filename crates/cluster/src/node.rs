//! One node of a cluster, from start to drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, select};
use kelpie_core::membership::Members;
use kelpie_core::session::{Protocols, Session};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_registry::Membership;
use kelpie_runtime::{Actor, Drained, Runtime};
use kelpie_storage::Store;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::advertised::Advertised;
use crate::connection::{Service, Timing};
use crate::handshake::{InFlight, Refusal};
use crate::identity::{ClusterId, Identity};
use crate::links::Links;
use crate::listening::{Listening, Local, Me, Roster};
use crate::mesh::{Kind, Mesh};
use crate::security::{Security, SecurityError};

/// How a node runs among others.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, and how it serves. Where it is reached and what it speaks is set by the start.
    pub runtime: kelpie_runtime::Options,
    /// Where it listens for other nodes.
    pub listen: SocketAddr,
    /// Where they reach it, if that is another place. Port 0: the one that it listens at.
    pub advertise: Option<Advertised>,
    /// How nodes make sure of each other.
    pub security: Security,
    /// Which versions of the protocol it speaks with them.
    pub protocols: Protocols,
}

/// A node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Anybody could be its peer.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// It cannot listen.
    #[error("cannot listen for other nodes at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Nobody can connect to all addresses.
    #[error("other nodes cannot reach {address}: say with which address they can")]
    NoAddress {
        /// What it would say.
        address: SocketAddr,
    },
    /// Nobody knows the name.
    #[error("the name in `{place}` is not known")]
    Unnamed {
        /// Name and port.
        place: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It cannot join, or what it is to serve cannot be.
    #[error(transparent)]
    Runtime(#[from] kelpie_runtime::StartError),
}

/// A node of a cluster. Serves until it is drained or dropped.
pub struct Node {
    runtime: Runtime,
    advertised: Advertised,
    close: Arc<Notify>,
    listening: Arc<Listening>,
}

/// Listens, joins, and serves with the other nodes of the store.
///
/// # Errors
/// See [`StartError`].
pub async fn start(
    options: Options,
    env: Env,
    store: Store,
    actors: Vec<Arc<dyn Actor>>,
) -> Result<Node, StartError> {
    let Options { mut runtime, listen, advertise, security, protocols } = options;
    security.check(listen)?;
    let cannot = |source| StartError::Listen { address: listen, source };
    // Before it joins: that a connection to a member is refused counts as a sign of death.
    let listener = env.net().listen(listen).await.map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    let advertised = advertise.map_or(Advertised::Address(bound), |told| told.with_port(bound.port()));
    advertised.check(&security, &env).await?;
    runtime.node.address = advertised.to_string();
    runtime.node.protocols = protocols;
    let timing = Timing::of_term(runtime.node.lease_term);
    let mut made = None;
    let (world, rows) = (env.clone(), store.clone());
    let runtime = Runtime::start_among(runtime, env.clone(), store, actors, |membership| {
        let known = membership.clone();
        let local = Local {
            env: world,
            cluster: ClusterId(membership.generation()),
            me: Me::new(move || known.myself().into()),
            security,
            timing,
            in_flight: InFlight::default(),
            protocols,
        };
        let mesh = Mesh::new(&local.env, Links::new(local.clone()), membership.clone());
        made = Some((local, mesh.clone(), membership.clone()));
        Arc::new(mesh)
    });
    let runtime = Box::pin(runtime).await?;
    let (local, mesh, membership) =
        made.expect("a runtime that has started among others has asked for its peers");
    let service = Arc::new(Front { runtime: runtime.clone(), mesh: mesh.clone() });
    let listening =
        Listening::start(local, listener, Arc::new(Sessions { store: rows }), service).map_err(cannot)?;
    let listening = Arc::new(listening);
    let close = Arc::new(Notify::new());
    let watch = Arc::new(Watch {
        known: Mutex::new(membership.members()),
        membership,
        mesh,
        listening: listening.clone(),
    });
    let closed = close.clone();
    // Goes on after a panic, from the members that it has dealt with: sessions that have ended
    // meanwhile are not missed.
    env.supervise("peers", move || {
        let (watch, closed) = (watch.clone(), closed.clone());
        async move {
            select(std::pin::pin!(watch.run()), std::pin::pin!(closed.notified())).await;
        }
    });
    Ok(Node { runtime, advertised, close, listening })
}

impl Node {
    /// What serves calls on this node.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Where other nodes reach it.
    pub fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    /// Hands its actors to other nodes, ends what was admitted, leaves, and listens no more. Calls
    /// go on elsewhere; none fails.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let drained = self.runtime.drain(limit).await;
        self.stop();
        drained
    }

    fn stop(&self) {
        self.close.notify_one();
        self.listening.stop();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends the connections of processes whose sessions have ended, so that nobody waits for them.
struct Watch {
    membership: Membership,
    mesh: Mesh,
    listening: Arc<Listening>,
    /// The members whose going was dealt with.
    known: Mutex<Arc<Members>>,
}

impl Watch {
    async fn run(&self) {
        loop {
            let known = self.known.lock().clone();
            let members = self.membership.changed(known.version()).await;
            for member in known.live() {
                let (incarnation, boot) = (member.session.incarnation, member.session.boot);
                let gone = Identity { node: member.node.clone(), incarnation, boot };
                let stands = members.get(&member.node).is_some_and(|now| {
                    now.session.is_live()
                        && (now.session.incarnation, now.session.boot) == (incarnation, boot)
                });
                if !stands {
                    self.mesh.close(&gone);
                    self.listening.close(&gone);
                }
            }
            *self.known.lock() = members;
        }
    }
}

/// Answers what other nodes ask.
struct Front {
    runtime: Runtime,
    mesh: Mesh,
}

impl Service for Front {
    fn serve(self: Arc<Self>, from: Identity, body: Bytes, remaining: Duration) -> BoxFuture<'static, Bytes> {
        Box::pin(async move {
            match Kind::of(&body) {
                Some((Kind::Question, question)) => self.runtime.serve(question, remaining).await,
                Some((Kind::Knock, knock)) => self.mesh.knocked(knock).await,
                None => {
                    tracing::warn!(%from, "a request of another node is of no known kind");
                    Bytes::new()
                }
            }
        })
    }

    fn note(&self, _: &Identity, body: Bytes) {
        self.runtime.note(&body);
    }
}

/// The sessions in the store, as they are now.
struct Sessions {
    store: Store,
}

impl Roster for Sessions {
    fn check(&self, from: &Identity) -> BoxFuture<'_, Result<(), Refusal>> {
        let from = from.clone();
        Box::pin(async move {
            let stored = self.store.begin().get_snapshot(&row::session(&from.node)).await;
            let stored = stored.map_err(|error| Refusal::NotChecked { cause: error.to_string() })?;
            let session: Option<Session> = stored
                .map(|stored| record::decode(&stored))
                .transpose()
                .map_err(|error| Refusal::NotChecked { cause: error.to_string() })?;
            let stands = session.is_some_and(|session| {
                session.is_live() && (session.incarnation, session.boot) == (from.incarnation, from.boot)
            });
            if stands { Ok(()) } else { Err(Refusal::StaleIncarnation { from }) }
        })
    }
}

#[cfg(test)]
mod tests;
