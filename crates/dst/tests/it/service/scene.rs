//! One service and one node, for a short story.

use kelpie_dst::service::{ServiceBackend, StoreService};
use kelpie_env::Env;
use kelpie_env::sim::{LinkFaults, Node, Sim};
use kelpie_storage::{AtomicOp, CommitError, Store};

use super::conformance::shorthand::{le, number, value};

/// The chance of what happens each time.
pub(super) const ALWAYS: u32 = 1_000_000;

/// A service, a node beside it, and nothing wrong.
pub(super) struct Scene {
    pub(super) sim: Sim,
    pub(super) service: StoreService,
    pub(super) node: Node,
    pub(super) env: Env,
}

impl Scene {
    pub(super) fn new(seed: u64, backend: ServiceBackend) -> Self {
        let sim = Sim::new(seed);
        let service = StoreService::start(&sim, "store", backend);
        let node = sim.node("n1");
        let env = node.env();
        Self { sim, service, node, env }
    }

    pub(super) fn store(&self) -> Store {
        self.service.store(&self.node)
    }

    pub(super) fn links(&self, faults: LinkFaults) {
        self.sim.set_link_faults(&self.node, self.service.node(), faults);
        self.sim.set_link_faults(self.service.node(), &self.node, faults);
    }

    pub(super) fn fired(&self, name: &str) -> u64 {
        self.service.fired()[name]
    }
}

/// Adds to a counter without reading it.
pub(super) async fn add(store: &Store, key: &'static str) -> Result<(), CommitError> {
    let mut tx = store.begin();
    tx.atomic(AtomicOp::Add, key, le(1));
    tx.commit().await.map(drop)
}

/// Adds to a counter, depending on something that was read.
pub(super) async fn add_after_read(store: &Store, key: &'static str) -> Result<(), CommitError> {
    let mut tx = store.begin();
    tx.get(b"beside").await?;
    tx.atomic(AtomicOp::Add, key, le(1));
    tx.commit().await.map(drop)
}

pub(super) async fn stored(store: &Store, key: &str) -> u64 {
    number(value(store, key.as_bytes()).await.as_ref())
}
