//! Taking connections from peers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::session::Protocols;
use kelpie_env::{Env, Listener, Stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::connection::{Answering, Closer, Service, Timing};
use crate::handshake::{Agreed, Called, Ended, InFlight, Refusal};
use crate::identity::{ClusterId, Identity};
use crate::security::Security;
use crate::tls::Shown;
use crate::wire::{Problem, Wire};

/// Handshakes at once: a stranger holds this many times what a handshake may be large, and
/// peers that come meanwhile try again.
const HANDSHAKES_MAX: usize = 64;

/// This node, as its connections need it.
#[derive(Clone)]
pub struct Local {
    /// Its world.
    pub env: Env,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub me: Me,
    /// How it and its peers make sure of each other.
    pub security: Security,
    /// How soon connections are tried and given up.
    pub timing: Timing,
    /// How much each peer may ask of it at once.
    pub in_flight: InFlight,
    /// Which versions of the protocol it speaks.
    pub protocols: Protocols,
}

/// Who this node is: another incarnation after it was taken for dead.
#[derive(Clone)]
pub struct Me(Arc<dyn Fn() -> Identity + Send + Sync>);

impl Me {
    /// Whoever `now` says at the time.
    pub fn new(now: impl Fn() -> Identity + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Who it is now.
    pub fn now(&self) -> Identity {
        (self.0)()
    }
}

/// Knows whose sessions stand.
pub trait Roster: Send + Sync + 'static {
    /// Whether a node may call: its session stands, and it is that process'.
    fn check(&self, from: &Identity) -> BoxFuture<'_, Result<(), Refusal>>;
}

/// Takes connections until it is stopped or dropped.
pub struct Listening {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    local: Local,
    roster: Arc<dyn Roster>,
    service: Arc<dyn Service>,
    handshakes: Arc<Semaphore>,
    /// The one connection that each peer has to this node.
    peers: Mutex<BTreeMap<kelpie_core::id::NodeId, (Identity, Closer)>>,
    close: Notify,
}

impl Listening {
    /// Serves those who connect to `listener`.
    ///
    /// # Errors
    /// When the listener does not know its address.
    pub fn start(
        local: Local,
        listener: Box<dyn Listener>,
        roster: Arc<dyn Roster>,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let listener: Arc<dyn Listener> = listener.into();
        let inner = Arc::new(Inner {
            local,
            roster,
            service,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            peers: Mutex::default(),
            close: Notify::new(),
        });
        let accepting = inner.clone();
        // Goes on after a panic: the listener keeps who has come meanwhile, and a member that
        // takes no connections would be waited for by all others.
        inner.local.env.supervise("accept", move || accepting.clone().accept(listener.clone()));
        Ok(Self { address, inner })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and ends those that there are.
    pub fn stop(&self) {
        self.inner.close.notify_one();
        for (_, closer) in self.inner.peers.lock().values() {
            closer.close();
        }
    }

    /// Ends the connection of a process whose session has ended.
    pub fn close(&self, peer: &Identity) {
        let peers = self.inner.peers.lock();
        if let Some((_, closer)) = peers.get(&peer.node).filter(|(known, _)| known == peer) {
            closer.close();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    /// Until it is stopped.
    async fn accept(self: Arc<Self>, listener: Arc<dyn Listener>) {
        let closed = std::pin::pin!(self.close.notified());
        let accept = std::pin::pin!(self.accept_all(&*listener));
        futures::future::select(accept, closed).await;
    }

    async fn accept_all(self: &Arc<Self>, listener: &dyn Listener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let (inner, permit) = (self.clone(), self.handshakes.clone().try_acquire_owned().ok());
                    let Some(permit) = permit else {
                        tracing::warn!(%from, "a connection is refused: too many handshakes at once");
                        self.turn_away(stream);
                        continue;
                    };
                    self.local.env.spawn("peer", async move { inner.take(stream, from, permit).await });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection cannot be accepted");
                    // Out of file descriptors, perhaps: not at once again.
                    self.local.env.sleep(self.local.timing.retry_min).await;
                }
            }
        }
    }

    /// Says that there is no room, into the empty buffer of a new connection: at once or not at all,
    /// so that whoever is turned away costs nothing. With TLS it could not be said without a
    /// handshake; there the connection is closed.
    fn turn_away(&self, stream: Box<dyn Stream>) {
        match self.local.security {
            Security::Loopback | Security::Secret(_) => {
                let wire = Wire::new(&self.local.env, stream);
                let _told: Option<()> = wire.refuse(&Refusal::Busy).now_or_never();
            }
            Security::Tls(_) => {}
        }
    }

    async fn take(self: Arc<Self>, stream: Box<dyn Stream>, from: SocketAddr, permit: OwnedSemaphorePermit) {
        let Local { env, timing, .. } = &self.local;
        let late = |_| Err(format!("its handshake took more than {:?}", timing.connect_max));
        let shaken = env.timeout(timing.connect_max, self.shake(stream)).await.unwrap_or_else(late);
        drop(permit);
        let (wire, peer, agreed) = match shaken {
            Ok(done) => done,
            Err(why) => {
                metrics::counter!("kelpie_peer_handshakes_failed_total").increment(1);
                tracing::warn!(%from, why, "a peer is not let in");
                return;
            }
        };
        let answering = Answering::new(env, wire, peer.clone(), agreed, *timing, self.service.clone());
        let closer = answering.closer();
        self.begin(&peer, &closer);
        let why = answering.run().await;
        tracing::debug!(%peer, why, "the connection of a peer has ended");
        self.end(&peer, &closer);
    }

    /// A peer has a reason to come again: its former connection is dead, known here or not.
    fn begin(&self, peer: &Identity, closer: &Closer) {
        let former = self.peers.lock().insert(peer.node.clone(), (peer.clone(), closer.clone()));
        if let Some((_, former)) = former {
            former.close();
        }
    }

    fn end(&self, peer: &Identity, closer: &Closer) {
        let mut peers = self.peers.lock();
        if peers.get(&peer.node).is_some_and(|(_, known)| known.is(closer)) {
            peers.remove(&peer.node);
        }
    }

    async fn shake(&self, stream: Box<dyn Stream>) -> Result<(Wire, Identity, Agreed), String> {
        let (stream, shown) = match &self.local.security {
            Security::Tls(tls) => {
                let (stream, shown) = tls.accept(stream).await?;
                (stream, Some(shown))
            }
            Security::Loopback | Security::Secret(_) => (stream, None),
        };
        let mut wire = Wire::new(&self.local.env, stream);
        match self.converse(&mut wire, shown.as_ref()).await {
            Ok((peer, agreed)) => Ok((wire.shaken(), peer, agreed)),
            Err(Problem::Refused(Ended::ByPeer(why))) => Err(format!("it refuses this node: {why}")),
            Err(Problem::Refused(Ended::ByUs(why))) => {
                wire.refuse(&why).await;
                Err(why.to_string())
            }
            Err(Problem::Broken(why)) => Err(why),
        }
    }

    async fn converse(&self, wire: &mut Wire, shown: Option<&Shown>) -> Result<(Identity, Agreed), Problem> {
        let Local { env, cluster, me, security, in_flight, protocols, timing: _ } = &self.local;
        let (nonce, key) = (env.random_u128().to_le_bytes(), security.key().cloned());
        let hello = wire.hear().await?;
        let (mut called, challenge) =
            Called::begin(*cluster, &me.now(), nonce, (*in_flight, *protocols), key, &hello)?;
        wire.say(challenge).await?;
        let welcome = called.proven(&wire.hear().await?)?;
        if let Some(shown) = shown {
            shown.check(&called.from.node).map_err(Ended::ByUs)?;
        }
        if !kelpie_core::mutant!("sessions_of_callers_unchecked") {
            self.roster.check(&called.from).await.map_err(Ended::ByUs)?;
        }
        wire.say(welcome).await?;
        Ok(called.confirmed(&wire.hear().await?)?)
    }
}
