//! What an activation holds in memory, and the step of its machine under the one lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::call::CallKey;
use kelpie_core::limits::MAILBOX_CALLS_MAX;
use kelpie_core::ownership::Own;
use kelpie_core::turn::{Activation as Machine, CallNo, Effect, Input, Refusal};
use tokio::sync::oneshot;

use super::{Moment, Task, Told, Unloaded};
use crate::call::{CallError, Request};
use crate::commit;
use crate::control::CANCELLED;
use crate::fence::{Fence, KeptHead, Owned};
use crate::handler::Finished;
use crate::node::Permit;
use crate::records::Cache;
use crate::stored::{Running, StepRecord};
use crate::waits::Wait;

pub(crate) struct Slot {
    pub(crate) request: Arc<Request>,
    pub(super) task: Task,
    /// When it came in.
    pub(crate) since: Duration,
    /// Nobody waits for a turn that goes on after a crash.
    pub(super) reply: Option<oneshot::Sender<Told>>,
    _permit: Option<Arc<Permit>>,
}

impl Slot {
    /// A call that nobody waits for.
    pub(super) fn of_nobody(request: Arc<Request>, task: Task, since: Duration) -> Self {
        Self { request, task, since, reply: None, _permit: None }
    }
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
    /// Who has taken the actor, which this node did not give away.
    pub(crate) taken: Option<Box<Own>>,
    /// Why there is nothing to ask the next activation for either.
    pub(super) failure: Option<Unloaded>,
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
            taken: None,
            failure: None,
            begun: None,
        }
    }
}

pub(crate) struct State {
    /// Nothing: it is at rest.
    busy: Option<Box<Busy>>,
    pub(crate) loaded: Option<Loaded>,
    /// Not begun anew with each rest: who gave a call up may still say so.
    next_call: u64,
    pub(crate) last_used: Moment,
    pub(crate) queued_as_idle: bool,
    pub(crate) delivering: bool,
}

impl State {
    /// Of an activation that is about to be loaded.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            busy: Some(Box::new(Busy::new(Machine::new(MAILBOX_CALLS_MAX)))),
            loaded: None,
            next_call: 0,
            last_used: Moment::of(now),
            queued_as_idle: false,
            delivering: false,
        }
    }

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

    /// Whether another node has taken the actor, as this one has heard.
    pub(crate) fn is_taken(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.taken.is_some())
    }

    /// Whether its state is certainly the last committed one.
    pub(crate) fn is_settled(&self) -> bool {
        self.busy.as_ref().is_none_or(|busy| busy.machine.is_settled())
    }

    /// Brings a call in. What follows from it has to be carried out.
    pub(super) fn enter(
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

    pub(super) fn next_call(&mut self) -> CallNo {
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
            Refusal::Elsewhere => return Told::Elsewhere(self.taken.as_deref().cloned()),
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
                let refused = self.finished.as_ref().and_then(|finished| finished.refused.clone());
                refused.unwrap_or_else(commit::lost)
            }
        };
        Told::Outcome(Err(error))
    }
}
