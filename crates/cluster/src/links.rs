//! This node's connections to others: opened when needed, kept, opened again when lost.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::NodeId;
use kelpie_env::{Env, Stream};
use parking_lot::Mutex;

use crate::advertised::{AdvertiseError, Advertised};
use crate::connection::Asking;
use crate::failure::Failure;
use crate::handshake::{Agreed, Ended, Opener};
use crate::identity::Identity;
use crate::listening::Local;
use crate::security::Security;
use crate::wire::{Problem, Wire};

/// A process, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who should answer.
    pub identity: Identity,
    /// Its address and port.
    pub address: String,
}

/// The connections to other nodes.
pub struct Links {
    local: Local,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
}

/// The one connection to one process.
struct Link {
    target: Target,
    live: Mutex<Option<Asking>>,
    /// Counts attempts that have ended, so that those who waited for one do not make another.
    attempts: AtomicU64,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    failures: u32,
    not_before: Duration,
    last: Option<Failure>,
}

impl Links {
    /// No connection yet.
    pub fn new(local: Local) -> Self {
        Self { local, links: Mutex::default() }
    }

    /// Asks another node, and waits for its answer for at most `remaining`.
    ///
    /// # Errors
    /// A [`Failure`], which says whether the request may have done something there.
    pub async fn request(&self, to: &Target, body: Bytes, remaining: Duration) -> Result<Bytes, Failure> {
        let env = &self.local.env;
        let deadline = env.now().saturating_add(remaining);
        let connection = self.connected_in(remaining, to).await?;
        connection.request(body, deadline.saturating_sub(env.now())).await
    }

    /// Has a connection to another node, opened if there is none.
    ///
    /// # Errors
    /// A [`Failure`], if none comes about within `remaining`.
    pub async fn connect(&self, to: &Target, remaining: Duration) -> Result<(), Failure> {
        self.connected_in(remaining, to).await.map(drop)
    }

    /// Tells another node something that it may miss: only over a connection that stands.
    pub fn note(&self, to: &Target, body: Bytes) -> bool {
        let link = self.link(to);
        let live = link.live.lock().clone();
        live.is_some_and(|connection| connection.note(body))
    }

    /// Connects and says nothing: whether anybody listens there.
    ///
    /// # Errors
    /// [`Failure::ConnectionRefused`] when nobody does, or another one when it is not known.
    pub async fn knock(&self, to: &Target) -> Result<(), Failure> {
        self.dial(to).await.map(drop)
    }

    /// How long another node may take to knock at somebody's door.
    pub(crate) fn knock_max(&self) -> Duration {
        self.local.timing.connect_max.saturating_mul(4)
    }

    /// Ends the connection to a process that is gone: requests under way to it are lost at once.
    pub fn close(&self, gone: &Identity) {
        let mut links = self.links.lock();
        let Some(link) = links.get(&gone.node).filter(|link| link.target.identity == *gone) else { return };
        if let Some(connection) = link.live.lock().take() {
            connection.close();
        }
        links.remove(&gone.node);
    }

    fn link(&self, to: &Target) -> Arc<Link> {
        let mut links = self.links.lock();
        match links.get(&to.identity.node) {
            Some(link) if link.target == *to => link.clone(),
            // A late one that looks for a former life must not end the connection to the new one.
            Some(link) if link.target.identity.incarnation > to.identity.incarnation => Link::new(to),
            known => {
                if let Some(connection) = known.and_then(|link| link.live.lock().take()) {
                    connection.close();
                }
                let link = Link::new(to);
                links.insert(to.identity.node.clone(), link.clone());
                link
            }
        }
    }

    async fn connected_in(&self, remaining: Duration, to: &Target) -> Result<Asking, Failure> {
        let connected = self.local.env.timeout(remaining, Box::pin(self.connected(to))).await;
        connected.unwrap_or_else(|_| {
            let reason = "no connection came about in time".to_owned();
            Err(Failure::Unreachable { address: to.address.clone(), reason })
        })
    }

    async fn connected(&self, to: &Target) -> Result<Asking, Failure> {
        let link = self.link(to);
        if let Some(live) = link.usable() {
            return Ok(live);
        }
        let Local { env, timing, .. } = &self.local;
        let seen = link.attempts.load(Ordering::Relaxed);
        let mut attempts = link.connecting.lock().await;
        if let Some(live) = link.usable() {
            return Ok(live);
        }
        if link.attempts.load(Ordering::Relaxed) != seen
            && let Some(failure) = &attempts.last
        {
            return Err(failure.clone());
        }
        env.sleep_until(attempts.not_before).await;
        let opened = self.open(to).await;
        link.attempts.fetch_add(1, Ordering::Relaxed);
        match opened {
            Ok(connection) => {
                *attempts = Attempts::default();
                *link.live.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(failure) => {
                metrics::counter!("kelpie_peer_connections_failed_total").increment(1);
                // Once: it is tried again and again, and most often for the same reason.
                if attempts.failures == 0 {
                    tracing::warn!(peer = %to.identity, error = %failure, "no connection to a node");
                } else {
                    tracing::debug!(peer = %to.identity, error = %failure, "still no connection");
                }
                let longest = timing.retry_min.saturating_mul(1 << attempts.failures.min(16));
                let longest = longest.min(timing.retry_max);
                // Between half of it and all of it, so that nodes do not come in step.
                let part = u32::try_from(env.random_u64() % 512).expect("below 512") + 512;
                attempts.not_before = env.now().saturating_add(longest * part / 1024);
                attempts.failures += 1;
                attempts.last = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Opens a stream.
    async fn dial(&self, to: &Target) -> Result<Box<dyn Stream>, Failure> {
        let Local { env, timing, .. } = &self.local;
        let unreachable = |reason| Failure::Unreachable { address: to.address.clone(), reason };
        let place: Advertised =
            to.address.parse().map_err(|error: AdvertiseError| unreachable(error.to_string()))?;
        match env.timeout(timing.connect_max, reach(env, &place)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(Failure::ConnectionRefused { address: to.address.clone() })
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("no answer in {:?}", timing.connect_max))),
        }
    }

    async fn open(&self, to: &Target) -> Result<Asking, Failure> {
        let Local { env, timing, .. } = &self.local;
        let address = || to.address.clone();
        let unreachable = |reason| Failure::Unreachable { address: address(), reason };
        let stream = self.dial(to).await?;
        let shaking = async {
            let stream = match &self.local.security {
                Security::Tls(tls) => tls.open(&to.identity.node, stream).await.map_err(Problem::Broken)?,
                Security::Loopback | Security::Secret(_) => stream,
            };
            let mut wire = Wire::new(env, stream);
            match self.converse(&mut wire, to).await {
                Ok(agreed) => Ok((wire.shaken(), agreed)),
                Err(problem) => {
                    if let Problem::Refused(Ended::ByUs(why)) = &problem {
                        wire.refuse(why).await;
                    }
                    Err(problem)
                }
            }
        };
        let shaken = env.timeout(timing.connect_max, shaking).await;
        let shaken = shaken.unwrap_or_else(|_| {
            Err(Problem::Broken(format!("its handshake took more than {:?}", timing.connect_max)))
        });
        match shaken {
            Ok((wire, agreed)) => Ok(Asking::start(env, wire, to.identity.clone(), agreed, *timing)),
            Err(Problem::Broken(reason)) => Err(unreachable(reason)),
            Err(Problem::Refused(Ended::ByUs(refusal) | Ended::ByPeer(refusal))) => {
                metrics::counter!("kelpie_peer_handshakes_failed_total").increment(1);
                tracing::warn!(peer = %to.identity, address = to.address, why = %refusal, "a peer is not connected");
                Err(Failure::Rejected { address: address(), refusal })
            }
        }
    }

    async fn converse(&self, wire: &mut Wire, to: &Target) -> Result<Agreed, Problem> {
        let Local { env, cluster, me, security, protocols, .. } = &self.local;
        let (nonce, key) = (env.random_u128().to_le_bytes(), security.key().cloned());
        let (mut opener, hello) =
            Opener::begin(*cluster, me.now(), to.identity.clone(), nonce, *protocols, key);
        wire.say(hello).await?;
        let proof = opener.challenged(&wire.hear().await?)?;
        wire.say(proof).await?;
        let (agreed, confirmed) = opener.welcomed(&wire.hear().await?)?;
        wire.say(confirmed).await?;
        Ok(agreed)
    }
}

/// Opens a stream to one of a place's addresses. It is refused if all of them refuse.
async fn reach(env: &Env, place: &Advertised) -> std::io::Result<Box<dyn Stream>> {
    let mut failed: Option<std::io::Error> = None;
    for address in place.resolve(env).await? {
        match env.net().connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if failed.is_none() || error.kind() != ErrorKind::ConnectionRefused => {
                failed = Some(error)
            }
            Err(_) => {}
        }
    }
    Err(failed.unwrap_or_else(|| ErrorKind::NotFound.into()))
}

impl Link {
    fn new(to: &Target) -> Arc<Self> {
        Arc::new(Self {
            target: to.clone(),
            live: Mutex::default(),
            attempts: AtomicU64::new(0),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    fn usable(&self) -> Option<Asking> {
        let mut live = self.live.lock();
        if live.as_ref().is_some_and(Asking::has_ended) {
            *live = None;
        }
        live.clone()
    }
}
