//! What all activations of a node share, and the way of a call to one of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, Fingerprint, IdempotencyKey, Lane};
use kelpie_core::gate::Gate;
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::limits;
use kelpie_core::ownership::Own;
use kelpie_env::Env;
use kelpie_registry::{Health, Membership, Ownership};
use kelpie_storage::Store;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::activation::{Activation, Task, Told};
use crate::actor::Actor;
use crate::admission::Limits;
use crate::call::{Call, CallError, Keep, Outcome, Request};
use crate::effect::Effects;
use crate::eviction::IdleQueue;
use crate::peers::Peers;
use crate::read;
use crate::route::Routing;
use crate::runtime::Options;
use crate::view::View;
use crate::wake::Waker;

/// Shards of the map of activations: two cores rarely meet at one lock.
const SHARDS: usize = 64;
/// Half of the longest pause before a commit is tried the second time.
const GIVE_WAY_MIN: Duration = Duration::from_micros(500);

/// One node, as its activations see it.
pub(crate) struct Node {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) ownership: Ownership,
    pub(crate) membership: Membership,
    pub(crate) effects: Effects,
    pub(crate) waker: Waker,
    pub(crate) idle: IdleQueue,
    pub(crate) single_process: bool,
    limits: Limits,
    /// The other nodes, if there may be any.
    pub(crate) routing: Option<Routing>,
    actors: BTreeMap<String, Arc<dyn Actor>>,
    activations: Vec<Mutex<BTreeMap<ActorId, Arc<Activation>>>>,
    gate: Mutex<Gate>,
    drained: Notify,
}

/// Which calls the gate lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// From outside: only while the node is open and renews its lease.
    New,
    /// What an admitted call has left to do: also while draining.
    Owed,
}

/// What serving a call here came to.
pub(crate) enum Here {
    /// It was served.
    Outcome(Outcome),
    /// The actor is somebody else's; nothing: this node may not claim it, and knows of nobody
    /// who has it. `begun`: it was this node's for a while, and the call may have run.
    Elsewhere { own: Option<Own>, begun: bool },
}

/// Holds the gate open for one call or effect.
pub(crate) struct Permit {
    node: Arc<Node>,
    /// Whose call it is, if that one's calls are counted.
    lane: Option<Lane>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            self.node.limits.leave(lane);
        }
        if self.node.gate.lock().leave() {
            self.node.drained.notify_waiters();
        }
    }
}

impl Node {
    pub(crate) fn new(
        env: Env,
        store: Store,
        options: Options,
        membership: Membership,
        actors: BTreeMap<String, Arc<dyn Actor>>,
        peers: Option<Arc<dyn Peers>>,
    ) -> Arc<Self> {
        let limits = Limits::new(&options.call_limits);
        let routing = peers.map(|peers| Routing::new(peers, options.node.lease_term));
        Arc::new(Self {
            ownership: Ownership::new(store.clone()),
            single_process: store.properties().single_process,
            env,
            store,
            options,
            membership,
            effects: Effects::default(),
            waker: Waker::default(),
            idle: IdleQueue::default(),
            limits,
            routing,
            actors,
            activations: (0..SHARDS).map(|_| Mutex::new(BTreeMap::new())).collect(),
            gate: Mutex::new(Gate::default()),
            drained: Notify::new(),
        })
    }

    /// Lets a call in, if the gate takes it.
    pub(crate) fn admit(node: &Arc<Self>, admission: Admission) -> Option<Permit> {
        let mut gate = node.gate.lock();
        let entered = match admission {
            Admission::New => gate.enter(),
            Admission::Owed => gate.enter_owed(),
        };
        entered.ok().map(|()| Permit { node: node.clone(), lane: None })
    }

    /// Calls an actor. The call has ended when this returns, unless the error says
    /// `Unknown`.
    pub(crate) async fn call(self: Arc<Self>, call: Call, admission: Admission) -> Outcome {
        if admission == Admission::New {
            self.ready()?;
        }
        let stale_ok = call.stale_ok;
        let request = Arc::new(self.request(call)?);
        if stale_ok && let Some(outcome) = self.read_known(&request, admission).await {
            return outcome;
        }
        self.enter(request, Task::Handle, admission).await
    }

    /// Before a commit is tried again that brushed against neighbours in the store: those who come
    /// again at once, all together, brush once more.
    pub(crate) async fn give_way(&self, attempt: u32) {
        if attempt > 0 {
            let longest = GIVE_WAY_MIN.saturating_mul(1 << attempt.min(6)).as_micros();
            let longest = u64::try_from(longest).expect("less than a second");
            self.env.sleep(Duration::from_micros(1 + self.env.random_u64() % longest)).await;
        }
    }

    /// Brings a request to its activation, wherever that is.
    pub(crate) async fn enter(
        self: Arc<Self>,
        request: Arc<Request>,
        task: Task,
        admission: Admission,
    ) -> Outcome {
        let mut permit = Self::admit(&self, admission).ok_or(CallError::ShuttingDown)?;
        if admission == Admission::New && self.limits.any() {
            permit.lane = self.limits.enter(&request, self.env.now())?;
        }
        // What was admitted ends, whoever stops listening: the permit goes with the work.
        let permit = Arc::new(permit);
        if let Some(routing) = &self.routing {
            return self.routed(routing, request, task, permit).await;
        }
        match self.here(request, &task, &permit).await {
            Here::Outcome(outcome) => outcome,
            Here::Elsewhere { own, begun } => of_begun(
                begun,
                Err(match own {
                    Some(own) => CallError::NotRun { reason: format!("node `{}` owns the actor", own.node) },
                    None => CallError::NotReady { cause: "its session is not active".to_owned() },
                }),
            ),
        }
    }

    /// Serves a request here, if the actor is this node's or can be.
    pub(crate) async fn here(
        self: &Arc<Self>,
        mut request: Arc<Request>,
        task: &Task,
        permit: &Arc<Permit>,
    ) -> Here {
        let Some(behaviour) = self.actors.get(request.actor.actor_type()) else {
            let actor_type = request.actor.actor_type().to_owned();
            return Here::Outcome(Err(CallError::NoSuchType { actor_type }));
        };
        let mut begun = false;
        for _ in 0..=limits::REDIRECTS_MAX {
            let (activation, created) = self.activation(&request.actor, behaviour);
            if *task == Task::Handle && !created && behaviour.is_read(&request.operation) {
                match activation.read(&request).await {
                    read::Read::Done(outcome) => return Here::Outcome(outcome),
                    read::Read::Exclusive => {}
                }
            }
            match activation.call(request.clone(), task.clone(), created, permit.clone()).await {
                Told::Outcome(outcome) => return Here::Outcome(of_begun(begun, outcome)),
                Told::Elsewhere(own) => return Here::Elsewhere { own, begun },
                Told::Gone { begun: now } => begun |= now && !kelpie_core::mutant!("begun_forgotten"),
            }
            // It may have begun there: whoever is asked next has to look for its record.
            if request.fresh {
                request = Arc::new(Request { fresh: false, ..Request::clone(&request) });
            }
        }
        Here::Outcome(of_begun(begun, Err(CallError::NotRun { reason: "the actor kept moving".to_owned() })))
    }

    /// Under which record this node has the actor in memory. What a former incarnation of it had
    /// leaves memory, and is claimed anew.
    pub(crate) fn held(&self, actor: &ActorId) -> Option<Own> {
        let activation = self.existing(actor)?;
        let own = {
            let state = activation.state.lock();
            state.loaded.as_ref().filter(|_| !state.machine.is_gone()).map(|loaded| loaded.own.clone())?
        };
        if self.membership.myself().owns(&own) {
            return Some(own);
        }
        activation.retire();
        None
    }

    /// Answers a read from what this node knows. Nothing if the operation is no read.
    async fn read_known(self: &Arc<Self>, request: &Request, admission: Admission) -> Option<Outcome> {
        let behaviour = self.actors.get(request.actor.actor_type())?;
        if !behaviour.is_read(&request.operation) {
            return None;
        }
        let Some(_permit) = Self::admit(self, admission) else { return Some(Err(CallError::ShuttingDown)) };
        let known = self.existing(&request.actor);
        if let Some(view) = known.and_then(|activation| activation.known())
            && let Some(outcome) = read::answer(behaviour.as_ref(), &view, request).await
        {
            return Some(outcome);
        }
        read::answer(behaviour.as_ref(), &self.view(&request.actor), request).await
    }

    /// Answers a read from the last commit.
    pub(crate) async fn read_stored(self: Arc<Self>, call: Call) -> Outcome {
        self.ready()?;
        let request = self.request(call)?;
        let Some(behaviour) = self.behaviour(request.actor.actor_type()) else {
            return Err(CallError::NoSuchType { actor_type: request.actor.actor_type().to_owned() });
        };
        if !behaviour.is_read(&request.operation) {
            return Err(CallError::NotARead { operation: request.operation });
        }
        let _permit = Self::admit(&self, Admission::New).ok_or(CallError::ShuttingDown)?;
        let moved = || CallError::NotRun { reason: "the actor kept moving".to_owned() };
        read::answer(behaviour.as_ref(), &self.view(&request.actor), &request).await.ok_or_else(moved)?
    }

    /// What the actors of a type do, if this node has it.
    pub(crate) fn behaviour(&self, actor_type: &str) -> Option<&Arc<dyn Actor>> {
        self.actors.get(actor_type)
    }

    pub(crate) fn actor_types(&self) -> impl Iterator<Item = &str> {
        self.actors.keys().map(String::as_str)
    }

    pub(crate) fn ready(&self) -> Result<(), CallError> {
        match self.membership.health() {
            Health::Ready => Ok(()),
            Health::Silent { for_ms, cause } => Err(CallError::NotReady {
                cause: format!("it could not renew its lease for {for_ms} ms: {cause}"),
            }),
            Health::Superseded => {
                Err(CallError::NotReady { cause: "another process has its name".to_owned() })
            }
            Health::Evicted => Err(CallError::NotReady { cause: "its operator has evicted it".to_owned() }),
            Health::Restored => {
                Err(CallError::NotReady { cause: "its store was restored from a backup".to_owned() })
            }
        }
    }

    /// Checks a call before any work begins.
    fn request(&self, call: Call) -> Result<Request, CallError> {
        let Call { actor, operation, payload, caller, key, deadline, chain, stale_ok: _, mark, keep } = call;
        let too_large =
            |what, bytes, bytes_max| Err(CallError::TooLarge { what: Cow::Borrowed(what), bytes, bytes_max });
        if payload.len() > limits::PAYLOAD_BYTES_MAX {
            return too_large("the payload", payload.len(), limits::PAYLOAD_BYTES_MAX);
        }
        if operation.len() > limits::OPERATION_BYTES_MAX {
            return too_large("the operation's name", operation.len(), limits::OPERATION_BYTES_MAX);
        }
        if chain.contains(&actor) {
            let names: Vec<String> = chain.iter().chain([&actor]).map(ToString::to_string).collect();
            return Err(CallError::Cycle { chain: names.join(" -> ") });
        }
        if chain.len() >= limits::CALL_DEPTH_MAX {
            return Err(CallError::TooDeep);
        }
        let fresh = key.is_none();
        let keep = keep.unwrap_or(if fresh { Keep::Deadline } else { Keep::Retention });
        let key = key.unwrap_or_else(|| {
            IdempotencyKey::new(&format!("{:032x}", self.env.random_u128())).expect("32 digits are a key")
        });
        Ok(Request {
            key: CallKey::new(&caller, &key),
            fingerprint: Fingerprint::new(&actor, &operation, &payload),
            deadline: self.env.now().saturating_add(deadline),
            actor,
            operation,
            payload,
            caller,
            fresh,
            chain,
            mark,
            keep,
        })
    }

    /// A request of the runtime's own. All with one `name` count as the same while one is
    /// waiting.
    pub(crate) fn own_request(&self, actor: &ActorId, name: &str) -> Arc<Request> {
        self.owed_request(actor, name, "", Bytes::new())
    }

    /// The same with an operation of the actor to run.
    pub(crate) fn owed_request(
        &self,
        actor: &ActorId,
        name: &str,
        operation: &str,
        payload: Bytes,
    ) -> Arc<Request> {
        let key = IdempotencyKey::new(name).expect("names of the runtime's requests are short");
        Arc::new(Request {
            actor: actor.clone(),
            operation: operation.to_owned(),
            payload,
            caller: Caller::Runtime,
            key: CallKey::new(&Caller::Runtime, &key),
            fresh: false,
            fingerprint: Fingerprint::new(actor, name, b""),
            deadline: self.env.now().saturating_add(limits::CALL_DEADLINE_DEFAULT),
            chain: Vec::new(),
            mark: None,
            keep: Keep::Owed,
        })
    }

    /// The actor's records straight from the store.
    pub(crate) fn view(&self, actor: &ActorId) -> View {
        View::of_store(actor.clone(), self.env.wall_ms(), self.store.begin())
    }

    fn shard(&self, actor: &ActorId) -> &Mutex<BTreeMap<ActorId, Arc<Activation>>> {
        // FNV-1a: spreads neighbours well enough over 64 locks.
        let hash = actor.encoded().iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let shard = usize::try_from(hash >> 58).expect("six bits");
        &self.activations[shard]
    }

    /// The actor's activation, and whether it was just created, so that the caller loads it.
    fn activation(self: &Arc<Self>, actor: &ActorId, behaviour: &Arc<dyn Actor>) -> (Arc<Activation>, bool) {
        let mut shard = self.shard(actor).lock();
        if let Some(activation) = shard.get(actor) {
            return (activation.clone(), false);
        }
        let activation = Arc::new(Activation::new(self.clone(), actor.clone(), behaviour.clone()));
        shard.insert(actor.clone(), activation.clone());
        metrics::gauge!("kelpie_activations").increment(1.0);
        (activation, true)
    }

    /// The actor's activation, if it is in memory.
    pub(crate) fn existing(&self, actor: &ActorId) -> Option<Arc<Activation>> {
        self.shard(actor).lock().get(actor).cloned()
    }

    /// Forgets an activation that is gone.
    pub(crate) fn forget(&self, activation: &Activation) {
        let mut shard = self.shard(&activation.actor).lock();
        if shard.get(&activation.actor).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), activation)) {
            shard.remove(&activation.actor);
            metrics::gauge!("kelpie_activations").decrement(1.0);
        }
    }

    /// Refuses new calls; returns when what was admitted has ended, or how much of it had
    /// not at the deadline.
    pub(crate) async fn drain(&self, limit: Duration) -> u64 {
        let ended = self.drained.notified();
        if self.gate.lock().drain() || kelpie_core::mutant!("drain_that_drops") {
            return 0;
        }
        match self.env.timeout(limit, ended).await {
            Ok(()) => 0,
            Err(_) => self.gate.lock().close(),
        }
    }

    /// All activations, shard by shard.
    pub(crate) fn each_activation(&self) -> impl Iterator<Item = Arc<Activation>> {
        self.activations.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
    }

    /// The actors that are loaded, with the owner record and the commit that each stands at.
    pub(crate) fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
        for shard in &self.activations {
            for (actor, activation) in &*shard.lock() {
                let state = activation.state.lock();
                if let Some(loaded) = state.loaded.as_ref().filter(|_| !state.machine.is_gone()) {
                    see(actor, &loaded.own, loaded.head.seq);
                }
            }
        }
    }

    /// Actors in memory.
    pub(crate) fn activations(&self) -> usize {
        self.activations.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether the gate takes new calls.
    pub(crate) fn is_open(&self) -> bool {
        self.gate.lock().is_open()
    }

    /// Calls and effects that were admitted and have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        self.gate.lock().in_flight()
    }
}

/// What may have happened on an activation that is gone is not denied by the next one.
pub(crate) fn of_begun(begun: bool, outcome: Outcome) -> Outcome {
    match outcome {
        Err(error) if begun && error.advice() == Advice::NotRun => Err(CallError::Unknown),
        outcome => outcome,
    }
}
