//! What was recorded of a run, and the run once more without its model, over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_agent::message::Message;
use kelpie_api::error::ErrorBody;
use kelpie_api::recording::{RecordedStep, ReplayedCall, ReplayedStep, RunRecording, RunReplay};

use crate::error::Answer;
use crate::front::Front;
use crate::path::Path;
use crate::translate;

/// Shows all that was recorded of a run, step by step.
#[utoipa::path(get, path = "/v1/runs/{run_id}/recording", tag = "runs", params(("run_id" = String, Path)),
    responses((status = 200, body = RunRecording), (status = 404, body = ErrorBody)))]
pub(crate) async fn show(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<RunRecording>> {
    let agents = front.agents()?;
    let agent_id = agents.agent_of_run(front.scope(), &id).await?;
    let recording = agents.recording(front.scope(), &agent_id, &id).await?;
    let messages = |messages: Vec<Message>| messages.into_iter().map(translate::message::message).collect();
    let steps = recording.steps.into_iter();
    Ok(Json(RunRecording {
        usage: translate::message::usage(&id, recording.run.usage),
        run: translate::message::run(recording.run),
        heard: messages(recording.heard),
        steps: steps.map(|(step, shown)| RecordedStep { step, messages: messages(shown) }).collect(),
    }))
}

/// Replays a run without its model: the recorded answers go through the agent's settings and the
/// code of now. Changes nothing.
#[utoipa::path(get, path = "/v1/runs/{run_id}/replay", tag = "runs", params(("run_id" = String, Path)),
    responses((status = 200, body = RunReplay), (status = 404, body = ErrorBody)))]
pub(crate) async fn replay(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<RunReplay>> {
    let agents = front.agents()?;
    let agent_id = agents.agent_of_run(front.scope(), &id).await?;
    let replay = agents.replay(front.scope(), &agent_id, &id).await?;
    let same = replay.same();
    let steps = replay.steps.into_iter().map(|step| ReplayedStep {
        step: step.step,
        same: step.same(),
        calls: step
            .calls
            .into_iter()
            .map(|call| ReplayedCall {
                name: call.name,
                recorded: call.recorded.word().to_owned(),
                replayed: call.replayed.word().to_owned(),
                why: call.why,
            })
            .collect(),
        recorded: step.recorded,
        replayed: step.replayed,
    });
    Ok(Json(RunReplay { run_id: replay.run_id, same, steps: steps.collect() }))
}
