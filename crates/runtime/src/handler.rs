//! Running a handler on a copy of its actor's state, and judging how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::advice::Advice;
use kelpie_core::call::{Caller, OutboxPosition};
use kelpie_core::turn::{CallNo, Input};
use kelpie_core::{record, row};
use kelpie_env::panic::words;
use kelpie_registry::Head;
use tracing::{Instrument, Span};

use crate::activation::{Activation, Task};
use crate::actor::{HandlerError, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::control::CANCELLED;
use crate::fence::Fence;
use crate::large;
use crate::load::describe;
use crate::outbox::Fate;
use crate::step::Steps;
use crate::stored::{DeadRecord, Dedup, Reply, Running};
use crate::turn::{Turn, Work};
use crate::view::View;

/// A handler's end, on its way through the commit.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) request: Arc<Request>,
    pub(crate) outcome: Outcome,
    pub(crate) work: Work,
    pub(crate) dedup: Option<Dedup>,
    /// The low-water mark of the message's sender, if it grows.
    pub(crate) raised: Option<OutboxPosition>,
    pub(crate) running: Option<Running>,
    /// Another actor may have done something for it.
    pub(crate) called: bool,
    pub(crate) now_ms: u64,
    /// The fence that the commit compares: the turn's own steps have moved it.
    pub(crate) fence: Fence,
    /// What the commit wrote, once it has been sent.
    pub(crate) written: Option<Head>,
    /// Why the store did not take it.
    pub(crate) refused: Option<CallError>,
}

/// What the store knows of a call before its turn.
enum Recorded {
    /// It has not run.
    Nothing {
        /// The low-water mark of its sender, if it grows with it.
        raised: Option<OutboxPosition>,
    },
    /// A message that was delivered.
    Message,
    /// A call that was answered.
    Reply(Dedup),
}

/// What ties the turn's lines in the log to the request that it belongs to, if it does.
fn span_of(request: &Request) -> Span {
    let Some(trace) = request.turn_trace() else { return Span::none() };
    let (actor, operation) = (&request.actor, &request.operation);
    tracing::info_span!("turn", %actor, operation, trace = trace.trace(), span = trace.span())
}

impl Activation {
    /// Runs a call's handler; what it leaves waits in `finished`.
    pub(crate) async fn run(self: &Arc<Self>, call: CallNo) -> Input {
        let (request, task) = self.slot(call);
        let (fence, resumed, recovering) = {
            let mut state = self.state.lock();
            let resumed = state.busy().resumed.take_if(|resumed| resumed.0.key == request.key);
            let loaded = state.loaded.as_mut().expect("a turn runs on a loaded activation");
            let recovering = loaded.recovering && task == Task::Wake;
            loaded.recovering &= task != Task::Wake;
            (loaded.fence(), resumed.map(|resumed| *resumed), recovering)
        };
        let asks = request.may_be_recorded() && !kelpie_core::mutant!("dedup_not_looked_up");
        let mut raised = None;
        if resumed.is_none() && asks {
            match self.recorded(&request, &fence).await {
                Ok(Recorded::Nothing { raised: low }) => raised = low,
                Ok(Recorded::Message) => {
                    metrics::counter!("kelpie_dedup_hits_total").increment(1);
                    return self.finish(Finished::without_work(request, Ok(Bytes::new()), fence));
                }
                Ok(Recorded::Reply(dedup)) => {
                    let same = dedup.fingerprint == request.fingerprint;
                    let outcome = if same { dedup.reply.outcome() } else { Err(CallError::KeyReused) };
                    metrics::counter!("kelpie_dedup_hits_total").increment(1);
                    return self.finish(Finished::without_work(request, outcome, fence));
                }
                Err(error) => return self.failed(request, fence, error),
            }
        }
        let mut turn = Turn::new(self.clone(), request.clone(), task.origin(), fence, resumed);
        turn.raised = raised;
        match self.begin(&mut turn, &task).await {
            Ok(None) => {}
            Ok(Some(ended)) => return self.handled(turn, ended).await,
            Err(error) => return self.turn_failed(turn, error).await,
        }
        let span = span_of(&request);
        let handled = AssertUnwindSafe(self.handle(&mut turn, &task, recovering)).catch_unwind();
        match handled.instrument(span).await {
            Ok(result) => self.handled(turn, result).await,
            Err(panic) => {
                let said = words(&*panic).to_owned();
                self.panicked(turn, &said).await
            }
        }
    }

    async fn panicked(&self, mut turn: Turn, said: &str) -> Input {
        let request = turn.request.clone();
        let handler = match request.operation.as_str() {
            "" => "its wake".to_owned(),
            operation => format!("its handler `{operation}`"),
        };
        self.went_wrong_with(format!("{handler} panicked: {said}"));
        metrics::counter!("kelpie_turn_panics_total", "type" => self.actor.actor_type().to_owned())
            .increment(1);
        tracing::error!(actor = %self.actor, operation = request.operation, "a handler panicked");
        if kelpie_core::mutant!("panic_poisons_neighbours") {
            self.node.drain(Duration::ZERO).await;
        }
        // What it had recorded is resumed, a bounded number of times.
        if turn.wait_to_resume().await { self.interrupted(&request) } else { Input::Panicked }
    }

    /// What stands before the handler. A result: the handler does not run.
    async fn begin(
        &self,
        turn: &mut Turn,
        task: &Task,
    ) -> Result<Option<Result<Bytes, HandlerError>>, TurnError> {
        turn.begin_again().await?;
        if let Task::Remind(firing) | Task::Skip(firing) = task {
            let skips = matches!(task, Task::Skip(_));
            let stands = turn.begin_firing(firing, skips).await?;
            if skips || !stands {
                return Ok(Some(Ok(Bytes::new())));
            }
        }
        Ok(turn.given_up(self.node.env.wall_ms()).map(Err))
    }

    async fn handle(&self, turn: &mut Turn, task: &Task, recovering: bool) -> Result<Bytes, HandlerError> {
        match task {
            Task::Handle | Task::Remind(_) if self.behaviour().is_read(&turn.request.operation) => {
                let view = View::of_activation(turn.activation.clone(), turn.fence());
                let request = turn.request.clone();
                self.behaviour().read(&view, &request.operation, &request.payload).await
            }
            Task::Handle | Task::Remind(_) => {
                let request = turn.request.clone();
                self.behaviour().handle(turn, &request.operation, &request.payload).await
            }
            Task::Wake => {
                self.wake(turn, recovering).await?;
                Ok(Bytes::new())
            }
            Task::Delivered(fates) => {
                self.delivered(turn, fates).await?;
                Ok(Bytes::new())
            }
            Task::Skip(_) => Ok(Bytes::new()),
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
            self.behaviour().wake(turn).await?;
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
            if let Some(reason) = refused {
                let message = record::decode(&large::value(&mut tx, &key, stored).await?)?;
                let dead = DeadRecord { message, reason: reason.clone(), at_ms: turn.now_ms };
                turn.work.dead.push((*position, record::encode(&dead)));
            }
        }
        Ok(())
    }

    /// The head that the running turn began with, or that its last step wrote.
    pub(crate) fn head(&self) -> Head {
        let state = self.state.lock();
        state.loaded.as_ref().expect("a turn runs on a loaded activation").head.get()
    }

    /// What was answered to this call before. Read together with the fence, so that it is
    /// valid for what runs next.
    async fn recorded(&self, request: &Request, fence: &Fence) -> Result<Recorded, TurnError> {
        let mut tx = self.node.store.begin();
        let key = request.reply_row();
        let now = self.node.env.wall_ms();
        let stands = |dedup: &Dedup| dedup.expires_ms.is_none_or(|expires| expires > now);
        if let Some((sender, mark)) = request.sender() {
            let low = row::low(&self.actor, sender);
            let [stored, low] = fence.get_each(&mut tx, &self.actor, [&key, &low]).await?;
            let stored: Option<Dedup> = stored.map(|stored| record::decode(&stored)).transpose()?;
            let low: Option<OutboxPosition> = low.map(|low| record::decode(&low)).transpose()?;
            return Ok(match mark.is_done(low, stored.is_some_and(|dedup| stands(&dedup))) {
                true => Recorded::Message,
                false => Recorded::Nothing { raised: mark.raised(low) },
            });
        }
        let nothing = Recorded::Nothing { raised: None };
        let Some(stored) = fence.get(&mut tx, &self.actor, &key).await? else { return Ok(nothing) };
        let dedup: Dedup = record::decode(&large::value(&mut tx, &key, stored).await?)?;
        Ok(if stands(&dedup) { Recorded::Reply(dedup) } else { nothing })
    }

    async fn handled(self: &Arc<Self>, mut turn: Turn, result: Result<Bytes, HandlerError>) -> Input {
        let result = match turn.work.problem.take() {
            Some(problem) if result.is_ok() => Err(HandlerError::Turn(problem)),
            Some(_) | None => result,
        };
        let reply = match result {
            Ok(bytes) => Reply::Done(bytes),
            Err(HandlerError::App { code, message, detail }) => {
                turn.roll_back();
                Reply::App { code, message, detail }
            }
            Err(HandlerError::NotNow { code, message }) => {
                turn.roll_back();
                return self.replied(turn, Reply::App { code, message, detail: None }, false).await;
            }
            // Its answer will never be another one, so it is recorded like the actor's own.
            Err(HandlerError::Turn(error @ TurnError::StepUnknown { .. })) => {
                turn.roll_back();
                Reply::App { code: "step.unknown".to_owned(), message: error.to_string(), detail: None }
            }
            Err(HandlerError::Turn(error @ TurnError::Cancelled)) => {
                turn.roll_back();
                Reply::App { code: CANCELLED.to_owned(), message: error.to_string(), detail: None }
            }
            Err(HandlerError::Turn(error)) => return self.turn_failed(turn, error).await,
        };
        self.replied(turn, reply, true).await
    }

    /// The turn has a reply; whether it is the one that the call's key stands for from now on.
    async fn replied(self: &Arc<Self>, turn: Turn, reply: Reply, keeps: bool) -> Input {
        let Turn { request, now_ms, work, steps, raised, called, .. } = turn;
        let (called, Steps { fence, running, .. }) = (called.into_inner(), steps.into_inner());
        // A message counts as delivered, whatever came of it.
        let recorded = (keeps || request.mark.is_some())
            && (request.may_be_recorded() || (!request.is_own() && !work.is_empty()));
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
            // Nobody is told what came of a message, only that it was delivered.
            reply: if request.mark.is_some() { Reply::Done(Bytes::new()) } else { reply.clone() },
            expires_ms: request.expires_ms(self.node.env.wall_ms(), self.node.env.now()),
        });
        let outcome = reply.outcome();
        let finished = Finished {
            work,
            dedup,
            raised,
            running,
            called,
            now_ms,
            ..Finished::without_work(request, outcome, fence)
        };
        self.finish_with_reminders(finished).await
    }

    /// A handler could not go on. What it had recorded stays, and is resumed or cleared.
    async fn turn_failed(self: &Arc<Self>, mut turn: Turn, error: TurnError) -> Input {
        turn.roll_back();
        let passes = match error {
            TurnError::Moved if turn.has_begun() => return self.interrupted(&turn.request),
            TurnError::Moved => return Input::Moved,
            TurnError::IndexMoved | TurnError::Read(_) | TurnError::NotRecorded { .. } => true,
            TurnError::Call(ref error) => matches!(error.advice(), Advice::NotRun | Advice::Unknown),
            TurnError::Record(_)
            | TurnError::StepTaken { .. }
            | TurnError::StepDiverged { .. }
            | TurnError::StepUnknown { .. }
            | TurnError::Schedule(_)
            | TurnError::Cancelled
            | TurnError::TooLarge { .. }
            | TurnError::Remote { .. }
            | TurnError::Behaviour(_) => false,
        };
        if passes {
            self.went_wrong(&error);
            // The next activation resumes it.
            if turn.wait_to_resume().await {
                return self.interrupted(&turn.request);
            }
            let fence = turn.fence();
            if turn.has_begun() {
                // What this turn did is gone; what others did for it is not, and its key finds it.
                return self.finish(Finished::without_work(turn.request, Err(CallError::Unknown), fence));
            }
            return self.failed(turn.request, fence, error);
        }
        if turn.steps.get_mut().running.is_some() {
            // Running it again from nothing would run its steps again.
            tracing::error!(actor = %self.actor, error = describe(&error), "a turn with steps failed");
            let reply =
                Reply::App { code: "turn.failed".to_owned(), message: describe(&error), detail: None };
            return self.replied(turn, reply, true).await;
        }
        let (fence, outcome) = (turn.fence(), Err(self.refusal(error)));
        let Turn { request, now_ms, work, .. } = turn;
        self.finish_with_reminders(Finished {
            work,
            now_ms,
            ..Finished::without_work(request, outcome, fence)
        })
        .await
    }

    /// Looks up what the head has to say of reminders.
    async fn finish_with_reminders(&self, mut finished: Finished) -> Input {
        let Finished { work, fence, .. } = &mut finished;
        match work.reminders.find_earliest(&self.node.store, &self.actor, fence).await {
            Ok(()) => self.finish(finished),
            Err(error) if finished.running.is_some() => {
                self.went_wrong(&error);
                self.interrupted(&finished.request)
            }
            Err(error) => self.failed(finished.request, finished.fence, error),
        }
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
            TurnError::Moved | TurnError::IndexMoved | TurnError::Read(_) | TurnError::NotRecorded { .. } => {
                CallError::NotRun { reason: describe(&error) }
            }
            // Its caller gives way as well, and is told so.
            TurnError::Call(error) if matches!(*error, CallError::Deadlock { .. }) => *error,
            // Nothing of this turn was kept; what the other call says holds for this one.
            TurnError::Call(error) if error.advice() == Advice::NotRun => {
                CallError::NotRun { reason: describe(&error) }
            }
            TurnError::Call(error) if error.advice() == Advice::Unknown => CallError::Unknown,
            // Whoever called is told; it is no fault of this process.
            error @ (TurnError::Call(_) | TurnError::Remote { .. } | TurnError::Behaviour(_)) => {
                CallError::Handler(Arc::new(error))
            }
            error @ (TurnError::Record(_)
            | TurnError::StepTaken { .. }
            | TurnError::StepDiverged { .. }
            | TurnError::StepUnknown { .. }
            | TurnError::Schedule(_)
            | TurnError::Cancelled
            | TurnError::TooLarge { .. }) => {
                tracing::error!(actor = %self.actor, error = describe(&error), "a handler failed");
                CallError::Handler(Arc::new(error))
            }
        }
    }

    fn finish(&self, finished: Finished) -> Input {
        let commits = finished.dedup.is_some() || finished.running.is_some() || !finished.work.is_empty();
        match &finished.outcome {
            // Why it is unknown has been noted.
            Ok(_) | Err(CallError::Unknown) => {}
            Err(error) => self.went_wrong(error),
        }
        self.state.lock().busy().finished = Some(Box::new(finished));
        Input::HandlerFinished { commits }
    }
}

impl Finished {
    /// What a commit that has not landed means: `input`, unless a step was recorded, or another
    /// actor has done something for it. Nobody is told that such a turn did not run: the activation
    /// goes, and the next one resumes it, or begins it again under the keys of its calls.
    pub(crate) fn not_landed(&self, input: Input) -> Input {
        // What is too large today is so tomorrow.
        let passes = self.refused.as_ref().is_none_or(|error| error.advice() == Advice::NotRun);
        let under_way = self.running.is_some() && !kelpie_core::mutant!("refused_after_step");
        if under_way || (self.called && passes) { Input::CommitConflicted } else { input }
    }

    /// Whether something outside of the actor's state may have come of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.running.is_some() || self.called
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
            raised: None,
            running: None,
            called: false,
            now_ms: 0,
            fence,
            written: None,
            refused: None,
        }
    }
}

impl Request {
    /// Whether the runtime itself asks: its requests are harmless to repeat.
    pub(crate) fn is_own(&self) -> bool {
        self.caller == Caller::Runtime
    }

    /// Whether an answer may already stand under its key.
    fn may_be_recorded(&self) -> bool {
        !self.fresh && !self.is_own()
    }

    /// When its key counts as new again. Never, for a message: its sender says when it is done.
    fn expires_ms(&self, wall_ms: u64, now: Duration) -> Option<u64> {
        let keep = match self.mark {
            Some(_) if kelpie_core::mutant!("low_water_by_time") => Duration::from_secs(1),
            Some(_) => return None,
            None => self.keep.lasts(self.deadline.saturating_sub(now)),
        };
        Some(wall_ms.saturating_add(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)))
    }
}
