//! Recorded steps: outside work whose result survives a crash of its turn.
//!
//! ```text
//!   step:       work ─▶ record ─▶ go on            a crash before the record runs work again,
//!                                                  with the same key
//!   step_once:  intent ─▶ work ─▶ record ─▶ go on  a crash in between is `unknown`, for ever
//! ```
//!
//! The first record of a turn also writes `running/<actor>`, so that the next activation
//! finishes the turn before it admits anything else.
//!
//! Invariant: a step's transaction holds its own record and never the actor's state, outbox
//! or timers: those leave with the turn's last commit.

use bytes::Bytes;
use kelpie_core::{record, row};
use kelpie_registry::Head;
use kelpie_storage::CommitError;

use crate::actor::{HandlerError, TurnError};
use crate::large;
use crate::load::describe;
use crate::records::Fence;
use crate::stored::{Running, StepRecord};
use crate::turn::Turn;
use crate::wake;

const ATTEMPTS_MAX: u32 = 16;

/// What the store made of a step's record.
enum Recorded {
    Yes,
    Again,
}

impl Turn {
    /// Outside work that is recorded once. `work` gets the key to carry along: the same if
    /// it has to run again, because a crash came before its record. Anything it depends on
    /// belongs into `input`: another input for a recorded step is an error.
    pub async fn step<F>(
        &mut self,
        name: &str,
        input: &[u8],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let input = *blake3::hash(input).as_bytes();
        if let Some(step) = self.take(name, input)?
            && let Some(result) = step.result
        {
            return Ok(result);
        }
        let result = work(self.id.step_key(name)).await?;
        self.record_step(name, StepRecord { input, result: Some(result.clone()) }).await?;
        Ok(result)
    }

    /// Outside work that must not run a second time. Its intent is recorded first; a crash
    /// between intent and result gives [`HandlerError::App`] with the code `step.unknown`,
    /// now and whenever the turn runs again.
    pub async fn step_once<F>(
        &mut self,
        name: &str,
        input: &[u8],
        work: impl FnOnce(String) -> F,
    ) -> Result<Bytes, HandlerError>
    where
        F: Future<Output = Result<Bytes, HandlerError>>,
    {
        let input = *blake3::hash(input).as_bytes();
        if let Some(step) = self.take(name, input)? {
            return step.result.ok_or_else(|| {
                HandlerError::app("step.unknown", format!("whether step `{name}` happened is not known"))
            });
        }
        self.record_step(name, StepRecord { input, result: None }).await?;
        let result = work(self.id.step_key(name)).await?;
        self.record_step(name, StepRecord { input, result: Some(result.clone()) }).await?;
        Ok(result)
    }

    fn take(&mut self, name: &str, input: [u8; 32]) -> Result<Option<StepRecord>, TurnError> {
        if !self.taken.insert(name.to_owned()) {
            return Err(TurnError::StepTaken { step: name.to_owned() });
        }
        match self.recorded.get(name) {
            Some(step) if step.input != input => Err(TurnError::StepDiverged { step: name.to_owned() }),
            step => Ok(step.cloned()),
        }
    }

    /// Notes that a turn which had recorded steps is begun once more.
    pub(crate) async fn begin_again(&mut self) -> Result<(), TurnError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.attempts += 1;
        let running = running.clone();
        self.record(None, running).await
    }

    async fn record_step(&mut self, name: &str, step: StepRecord) -> Result<(), TurnError> {
        let running = match &self.running {
            Some(running) => running.clone(),
            None => self.new_running(),
        };
        self.record(Some((name, &step)), running).await?;
        self.recorded.insert(name.to_owned(), step);
        Ok(())
    }

    fn new_running(&self) -> Running {
        let request = &self.request;
        let remaining = request.deadline.saturating_sub(self.activation.node.env.now());
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        Running {
            operation: request.operation.clone(),
            payload: request.payload.clone(),
            caller: request.caller.clone(),
            key: request.key,
            fingerprint: request.fingerprint,
            now_ms: self.now_ms,
            seed: self.seed,
            deadline_ms: self.activation.node.env.wall_ms().saturating_add(remaining_ms),
            attempts: 1,
            chain: request.chain.clone(),
        }
    }

    /// Commits a step's record, conditional on the fence, and moves the fence.
    async fn record(&mut self, step: Option<(&str, &StepRecord)>, running: Running) -> Result<(), TurnError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.try_record(step, &running).await? {
                Recorded::Yes => {
                    self.running = Some(running);
                    return Ok(());
                }
                Recorded::Again => {}
            }
        }
        Err(TurnError::NotRecorded { reason: "the store kept answering conflict".to_owned() })
    }

    async fn try_record(
        &mut self,
        step: Option<(&str, &StepRecord)>,
        running: &Running,
    ) -> Result<Recorded, TurnError> {
        let activation = self.activation.clone();
        let actor = &activation.actor;
        let head = activation.head();
        let resume_at = activation.node.env.wall_ms().saturating_add(wake::RUNNING_RETRY_MS);
        let due = head.wake_ms.map_or(resume_at, |due| due.min(resume_at));
        let next = Head { seq: head.seq.next(), running: true, wake_ms: Some(due), ..head.clone() };
        let mut tx = activation.node.store.begin();
        if !activation.compare(&mut tx, &self.fence).await? {
            return Err(TurnError::Moved);
        }
        if let Some((name, step)) = step {
            large::put(&mut tx, &row::step(actor, self.id, name), &record::encode(step));
        }
        large::put(&mut tx, &row::running(actor), &record::encode(running));
        if kelpie_core::mutant!("step_commits_state") {
            for (record, value) in
                self.work.writes.iter().filter_map(|(record, value)| Some((record, value.as_ref()?)))
            {
                large::put(&mut tx, &row::state(actor, record), value);
            }
        }
        activation.move_wake(&mut tx, head.wake_ms, next.wake_ms);
        tx.set(row::head(actor), record::encode(&next));
        match tx.commit().await {
            Ok(_) => {
                self.fence.head = record::encode(&next);
                activation.moved_to(&self.fence, None, next);
                Ok(Recorded::Yes)
            }
            Err(CommitError::Conflict | CommitError::TooOld) => Ok(Recorded::Again),
            Err(CommitError::Unknown(_)) => self.settle_record(&head, next).await,
            Err(error @ (CommitError::Unavailable(_) | CommitError::Limit(_))) => {
                Err(TurnError::NotRecorded { reason: describe(&error) })
            }
        }
    }

    async fn settle_record(&mut self, before: &Head, written: Head) -> Result<Recorded, TurnError> {
        let own = record::decode(&self.fence.own)?;
        let Some((own, head)) = self.activation.settled(&own).await else { return Err(TurnError::Moved) };
        let landed = head == written;
        if !landed && head != *before {
            return Err(TurnError::Moved);
        }
        self.fence = Fence { own: record::encode(&own), head: record::encode(&head) };
        self.activation.moved_to(&self.fence, Some(own), head);
        Ok(if landed { Recorded::Yes } else { Recorded::Again })
    }
}

impl crate::activation::Activation {
    /// The running turn has moved the fence itself; the actor's state is as it was.
    fn moved_to(&self, fence: &Fence, own: Option<kelpie_core::ownership::Own>, head: Head) {
        let wake_ms = head.wake_ms;
        let mut state = self.state.lock();
        if let Some(loaded) = &mut state.loaded {
            loaded.fence = fence.clone();
            loaded.head = head;
            if let Some(own) = own {
                loaded.own = own;
            }
        }
        drop(state);
        if let Some(due_ms) = wake_ms {
            self.node.waker.expect(&self.actor, due_ms);
        }
    }
}
