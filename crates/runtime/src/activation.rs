//! One live actor on this node: carries out what `kelpie_core::turn` decides.
//!
//! An idle activation owns no task. A call runs on its caller; when it has to wait, the turn
//! moves to a task of its own, so that a caller that goes away cannot stop it.

mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::call::CallKey;
use kelpie_core::id::ActorId;
use kelpie_core::ownership::{Own, Why};
use kelpie_core::turn::{CallNo, Effect, Input};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use self::state::{Busy, Loaded, Slot, State};
use crate::actor::{Actor, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::effect::Effects;
use crate::fence::Fence;
use crate::node::{Node, Permit};
use crate::outbox::Fate;
use crate::records;
use crate::reminder::Firing;
use crate::stored::Origin;

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

/// One live actor.
pub(crate) struct Activation {
    pub(crate) node: Arc<Node>,
    pub(crate) actor: ActorId,
    pub(crate) state: Mutex<State>,
}

impl Activation {
    pub(crate) fn new(node: Arc<Node>, actor: ActorId) -> Self {
        let state = State::new(node.env.now());
        Self { node, actor, state: Mutex::new(state) }
    }

    /// What its type does.
    pub(crate) fn behaviour(&self) -> &Arc<dyn Actor> {
        self.node.behaviour(self.actor.actor_type()).expect("only actors of the node's types are activated")
    }

    /// Brings a request in and waits for what becomes of it. `load`: the caller has created the
    /// activation, on this node for this reason.
    pub(crate) async fn call(
        self: &Arc<Self>,
        request: Arc<Request>,
        task: Task,
        load: Option<&Why>,
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
    async fn run_or_move(self: &Arc<Self>, effects: Vec<Effect>, load: Option<&Why>) {
        let mut work: BoxFuture<'static, ()> = if let Some(why) = load {
            Box::pin(self.clone().load_and_carry_out(why.clone()))
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

    async fn load_and_carry_out(self: Arc<Self>, why: Why) {
        let input = match self.load(&why).await {
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
                Effect::Drop => self.node.residents.forget(&self),
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
        state.busy().slots.insert(call, Slot::of_nobody(request, task, since));
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
