//! One simulated node over a store that outlives it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::call::{Caller, IdempotencyKey};
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use kelpie_runtime::{Actor, Call, CallError, Options, Runtime};
use kelpie_storage::{Backend, Memory, Store};

use crate::counted::{Counted, Counts};
use crate::lossy::Lossy;

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) node: Node,
    pub(crate) backend: Arc<dyn Backend>,
    store_node: Node,
    /// Whether a lossy or a slow store refuses transactions as well.
    pub(crate) away: Arc<AtomicBool>,
}

impl World {
    /// A node beside a store in memory, which a kill of the node does not touch.
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let store_node = sim.node("store");
        let backend: Arc<dyn Backend> = Arc::new(Memory::new(store_node.env()));
        let node = sim.node("n1");
        Self { sim, node, backend, store_node, away: Arc::default() }
    }

    /// The same with a store that loses answers and commits now and then.
    pub(crate) fn lossy(seed: u64) -> Self {
        let world = Self::new(seed);
        let backend = Arc::new(Lossy::new(world.backend.clone(), world.store_node.env(), world.away.clone()));
        Self { backend, ..world }
    }

    /// The same with a store whose commits take their time.
    pub(crate) fn slow(seed: u64) -> Self {
        let world = Self::new(seed);
        let backend =
            Arc::new(Lossy::slow(world.backend.clone(), world.store_node.env(), world.away.clone()));
        Self { backend, ..world }
    }

    /// The same with a store whose answers take their time as well.
    pub(crate) fn slow_to_answer(seed: u64) -> Self {
        let world = Self::new(seed);
        let backend = Arc::new(Lossy::slow_to_answer(world.backend.clone(), world.store_node.env()));
        Self { backend, ..world }
    }

    /// The same with a store that counts what is scanned.
    pub(crate) fn counted(seed: u64, single_process: bool) -> (Self, Arc<Counts>) {
        let (world, counts) = (Self::new(seed), Arc::<Counts>::default());
        let inner = world.backend.clone();
        let backend = Arc::new(Counted { inner, counts: counts.clone(), single_process });
        (Self { backend, ..world }, counts)
    }

    /// The world of the store, which a kill of the node does not touch.
    pub(crate) fn store_env(&self) -> Env {
        self.store_node.env()
    }

    pub(crate) fn store(&self) -> Store {
        Store::from_backend(self.backend.clone(), self.node.env())
    }

    /// Starts the runtime on the node's present life.
    pub(crate) async fn start(&self, actors: Vec<Arc<dyn Actor>>) -> Runtime {
        let options = Options { idle_after: Duration::from_secs(8), ..Options::alone("n1").unwrap() };
        self.start_with(options, actors).await
    }

    pub(crate) async fn start_with(&self, options: Options, actors: Vec<Arc<dyn Actor>>) -> Runtime {
        Runtime::start(options, self.node.env(), self.store(), actors).await.unwrap()
    }

    /// Kills the node and starts it again.
    pub(crate) async fn restart(&self, actors: impl FnOnce(&Env) -> Vec<Arc<dyn Actor>>) -> Runtime {
        self.node.kill();
        let env = self.node.restart();
        // Over a store that others can write, the second life waits until the beat of the
        // first has stood still. Here the test ends the first one's session instead.
        let me = kelpie_core::id::NodeId::new("n1").unwrap();
        end_session(&self.store(), &me).await;
        self.start(actors(&env)).await
    }
}

async fn end_session(store: &Store, node: &kelpie_core::id::NodeId) {
    use kelpie_core::session::{Session, SessionState};
    let key = kelpie_core::row::session(node);
    loop {
        let mut tx = store.begin();
        let Some(stored) = tx.get(&key).await.unwrap() else { return };
        let mut session: Session = kelpie_core::record::decode(&stored).unwrap();
        session.state = SessionState::Dead;
        tx.set(key.clone(), kelpie_core::record::encode(&session));
        if tx.commit().await.is_ok() {
            return;
        }
    }
}

pub(crate) fn actor(actor_type: &str, key: &str) -> ActorId {
    ActorId::new("default", actor_type, key).unwrap()
}

pub(crate) fn key(key: impl AsRef<str>) -> IdempotencyKey {
    IdempotencyKey::new(key.as_ref()).unwrap()
}

pub(crate) fn caller() -> Caller {
    Caller::Principal { tenant: "default".into(), principal: "test".into() }
}

pub(crate) async fn call(
    runtime: &Runtime,
    actor: &ActorId,
    operation: &str,
    payload: impl Into<Bytes>,
) -> Result<u64, CallError> {
    runtime.call(Call::new(actor.clone(), operation, payload)).await.map(|reply| number(&reply))
}

pub(crate) async fn call_with_key(
    runtime: &Runtime,
    actor: &ActorId,
    operation: &str,
    payload: impl Into<Bytes>,
    name: &str,
) -> Result<u64, CallError> {
    let call = Call::new(actor.clone(), operation, payload).key(key(name)).caller(caller());
    runtime.call(call).await.map(|reply| number(&reply))
}

pub(crate) fn bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}
