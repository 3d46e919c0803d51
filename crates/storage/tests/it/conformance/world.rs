//! One backend under test: how to open it, to reopen it, and to work on it at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::sim::Sim;
use kelpie_env::{Env, real};
use kelpie_storage::{Backend, Embedded, EmbeddedOptions, Memory, Postgres, Store, StoreConfig};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::lossy::Lossy;
use super::table;
use crate::postgres::server::fresh;

/// No property takes so long; in simulation it is virtual time.
const TIME_MAX: Duration = Duration::from_secs(300);

/// A backend and the world that it stands in: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    SimMemory,
    SimEmbedded,
    EmbeddedReal,
    /// In the cluster of `KELPIE_STORE_URL`; no column of the table, which is made without one.
    #[cfg(feature = "fdb")]
    FoundationDb,
    Postgres,
}

impl Target {
    pub(crate) const ALL: &[Self] = &[Self::SimMemory, Self::SimEmbedded, Self::EmbeddedReal, Self::Postgres];

    /// Whether time is virtual and the seed orders everything.
    pub(crate) fn is_simulated(self) -> bool {
        matches!(self, Self::SimMemory | Self::SimEmbedded)
    }

    /// Whether what was committed is there after [`World::reopen`].
    pub(crate) fn keeps(self) -> bool {
        self != Self::SimMemory
    }

    /// Whether a commit conflicts exactly when something that it has read was written since,
    /// and not only when no order of all commits allows it.
    pub(crate) fn conflicts_exactly(self) -> bool {
        matches!(self, Self::SimMemory | Self::SimEmbedded | Self::EmbeddedReal)
    }
}

/// One empty store to come.
pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) env: Env,
    config: StoreConfig,
    /// Goes with the world.
    _dir: Option<TempDir>,
}

/// Asks `property` of a simulated backend, under several orders of events.
pub(crate) fn in_simulation(target: Target, name: &str, property: impl AsyncFn(&World)) {
    table::recorded(target, name, || {
        for seed in 0..if is_full() { 100 } else { 5 } {
            println!("{target:?}, seed {seed}");
            simulated(target, seed, &property);
        }
    });
}

/// Asks `property` of a simulated backend under one order of events.
pub(crate) fn simulated(target: Target, seed: u64, property: impl AsyncFn(&World)) {
    let sim = Sim::new(seed);
    let env = sim.node("store").env();
    let config = if target == Target::SimMemory { StoreConfig::Memory } else { small(Path::new("data")) };
    sim.block_on(async {
        let world = World { target, env, config, _dir: None };
        world.bounded(property(&world)).await;
    });
}

/// Asks `property` of a real backend, on threads.
pub(crate) fn for_real(target: Target, name: &str, property: impl AsyncFn(&World)) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let env = real::env_on(runtime.handle());
    table::recorded(target, name, || {
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let config = match target {
                Target::Postgres => fresh().text.parse().unwrap(),
                #[cfg(feature = "fdb")]
                Target::FoundationDb => in_the_cluster(&env),
                _ => small(dir.path()),
            };
            let world = World { target, env, config, _dir: Some(dir) };
            world.bounded(property(&world)).await;
            #[cfg(feature = "fdb")]
            if target == Target::FoundationDb {
                let mut tx = world.open().await.begin();
                tx.clear_range(bytes::Bytes::new(), kelpie_storage::keys::end_of_keys());
                tx.commit().await.unwrap();
            }
        });
    });
}

/// Under a prefix of its own: empty, and apart from what others do.
#[cfg(feature = "fdb")]
fn in_the_cluster(env: &Env) -> StoreConfig {
    let url = std::env::var("KELPIE_STORE_URL")
        .expect("KELPIE_STORE_URL=fdb:<cluster file>, see `cargo xtask test`");
    let StoreConfig::Fdb { cluster_file, prefix } = url.parse().unwrap() else {
        panic!("{url} is no cluster")
    };
    let prefix = format!("{}/test-{:016x}", prefix.as_str(), env.random_u64()).parse().unwrap();
    StoreConfig::Fdb { cluster_file, prefix }
}

/// So small that folds and new segments happen all the time.
fn small(dir: &Path) -> StoreConfig {
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
    StoreConfig::Embedded { dir: dir.to_owned(), options }
}

/// Whether the long variant is wanted.
pub(crate) fn is_full() -> bool {
    std::env::var_os("KELPIE_TEST_FULL").is_some_and(|value| value != "0")
}

impl World {
    /// Opens the store: empty the first time.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.config, &self.env).await.unwrap()
    }

    /// Closes the store and opens it again, where that makes sense.
    pub(crate) async fn reopen(&self, store: Store) -> Store {
        if !self.target.keeps() {
            return store;
        }
        store.close().await.unwrap();
        drop(store);
        self.open().await
    }

    /// A client beside `store`: of its own connection where a store has many.
    pub(crate) async fn other_client(&self, store: &Store) -> Store {
        if store.properties().single_process { store.clone() } else { self.open().await }
    }

    /// Opens the store behind a connection that loses answers.
    pub(crate) async fn open_lossy(&self) -> Store {
        let inner: Arc<dyn Backend> = match &self.config {
            StoreConfig::Memory => Arc::new(Memory::new(self.env.clone())),
            StoreConfig::Embedded { dir, options } => {
                Arc::new(Embedded::open(&self.env, dir.clone(), *options).await.unwrap())
            }
            #[cfg(feature = "fdb")]
            StoreConfig::Fdb { cluster_file, prefix } => {
                let fdb = kelpie_storage::Fdb::open(&self.env, cluster_file.as_deref(), prefix);
                Arc::new(fdb.await.unwrap())
            }
            #[cfg(not(feature = "fdb"))]
            StoreConfig::Fdb { .. } => unreachable!("no world has it in this build"),
            StoreConfig::Postgres { options } => {
                Arc::new(Postgres::open(&self.env, (**options).clone()).await.unwrap())
            }
        };
        Store::from_backend(Arc::new(Lossy::new(inner, self.env.clone())), self.env.clone())
    }

    /// The results of all `works`, carried out at once: in tasks that the simulator orders,
    /// or on threads. Theirs come in the order of the works.
    pub(crate) async fn at_once<T: Send + 'static>(
        &self,
        works: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let mut results = Vec::new();
        for work in works {
            let (tx, rx) = oneshot::channel();
            self.env.spawn("client", async move {
                drop(tx.send(work.await));
            });
            results.push(rx);
        }
        let mut done = Vec::new();
        for result in results {
            done.push(result.await.expect("a client panicked"));
        }
        done
    }

    /// How often to do what is slower on a real disk or server.
    pub(crate) fn times(&self, simulated: usize, real: usize) -> usize {
        if self.target.is_simulated() { simulated } else { real }
    }

    async fn bounded(&self, work: impl Future<Output = ()>) {
        self.env.timeout(TIME_MAX, work).await.expect("no end");
    }
}

/// Lets others go on in between, sometimes.
pub(crate) async fn pause(env: &Env) {
    let drawn = env.random_u64();
    if drawn.is_multiple_of(2) {
        env.sleep(Duration::from_micros(drawn / 2 % 1500)).await;
    }
}
