//! Simulated nodes of one cluster, and a store that is a service on a node of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_cluster::{Node, Options, Protocols, StartError, start};
use kelpie_core::call::IdempotencyKey;
use kelpie_core::id::{ActorId, NodeId};
use kelpie_dst::service::{ServiceBackend, StoreService};
use kelpie_env::sim::{self, Sim};
use kelpie_registry::Nodes;
use kelpie_runtime::{Call, CallError};

use crate::counter::{Counter, actor, number};
use crate::peers::secret;

pub(crate) const SECRET: &str = "a secret of the test";
const PORT: u16 = 7000;

pub(crate) struct World<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) service: StoreService,
    pub(crate) machines: Vec<sim::Node>,
    nodes: RefCell<Vec<Option<Rc<Node>>>>,
    /// What each speaks from its next start on.
    protocols: RefCell<Vec<Protocols>>,
    begun: Arc<AtomicU64>,
}

/// The name of a node.
pub(crate) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

impl<'a> World<'a> {
    /// As many nodes, which know each other.
    pub(crate) async fn new(sim: &'a Sim, nodes: usize) -> Self {
        let world = Self::of_machines(sim, nodes);
        for index in 0..nodes {
            world.start(index).await.unwrap();
        }
        world.sleep(Duration::from_millis(500)).await;
        world
    }

    /// As many machines, on which no node has been started.
    pub(crate) fn of_machines(sim: &'a Sim, nodes: usize) -> Self {
        let service = StoreService::start(sim, "store", ServiceBackend::Memory);
        let machines = (0..nodes).map(|index| sim.node(&name(index))).collect();
        let protocols = RefCell::new(vec![Protocols::default(); nodes]);
        let (started, begun) = (RefCell::new(vec![None; nodes]), Arc::default());
        Self { sim, service, machines, nodes: started, protocols, begun }
    }

    /// From its next start on that node speaks these versions.
    pub(crate) fn speaks(&self, index: usize, min: u8, max: u8) {
        self.protocols.borrow_mut()[index] = Protocols { min, max };
    }

    pub(crate) async fn start(&self, index: usize) -> Result<(), StartError> {
        let machine = &self.machines[index];
        let mut runtime = kelpie_runtime::Options::alone(&name(index)).unwrap();
        runtime.idle_after = Duration::from_mins(10);
        runtime.rebalance = Some(Duration::from_secs(20));
        runtime.node.labels = [format!("rack-{}", name(index))].into();
        let options = Options {
            runtime,
            listen: (machine.ip(), PORT).into(),
            advertise: None,
            security: secret(SECRET),
            protocols: self.protocols.borrow()[index],
        };
        let (env, store) = (machine.env(), self.service.store(machine));
        let actors = Counter::counted(&env, &self.begun);
        let node = Box::pin(start(options, env, store, actors)).await?;
        self.nodes.borrow_mut()[index] = Some(Rc::new(node));
        Ok(())
    }

    /// How many turns have begun, on all nodes.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.service.node().env().sleep(time).await;
    }

    /// Time since the world began, which no node's end changes.
    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(crate) fn node(&self, index: usize) -> Rc<Node> {
        self.running(index).unwrap()
    }

    /// The node, unless it was killed.
    pub(crate) fn running(&self, index: usize) -> Option<Rc<Node>> {
        self.nodes.borrow()[index].clone()
    }

    /// Kills a machine, without a word to the others but that its connections are reset.
    pub(crate) fn kill(&self, index: usize) {
        self.machines[index].kill();
        self.nodes.borrow_mut()[index] = None;
    }

    /// Starts a machine again that was killed, and its node.
    pub(crate) async fn restart(&self, index: usize) -> Result<(), StartError> {
        self.machines[index].restart();
        self.start(index).await
    }

    pub(crate) async fn call(
        &self,
        through: usize,
        actor: &ActorId,
        operation: &str,
        payload: impl Into<Bytes>,
    ) -> Result<u64, CallError> {
        let call = Call::new(actor.clone(), operation, payload);
        self.node(through).runtime().call(call).await.map(|reply| number(&reply))
    }

    pub(crate) async fn call_with_key(
        &self,
        through: usize,
        actor: &ActorId,
        operation: &str,
        key: &str,
    ) -> Result<u64, CallError> {
        let call = Call::new(actor.clone(), operation, "").key(IdempotencyKey::new(key).unwrap());
        self.node(through).runtime().call(call).await.map(|reply| number(&reply))
    }

    /// Whether a node's session is live, as its neighbour reads it in the store.
    pub(crate) async fn lives(&self, index: usize) -> bool {
        let neighbour = &self.machines[(index + 1) % self.machines.len()];
        let nodes = Nodes::new(self.service.store(neighbour));
        let session = nodes.session(&NodeId::new(&name(index)).unwrap()).await.unwrap();
        session.is_some_and(|session| session.is_live())
    }

    /// The node that owns an actor, by the store.
    pub(crate) async fn owner(&self, through: usize, actor: &ActorId) -> Option<usize> {
        let inspected = self.node(through).runtime().inspect(actor).await.unwrap();
        let owner = inspected.owner?;
        (0..self.machines.len()).find(|index| name(*index) == owner.as_str())
    }

    /// An actor that this node owns, which has been called once.
    pub(crate) async fn actor_of(&self, owner: usize, prefix: &str) -> ActorId {
        for number in 0..100 {
            let actor = actor(format!("{prefix}{number}"));
            self.call(owner, &actor, "add", "").await.unwrap();
            if self.owner(owner, &actor).await == Some(owner) {
                return actor;
            }
        }
        panic!("placement never chooses `{}`", name(owner));
    }
}
