//! Effects at work: asking models and calling tools, outside of any turn, after the commit
//! that owes them.
//!
//! Invariant: nothing that an answer asks for is done before the answer is recorded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::limits::PAYLOAD_BYTES_MAX;
use kelpie_core::record;
use kelpie_core::run::Owed;
use kelpie_runtime::{EffectContext, PendingEffect};
use serde::{Deserialize, Serialize};

use super::{Answered, NotAnswered, Returned, Shared, Summarized, operation};
use crate::pieces::Pieces;
use crate::price::Price;
use crate::provider::{ModelAnswer, ModelError, ModelRequest};
use crate::tool::runner::Invocation;

/// Room for the envelope around an answer.
const ENVELOPE_BYTES: usize = 4_096;

/// What a committed turn owes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Job {
    /// Ask a model.
    Ask(Ask),
    /// Call a tool.
    Invoke(Invoke),
    /// Ask a model for a summary.
    Summarize(Summarize),
    /// Tell those who wait that a run has ended.
    Ended {
        /// Which.
        run_id: String,
    },
}

/// A question to a model.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    #[serde(default)]
    pub(super) conversation: u64,
    pub(super) run_id: String,
    pub(super) step: u32,
    pub(super) attempt: u32,
    /// Where the answer will stand: gives its pieces their ids.
    pub(super) answer_at: u64,
    /// Tools whose calls wait for somebody: they are shown whole, once they are recorded.
    #[serde(default)]
    pub(super) asks: BTreeSet<String>,
    pub(super) request: ModelRequest,
    /// What the model's tokens cost, as it was when the question was allowed.
    #[serde(default)]
    pub(super) price: Option<Price>,
}

/// A question for a summary.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Summarize {
    pub(super) conversation: u64,
    pub(super) run_id: String,
    pub(super) step: u32,
    pub(super) attempt: u32,
    pub(super) request: ModelRequest,
    #[serde(default)]
    pub(super) price: Option<Price>,
}

/// A call of a tool.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Invoke {
    #[serde(default)]
    pub(super) conversation: u64,
    pub(super) step: u32,
    pub(super) call: usize,
    pub(super) attempt: u32,
    pub(super) invocation: Invocation,
}

/// The name of an effect, and the key of its result.
pub(super) fn key(run_id: &str, owed: Owed) -> String {
    match owed {
        Owed::Answer { step, attempt } => format!("answer/{run_id}/{step}/{attempt}"),
        Owed::Result { step, call, attempt } => format!("result/{run_id}/{step}/{call}/{attempt}"),
        Owed::Summary { step, attempt } => format!("summary/{run_id}/{step}/{attempt}"),
    }
}

/// Carries out one effect and brings its result back.
pub(super) async fn perform(shared: Arc<Shared>, context: EffectContext, effect: PendingEffect) {
    let job: Job = match record::decode(&effect.payload) {
        Ok(job) => job,
        Err(error) => {
            tracing::error!(actor = %context.actor(), %error, "an effect that cannot be read is left to the wake-up");
            return;
        }
    };
    match job {
        Job::Ask(ask) => perform_ask(&shared, &context, ask).await,
        Job::Invoke(invoke) => perform_invoke(&shared, &context, invoke).await,
        Job::Summarize(summarize) => perform_summarize(&shared, &context, summarize).await,
        Job::Ended { run_id } => shared.hub.ended(&(context.actor().clone(), run_id)),
    }
}

async fn perform_ask(shared: &Shared, context: &EffectContext, ask: Ask) {
    let Ask { conversation, run_id, step, attempt, answer_at, asks, request, price } = ask;
    let started = context.env().now();
    let run = (context.actor().clone(), run_id.clone());
    let mut pieces = Pieces::new(shared.hub.channel(&run), answer_at, asks);
    let outcome = shared.models.complete(&request, &mut |delta| pieces.take(delta)).await;
    drop(pieces);
    let outcome = outcome.and_then(storable);
    model_metrics(&request.model, outcome.as_ref().err(), context.env().now().saturating_sub(started));
    let name = key(&run_id, Owed::Answer { step, attempt });
    if kelpie_core::mutant!("run_effect_before_record")
        && let Ok(answer) = &outcome
    {
        tools_before_record(shared, context, answer, &run_id, step).await;
    }
    match outcome {
        Ok(answer) => {
            let microdollars = price.map(|price| price.of(answer.usage));
            let input = Answered { conversation, run_id, step, attempt, answer, microdollars };
            call_back(context, operation::MODEL_ANSWERED, record::encode(&input), &name).await;
        }
        Err(error) => {
            tracing::warn!(actor = %context.actor(), run_id, %error, "the model gave no answer");
            let (code, message) = (error.code().to_owned(), error.to_string());
            let input = NotAnswered { conversation, run_id, step, attempt, code, message };
            call_back(context, operation::MODEL_FAILED, record::encode(&input), &name).await;
        }
    }
    shared.hub.committed(&run);
}

async fn perform_summarize(shared: &Shared, context: &EffectContext, summarize: Summarize) {
    let Summarize { conversation, run_id, step, attempt, request, price } = summarize;
    let started = context.env().now();
    let outcome = shared.models.complete(&request, &mut |_| ()).await.and_then(storable);
    model_metrics(&request.model, outcome.as_ref().err(), context.env().now().saturating_sub(started));
    let outcome = match outcome {
        Ok(answer) => match answer.text.filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok((text, answer.usage, price.map(|price| price.of(answer.usage)))),
            None => Err("the model answered without a text".to_owned()),
        },
        Err(error) => Err(error.to_string()),
    };
    let name = key(&run_id, Owed::Summary { step, attempt });
    let run = (context.actor().clone(), run_id.clone());
    let input = Summarized { conversation, run_id, step, attempt, outcome };
    call_back(context, operation::SUMMARY_MADE, record::encode(&input), &name).await;
    shared.hub.committed(&run);
}

/// An answer that is too long to be recorded is none.
fn storable(answer: ModelAnswer) -> Result<ModelAnswer, ModelError> {
    let bytes = record::encode(&answer).len();
    if bytes + ENVELOPE_BYTES <= PAYLOAD_BYTES_MAX {
        return Ok(answer);
    }
    Err(ModelError::Malformed { message: format!("the answer has {bytes} bytes, more than can be kept") })
}

fn model_metrics(model: &str, error: Option<&ModelError>, took: Duration) {
    let outcome = error.map_or("ok", ModelError::code);
    metrics::counter!("kelpie_agent_model_calls_total", "model" => model.to_owned(), "outcome" => outcome)
        .increment(1);
    metrics::histogram!("kelpie_agent_model_seconds", "model" => model.to_owned()).record(took.as_secs_f64());
    if let Some(ModelError::Exhausted { attempts, .. }) = error {
        let retries = u64::from(attempts.saturating_sub(1));
        metrics::counter!("kelpie_agent_model_retries_total", "model" => model.to_owned()).increment(retries);
    }
}

async fn perform_invoke(shared: &Shared, context: &EffectContext, invoke: Invoke) {
    let Invoke { conversation, step, call, attempt, invocation } = invoke;
    let started = context.env().now();
    let (run_id, tool) = (invocation.run_id.clone(), invocation.tool.clone());
    if attempt > 1 {
        metrics::counter!("kelpie_agent_tool_retries_total", "tool" => tool.clone()).increment(1);
    }
    let outcome = shared.runner.run(invocation).await;
    let took = context.env().now().saturating_sub(started);
    let word = if outcome.ok { "ok" } else { "failed" };
    metrics::counter!("kelpie_agent_tool_calls_total", "kind" => "outside", "outcome" => word).increment(1);
    metrics::histogram!("kelpie_agent_tool_seconds", "tool" => tool).record(took.as_secs_f64());
    let name = key(&run_id, Owed::Result { step, call, attempt });
    let input = Returned { conversation, run_id: run_id.clone(), step, call, attempt, outcome };
    call_back(context, operation::TOOL_RETURNED, record::encode(&input), &name).await;
    shared.hub.committed(&(context.actor().clone(), run_id));
}

/// Brings a result back. One that the agent does not take is lost: the wake-up asks again.
async fn call_back(context: &EffectContext, operation: &str, payload: bytes::Bytes, key: &str) {
    if let Err(error) = context.call_back(operation, payload, key).await {
        tracing::warn!(actor = %context.actor(), operation, key, %error, "the agent did not take a result");
    }
}

/// The seeded bug: the answer's tools are called, then the answer is recorded.
async fn tools_before_record(
    shared: &Shared,
    context: &EffectContext,
    answer: &ModelAnswer,
    run_id: &str,
    step: u32,
) {
    let agent_id = context.actor().key();
    for (call, made) in
        answer.tool_calls.iter().enumerate().filter(|(_, made)| shared.outside.contains_key(&made.name))
    {
        let invocation = Invocation {
            tool: made.name.clone(),
            arguments: made.arguments.clone(),
            agent_id: agent_id.to_owned(),
            run_id: run_id.to_owned(),
            call_id: made.id.clone(),
            idempotency_key: format!("{agent_id}/{run_id}/{step}/{call}"),
        };
        shared.runner.run(invocation).await;
    }
}
