//! Runs over HTTP: where one stands, and watching it once more.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use futures::StreamExt;
use kelpie_agent::query::{AgentQuery, Order, PAGE_MAX, Page, WatchOptions};
use kelpie_api::error::ErrorBody;
use kelpie_api::message::Message;
use kelpie_api::request::ResumeStream;
use kelpie_api::run::{CompletionTokens, PromptTokens, Run, RunUsage};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::guard::Admission;
use crate::messages::Filter;
use crate::path::Path;
use crate::query::Parameters;
use crate::stream::{self, Wanted};
use crate::translate;

/// Runs of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;

/// Lists runs, newest first: those of an agent, or of all.
#[utoipa::path(get, path = "/v1/runs/", tag = "runs",
    params(("agent_id" = Option<String>, Query), ("agent_ids" = Option<Vec<String>>, Query),
        ("conversation_id" = Option<String>, Query), ("statuses" = Option<Vec<String>>, Query),
        ("stop_reason" = Option<String>, Query), ("active" = Option<bool>, Query),
        ("before" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("order" = Option<String>, Query)),
    responses((status = 200, body = Vec<Run>), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(State(front): State<Front>, parameters: Parameters) -> Answer<Json<Vec<Run>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let (statuses, active) = (reader.list("statuses"), reader.flag("active", false));
    let (conversation, stop_reason) = (reader.text("conversation_id"), reader.text("stop_reason"));
    let mut ids: Vec<String> = reader.text("agent_id").into_iter().chain(reader.list("agent_ids")).collect();
    reader.finish()?;
    let agents = front.agents()?;
    let whole = Page { limit: PAGE_MAX, ..Page::default() };
    if ids.is_empty() {
        let all = AgentQuery { page: whole.clone(), ..AgentQuery::default() };
        ids = agents.list(front.scope(), &all).await?.into_iter().map(|agent| agent.id).collect();
    }
    let mut runs = Vec::new();
    for id in ids {
        runs.extend(agents.runs(front.scope(), &id, &whole).await?);
    }
    runs.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
    if page.order == Order::Descending {
        runs.reverse();
    }
    let mut runs: Vec<Run> = runs.into_iter().map(translate::message::run).collect();
    runs.retain(|run| {
        (statuses.is_empty() || statuses.contains(&run.status))
            && (!active || matches!(run.status.as_str(), "created" | "running"))
            && (conversation.is_none() || run.conversation_id == conversation)
            && (stop_reason.is_none() || run.stop_reason == stop_reason)
    });
    Ok(Json(crate::query::cut(runs, &page, |run| &run.id)))
}

/// Lists what a run has brought so far, oldest first.
#[utoipa::path(get, path = "/v1/runs/{run_id}/messages", tag = "runs",
    params(("run_id" = String, Path), ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query)),
    responses((status = 200, body = Vec<Message>), (status = 404, body = ErrorBody)))]
pub(crate) async fn messages(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Message>>> {
    let mut reader = parameters.reader();
    let descending = reader.text("order").as_deref() == Some("desc");
    let page = reader.page(PAGE_DEFAULT);
    reader.finish()?;
    let agent_id = agent_of(&front, &id, &parameters, None).await?;
    let mut found = front.agents()?.run_result(front.scope(), &agent_id, &id).await?.messages;
    if descending {
        found.reverse();
    }
    let found = crate::query::cut(found, &page, |message| &message.id);
    Ok(Json(found.into_iter().map(translate::message::message).collect()))
}

/// Shows what a run has cost so far.
#[utoipa::path(get, path = "/v1/runs/{run_id}/usage", tag = "runs",
    params(("run_id" = String, Path), ("agent_id" = Option<String>, Query)),
    responses((status = 200, body = RunUsage), (status = 404, body = ErrorBody)))]
pub(crate) async fn usage(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<RunUsage>> {
    let agent_id = agent_of(&front, &id, &parameters, None).await?;
    let used = front.agents()?.run(front.scope(), &agent_id, &id).await?.usage;
    Ok(Json(RunUsage {
        prompt_tokens: used.prompt_tokens,
        completion_tokens: used.completion_tokens,
        total_tokens: used.prompt_tokens + used.completion_tokens,
        prompt_tokens_details: PromptTokens { cached_tokens: used.cached_tokens },
        completion_tokens_details: CompletionTokens { reasoning_tokens: used.reasoning_tokens },
        step_count: used.steps.into(),
        cost_microdollars: used.cost(),
    }))
}

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
