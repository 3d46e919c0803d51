//! Running a handler on a copy of its actor's state, and judging how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::advice::Advice;
use kelpie_core::call::Caller;
use kelpie_core::limits::{KEY_MARGIN, KEY_RETENTION};
use kelpie_core::turn::{CallNo, Input};
use kelpie_core::{record, row};
use kelpie_registry::Head;

use crate::activation::{Activation, Task};
use crate::actor::{HandlerError, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::large;
use crate::load::describe;
use crate::outbox::Fate;
use crate::records::Fence;
use crate::step::Steps;
use crate::stored::{Dedup, Reply, Running};
use crate::turn::{Turn, Work};
use crate::view::View;

/// How often a turn with recorded steps is begun before it is given up.
const TURN_ATTEMPTS_MAX: u32 = 10;
/// A handler's end, on its way through the commit.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) request: Arc<Request>,
    pub(crate) outcome: Outcome,
    pub(crate) work: Work,
    pub(crate) dedup: Option<Dedup>,
    pub(crate) running: Option<Running>,
    pub(crate) now_ms: u64,
    /// The fence that the commit compares: the turn's own steps have moved it.
    pub(crate) fence: Fence,
    /// What the commit wrote, once it has been sent.
    pub(crate) written: Option<Head>,
    /// Why the store did not take it.
    pub(crate) refused: Option<CallError>,
}

impl Activation {
    /// Runs a call's handler; what it leaves waits in `finished`.
    pub(crate) async fn run(self: &Arc<Self>, call: CallNo) -> Input {
        let (request, task) = self.slot(call);
        let (fence, resumed, recovering) = {
            let mut state = self.state.lock();
            let loaded = state.loaded.as_mut().expect("a turn runs on a loaded activation");
            let resumed = loaded.resumed.take_if(|(running, _)| running.key == request.key);
            let recovering = loaded.recovering && task == Task::Wake;
            loaded.recovering &= task != Task::Wake;
            (loaded.fence.clone(), resumed, recovering)
        };
        let asks = request.may_be_recorded() && !kelpie_core::mutant!("dedup_not_looked_up");
        if resumed.is_none() && asks {
            match self.recorded(&request, &fence).await {
                Ok(None) => {}
                Ok(Some(dedup)) => {
                    let same = dedup.fingerprint == request.fingerprint;
                    let outcome = if same { dedup.reply.outcome() } else { Err(CallError::KeyReused) };
                    metrics::counter!("kelpie_dedup_hits_total").increment(1);
                    return self.finish(Finished::without_work(request, outcome, fence));
                }
                Err(error) => return self.failed(request, fence, error),
            }
        }
        let mut turn = Turn::new(self.clone(), request.clone(), fence, resumed);
        if let Err(error) = turn.begin_again().await {
            tracing::warn!(actor = %self.actor, error = describe(&error), "a turn is not resumed");
            return self.interrupted(&request);
        }
        let given_up = turn.given_up(self.node.env.wall_ms());
        let handled = match given_up {
            Some(error) => Ok(Err(error)),
            None => AssertUnwindSafe(self.handle(&mut turn, &task, recovering)).catch_unwind().await,
        };
        match handled {
            Ok(result) => self.handled(turn, result).await,
            Err(_) => {
                metrics::counter!("kelpie_turn_panics_total", "type" => self.actor.actor_type().to_owned())
                    .increment(1);
                tracing::error!(actor = %self.actor, operation = request.operation, "a handler panicked");
                // What it had recorded is resumed, a bounded number of times.
                if turn.steps.get_mut().running.is_some() {
                    self.interrupted(&request)
                } else {
                    Input::Panicked
                }
            }
        }
    }

    async fn handle(&self, turn: &mut Turn, task: &Task, recovering: bool) -> Result<Bytes, HandlerError> {
        match task {
            Task::Handle if self.behaviour.is_read(&turn.request.operation) => {
                let view = View::of_activation(turn.activation.clone(), turn.fence());
                let request = turn.request.clone();
                self.behaviour.read(&view, &request.operation, &request.payload).await
            }
            Task::Handle => {
                let request = turn.request.clone();
                self.behaviour.handle(turn, &request.operation, &request.payload).await
            }
            Task::Wake => {
                self.wake(turn, recovering).await?;
                Ok(Bytes::new())
            }
            Task::Delivered(fates) => {
                self.delivered(turn, fates).await?;
                Ok(Bytes::new())
            }
        }
    }

    async fn wake(&self, turn: &mut Turn, recovering: bool) -> Result<(), HandlerError> {
        let due = self.head().own_wake_ms;
        let is_due = due.is_some_and(|due| due <= turn.now_ms);
        if is_due {
            turn.wake_at(None);
        }
        if self.head().outbox > 0 && !std::mem::replace(&mut self.state.lock().delivering, true) {
            turn.activation.clone().deliver();
        }
        if is_due || (recovering && due.is_some()) {
            self.behaviour.wake(turn).await?;
        }
        Ok(())
    }

    /// Counts only those that are still there: the same news may come twice.
    async fn delivered(&self, turn: &mut Turn, fates: &[Fate]) -> Result<(), TurnError> {
        let mut tx = self.node.store.begin();
        for (position, refused) in fates {
            let key = row::outbox(&self.actor, *position);
            let Some(stored) = tx.get_snapshot(&key).await? else { continue };
            turn.work.delivered.push(*position);
            if refused.is_some() {
                let message = large::value(&mut tx, &key, stored).await?;
                turn.work.dead.push((*position, message));
            }
        }
        Ok(())
    }

    /// The head that the running turn began with, or that its last step wrote.
    pub(crate) fn head(&self) -> Head {
        let state = self.state.lock();
        state.loaded.as_ref().expect("a turn runs on a loaded activation").head.clone()
    }

    /// What was answered to this call before. Read together with the fence, so that it is
    /// valid for what runs next.
    async fn recorded(&self, request: &Request, fence: &Fence) -> Result<Option<Dedup>, TurnError> {
        let mut tx = self.node.store.begin();
        let key = row::dedup(&self.actor, request.key);
        let Some(stored) = fence.get(&mut tx, &self.actor, &key).await? else { return Ok(None) };
        let dedup: Dedup = record::decode(&large::value(&mut tx, &key, stored).await?)?;
        let now = self.node.env.wall_ms();
        Ok(Some(dedup).filter(|dedup| dedup.expires_ms.is_none_or(|expires| expires > now)))
    }

    async fn handled(self: &Arc<Self>, mut turn: Turn, result: Result<Bytes, HandlerError>) -> Input {
        let result = match turn.work.problem.take() {
            Some(problem) if result.is_ok() => Err(HandlerError::Turn(problem)),
            Some(_) | None => result,
        };
        let reply = match result {
            Ok(bytes) => Reply::Done(bytes),
            Err(HandlerError::App { code, message, detail }) => {
                turn.work = Work::default();
                Reply::App { code, message, detail }
            }
            // Its answer will never be another one, so it is recorded like the actor's own.
            Err(HandlerError::Turn(error @ TurnError::StepUnknown { .. })) => {
                turn.work = Work::default();
                Reply::App { code: "step.unknown".to_owned(), message: error.to_string(), detail: None }
            }
            Err(HandlerError::Turn(error)) => return self.turn_failed(turn, error),
        };
        let Turn { request, now_ms, work, steps, .. } = turn;
        let Steps { fence, running, .. } = steps.into_inner();
        let recorded = request.may_be_recorded() || (!request.is_own() && !work.is_empty());
        let commits = !work.is_empty() || recorded || running.is_some();
        if !commits && !self.node.single_process {
            match fence.holds(&mut self.node.store.begin(), &self.actor).await {
                Ok(true) => {}
                Ok(false) => return Input::Moved,
                Err(error) => return self.failed(request, fence, error.into()),
            }
        }
        let dedup = (recorded && !kelpie_core::mutant!("dedup_not_recorded")).then(|| Dedup {
            fingerprint: request.fingerprint,
            reply: reply.clone(),
            expires_ms: request.expires_ms(self.node.env.wall_ms(), self.node.env.now()),
        });
        let outcome = reply.outcome();
        self.finish(Finished {
            request,
            outcome,
            work,
            dedup,
            running,
            now_ms,
            fence,
            written: None,
            refused: None,
        })
    }

    /// A handler could not go on. What it had recorded stays, and is resumed or cleared.
    fn turn_failed(&self, turn: Turn, error: TurnError) -> Input {
        let Turn { request, now_ms, steps, .. } = turn;
        let Steps { fence, running, .. } = steps.into_inner();
        match error {
            // The next activation resumes it.
            TurnError::Moved | TurnError::Read(_) | TurnError::NotRecorded { .. } if running.is_some() => {
                self.interrupted(&request)
            }
            TurnError::Call(ref error)
                if running.is_some() && matches!(error.advice(), Advice::NotRun | Advice::Unknown) =>
            {
                self.interrupted(&request)
            }
            TurnError::Moved => Input::Moved,
            error @ (TurnError::Read(_)
            | TurnError::NotRecorded { .. }
            | TurnError::Record(_)
            | TurnError::StepTaken { .. }
            | TurnError::StepDiverged { .. }
            | TurnError::StepUnknown { .. }
            | TurnError::TooLarge { .. }
            | TurnError::Call(_)
            | TurnError::Behaviour(_)) => {
                let outcome = Err(self.refusal(error));
                let work = Work::default();
                self.finish(Finished {
                    running,
                    now_ms,
                    work,
                    ..Finished::without_work(request, outcome, fence)
                })
            }
        }
    }

    /// The activation goes, and with it a turn that has left something in the store.
    fn interrupted(&self, request: &Request) -> Input {
        self.has_begun(request.key);
        Input::Moved
    }

    fn failed(&self, request: Arc<Request>, fence: Fence, error: TurnError) -> Input {
        if matches!(error, TurnError::Moved) {
            return Input::Moved;
        }
        let outcome = Err(self.refusal(error));
        self.finish(Finished::without_work(request, outcome, fence))
    }

    pub(crate) fn refusal(&self, error: TurnError) -> CallError {
        match error {
            TurnError::Moved | TurnError::Read(_) | TurnError::NotRecorded { .. } => {
                CallError::NotRun { reason: describe(&error) }
            }
            // Nothing of this turn was kept; what the other call says holds for this one.
            TurnError::Call(error) if error.advice() == Advice::NotRun => {
                CallError::NotRun { reason: describe(&error) }
            }
            TurnError::Call(error) if error.advice() == Advice::Unknown => CallError::Unknown,
            // Whoever called is told; it is no fault of this process.
            error @ (TurnError::Call(_) | TurnError::Behaviour(_)) => CallError::Handler(Arc::new(error)),
            error @ (TurnError::Record(_)
            | TurnError::StepTaken { .. }
            | TurnError::StepDiverged { .. }
            | TurnError::StepUnknown { .. }
            | TurnError::TooLarge { .. }) => {
                tracing::error!(actor = %self.actor, error = describe(&error), "a handler failed");
                CallError::Handler(Arc::new(error))
            }
        }
    }

    fn finish(&self, finished: Finished) -> Input {
        let commits = finished.dedup.is_some() || finished.running.is_some() || !finished.work.is_empty();
        self.state.lock().finished = Some(finished);
        Input::HandlerFinished { commits }
    }
}

impl Finished {
    /// What a commit that has not landed means: `input`, unless a step was recorded. Such a
    /// turn is under way in the store, so nobody is told that it did not run: the activation
    /// goes, and the next one resumes it.
    pub(crate) fn not_landed(&self, input: Input) -> Input {
        if self.running.is_some() && !kelpie_core::mutant!("refused_after_step") {
            Input::CommitConflicted
        } else {
            input
        }
    }

    /// Makes the turn end with an error and leave nothing.
    pub(crate) fn fail(&mut self, error: CallError) {
        self.outcome = Err(error);
        self.work = Work::default();
        self.dedup = None;
    }

    fn without_work(request: Arc<Request>, outcome: Outcome, fence: Fence) -> Self {
        Self {
            request,
            outcome,
            work: Work::default(),
            dedup: None,
            running: None,
            now_ms: 0,
            fence,
            written: None,
            refused: None,
        }
    }
}

impl Request {
    /// Whether the runtime itself asks: its requests are harmless to repeat.
    fn is_own(&self) -> bool {
        self.caller == Caller::Runtime
    }

    /// Whether an answer may already stand under its key.
    fn may_be_recorded(&self) -> bool {
        !self.fresh && !self.is_own()
    }

    /// When its key counts as new again.
    fn expires_ms(&self, wall_ms: u64, now: Duration) -> Option<u64> {
        let keep = match &self.caller {
            // Another actor says itself when it is done with a key.
            Caller::Actor(_) => return None,
            Caller::Principal { .. } | Caller::Runtime if self.fresh => {
                self.deadline.saturating_sub(now).saturating_add(KEY_MARGIN)
            }
            Caller::Principal { .. } | Caller::Runtime => KEY_RETENTION,
        };
        Some(wall_ms.saturating_add(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Turn {
    /// Whether the turn has been begun too often or for too long.
    fn given_up(&self, now_ms: u64) -> Option<HandlerError> {
        let steps = self.steps.lock();
        let running = steps.running.as_ref()?;
        let why = if running.attempts > TURN_ATTEMPTS_MAX {
            format!("the turn was begun {TURN_ATTEMPTS_MAX} times and never ended")
        } else if running.deadline_ms < now_ms {
            "the turn's deadline passed before it could be resumed".to_owned()
        } else {
            return None;
        };
        Some(HandlerError::app("turn.given_up", why))
    }
}
