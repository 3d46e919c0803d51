//! A service under test: its clients, the links between, and what is wrong with all of it.

use std::time::Duration;

use kelpie_dst::service::{ServerCrash, ServiceBackend, StoreFaults, StoreService};
use kelpie_env::Env;
use kelpie_env::sim::{LinkFaults, Node, Options, Sim};
use kelpie_storage::{EmbeddedOptions, Store};
use tokio::sync::oneshot;

/// No property takes so long in virtual time.
const TIME_MAX: Duration = Duration::from_secs(300);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    /// All that a client gets over without noticing: links that lose, double, damage and
    /// delay, and a service that is slow, tells late, and shows late.
    Rough,
}

/// A service and its trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) embedded: bool,
    pub(crate) trouble: Trouble,
}

impl Target {
    /// Its rows outlive its server.
    pub(crate) fn keeps(self) -> bool {
        true
    }

    pub(crate) fn conflicts_exactly(self) -> bool {
        self.trouble == Trouble::Nothing
    }
}

pub(crate) struct World {
    pub(crate) target: Target,
    /// Of the first client's node.
    pub(crate) env: Env,
    pub(crate) service: StoreService,
    pub(crate) nodes: [Node; 2],
}

/// So small that folds and new segments happen all the time.
pub(crate) fn small() -> ServiceBackend {
    let options =
        EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
    ServiceBackend::Embedded(options)
}

/// Links that lose, double, damage and delay messages.
pub(crate) fn rough_links() -> LinkFaults {
    LinkFaults {
        drop_ppm: 20_000,
        duplicate_ppm: 50_000,
        replay_ppm: 30_000,
        replay_after_max: Duration::from_secs(3),
        reorder_ppm: 50_000,
        reorder_max: Duration::from_millis(20),
        tail_ppm: 20_000,
        tail_max: Duration::from_millis(200),
        flip_bit_ppm: 10_000,
        truncate_ppm: 10_000,
        ..LinkFaults::default()
    }
}

/// A service that is slow, tells late, and shows late.
pub(crate) fn slow_faults() -> StoreFaults {
    StoreFaults {
        stale_ppm: 200_000,
        stale_max: Duration::from_millis(8),
        split_ppm: 200_000,
        split_max: Duration::from_millis(8),
        lost_notice_ppm: 200_000,
        late_notice_ppm: 200_000,
        late_notice_max: Duration::from_secs(2),
        slow_ppm: 50_000,
        slow_max: Duration::from_millis(30),
        ..StoreFaults::default()
    }
}

impl World {
    pub(crate) fn new(sim: &Sim, target: Target) -> Self {
        let backend = if target.embedded { small() } else { ServiceBackend::Memory };
        let service = StoreService::start(sim, "store", backend);
        let nodes = ["a", "b"].map(|name| sim.node(name));
        if target.trouble == Trouble::Rough {
            for node in &nodes {
                sim.set_link_faults(node, service.node(), rough_links());
                sim.set_link_faults(service.node(), node, rough_links());
            }
            service.set_faults(slow_faults());
        }
        Self { target, env: nodes[0].env(), service, nodes }
    }

    /// A client of the service.
    pub(crate) async fn open(&self) -> Store {
        std::future::ready(self.service.store(&self.nodes[0])).await
    }

    /// Closes the client, takes the server down and up, and connects again.
    pub(crate) async fn reopen(&self, store: Store) -> Store {
        store.close().await.unwrap();
        let power_cut = self.env.random_u64().is_multiple_of(2);
        self.service.crash(if power_cut { ServerCrash::PowerCut } else { ServerCrash::Killed });
        self.env.sleep(Duration::from_millis(1)).await;
        self.service.restart();
        self.open().await
    }

    /// A client on another node.
    pub(crate) async fn other_client(&self, store: &Store) -> Store {
        assert!(!store.properties().single_process);
        std::future::ready(self.service.store(&self.nodes[1])).await
    }

    /// A client whose commits are lost on the way there, on the way back, or land late.
    pub(crate) async fn open_lossy(&self) -> Store {
        self.service.set_faults(StoreFaults {
            lost_commit_ppm: 20_000,
            lost_answer_ppm: 20_000,
            late_commit_ppm: 20_000,
            late_commit_max: Duration::from_secs(4),
            ..self.service.faults()
        });
        self.open().await
    }

    /// The results of all `works`, carried out at once.
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

    pub(crate) fn times(&self, simulated: usize, _real: usize) -> usize {
        simulated
    }
}

/// Asks `property` of a target under several orders of events.
pub(crate) fn asked(target: Target, property: impl AsyncFn(&World)) {
    for seed in 0..if is_full() { 30 } else { 2 } {
        println!("{target:?}, seed {seed}");
        let sim = Sim::with(Options::new(seed));
        let world = World::new(&sim, target);
        let bounded = world.env.timeout(TIME_MAX, property(&world));
        sim.block_on(bounded).expect("no end");
    }
}

/// Whether the long variant is wanted.
pub(crate) fn is_full() -> bool {
    std::env::var_os("KELPIE_TEST_FULL").is_some_and(|value| value != "0")
}

/// Lets others go on in between, sometimes.
pub(crate) async fn pause(env: &Env) {
    let drawn = env.random_u64();
    if drawn.is_multiple_of(2) {
        env.sleep(Duration::from_micros(drawn / 2 % 1500)).await;
    }
}
