//! Compaction: the oldest part of a conversation leaves the prompt and a summary by the model
//! stands in its place. The part itself stays in recall.

use kelpie_core::record;
use kelpie_core::run::{Effect, Input, Owed, StopReason};
use kelpie_memory::recall::Said;
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::perform::{Job, Summarize};
use super::talk::lost;
use super::{Accepted, Summarized, perform};
use crate::actor::rows::Queued;
use crate::outcome::RunFailure;
use crate::prompt::{self, Context};
use crate::provider::Usage;
use crate::query::SendOptions;

/// Bytes of a summary that stand in the prompt: what is longer is cut.
const SUMMARY_BYTES_MAX: usize = 20_000;

impl Desk<'_> {
    /// Begins a run that only makes a summary.
    pub(super) async fn compact(&mut self, conversation: u64) -> Result<Accepted, HandlerError> {
        self.go_to(conversation).await?;
        self.refuse_while_pending()?;
        self.refuse_while_busy()?;
        let options = SendOptions { conversation, ..SendOptions::default() };
        self.take_in(&options, &Queued::default()).await
    }

    /// Leaves the question for the summary as an effect.
    pub(super) async fn summarize(&mut self, step: u32, attempt: u32) -> Result<Vec<Effect>, HandlerError> {
        let number = self.current()?.number;
        let run = self.run(number).await?.ok_or_else(|| lost("run"))?;
        let Context { mut entries, summary } = self.context().await?;
        if self.current()?.summary_to == 0 {
            // On demand: all but the last exchange, or that too when there is nothing else.
            let whole = self.talk.log_next;
            let last = entries.iter().skip(1).rev().find(|(_, entry)| entry.starts_exchange());
            self.current_mut()?.summary_to = last.map_or(whole, |(position, _)| *position);
        }
        let to = self.current()?.summary_to;
        entries.retain(|(position, _)| *position < to);
        if entries.is_empty() {
            // Nothing has been said since the last summary.
            self.failure = None;
            return self.machine_step(Input::Summarized { step, attempt });
        }
        let agent = self.talking_agent();
        if self.over_budget(&agent.model.handle).await? {
            let reason = StopReason::Error;
            return self.machine_step(Input::ModelFailed { step, attempt, reason });
        }
        let request = prompt::summary_request(&agent, summary.as_ref(), &entries);
        let conversation = self.talk.number;
        let price = self.shared.spending.prices.of(&request.model);
        let run_id = run.id.clone();
        let job = Job::Summarize(Summarize { conversation, run_id, step, attempt, request, price });
        self.turn.perform(perform::key(&run.id, Owed::Summary { step, attempt }), record::encode(&job));
        Ok(Vec::new())
    }

    fn pay(&mut self, outcome: &Result<(String, Usage, Option<u64>), String>) {
        if let Ok((_, usage, microdollars)) = outcome {
            self.spend(*usage, *microdollars);
        }
    }

    /// Records the summary. Without one the part leaves the prompt all the same: the run must
    /// go on, and recall still has every word.
    pub(super) async fn summary_made(&mut self, input: Summarized) -> Result<(), HandlerError> {
        let Summarized { conversation, run_id, step, attempt, outcome } = input;
        self.pay(&outcome);
        let owed = Owed::Summary { step, attempt };
        let Some(mut run) = self.awaited(conversation, &run_id, owed).await? else { return Ok(()) };
        let number = self.current()?.number;
        let Context { entries, summary } = self.context().await?;
        let to = self.current()?.summary_to;
        let before = entries.len() + usize::from(summary.is_some());
        let left = entries.iter().filter(|(position, _)| *position >= to).count();
        match outcome {
            Ok((mut text, usage, microdollars)) => {
                text.truncate(text.floor_char_boundary(SUMMARY_BYTES_MAX));
                run.usage.add(usage, microdollars);
                self.save_run(number, &run);
                let position = self.reserve();
                self.write(position, &run_id, step, Said::Summary { text, before, after: left + 1 });
                if !kelpie_core::mutant!("summary_dropped") {
                    self.talk.summary_at = Some(position);
                }
                metrics::counter!("kelpie_agent_compactions_total", "outcome" => "ok").increment(1);
            }
            Err(message) if self.current()?.machine.only_summarizes() => {
                tracing::warn!(actor = %self.turn.actor(), run_id, message, "no summary");
                let code = "model.no_summary".to_owned();
                self.failure = Some(RunFailure { code, message: format!("no summary: {message}") });
                return self
                    .feed(Input::ModelFailed { step, attempt, reason: StopReason::LlmApiError })
                    .await;
            }
            Err(message) => {
                tracing::warn!(actor = %self.turn.actor(), run_id, message, "no summary: the part is left out");
                metrics::counter!("kelpie_agent_compactions_total", "outcome" => "left_out").increment(1);
            }
        }
        self.talk.context_from = to;
        self.feed(Input::Summarized { step, attempt }).await
    }
}
