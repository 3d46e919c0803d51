//! An agent rests: the run tells its end and stands still; when the pause is over, it goes on by
//! itself as another run.

use kelpie_core::run::StopReason;
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::talk::lost;
use crate::outcome::{RunRecord, RunStatus};
use crate::query::SendOptions;

impl Desk<'_> {
    /// Whether the conversation on the desk pauses.
    pub(super) fn pauses(&self) -> bool {
        self.talk.current.as_ref().is_some_and(|current| current.machine.pauses())
    }

    /// Records that the run pauses: for whoever sent the message it has ended.
    pub(super) async fn begin_pause(&mut self, until_ms: u64) -> Result<(), HandlerError> {
        let number = self.current()?.number;
        let run = self.run(number).await?.ok_or_else(|| lost("run"))?;
        let paused = RunRecord {
            status: RunStatus::Completed,
            stop_reason: Some(StopReason::PauseHeartbeats),
            completed_ms: Some(self.turn.now_ms()),
            end: Some(self.talk.log_next),
            paused_until_ms: Some(until_ms),
            ..run
        };
        self.save_run(number, &paused);
        self.announce_end(&paused.id);
        metrics::counter!("kelpie_agent_pauses_total").increment(1);
        Ok(())
    }

    /// The pause is over: the run goes on as another one, which nobody has asked for.
    pub(super) async fn resume(&mut self) -> Result<(), HandlerError> {
        let paused = self.run(self.current()?.number).await?.ok_or_else(|| lost("run"))?;
        let number = self.progress.runs;
        self.progress.runs += 1;
        let RunRecord { max_steps, tool_calls_verbatim, conversation, .. } = paused;
        let options = SendOptions { max_steps, tool_calls_verbatim, conversation, ..SendOptions::default() };
        let run = RunRecord {
            status: RunStatus::Running,
            first: Some(self.talk.log_next),
            continues: Some(paused.id),
            ..self.new_run(number, &options)
        };
        self.save_run(number, &run);
        self.current_mut()?.number = number;
        metrics::counter!("kelpie_agent_runs_total").increment(1);
        Ok(())
    }

    /// Somebody has spoken, or cancelled. What the run has told of its end stays, so that the answer to
    /// its message is the same for ever; only the pause after it was shorter.
    pub(super) fn end_pause(&mut self, number: u64, run: RunRecord) {
        let ended = RunRecord { paused_until_ms: Some(self.turn.now_ms()), ..run };
        self.save_run(number, &ended);
    }
}
