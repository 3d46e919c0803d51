//! One live actor on this node: carries out what `kelpie_core::turn` decides.
//!
//! An idle activation owns no task. A call runs on its caller; when it has to wait, the turn
//! moves to a task of its own, so that a caller that goes away cannot stop it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::call::CallKey;
use kelpie_core::id::ActorId;
use kelpie_core::limits::MAILBOX_CALLS_MAX;
use kelpie_core::ownership::Own;
use kelpie_core::turn::{Activation as Machine, CallNo, Effect, Input, Refusal};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::actor::{Actor, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::control::CANCELLED;
use crate::effect::Effects;
use crate::fence::{Fence, KeptHead, Owned};
use crate::handler::Finished;
use crate::node::{Node, Permit};
use crate::outbox::Fate;
use crate::records::{self, Cache};
use crate::reminder::Firing;
use crate::stored::{Origin, Running, StepRecord};
use crate::waits::Wait;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// One of the actor's operations.
    Handle,
    /// Something owed is due.
    Wake,
    /// These messages of its outbox have met their fate.
    Delivered(Vec<Fate>),
    /// One of its reminders is due.
    Remind(Firing),
    /// A reminder's occurrence ended without its turn, so that only its row goes on.
    Skip(Firing),
}

impl Task {
    /// What a crash has to remember of it.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Handle | Self::Delivered(_) => Origin::Called,
            Self::Wake => Origin::Woken,
            Self::Remind(firing) | Self::Skip(firing) => Origin::Reminded(firing.clone()),
        }
    }
}

impl From<Origin> for Task {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Called => Self::Handle,
            Origin::Woken => Self::Wake,
            Origin::Reminded(firing) => Self::Remind(firing),
        }
    }
}

/// A moment on the node's monotonic clock, in nanoseconds: half of what a `Duration` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn of(now: Duration) -> Self {
        Self(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The end of its call.
    Outcome(Outcome),
    /// This activation is gone: ask the next.
    Gone {
        /// The call's turn was under way, and what it left may stand in the store.
        begun: bool,
    },
    /// Another node owns the actor; nothing: this node may not claim it, and nobody else is known.
    Elsewhere(Option<Own>),
}

/// Why an activation could not be loaded.
#[derive(Debug, Clone)]
pub(crate) enum Unloaded {
    /// Whoever asks the next activation is told the same.
    Error(CallError),
    /// The actor is somebody else's, or nobody's whom this node knows.
    Elsewhere(Option<Own>),
}

impl From<CallError> for Unloaded {
    fn from(error: CallError) -> Self {
        Self::Error(error)
    }
}

pub(crate) struct Slot {
    pub(crate) request: Arc<Request>,
    task: Task,
    /// When it came in.
    pub(crate) since: Duration,
    /// Nobody waits for a turn that goes on after a crash.
    reply: Option<oneshot::Sender<Told>>,
    _permit: Option<Arc<Permit>>,
}

/// What an activation was loaded with, and what it has become since.
pub(crate) struct Loaded {
    pub(crate) own: Arc<Owned>,
    pub(crate) head: KeptHead,
    pub(crate) cache: Cache,
    /// How far the sweep through old dedup rows has come.
    pub(crate) swept: Option<Box<Bytes>>,
    /// The actor was claimed from a former owner and has not been woken since.
    pub(crate) recovering: bool,
}

impl Loaded {
    /// What the next commit compares.
    pub(crate) fn fence(&self) -> Fence {
        Fence { own: self.own.clone(), head: self.head.get() }
    }

    /// Whether a fence is the one of what is known here.
    pub(crate) fn stands(&self, fence: &Fence) -> bool {
        self.own == fence.own && self.head.get() == fence.head
    }
}

/// What an activation has while it is called. One at rest does without: there can be a million
/// of them.
pub(crate) struct Busy {
    pub(crate) machine: Machine,
    pub(crate) slots: BTreeMap<CallNo, Slot>,
    /// What the running turn waits for, each under a number of its own.
    pub(crate) waits: Vec<(u64, Wait)>,
    /// A turn that had recorded steps before this activation began.
    pub(crate) resumed: Option<Box<(Running, BTreeMap<String, StepRecord>)>>,
    /// The turn that is to stop.
    pub(crate) cancelled: Option<CallKey>,
    /// The circle that the call waits in that is being refused.
    pub(crate) cycle: Option<String>,
    /// The running turn's end, from its handler to its answer.
    pub(crate) finished: Option<Box<Finished>>,
    /// Why there is nothing to ask the next activation for either.
    failure: Option<Unloaded>,
    /// The turn that ended this activation and may have left something in the store: a recorded
    /// step, or a commit that only another node's claim has settled.
    pub(crate) begun: Option<CallKey>,
}

impl Busy {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            slots: BTreeMap::new(),
            waits: Vec::new(),
            resumed: None,
            cancelled: None,
            cycle: None,
            finished: None,
            failure: None,
            begun: None,
        }
    }
}

pub(crate) struct State {
    /// Nothing: it is at rest.
    busy: Option<Box<Busy>>,
    pub(crate) loaded: Option<Loaded>,
    /// The last error of a turn, and when it was, in wall time.
    pub(crate) last_error: Option<Box<(u64, String)>>,
    /// Not begun anew with each rest: who gave a call up may still say so.
    next_call: u64,
    pub(crate) last_used: Moment,
    pub(crate) queued_as_idle: bool,
    pub(crate) delivering: bool,
}

/// One live actor.
pub(crate) struct Activation {
    pub(crate) node: Arc<Node>,
    pub(crate) actor: ActorId,
    pub(crate) state: Mutex<State>,
}

impl Activation {
    pub(crate) fn new(node: Arc<Node>, actor: ActorId) -> Self {
        let state = State {
            busy: Some(Box::new(Busy::new(Machine::new(MAILBOX_CALLS_MAX)))),
            loaded: None,
            last_error: None,
            next_call: 0,
            last_used: Moment::of(node.env.now()),
            queued_as_idle: false,
            delivering: false,
        };
        Self { node, actor, state: Mutex::new(state) }
    }

    /// What its type does.
    pub(crate) fn behaviour(&self) -> &Arc<dyn Actor> {
        self.node.behaviour(self.actor.actor_type()).expect("only actors of the node's types are activated")
    }

    /// Brings a request in and waits for what becomes of it. `load`: the caller has created
    /// the activation.
    pub(crate) async fn call(
        self: &Arc<Self>,
        request: Arc<Request>,
        task: Task,
        load: bool,
        permit: Arc<Permit>,
    ) -> Told {
        let deadline = request.deadline;
        let (reply, mut told) = oneshot::channel();
        let (call, effects) = self.enqueue(request, task, reply, permit);
        self.run_or_move(effects, load).await;
        if let Ok(told) = told.try_recv() {
            return told;
        }
        let remaining = deadline.saturating_sub(self.node.env.now());
        match self.node.env.timeout(remaining, &mut told).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Told::Outcome(Err(CallError::Unknown)),
            Err(_) => {
                let rest = self.input(Input::Withdrawn { call });
                debug_assert!(rest.is_empty(), "a withdrawn call leaves nothing to carry out: {rest:?}");
                told.try_recv().unwrap_or(Told::Outcome(Err(CallError::Unknown)))
            }
        }
    }

    fn enqueue(
        &self,
        request: Arc<Request>,
        task: Task,
        reply: oneshot::Sender<Told>,
        permit: Arc<Permit>,
    ) -> (CallNo, Vec<Effect>) {
        let now = self.node.env.now();
        self.state.lock().enter(now, request, task, reply, permit)
    }

    /// Feeds one input to the machine and does what follows at once; what remains has to be
    /// carried out.
    ///
    /// A turn's changes are published and its call is answered under the lock of the step that
    /// ends it: a moment later the machine is idle, and another thread's call may put its own
    /// turn in this one's place.
    pub(crate) fn input(self: &Arc<Self>, input: Input) -> Vec<Effect> {
        let now = self.node.env.now();
        let (mut rest, mut started) = (Vec::new(), Vec::new());
        let mut state = self.state.lock();
        for effect in state.step(now, input) {
            match effect {
                Effect::Publish => started.extend(self.publish(&mut state)),
                Effect::Answer(_) | Effect::Refuse(_, _) => state.settle_call(effect),
                Effect::Discard => {}
                Effect::Run(_) | Effect::Commit | Effect::Settle | Effect::Drop => rest.push(effect),
            }
        }
        drop(state);
        for effect in started {
            Effects::start(&self.node, self.behaviour().clone(), &self.actor, effect);
        }
        rest
    }

    /// Runs on the caller as long as nothing has to be waited for, else on a task of its
    /// own.
    async fn run_or_move(self: &Arc<Self>, effects: Vec<Effect>, load: bool) {
        let mut work: BoxFuture<'static, ()> = if load {
            Box::pin(self.clone().load_and_carry_out())
        } else if effects.is_empty() {
            return;
        } else {
            Box::pin(self.clone().carry_out(effects.into(), true))
        };
        let done = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
        if !done {
            self.node.env.spawn("turn", work);
        }
    }

    async fn load_and_carry_out(self: Arc<Self>) {
        let input = match self.load().await {
            Ok(resumed) => Input::Loaded { resume: resumed },
            Err(error) => {
                self.state.lock().busy().failure = Some(error);
                Input::LoadFailed
            }
        };
        let effects = self.input(input);
        self.carry_out(effects.into(), true).await;
    }

    /// Carries out effects, and those that follow from them. On a caller, only the first
    /// turn: those after it are somebody else's and get a task.
    async fn carry_out(self: Arc<Self>, mut effects: VecDeque<Effect>, on_caller: bool) {
        let mut turns = 0;
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Run(_) if on_caller && turns == 1 => {
                    effects.push_front(effect);
                    self.node.env.spawn("turns", self.clone().carry_out_apart(effects));
                    return;
                }
                Effect::Run(call) => {
                    turns += 1;
                    let input = self.run(call).await;
                    effects.extend(self.input(input));
                }
                Effect::Commit => {
                    if kelpie_core::mutant!("reply_before_commit") {
                        self.answer_early();
                    }
                    let input = self.commit().await;
                    effects.extend(self.input(input));
                }
                Effect::Settle => {
                    let input = self.settle().await;
                    effects.extend(self.input(input));
                }
                // Only of a call that was refused when it came in: all others are settled with
                // the input that leads to them.
                Effect::Answer(_) | Effect::Refuse(_, _) => self.state.lock().settle_call(effect),
                Effect::Publish | Effect::Discard => {}
                Effect::Drop => self.node.forget(&self),
            }
        }
        self.idle();
    }

    fn carry_out_apart(self: Arc<Self>, effects: VecDeque<Effect>) -> BoxFuture<'static, ()> {
        Box::pin(self.carry_out(effects, false))
    }

    /// The seeded bug of answering first.
    fn answer_early(&self) {
        let mut state = self.state.lock();
        let busy = state.busy();
        let Some(outcome) = busy.finished.as_ref().map(|finished| finished.outcome.clone()) else { return };
        for slot in busy.slots.values_mut().filter(|slot| slot.task == Task::Handle) {
            if let Some(reply) = slot.reply.take() {
                drop(reply.send(Told::Outcome(outcome.clone())));
            }
        }
    }

    /// Notes that nobody may be told any more that this turn did not run.
    pub(crate) fn has_begun(&self, turn: CallKey) {
        self.state.lock().busy().begun = Some(turn);
    }

    /// The request and task of a call.
    pub(crate) fn slot(&self, call: CallNo) -> (Arc<Request>, Task) {
        let mut state = self.state.lock();
        let slot = state.busy().slots.get(&call).expect("a call keeps its slot until it is answered");
        (slot.request.clone(), slot.task.clone())
    }

    /// Makes room for a turn that nobody here called for.
    pub(crate) fn add_slot(&self, request: Arc<Request>, task: Task) -> CallNo {
        let mut state = self.state.lock();
        let call = state.next_call();
        let since = self.node.env.now();
        state.busy().slots.insert(call, Slot { request, task, since, reply: None, _permit: None });
        call
    }

    /// One committed record, from memory or from the store.
    pub(crate) async fn record(&self, fence: &Fence, record: &[u8]) -> Result<Option<Bytes>, TurnError> {
        let known = {
            let state = self.state.lock();
            match &state.loaded {
                Some(loaded) if loaded.stands(fence) => loaded.cache.get(record),
                Some(_) | None => None,
            }
        };
        if let Some(value) = known {
            return Ok(value);
        }
        // Apart, so that a handler that finds its records in memory is small.
        let value = Box::pin(records::read(&self.node.store, &self.actor, fence, record)).await?;
        let mut state = self.state.lock();
        if let Some(loaded) = state.loaded.as_mut().filter(|loaded| loaded.stands(fence)) {
            loaded.cache.put(Bytes::copy_from_slice(record), value.clone());
        }
        Ok(value)
    }
}

impl State {
    /// What it has while it is called; it begins with this if it was at rest.
    pub(crate) fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_with(|| Box::new(Busy::new(Machine::resting(MAILBOX_CALLS_MAX))))
    }

    /// What it has while it is called, if it is.
    pub(crate) fn if_busy(&self) -> Option<&Busy> {
        self.busy.as_deref()
    }

    /// Feeds one input to the machine.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        self.busy().machine.step(now, input)
    }

    /// Whether it waits for calls. If so, it lets go of what only calls need.
    pub(crate) fn rest(&mut self) -> bool {
        let rests = self.busy.as_ref().is_none_or(|busy| busy.machine.is_idle());
        // A call that was refused as it came in may still have to be told.
        if rests && self.busy.as_ref().is_some_and(|busy| busy.slots.is_empty()) {
            self.busy = None;
        }
        rests
    }

    /// Whether it has been dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.machine.is_gone())
    }

    /// Whether its state is certainly the last committed one.
    pub(crate) fn is_settled(&self) -> bool {
        self.busy.as_ref().is_none_or(|busy| busy.machine.is_settled())
    }

    /// Brings a call in. What follows from it has to be carried out.
    fn enter(
        &mut self,
        now: Duration,
        request: Arc<Request>,
        task: Task,
        reply: oneshot::Sender<Told>,
        permit: Arc<Permit>,
    ) -> (CallNo, Vec<Effect>) {
        let call = self.next_call();
        self.last_used = Moment::of(now);
        let input = Input::Called {
            call,
            key: request.key,
            lane: request.caller.lane(),
            fingerprint: request.fingerprint,
            deadline: request.deadline,
        };
        let slot = Slot { request, task, since: now, reply: Some(reply), _permit: Some(permit) };
        let busy = self.busy();
        busy.slots.insert(call, slot);
        (call, busy.machine.step(now, input))
    }

    /// Has somebody else told too what becomes of a turn that is under way.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        request: Arc<Request>,
        task: Task,
        reply: oneshot::Sender<Told>,
        permit: Permit,
    ) {
        let (_, effects) = self.enter(now, request, task, reply, Arc::new(permit));
        debug_assert!(effects.is_empty(), "who joins a turn begins nothing: {effects:?}");
    }

    fn next_call(&mut self) -> CallNo {
        self.next_call += 1;
        CallNo(self.next_call)
    }

    /// Gives a call its end.
    pub(crate) fn settle_call(&mut self, effect: Effect) {
        let (call, refusal) = match effect {
            Effect::Answer(call) => (call, None),
            Effect::Refuse(call, refusal) => (call, Some(refusal)),
            Effect::Run(_)
            | Effect::Commit
            | Effect::Settle
            | Effect::Publish
            | Effect::Discard
            | Effect::Drop => {
                return;
            }
        };
        let busy = self.busy();
        let Some(Slot { request, reply, .. }) = busy.slots.remove(&call) else { return };
        // Whoever comes with the same key again was not cancelled.
        busy.cancelled = busy.cancelled.filter(|key| *key != request.key);
        let Some(reply) = reply else { return };
        let told = match refusal {
            Some(refusal) => busy.refused(refusal, request.key),
            None => {
                let finished = busy.finished.as_ref().expect("an answer follows a finished turn");
                Told::Outcome(finished.outcome.clone())
            }
        };
        // Who does not listen any more asks again with its key.
        drop(reply.send(told));
    }
}

impl Busy {
    fn refused(&self, refusal: Refusal, key: CallKey) -> Told {
        let error = match refusal {
            Refusal::Gone => match &self.failure {
                Some(Unloaded::Error(error)) => error.clone(),
                Some(Unloaded::Elsewhere(own)) => return Told::Elsewhere(own.clone()),
                None => return Told::Gone { begun: self.begun == Some(key) },
            },
            Refusal::MailboxFull => CallError::MailboxFull,
            Refusal::TooLate => CallError::TooLate,
            Refusal::KeyReused => CallError::KeyReused,
            Refusal::Panicked => CallError::Panicked,
            Refusal::Cancelled => CallError::App {
                code: CANCELLED.to_owned(),
                message: "the call was cancelled before it began".to_owned(),
                detail: None,
            },
            Refusal::Deadlock => CallError::Deadlock { cycle: self.cycle.clone().unwrap_or_default() },
            Refusal::NotCommitted => {
                match self.finished.as_ref().and_then(|finished| finished.refused.clone()) {
                    Some(error) => error,
                    None => CallError::NotRun { reason: "the commit was lost".to_owned() },
                }
            }
        };
        Told::Outcome(Err(error))
    }
}
