//! Looking at an actor and stopping one of its turns, while that turn waits.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::call::{Caller, TurnId};
use kelpie_core::id::{ActorId, Epoch, NodeId, Seq};
use kelpie_core::ownership::{Entry, Own};
use kelpie_core::turn::{Input, Refusal, Standing};
use kelpie_core::{record, row};
use kelpie_registry::{Head, Holding, RegistryError};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::activation::{Activation, Busy, Slot, Task, Told};
use crate::actor::TurnError;
use crate::call::{CallError, Request};
use crate::fence::fence_keys;
use crate::large;
use crate::load::describe;
use crate::node::{Admission, Node, Permit};
use crate::peers::PeerFailure;
use crate::remote::{self, Answer, Question, Verdict};
use crate::route::process;
use crate::runtime::Runtime;
use crate::stored::Running;
use crate::waits::Wait;

/// How long another node has to say what an actor of it does.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// The code of a call that was cancelled.
pub(crate) const CANCELLED: &str = "turn.cancelled";

/// What is known of an actor: its owner and what it owes from the store, what it does from the
/// memory of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Who may commit for it. Nothing: it was never called.
    pub owner: Option<NodeId>,
    /// Whether that life of the node has not ended.
    pub owner_lives: bool,
    /// Why it came there. Nothing: it was never called, or came there before that was kept.
    pub placed: Option<Entry>,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// How many commits it has seen.
    pub commits: Seq,
    /// When it is woken next for what it owes, in milliseconds of wall time.
    pub wake_ms: Option<u64>,
    /// Messages that it has sent and that are not delivered.
    pub messages: u32,
    /// A turn in the store that has recorded steps and has not ended, with the steps' keys. It is
    /// among `turns` too, if it goes on here.
    pub unfinished: Option<(InspectedTurn, Vec<String>)>,
    /// The turns at its owner, the one that runs first and then those that wait, in their order. Nothing:
    /// the actor is not in its owner's memory, or the owner was not reached.
    pub turns: Option<Vec<InspectedTurn>>,
    /// What went wrong last with the actor since its owner has it, and when that was, in wall time: the
    /// error of a turn, a panic, or why a turn has to be begun again.
    pub last_error: Option<(u64, String)>,
    /// Why its owner could not say what it does, if it could not.
    pub not_reached: Option<String>,
}

/// What an actor does in a node's memory, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Look {
    turns: Option<Vec<InspectedTurn>>,
    last_error: Option<(u64, String)>,
}

/// A turn, as an inspection sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedTurn {
    /// Names it, for [`Runtime::cancel`].
    pub turn: TurnId,
    /// What was called. Empty: what the runtime does for the actor.
    pub operation: String,
    /// By whom.
    pub caller: Caller,
    /// The calls that led to it, the first one first.
    pub chain: Vec<ActorId>,
    /// How long ago it came in; not known of one that only the store knows.
    pub age: Option<Duration>,
    /// How often it was begun.
    pub attempts: u32,
    /// Whether it has begun.
    pub begun: bool,
    /// The steps whose work it waits for.
    pub steps: Vec<String>,
    /// The actors that it has called and waits for.
    pub calls: Vec<ActorId>,
}

/// What a cancel came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cancelled {
    /// It waited, and never began.
    Waiting,
    /// It ran, and was stopped between two steps: its state is as before, its caller is told
    /// `turn.cancelled`, now and when it asks again with its key.
    Stopped,
    /// It has ended in another way: its commit was first, or it took no notice.
    Ended,
    /// There is no such turn in its owner's memory.
    Absent,
}

impl Runtime {
    /// Looks at an actor, also while a turn of it runs. Activates nothing.
    ///
    /// ```
    /// # use futures::future::BoxFuture;
    /// # use kelpie::untyped::{Actor, Call, HandlerError, Turn, View};
    /// # use kelpie::{ActorId, Bytes};
    /// # struct Note;
    /// # impl Actor for Note {
    /// #     fn actor_type(&self) -> &str {
    /// #         "note"
    /// #     }
    /// #     fn is_read(&self, operation: &str) -> bool {
    /// #         operation == "read"
    /// #     }
    /// #     fn read<'a>(
    /// #         &'a self, view: &'a View, _: &'a str, _: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move { Ok(view.get(b"text").await?.unwrap_or_default()) })
    /// #     }
    /// #     fn handle<'a>(
    /// #         &'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8],
    /// #     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    /// #         Box::pin(async move {
    /// # match operation {
    /// #     "write" => turn.set("text", payload.to_vec()),
    /// #     _ => turn.send(turn.actor().clone(), "write", payload.to_vec()),
    /// # }
    /// # Ok(Bytes::new())
    /// #         })
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Note)).start().await?;
    /// # let runtime = cluster.runtime();
    /// use std::time::Duration;
    ///
    /// use kelpie::Cancelled;
    ///
    /// let note = ActorId::new("default", "note", "a")?;
    /// assert_eq!(runtime.inspect(&note).await?.owner, None, "it was never called");
    /// runtime.call(Call::new(note.clone(), "write", "milk")).await?;
    /// let seen = runtime.inspect(&note).await?;
    /// assert_eq!((seen.owner.as_ref().map(kelpie::NodeId::as_str), seen.owner_lives), (Some("node-1"), true));
    /// assert_eq!((seen.epoch.0, seen.commits.0, seen.turns), (1, 1, Some(vec![])));
    ///
    /// // Stops a turn that `turns` shows; there is none.
    /// let turn = kelpie::TurnId([0; 16]);
    /// assert_eq!(runtime.cancel(&note, turn, Duration::from_secs(1)).await?, Cancelled::Absent);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store does not answer, or a record cannot be read.
    pub async fn inspect(&self, actor: &ActorId) -> Result<Inspection, TurnError> {
        let mut tx = self.node.store.begin();
        let stored = tx.get_many_snapshot(&fence_keys(actor)).await?;
        let [own, head] = [stored.first(), stored.get(1)].map(|row| row.cloned().flatten());
        let own: Option<Own> = own.map(|own| record::decode(&own)).transpose()?;
        let head: Head = head.map(|head| record::decode(&head)).transpose()?.unwrap_or_default();
        let mut unfinished = None;
        let key = row::running(actor);
        if head.running
            && let Some(stored) = tx.get_snapshot(&key).await?
        {
            let running: Running = record::decode(&large::value(&mut tx, &key, stored).await?)?;
            let steps = crate::load::steps(&mut tx, actor, &running).await?;
            unfinished = Some((of_running(actor, &running), steps.into_keys().collect()));
        }
        let placed = self.node.ownership.inspect(actor).await.map_err(unread)?;
        let (owner_lives, placed) =
            placed.map_or((false, None), |placed| (placed.holder_lives, placed.entry));
        let (Look { turns, last_error }, not_reached) = match &own {
            Some(own) if owner_lives => match self.node.look_at_owner(own, actor).await {
                Ok(look) => (look, None),
                Err(reason) => (Look::default(), Some(reason)),
            },
            Some(_) | None => (Look::default(), None),
        };
        Ok(Inspection {
            epoch: own.as_ref().map_or(Epoch(0), |own| own.epoch),
            owner: own.map(|own| own.node),
            owner_lives,
            placed,
            commits: head.seq,
            wake_ms: head.wake_ms,
            messages: head.outbox,
            unfinished,
            turns,
            last_error,
            not_reached,
        })
    }

    /// Stops a turn that waits, or one that runs before its next step or call, on whichever node.
    /// Returns once it has ended, or after `limit` with an error.
    ///
    /// Shown at [`Runtime::inspect`].
    ///
    /// # Errors
    /// [`CallError::Unknown`] when the turn has not ended within `limit`: it is stopped at its
    /// next step all the same. [`CallError::NotRun`] when the actor has moved meanwhile, or its owner
    /// cannot be asked.
    /// [`CallError::ShuttingDown`] on a node that is closed.
    pub async fn cancel(
        &self,
        actor: &ActorId,
        turn: TurnId,
        limit: Duration,
    ) -> Result<Cancelled, CallError> {
        match self.node.cancel_here(actor, turn, limit).await? {
            Cancelled::Absent if !kelpie_core::mutant!("cancel_stays_home") => {
                self.node.cancel_at_owner(actor, turn, limit).await
            }
            cancelled @ (Cancelled::Waiting | Cancelled::Stopped | Cancelled::Ended | Cancelled::Absent) => {
                Ok(cancelled)
            }
        }
    }
}

impl Node {
    /// What an actor does in this node's memory.
    pub(crate) fn look(&self, actor: &ActorId) -> Look {
        let turns = self.residents.get(actor).map(|activation| activation.turns());
        Look { turns, last_error: self.last_errors.of(actor) }
    }

    /// What an actor does in its owner's memory, or why that one cannot say it.
    async fn look_at_owner(&self, own: &Own, actor: &ActorId) -> Result<Look, String> {
        let Some(routing) = self.routing.as_ref().filter(|_| !self.membership.myself().owns(own)) else {
            return Ok(self.look(actor));
        };
        let question = remote::encode(&Question::Look { actor: actor.clone() });
        let answered = routing.peers.request(&process(own), question, LOOK_LIMIT).await;
        let answer = answered.map_err(|failure| failure.to_string())?;
        match remote::decode::<Answer>(&answer)?.verdict {
            Verdict::Reply(look) => remote::decode(&look),
            Verdict::Unreadable(problem) => Err(problem),
            other @ (Verdict::Error(_)
            | Verdict::NotOwner { .. }
            | Verdict::NotReady
            | Verdict::NotMoved(_)) => Err(format!("another answer: {other:?}")),
        }
    }

    /// Stops a turn in this node's memory.
    pub(crate) async fn cancel_here(
        self: &Arc<Self>,
        actor: &ActorId,
        turn: TurnId,
        limit: Duration,
    ) -> Result<Cancelled, CallError> {
        let permit = Self::admit(self, Admission::Owed).ok_or(CallError::ShuttingDown)?;
        let Some(activation) = self.residents.get(actor) else { return Ok(Cancelled::Absent) };
        activation.cancel(turn, limit, permit).await
    }

    /// Stops a turn in the memory of the actor's owner, if that is another node.
    async fn cancel_at_owner(
        &self,
        actor: &ActorId,
        turn: TurnId,
        limit: Duration,
    ) -> Result<Cancelled, CallError> {
        let Some(routing) = &self.routing else { return Ok(Cancelled::Absent) };
        let not_run = |reason| CallError::NotRun { reason };
        let own = match self.ownership.find(actor).await.map_err(|error| not_run(describe(&error)))? {
            Holding::Live(own) if !self.membership.myself().owns(&own) => own,
            Holding::Live(_) | Holding::Nobody | Holding::Ended(_) => return Ok(Cancelled::Absent),
        };
        let question = remote::encode(&Question::Cancel { actor: actor.clone(), turn, limit });
        let answer = match routing.peers.request(&process(&own), question, limit).await {
            Ok(answer) => answer,
            Err(PeerFailure::NotDelivered { reason }) => {
                return Err(not_run(format!(
                    "node `{}`, which owns the actor, was not reached: {reason}",
                    own.node
                )));
            }
            Err(PeerFailure::Lost { .. } | PeerFailure::TimedOut) => return Err(CallError::Unknown),
        };
        let unreadable = |problem| {
            tracing::error!(%actor, to = %own.node, problem, "the answer to a cancel cannot be read");
            CallError::Unknown
        };
        match remote::decode::<Answer>(&answer).map_err(unreadable)?.verdict {
            Verdict::Reply(cancelled) => remote::decode(&cancelled).map_err(unreadable),
            Verdict::Error(error) => Err(error.into_error()),
            other @ (Verdict::NotOwner { .. }
            | Verdict::NotReady
            | Verdict::NotMoved(_)
            | Verdict::Unreadable(_)) => Err(unreadable(format!("{other:?}"))),
        }
    }
}

fn unread(error: RegistryError) -> TurnError {
    match error {
        RegistryError::Read(error) => error.into(),
        RegistryError::Record { source, .. } => source.into(),
        other @ (RegistryError::Generation | RegistryError::Silent { .. } | RegistryError::Store(_)) => {
            TurnError::NotRecorded { reason: describe(&other) }
        }
    }
}

fn of_running(actor: &ActorId, running: &Running) -> InspectedTurn {
    InspectedTurn {
        turn: running.key.turn(actor),
        operation: running.operation.clone(),
        caller: running.caller.clone(),
        chain: running.chain.clone(),
        age: None,
        attempts: running.attempts,
        begun: true,
        steps: Vec::new(),
        calls: Vec::new(),
    }
}

impl Activation {
    fn turns(&self) -> Vec<InspectedTurn> {
        let now = self.node.env.now();
        let state = self.state.lock();
        state.if_busy().into_iter().flat_map(|busy| turns(busy, now)).collect()
    }

    async fn cancel(
        self: &Arc<Self>,
        turn: TurnId,
        limit: Duration,
        permit: Permit,
    ) -> Result<Cancelled, CallError> {
        let Some((standing, told)) = self.begin_cancel(turn, permit) else { return Ok(Cancelled::Absent) };
        if standing == Standing::Waiting {
            return Ok(Cancelled::Waiting);
        }
        match self.node.env.timeout(limit, told).await {
            Ok(Ok(Told::Outcome(Err(CallError::App { code, .. })))) if code == CANCELLED => {
                Ok(Cancelled::Stopped)
            }
            Ok(Ok(Told::Outcome(_))) => Ok(Cancelled::Ended),
            Ok(Ok(Told::Gone { .. } | Told::Elsewhere(_)) | Err(_)) => {
                Err(CallError::NotRun { reason: "the actor has moved: look again".to_owned() })
            }
            Err(_) => Err(CallError::Unknown),
        }
    }

    /// Takes the turn back if it waits; else marks it, and joins those who wait for its end.
    fn begin_cancel(&self, turn: TurnId, permit: Permit) -> Option<(Standing, oneshot::Receiver<Told>)> {
        let now = self.node.env.now();
        let mut state = self.state.lock();
        let busy = state.if_busy()?;
        let request = busy.slots.values().find(|slot| slot.request.turn() == turn)?.request.clone();
        let (reply, told) = oneshot::channel();
        let standing = busy.machine.standing(request.key);
        if standing == Standing::Absent {
            return None;
        }
        let taken = Input::TakenBack { key: request.key, refusal: Refusal::Cancelled };
        let effects = state.step(now, taken);
        if effects.is_empty() {
            state.busy().cancelled = Some(request.key);
            state.join(now, request, Task::Handle, reply, permit);
            return Some((Standing::Running, told));
        }
        effects.into_iter().for_each(|effect| state.settle_call(effect));
        Some((standing, told))
    }

    /// Whether the running turn is to stop.
    pub(crate) fn is_cancelled(&self, request: &Request) -> bool {
        self.state.lock().if_busy().is_some_and(|busy| busy.cancelled == Some(request.key))
    }
}

fn turns(busy: &Busy, now: Duration) -> impl Iterator<Item = InspectedTurn> {
    busy.machine.calls().filter_map(move |(call, standing)| {
        let Slot { request, since, .. } = busy.slots.get(&call)?;
        let begun = standing != Standing::Waiting;
        let waits = || busy.waits.iter().filter(|_| begun).map(|(_, wait)| wait);
        Some(InspectedTurn {
            turn: request.turn(),
            operation: request.operation.clone(),
            caller: request.caller.clone(),
            chain: request.chain.clone(),
            age: Some(now.saturating_sub(*since)),
            attempts: u32::from(begun),
            begun,
            steps: waits().filter_map(Wait::step).collect(),
            calls: waits().filter_map(Wait::called).collect(),
        })
    })
}
