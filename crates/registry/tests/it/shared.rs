//! A store that several processes write: a double around the real memory backend, which can be
//! away, slow, and lose the answer of a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::NodeId;
use kelpie_core::session::{Lease, Session};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use kelpie_registry::{JoinError, Membership, Settings};
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Memory, Outage, Properties,
    ReadError, Snapshot, Stats, Store, Watch,
};

/// A world with a store that outlives every node.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) node: Node,
    pub(crate) faults: Arc<Faults>,
    backend: Arc<Shared>,
}

/// What the store does to who asks.
#[derive(Default)]
pub(crate) struct Faults {
    /// It refuses everything.
    pub(crate) away: AtomicBool,
    /// How long it takes to begin, in milliseconds.
    pub(crate) begin_ms: AtomicU64,
    /// Whoever begins before then waits until then, in milliseconds of the store's own time.
    pub(crate) stands_until_ms: AtomicU64,
    /// How long a commit is on its way at most, in milliseconds.
    pub(crate) commit_ms: AtomicU64,
    /// Whoever reads a range next panics, so many times: only watchers of nodes read ranges.
    pub(crate) scans_panic: AtomicU64,
    /// Whoever commits next panics, so many times.
    pub(crate) commits_panic: AtomicU64,
    /// The next commit happens, and its answer is lost.
    pub(crate) lose_answer: AtomicBool,
}

struct Shared {
    inner: Memory,
    env: Env,
    faults: Arc<Faults>,
}

pub(crate) fn n1() -> NodeId {
    node("n1")
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let env = sim.node("store").env();
        let faults = Arc::new(Faults::default());
        let backend = Arc::new(Shared { inner: Memory::new(env.clone()), env, faults: faults.clone() });
        let node = sim.node("n1");
        Self { sim, node, faults, backend }
    }

    pub(crate) fn store(&self, env: &Env) -> Store {
        Store::from_backend(self.backend.clone(), env.clone())
    }

    /// A process that wants to be `n1`.
    pub(crate) async fn join(&self, env: &Env) -> Result<Membership, JoinError> {
        Membership::join(env.clone(), self.store(env), Settings::alone(n1())).await
    }

    /// A process that wants a name.
    pub(crate) async fn join_as(&self, env: &Env, name: &str) -> Result<Membership, JoinError> {
        let settings = Settings { address: format!("{name}:7000"), ..Settings::alone(node(name)) };
        Membership::join(env.clone(), self.store(env), settings).await
    }

    /// Machines of these names, each with a node that has joined, in a cluster that has seen all
    /// of them.
    pub(crate) async fn cluster(&self, names: &[&str]) -> Vec<(Node, Membership)> {
        let mut cluster = Vec::new();
        for name in names {
            let machine = if *name == "n1" { self.node.clone() } else { self.sim.node(name) };
            let member = self.join_as(&machine.env(), name).await.unwrap();
            cluster.push((machine, member));
        }
        self.sleep(Duration::from_secs(1)).await;
        cluster
    }

    /// Lets time pass for everybody.
    pub(crate) async fn sleep(&self, time: Duration) {
        self.backend.env.sleep(time).await;
    }

    /// The store's own time.
    pub(crate) fn now(&self) -> Duration {
        self.backend.env.now()
    }

    /// From now on the store stands still, for so long.
    pub(crate) fn stand_still(&self, for_ms: u64) {
        let now = u64::try_from(self.backend.env.now().as_millis()).unwrap();
        self.faults.stands_until_ms.store(now + for_ms, Ordering::Relaxed);
    }

    /// What the store says, faults or not.
    pub(crate) async fn stored(&self, key: &[u8]) -> Option<Bytes> {
        self.backend.inner.begin().wait().await.unwrap().get(key).wait().await.unwrap()
    }

    pub(crate) async fn session(&self) -> Session {
        self.session_of("n1").await
    }

    pub(crate) async fn session_of(&self, name: &str) -> Session {
        record::decode(&self.stored(&row::session(&node(name))).await.unwrap()).unwrap()
    }

    pub(crate) async fn lease(&self) -> Lease {
        self.lease_of("n1").await
    }

    pub(crate) async fn lease_of(&self, name: &str) -> Lease {
        record::decode(&self.stored(&row::lease(&node(name))).await.unwrap()).unwrap()
    }

    /// Writes a row past everybody.
    pub(crate) async fn set(&self, key: Bytes, value: Bytes) {
        let mut tx = Store::from_backend(self.backend.clone(), self.node.env()).begin();
        tx.set(key, value);
        tx.commit().await.unwrap();
    }
}

impl Faults {
    fn refused(&self) -> Option<Outage> {
        let reason = || Outage::Remote { reason: "it is away".into() };
        self.away.load(Ordering::Relaxed).then(reason)
    }
}

/// A bug of the code that asks, met so many times.
fn panic_if_told(times: &AtomicU64) {
    let told = times.try_update(Ordering::Relaxed, Ordering::Relaxed, |times| times.checked_sub(1));
    assert!(told.is_err(), "told to panic");
}

impl Backend for Shared {
    fn properties(&self) -> Properties {
        Properties { name: "shared", unknown_possible: true, single_process: false }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        Answer::Later(
            async move {
                let millis = |of: &AtomicU64| Duration::from_millis(of.load(Ordering::Relaxed));
                self.env.sleep(millis(&self.faults.begin_ms)).await;
                self.env.sleep_until(millis(&self.faults.stands_until_ms)).await;
                if let Some(outage) = self.faults.refused() {
                    return Err(ReadError::Unavailable(outage));
                }
                let inner = self.inner.begin().wait().await?;
                let (env, faults) = (self.env.clone(), self.faults.clone());
                Ok(Box::new(View { inner, env, faults }) as Box<dyn Snapshot>)
            }
            .boxed(),
        )
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        self.inner.commit(request)
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        self.inner.watch(key)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.close()
    }
}

struct View {
    inner: Box<dyn Snapshot>,
    env: Env,
    faults: Arc<Faults>,
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.inner.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        self.inner.get_many(keys)
    }

    fn scan(&self, scan: kelpie_storage::Scan) -> Answer<'_, Result<kelpie_storage::Rows, ReadError>> {
        panic_if_told(&self.faults.scans_panic);
        self.inner.scan(scan)
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        if let Some(outage) = self.faults.refused() {
            return std::future::ready(Err(CommitError::Unavailable(outage))).boxed();
        }
        panic_if_told(&self.faults.commits_panic);
        let lost = self.faults.lose_answer.swap(false, Ordering::Relaxed);
        let longest = self.faults.commit_ms.load(Ordering::Relaxed);
        async move {
            if longest > 0 {
                self.env.sleep(Duration::from_millis(self.env.random_u64() % longest)).await;
            }
            let committed = self.inner.commit(request).await?;
            let unknown = || CommitError::Unknown(Outage::Remote { reason: "the answer is lost".into() });
            if lost { Err(unknown()) } else { Ok(committed) }
        }
        .boxed()
    }
}
