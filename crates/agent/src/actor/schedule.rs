//! Schedules of an agent: a reminder of the runtime's for each, and a row with what is to be said.
//!
//! A time that comes is a turn of its own, which takes the messages in as if somebody had sent them
//! and notes when the next time is: one commit, so that each time is heard once, also after
//! crashes. Times that passed while nobody ran count as one.

use std::time::Duration;

use bytes::Bytes;
use kelpie_core::record::{self, RecordError};
use kelpie_core::reminder::Schedule;
use kelpie_runtime::{HandlerError, RecordRange, TurnError, View};

use super::desk::Desk;
use super::rows::{self, Queued};
use super::talk::RUNS_WAITING_MAX;
use super::{code, invalid, operation};
use crate::date;
use crate::query::SendOptions;
use crate::schedule::{BadSchedule, NewSchedule, SCHEDULES_MAX, ScheduledMessage, When};

/// What the keys of all schedules begin with.
pub(crate) const SCHEDULED: &[u8] = b"scheduled/";
/// When a message that comes once tries again to find room among those that wait.
const AGAIN: Duration = Duration::from_mins(1);

/// Why nothing is scheduled.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetError {
    /// It can't be.
    #[error(transparent)]
    Bad(#[from] BadSchedule),
    /// The turn failed.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<SetError> for HandlerError {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Turn(error) => error.into(),
            SetError::Bad(error) => invalid(error.field(), error.to_string()),
        }
    }
}

fn row(id: &str) -> Vec<u8> {
    [SCHEDULED, id.as_bytes()].concat()
}

/// The name of a schedule's reminder.
fn reminder(id: &str) -> String {
    format!("scheduled {id}")
}

fn laid_out(rows: &[(Bytes, Bytes)]) -> Result<Vec<ScheduledMessage>, TurnError> {
    let all: Result<Vec<ScheduledMessage>, RecordError> =
        rows.iter().map(|(_, row)| record::decode(row)).collect();
    let mut all = all?;
    all.sort_by_key(|kept| (kept.next_ms, kept.created_ms));
    Ok(all)
}

/// What is scheduled, as committed, what comes next first.
pub(crate) async fn viewed(view: &View) -> Result<Vec<ScheduledMessage>, TurnError> {
    laid_out(&view.range(RecordRange::prefix(SCHEDULED)).await?)
}

impl Desk<'_> {
    /// What is scheduled, what comes next first.
    pub(super) async fn scheduled(&self) -> Result<Vec<ScheduledMessage>, TurnError> {
        laid_out(&self.turn.range(RecordRange::prefix(SCHEDULED)).await?)
    }

    /// Schedules messages.
    pub(super) async fn schedule(&mut self, what: NewSchedule) -> Result<ScheduledMessage, SetError> {
        let now_ms = self.turn.now_ms();
        let schedule = what.checked(now_ms)?;
        if self.scheduled().await?.len() >= SCHEDULES_MAX {
            return Err(BadSchedule::TooMany.into());
        }
        self.progress.schedules += 1;
        let id = format!("schedule-{}", self.progress.schedules);
        let next_ms = self.remind(&id, schedule).await?;
        let kept = ScheduledMessage { id, what, created_ms: now_ms, next_ms, last_run: None };
        self.turn.set(row(&kept.id), record::encode(&kept));
        Ok(kept)
    }

    async fn remind(&mut self, id: &str, schedule: Schedule) -> Result<u64, TurnError> {
        self.turn.remind(&reminder(id), schedule, operation::SCHEDULED, id.to_owned()).await
    }

    /// Takes a schedule back; says whether there was one.
    pub(super) async fn unscheduled(&mut self, id: &str) -> Result<bool, TurnError> {
        let there = self.turn.get(&row(id)).await?.is_some();
        if there {
            self.turn.cancel_reminder(&reminder(id)).await?;
            self.turn.clear(row(id));
        }
        Ok(there)
    }

    /// Takes back a schedule that has to be there.
    pub(super) async fn cancel_schedule(&mut self, id: &str) -> Result<(), HandlerError> {
        if self.unscheduled(id).await? {
            return Ok(());
        }
        Err(HandlerError::app(code::NO_SCHEDULE, "Scheduled message not found"))
    }

    /// Takes back all of them: a reminder outlives the rows of its actor.
    pub(super) async fn unschedule_all(&mut self) -> Result<(), TurnError> {
        for kept in self.scheduled().await? {
            self.unscheduled(&kept.id).await?;
        }
        Ok(())
    }

    /// A time has come: the messages are said.
    pub(super) async fn say_scheduled(&mut self, id: &str) -> Result<(), HandlerError> {
        if self.turn.firing().is_none() {
            return Err(invalid("operation", "only a schedule says what it has"));
        }
        let Some(mut kept) = rows::decoded::<ScheduledMessage>(self.turn.get(&row(id)).await?)? else {
            return Ok(());
        };
        if self.conversation(kept.what.conversation).await?.is_none() {
            // It was deleted, and with it whatever was to be said there.
            self.unscheduled(id).await?;
            return Ok(());
        }
        self.go_to(kept.what.conversation).await?;
        // A conversation that stands still, for an approval maybe, must not fill with the same words.
        let waits = kept.last_run.is_some_and(|run| self.talk.waiting.contains(&run));
        let full = self.talk.waiting.len() >= RUNS_WAITING_MAX;
        if waits || full {
            metrics::counter!("kelpie_scheduled_messages_skipped_total").increment(1);
            tracing::warn!(agent = self.agent.id, schedule = id, "a scheduled message finds others waiting");
            let lost = kelpie_core::mutant!("scheduled_lost_behind_others");
            if matches!(kept.what.when, When::Once { .. }) && !lost {
                self.remind(id, Schedule::After(AGAIN)).await?;
            }
        } else {
            kept.last_run = Some(self.progress.runs);
            let NewSchedule { messages, max_steps, conversation, .. } = kept.what.clone();
            let options = SendOptions { max_steps, conversation, ..SendOptions::default() };
            let queued = Queued { messages, ..Queued::default() };
            self.take_in(&options, &queued).await?;
            metrics::counter!("kelpie_scheduled_messages_total").increment(1);
        }
        match self.turn.reminder(&reminder(id)).await? {
            Some(next) => {
                let kept = ScheduledMessage { next_ms: next.due_ms, ..kept };
                self.turn.set(row(id), record::encode(&kept));
            }
            None if kelpie_core::mutant!("schedule_stays_when_it_has_come") => {}
            None => self.turn.clear(row(id)),
        }
        Ok(())
    }
}

/// A schedule as a model reads it.
pub(super) fn line(kept: &ScheduledMessage) -> String {
    let texts: Vec<&str> = kept.what.messages.iter().map(|message| message.text.as_str()).collect();
    format!("{}: {}, {}", kept.id, next(kept), texts.join(" "))
}

/// When a schedule comes, as a model reads it.
pub(super) fn next(kept: &ScheduledMessage) -> String {
    let next = date::iso8601(kept.next_ms);
    match &kept.what.when {
        When::Once { .. } => format!("once at {next}"),
        When::Recurring { cron } => format!("by `{cron}`, next at {next}"),
    }
}
