//! Runs over HTTP: where one stands, and watching it once more.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use futures::StreamExt;
use kelpie_agent::query::WatchOptions;
use kelpie_api::error::ErrorBody;
use kelpie_api::request::ResumeStream;
use kelpie_api::run::Run;

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::guard::Admission;
use crate::messages::Filter;
use crate::path::Path;
use crate::query::Parameters;
use crate::stream::{self, Wanted};
use crate::translate;

/// Shows a run.
#[utoipa::path(get, path = "/v1/runs/{run_id}", tag = "runs", params(("run_id" = String, Path), ("agent_id" = Option<String>, Query)),
    responses((status = 200, body = Run), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Run>> {
    let agent_id = agent_of(&front, &id, &parameters, None).await?;
    let run = front.agents()?.run(front.scope(), &agent_id, &id).await?;
    Ok(Json(translate::message::run(run)))
}

/// Streams a run from a place on, whether it goes on or has ended.
#[utoipa::path(post, path = "/v1/runs/{run_id}/stream", tag = "runs", request_body = ResumeStream,
    params(("run_id" = String, Path), ("agent_id" = Option<String>, Query)),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = ErrorBody)))]
pub(crate) async fn stream(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    request: Request,
) -> Answer<Response> {
    let admission = request.extensions().get::<Admission>().cloned();
    let JsonBody(wire) = JsonBody::<ResumeStream>::from_request(request, &front).await?;
    let options = WatchOptions { pieces: true, after: wire.starting_after };
    let agent_id = agent_of(&front, &id, &parameters, wire.agent_id).await?;
    let events = front.agents()?.watch(front.scope(), &agent_id, &id, options).await?.boxed();
    let wanted = Wanted { filter: Filter::default(), pings: wire.include_pings.unwrap_or(true) };
    Ok(stream::respond(front, admission, id, events, wanted))
}

/// The agent that the request names, else the one whose run this is.
async fn agent_of(
    front: &Front,
    run_id: &str,
    parameters: &Parameters,
    in_body: Option<String>,
) -> Answer<String> {
    match in_body.or_else(|| parameters.reader().text("agent_id")) {
        Some(agent_id) => Ok(agent_id),
        None => Ok(front.agents()?.agent_of_run(front.scope(), run_id).await?),
    }
}
