//! Two ends of connections, and what the one asks of the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_cluster::{
    ClusterId, Identity, InFlight, Links, Listening, Local, Me, Protocols, Refusal, Roster, SecretKey,
    Security, Service, Target, Timing,
};
use kelpie_core::id::{Boot, Incarnation, NodeId};
use kelpie_env::Env;
use parking_lot::Mutex;

pub(crate) fn identity(name: &str) -> Identity {
    Identity { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1), boot: Boot(42) }
}

pub(crate) fn secret(text: &str) -> Security {
    Security::Secret(SecretKey::new(text.as_bytes()).unwrap())
}

pub(crate) fn local(env: &Env, name: &str, security: Security) -> Local {
    Local {
        env: env.clone(),
        cluster: ClusterId(7),
        me: Me::new({
            let me = identity(name);
            move || me.clone()
        }),
        security,
        timing: Timing::of_term(Duration::from_secs(3)),
        in_flight: InFlight::default(),
        protocols: Protocols::default(),
    }
}

/// Lets in everybody, or all but those of one name.
pub(crate) struct Known {
    pub(crate) gone: Option<&'static str>,
}

impl Roster for Known {
    fn check(&self, from: &Identity) -> BoxFuture<'_, Result<(), Refusal>> {
        let gone = self.gone == Some(from.node.as_str());
        let refusal = gone.then(|| Refusal::StaleIncarnation { from: from.clone() });
        Box::pin(async move { refusal.map_or(Ok(()), Err) })
    }
}

/// Sends back what it gets; waits first as long as the request says.
pub(crate) struct Echo {
    env: Env,
    pub(crate) begun: AtomicUsize,
    /// Requests that ended, or were dropped.
    pub(crate) over: AtomicUsize,
    pub(crate) remaining: Mutex<Option<Duration>>,
    pub(crate) notes: Mutex<Vec<Bytes>>,
}

impl Echo {
    pub(crate) fn new(env: &Env) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            begun: AtomicUsize::new(0),
            over: AtomicUsize::new(0),
            remaining: Mutex::default(),
            notes: Mutex::default(),
        })
    }
}

struct Over(Arc<Echo>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that is answered after so long.
pub(crate) fn after(wait: Duration) -> Bytes {
    Bytes::from(format!("{}", wait.as_millis()))
}

impl Service for Echo {
    fn serve(self: Arc<Self>, _: Identity, body: Bytes, remaining: Duration) -> BoxFuture<'static, Bytes> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        *self.remaining.lock() = Some(remaining);
        let over = Over(self.clone());
        Box::pin(async move {
            let wait = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
            if let Some(wait) = wait {
                self.env.sleep(Duration::from_millis(wait)).await;
            }
            assert!(&body[..] != b"panic", "as the test wants it");
            drop(over);
            body
        })
    }

    fn note(&self, _: &Identity, body: Bytes) {
        self.notes.lock().push(body);
    }
}

/// Listens, and says where.
pub(crate) async fn listen(
    local: &Local,
    at: SocketAddr,
    gone: Option<&'static str>,
    service: Arc<dyn Service>,
) -> (Listening, Target) {
    let listener = local.env.net().listen(at).await.unwrap();
    let listening = Listening::start(local.clone(), listener, Arc::new(Known { gone }), service).unwrap();
    let target = Target { identity: local.me.now(), address: listening.address().to_string() };
    (listening, target)
}

pub(crate) async fn ask(links: &Links, to: &Target, body: Bytes) -> Result<Bytes, kelpie_cluster::Failure> {
    links.request(to, body, Duration::from_secs(30)).await
}
