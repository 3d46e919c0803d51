//! One backend under test, and the machines that share it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::{ActorId, Boot, Incarnation, NodeId};
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::session::{Lease, Protocols, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_env::sim::{self, Sim};
use kelpie_env::{Env, real};
use kelpie_registry::{JoinError, Membership, Nodes, Ownership, Settings};
use kelpie_storage::{Backend, Embedded, EmbeddedOptions, Memory, Postgres, Store, StoreConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// No property takes so long; in simulation it is virtual time.
const TIME_MAX: Duration = Duration::from_secs(120);

/// A backend and the world that it stands in: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    SimMemory,
    SimEmbedded,
    EmbeddedReal,
    Postgres,
}

impl Target {
    pub(super) const ALL: &[Self] = &[Self::SimMemory, Self::SimEmbedded, Self::EmbeddedReal, Self::Postgres];

    /// Its column, and the module of its tests.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::SimMemory => "sim_memory",
            Self::SimEmbedded => "sim_embedded",
            Self::EmbeddedReal => "embedded_real",
            Self::Postgres => "postgres",
        }
    }
}

/// Where machines come from and the data is.
enum Place<'a> {
    Simulated(&'a Sim, Arc<dyn Backend>),
    Directory(Arc<dyn Backend>),
    Server(String),
}

/// One empty store to come, and who works on it.
pub(super) struct World<'a> {
    pub(super) env: Env,
    pub(super) store: Store,
    place: Place<'a>,
}

/// A machine with a client of the store, on which a process may be killed.
pub(super) struct Machine {
    pub(super) env: Env,
    pub(super) store: Store,
    /// Its end is the end of all that runs there.
    runs: Runs,
}

enum Runs {
    Simulated(sim::Node),
    Real(Option<Runtime>),
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Self::Real(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

/// Asks `property` of a simulated backend, under several orders of events.
pub(super) fn in_simulation(target: Target, property: impl AsyncFn(&World<'_>)) {
    for seed in 0..5 {
        println!("{target:?}, seed {seed}");
        let sim = Sim::new(seed);
        let env = sim.node("store").env();
        sim.block_on(async {
            let backend: Arc<dyn Backend> = match target {
                Target::SimMemory => Arc::new(Memory::new(env.clone())),
                Target::SimEmbedded | Target::EmbeddedReal | Target::Postgres => {
                    embedded(&env, Path::new("data")).await
                }
            };
            let store = Store::from_backend(backend.clone(), env.clone());
            World { env, store, place: Place::Simulated(&sim, backend) }.bounded(&property).await;
        });
    }
}

/// Asks `property` of a real backend, on threads.
pub(super) fn for_real(target: Target, property: impl AsyncFn(&World<'_>)) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let env = real::env_on(runtime.handle());
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let place = match target {
            Target::Postgres => Place::Server(fresh(&env)),
            Target::SimMemory | Target::SimEmbedded | Target::EmbeddedReal => {
                Place::Directory(embedded(&env, dir.path()).await)
            }
        };
        let store = place.client(&env).await;
        World { env, store, place }.bounded(&property).await;
    });
}

async fn embedded(env: &Env, dir: &Path) -> Arc<dyn Backend> {
    Arc::new(Embedded::open(env, dir.to_owned(), EmbeddedOptions::default()).await.unwrap())
}

/// A schema of its own on the server of the tests.
fn fresh(env: &Env) -> String {
    let server = std::env::var("KELPIE_TEST_POSTGRES");
    let server = server.expect("KELPIE_TEST_POSTGRES is not set: run `cargo xtask test`");
    let between = if server.contains('?') { '&' } else { '?' };
    format!("{server}{between}schema=registry_{:016x}&pool_size=4", env.random_u64())
}

impl Place<'_> {
    async fn client(&self, env: &Env) -> Store {
        let backend = match self {
            Self::Simulated(_, backend) | Self::Directory(backend) => backend.clone(),
            Self::Server(url) => {
                let StoreConfig::Postgres { options } = url.parse().unwrap() else {
                    panic!("{url} is no server");
                };
                Arc::new(Postgres::open(env, *options).await.unwrap())
            }
        };
        Store::from_backend(backend, env.clone())
    }
}

impl World<'_> {
    async fn bounded(self, property: &impl AsyncFn(&World<'_>)) {
        self.env.timeout(TIME_MAX, property(&self)).await.expect("no end");
    }

    pub(super) async fn machine(&self, name: &str) -> Machine {
        let (env, runs) = match self.place {
            Place::Simulated(sim, _) => {
                let node = sim.node(name);
                (node.env(), Runs::Simulated(node))
            }
            Place::Directory(_) | Place::Server(_) => {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                (real::env_on(runtime.handle()), Runs::Real(Some(runtime)))
            }
        };
        Machine { store: self.place.client(&env).await, env, runs }
    }

    pub(super) async fn machines(&self, names: &[&str]) -> Vec<Machine> {
        let mut machines = Vec::new();
        for name in names {
            machines.push(self.machine(name).await);
        }
        machines
    }

    /// Whether another process may write this store.
    pub(super) fn is_shared(&self) -> bool {
        !self.store.properties().single_process
    }

    pub(super) fn nodes(&self) -> Nodes {
        Nodes::new(self.store.clone())
    }

    pub(super) fn ownership(&self) -> Ownership {
        Ownership::new(self.store.clone())
    }

    async fn stored<T: serde::de::DeserializeOwned>(&self, key: Bytes) -> Option<T> {
        let value = self.store.begin().get(&key).await.unwrap();
        value.map(|value| record::decode(&value).unwrap())
    }

    pub(super) async fn session_of(&self, name: &str) -> Session {
        self.stored(row::session(&node(name))).await.unwrap()
    }

    pub(super) async fn lease_of(&self, name: &str) -> Lease {
        self.stored(row::lease(&node(name))).await.unwrap()
    }

    pub(super) async fn own(&self, actor: &ActorId) -> Option<Own> {
        self.stored(row::own(actor)).await
    }

    pub(super) async fn set(&self, key: Bytes, value: impl Into<Bytes>) {
        let mut tx = self.store.begin();
        tx.set(key, value.into());
        tx.commit().await.unwrap();
    }

    /// A node whose session stands like this, and whom nobody watches.
    pub(super) async fn stands(&self, name: &str, state: SessionState) -> Myself {
        let (node, incarnation) = (node(name), Incarnation(1));
        let boot = Boot(name.bytes().map(u128::from).sum());
        let session = Session {
            incarnation,
            boot,
            state,
            address: String::new(),
            version: "0".to_owned(),
            labels: BTreeSet::new(),
            capacity: None,
            protocols: Protocols::default(),
            lease_ms: 3_000,
        };
        self.set(row::session(&node), record::encode(&session)).await;
        Myself { node, incarnation, boot }
    }

    /// Waits until `holds`.
    pub(super) async fn until(&self, holds: impl AsyncFn() -> bool) {
        while !holds().await {
            self.env.sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Machine {
    /// A process here that wants a name.
    pub(super) async fn join(&self, name: &str) -> Result<Membership, JoinError> {
        let settings = Settings { address: format!("{name}:7000"), ..Settings::alone(node(name)) };
        Membership::join(self.env.clone(), self.store.clone(), settings).await
    }

    pub(super) fn ownership(&self) -> Ownership {
        Ownership::new(self.store.clone())
    }

    /// Ends all that runs here, at once.
    pub(super) fn kill(self) {
        match &self.runs {
            Runs::Simulated(node) => node.kill(),
            // What ends it is that it is dropped.
            Runs::Real(_) => {}
        }
    }

    /// Begins a work here; its result comes when it is awaited.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        let (tx, rx) = oneshot::channel();
        self.env.spawn("client", async move {
            drop(tx.send(work.await));
        });
        async move { rx.await.expect("it panicked") }
    }
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(super) fn actor(number: usize) -> ActorId {
    ActorId::new("default", "counter", &format!("{number:03}")).unwrap()
}
