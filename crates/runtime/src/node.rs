//! What all activations of a node share, and the way of a call to one of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, Fingerprint, IdempotencyKey};
use kelpie_core::capacity::Full;
use kelpie_core::gate::Gate;
use kelpie_core::id::ActorId;
use kelpie_core::limits;
use kelpie_core::ownership::{Own, Why};
use kelpie_env::Env;
use kelpie_registry::{Health, Membership, Ownership};
use kelpie_storage::Store;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::activation::{Activation, Task, Told};
use crate::actor::Actor;
use crate::admission::{Counted, Limits};
use crate::call::{Call, CallError, Keep, Outcome, Request};
use crate::effect::Effects;
use crate::eviction::IdleQueue;
use crate::fence::Owners;
use crate::last_error::LastErrors;
use crate::peers::Peers;
use crate::read;
use crate::residents::Residents;
use crate::route::Routing;
use crate::runtime::Options;
use crate::view::View;
use crate::wake::Waker;

/// Optimistic conflicts that one commit works off. The fence decides the real ones at once; what
/// remains are brushes with neighbours in the store. On a database whose rows still fit on a few
/// pages, every commit under way brushes with every other: with five of them one attempt in five
/// lands, and of a hundred calls some lost sixteen times in a row.
pub(crate) const COMMIT_ATTEMPTS_MAX: u32 = 50;
/// Half of the longest pause before a commit is tried the second time.
const GIVE_WAY_MIN: Duration = Duration::from_micros(500);
/// Longer than a commit takes on a busy database: those who wait meet at other times.
const GIVE_WAY_MAX: Duration = Duration::from_millis(100);

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
    pub(crate) owners: Owners,
    pub(crate) last_errors: LastErrors,
    pub(crate) single_process: bool,
    limits: Limits,
    /// The other nodes, if there may be any.
    pub(crate) routing: Option<Routing>,
    actors: BTreeMap<String, Arc<dyn Actor>>,
    pub(crate) residents: Residents,
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
    /// Whose calls under way it counts among.
    counted: Counted,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.node.limits.leave(&self.counted);
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
        let residents = Residents::new(membership.myself().boot.0, options.node.capacity);
        Arc::new(Self {
            ownership: Ownership::new(store.clone()),
            // Others in its process may share a store that no other process can.
            single_process: store.properties().single_process && routing.is_none(),
            env,
            store,
            options,
            membership,
            effects: Effects::default(),
            waker: Waker::default(),
            idle: IdleQueue::default(),
            owners: Owners::default(),
            last_errors: LastErrors::default(),
            limits,
            routing,
            actors,
            residents,
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
        entered.ok().map(|()| Permit { node: node.clone(), counted: Counted::default() })
    }

    /// Lets a call from outside in, if the limits let it.
    fn admit_call(node: &Arc<Self>, call: &Call, admission: Admission) -> Result<Permit, CallError> {
        let mut permit = Self::admit(node, admission).ok_or(CallError::ShuttingDown)?;
        if admission == Admission::New && node.limits.any() {
            permit.counted = node.limits.enter(call.who().lane(), &call.actor, node.env.now())?;
        }
        Ok(permit)
    }

    /// Calls an actor. The call has ended when this returns, unless the error says
    /// `Unknown`.
    pub(crate) async fn call(self: Arc<Self>, mut call: Call, admission: Admission) -> Outcome {
        if admission == Admission::New {
            self.ready()?;
        }
        check(&call)?;
        let permit = Self::admit_call(&self, &call, admission)?;
        if let Some(behaviour) = self.behaviour(call.actor.actor_type())
            && behaviour.is_read(&call.operation)
        {
            match self.read_in_time(behaviour.as_ref(), &call).await {
                Ok(outcome) => return outcome,
                Err(left) => call.deadline = left,
            }
        }
        let request = Arc::new(self.request(call));
        // Apart, so that a read does not carry the size of a turn around.
        Box::pin(self.run(request, Task::Handle, permit)).await
    }

    /// Before a commit is tried again that brushed against neighbours in the store: those who come
    /// again at once, all together, brush once more.
    pub(crate) async fn give_way(&self, attempt: u32) {
        if attempt > 0 {
            let longest = GIVE_WAY_MIN.saturating_mul(1 << attempt.min(16)).min(GIVE_WAY_MAX).as_micros();
            let longest = u64::try_from(longest).expect("less than a second");
            self.env.sleep(Duration::from_micros(1 + self.env.random_u64() % longest)).await;
        }
    }

    /// What comes of work before a moment on this node's clock, if anything does.
    pub(crate) async fn by<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.env.timeout(deadline.saturating_sub(self.env.now()), work).await.ok()
    }

    /// Brings a request of the runtime's own to its activation, wherever that is.
    pub(crate) async fn enter(self: Arc<Self>, request: Arc<Request>, task: Task) -> Outcome {
        let permit = Self::admit(&self, Admission::Owed).ok_or(CallError::ShuttingDown)?;
        self.run(request, task, permit).await
    }

    /// Brings an admitted request to its activation, wherever that is.
    async fn run(self: Arc<Self>, request: Arc<Request>, task: Task, permit: Permit) -> Outcome {
        // What was admitted ends, whoever stops listening: the permit goes with the work.
        let permit = Arc::new(permit);
        if let Some(routing) = &self.routing {
            return self.routed(routing, request, task, permit).await;
        }
        match self.here(request, &task, &permit, &Why::Called).await {
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

    /// Serves a request here, if the actor is this node's or can be. `why` it claims the actor if
    /// nobody has it.
    pub(crate) async fn here(
        self: &Arc<Self>,
        mut request: Arc<Request>,
        task: &Task,
        permit: &Arc<Permit>,
        why: &Why,
    ) -> Here {
        let Some(behaviour) = self.actors.get(request.actor.actor_type()) else {
            let actor_type = request.actor.actor_type().to_owned();
            return Here::Outcome(Err(CallError::NoSuchType { actor_type }));
        };
        let mut begun = false;
        let mut moves = 0;
        while moves <= limits::REDIRECTS_MAX {
            let (activation, created) = match self.activation(&request.actor) {
                Ok(activation) => activation,
                Err(full) => return Here::Outcome(of_begun(begun, Err(full.into()))),
            };
            if *task == Task::Handle
                && !created
                && behaviour.is_read(&request.operation)
                && let Some(outcome) = self
                    .by(
                        request.deadline,
                        activation.read(behaviour.as_ref(), &request.operation, &request.payload),
                    )
                    .await
                    .unwrap_or(Some(Err(CallError::TooLate)))
            {
                return Here::Outcome(outcome);
            }
            match activation.call(request.clone(), task.clone(), created.then_some(why), permit.clone()).await
            {
                Told::Outcome(outcome) => return Here::Outcome(of_begun(begun, outcome)),
                Told::Elsewhere(own) => return Here::Elsewhere { own, begun },
                Told::Gone { begun: now } => {
                    begun |= now && !kelpie_core::mutant!("begun_forgotten");
                    // A turn that is begun again is waited for until it ends or is given up.
                    moves += usize::from(!now);
                }
            }
            // It may have begun there: whoever is asked next has to look for its record.
            if request.fresh {
                request = Arc::new(Request { fresh: false, ..Request::clone(&request) });
            }
        }
        Here::Outcome(of_begun(begun, Err(CallError::NotRun { reason: "the actor kept moving".to_owned() })))
    }

    /// Under which record this node has the actor in memory, as far as it knows. What a former incarnation
    /// of it had leaves memory, and is claimed anew.
    pub(crate) fn held(&self, actor: &ActorId) -> Option<Own> {
        let activation = self.residents.get(actor)?;
        let own = {
            let state = activation.state.lock();
            state
                .loaded
                .as_ref()
                .filter(|_| !state.is_gone() && !state.is_taken())
                .map(|loaded| loaded.own.own.clone())?
        };
        if self.membership.myself().owns(&own) {
            return Some(own);
        }
        activation.retire();
        None
    }

    /// Answers a read beside the mailbox, or says how much of its time is left for its turn. What is
    /// ready at once needs neither clock nor timer.
    async fn read_in_time(&self, behaviour: &dyn Actor, call: &Call) -> Result<Outcome, Duration> {
        let mut read = std::pin::pin!(self.read(behaviour, call));
        if let Poll::Ready(outcome) = futures::poll!(read.as_mut()) {
            return outcome.ok_or(call.deadline);
        }
        let began = self.env.now();
        match self.env.timeout(call.deadline, read).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Err(call.deadline.saturating_sub(self.env.now().saturating_sub(began))),
            Err(_) => Ok(Err(CallError::TooLate)),
        }
    }

    /// Answers a read beside the mailbox; a stale one from whatever this node knows. Nothing:
    /// it has to take its turn.
    async fn read(&self, behaviour: &dyn Actor, call: &Call) -> Option<Outcome> {
        let known = self.residents.get(&call.actor);
        if !call.stale_ok {
            return known?.read(behaviour, &call.operation, &call.payload).await;
        }
        if let Some(view) = known.and_then(|activation| activation.known())
            && let Some(outcome) = read::answer(behaviour, &view, &call.operation, &call.payload).await
        {
            return Some(outcome);
        }
        let view = self.view(&call.actor);
        Box::pin(read::answer(behaviour, &view, &call.operation, &call.payload)).await
    }

    /// What the actors of a type do, if this node has it.
    pub(crate) fn behaviour(&self, actor_type: &str) -> Option<&Arc<dyn Actor>> {
        self.actors.get(actor_type)
    }

    fn known_behaviour(&self, actor: &ActorId) -> Result<&Arc<dyn Actor>, CallError> {
        let unknown = || CallError::NoSuchType { actor_type: actor.actor_type().to_owned() };
        self.behaviour(actor.actor_type()).ok_or_else(unknown)
    }

    /// Answers a read from the last commit.
    pub(crate) async fn read_stored(self: Arc<Self>, call: Call) -> Outcome {
        self.ready()?;
        check(&call)?;
        let behaviour = self.known_behaviour(&call.actor)?;
        if !behaviour.is_read(&call.operation) {
            return Err(CallError::NotARead { operation: call.operation });
        }
        let _permit = Self::admit(&self, Admission::New).ok_or(CallError::ShuttingDown)?;
        let (view, moved) = (self.view(&call.actor), "the actor kept moving");
        let read = read::answer(behaviour.as_ref(), &view, &call.operation, &call.payload).await;
        read.ok_or_else(|| CallError::NotRun { reason: moved.to_owned() })?
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

    /// Waits until this node may begin what has an effect outside of the store: what it has admitted
    /// may come to that long after, when its lease has run out. Or says why it never may again.
    pub(crate) async fn may_begin(&self) -> Result<(), Health> {
        if kelpie_core::mutant!("effects_without_a_lease") {
            return Ok(());
        }
        self.membership.ready().await
    }

    /// What a checked call is on its way through this node.
    fn request(&self, call: Call) -> Request {
        let caller = call.who().into_owned();
        let Call { actor, operation, payload, key, deadline, chain, mark, keep, trace, .. } = call;
        let fresh = key.is_none();
        Request {
            // Nobody else can know a number that was drawn here.
            key: key.map_or_else(
                || CallKey(self.env.random_u128().to_be_bytes()),
                |key| CallKey::new(&caller, &key),
            ),
            fingerprint: Fingerprint::new(&actor, &operation, &payload),
            deadline: self.env.now().saturating_add(deadline),
            keep: keep.unwrap_or(if fresh { Keep::Deadline } else { Keep::Retention }),
            actor,
            operation,
            payload,
            caller,
            fresh,
            chain,
            mark,
            trace,
        }
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
            trace: None,
        })
    }

    /// The actor's records straight from the store.
    pub(crate) fn view(&self, actor: &ActorId) -> View {
        View::of_store(actor.clone(), self.env.wall_ms(), self.store.begin())
    }

    /// The actor's activation, and whether it was just created, so that the caller loads it.
    /// There has to be room for a new one, before it claims anything.
    fn activation(self: &Arc<Self>, actor: &ActorId) -> Result<(Arc<Activation>, bool), Full> {
        if let Some(activation) = self.residents.get(actor) {
            return Ok((activation, false));
        }
        self.make_room()?;
        Ok(self.residents.add(Activation::new(self.clone(), actor.clone())))
    }

    /// Counts one more activation; if there are as many as may be, the longest idle one leaves.
    fn make_room(&self) -> Result<(), Full> {
        loop {
            let entered = self.residents.enter();
            if entered.is_ok() || !self.evict_longest_idle() {
                return entered;
            }
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

    /// Whether the gate takes new calls.
    pub(crate) fn is_open(&self) -> bool {
        self.gate.lock().is_open()
    }

    /// Calls and effects that were admitted and have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        self.gate.lock().in_flight()
    }
}

/// Checks a call before any work begins.
fn check(call: &Call) -> Result<(), CallError> {
    let Call { actor, operation, payload, chain, .. } = call;
    for (what, bytes, bytes_max) in [
        ("the payload", payload.len(), limits::PAYLOAD_BYTES_MAX),
        ("the operation's name", operation.len(), limits::OPERATION_BYTES_MAX),
    ] {
        if bytes > bytes_max {
            return Err(CallError::TooLarge { what: Cow::Borrowed(what), bytes, bytes_max });
        }
    }
    if chain.contains(actor) {
        let names: Vec<String> = chain.iter().chain([actor]).map(ToString::to_string).collect();
        return Err(CallError::Cycle { chain: names.join(" -> ") });
    }
    if chain.len() >= limits::CALL_DEPTH_MAX { Err(CallError::TooDeep) } else { Ok(()) }
}

/// What may have happened on an activation that is gone is not denied by the next one.
pub(crate) fn of_begun(begun: bool, outcome: Outcome) -> Outcome {
    match outcome {
        Err(error) if begun && error.advice() == Advice::NotRun => Err(CallError::Unknown),
        outcome => outcome,
    }
}
