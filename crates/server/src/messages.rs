//! Messages over HTTP: the history, and sending.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kelpie_agent::outcome::{RunFailure, RunResult};
use kelpie_agent::query::{PAGE_MAX, Page, Scope, WatchOptions};
use kelpie_agent::service::Agents;
use kelpie_api::error::ErrorBody;
use kelpie_api::message::{MESSAGE_TYPES, Message};
use kelpie_api::request::{CancelRuns, SendMessages};
use kelpie_api::response::{LettaResponse, StopReason};
use kelpie_api::run::Cancelled;

use crate::body::JsonBody;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::guard::Admission;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::Parameters;
use crate::stream::{self, Wanted};
use crate::trace::Trace;
use crate::translate;

/// Messages of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;

/// Which messages a client wants to see; all if it named none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter(Option<Vec<String>>);

impl Filter {
    fn new(kinds: Option<Vec<String>>, place: &str) -> Answer<Self> {
        for kind in kinds.iter().flatten() {
            if !MESSAGE_TYPES.contains(&kind.as_str()) {
                let loc = [place.into(), "include_return_message_types".into()];
                let msg = format!("Input should be one of {}", MESSAGE_TYPES.join(", "));
                return Err(HttpError::issue(loc, "literal_error", msg));
            }
        }
        Ok(Self(kinds))
    }

    pub(crate) fn lets(&self, message: &Message) -> bool {
        self.0.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind == message.kind()))
    }
}

/// Lists an agent's messages, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/messages", tag = "messages",
    params(("agent_id" = String, Path), ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query),
        ("include_return_message_types" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<Message>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Message>>> {
    let mut reader = parameters.reader();
    let mut page = reader.page(PAGE_DEFAULT);
    let kinds = reader.list("include_return_message_types");
    reader.finish()?;
    let filter = Filter::new((!kinds.is_empty()).then_some(kinds), "query")?;
    let wanted = page.limit;
    if filter.0.is_some() {
        page.limit = PAGE_MAX;
    }
    // `before` without `after` asks for the messages next to that id, which are at the end
    // of what comes before it: filtered pages are walked towards the front.
    let backwards = page.before.is_some() && page.after.is_none();
    let mut found: Vec<Message> = Vec::new();
    loop {
        let messages = front.agents()?.messages(front.scope(), &id, &page).await?;
        let whole = messages.len() == page.limit;
        let next = if backwards { messages.first() } else { messages.last() }.map(|last| last.id.clone());
        let messages = messages.into_iter().map(translate::message::message);
        let mut messages: Vec<Message> = messages.filter(|message| filter.lets(message)).collect();
        if backwards {
            messages.append(&mut found);
            found = messages;
        } else {
            found.append(&mut messages);
        }
        let Some(next) = next.filter(|_| whole && found.len() < wanted) else { break };
        if backwards {
            page.before = Some(next);
        } else {
            page.after = Some(next);
        }
    }
    if backwards {
        found.drain(..found.len().saturating_sub(wanted));
    } else {
        found.truncate(wanted);
    }
    Ok(Json(found))
}

/// Sends messages to an agent and waits for what it does, or streams it.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages", tag = "messages", request_body = SendMessages,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = LettaResponse), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody), (status = 429, body = ErrorBody),
        (status = 502, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Response> {
    let arrived = Arrived::read(request, &front).await?;
    if arrived.wire.streaming.unwrap_or(false) {
        return watch(front, &id, arrived).await;
    }
    let scope = arrived.scope(&front);
    let Arrived { key, wire, trace: _, admission: _admission } = arrived;
    let sending = translate::message::sending(&wire)?;
    let filter = Filter::new(wire.include_return_message_types, "body")?;
    let agents = front.agents()?;
    let result = agents.send(&scope, &id, key.0.as_ref(), sending.messages, sending.options).await?;
    Ok(Json(respond(result, &filter)?).into_response())
}

/// Sends messages to an agent and streams what it does.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/stream", tag = "messages", request_body = SendMessages,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn stream(
    State(front): State<Front>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Response> {
    let arrived = Arrived::read(request, &front).await?;
    watch(front, &id, arrived).await
}

/// Cancels runs of an agent.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/cancel", tag = "messages", request_body = CancelRuns,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Cancelled), (status = 404, body = ErrorBody)))]
pub(crate) async fn cancel(
    State(front): State<Front>,
    Path(id): Path<String>,
    // A run ends once, so a repetition needs no key to be harmless; a bad one is still refused.
    Key(_): Key,
    JsonBody(wire): JsonBody<CancelRuns>,
) -> Answer<Json<Cancelled>> {
    let (agents, scope) = (front.agents()?, front.scope());
    let run_ids = match wire.run_ids {
        Some(run_ids) => run_ids,
        None => going_on(agents, scope, &id).await?,
    };
    let mut cancelled = Cancelled::new();
    for run_id in run_ids {
        // A run ends once: cancelling it again changes nothing and gives the same answer.
        let run = agents.cancel(scope, &id, &run_id).await?;
        cancelled.insert(run_id, translate::message::status(run.status).to_owned());
    }
    Ok(Json(cancelled))
}

/// The runs of an agent that have not ended: they are the last ones.
async fn going_on(agents: &Agents, scope: &Scope, id: &str) -> Answer<Vec<String>> {
    let page = Page { limit: PAGE_MAX, ..Page::default() };
    let runs = agents.runs(scope, id, &page).await?;
    let going_on = runs.into_iter().take_while(|run| !run.status.ended());
    Ok(going_on.map(|run| run.id).collect())
}

/// A sending request, read but not yet understood.
struct Arrived {
    key: Key,
    wire: SendMessages,
    /// Which request of the client's it belongs to.
    trace: Trace,
    /// The place that the request holds; a stream holds it until its end.
    admission: Option<Admission>,
}

impl Arrived {
    async fn read(request: Request, front: &Front) -> Answer<Self> {
        let admission = request.extensions().get::<Admission>().cloned();
        let (mut parts, body) = request.into_parts();
        let key = Key::from_request_parts(&mut parts, front).await?;
        let trace = parts.extensions.get().copied().unwrap_or(Trace(None));
        let JsonBody(wire) = JsonBody::from_request(Request::from_parts(parts, body), front).await?;
        Ok(Self { key, wire, trace, admission })
    }

    /// Who asks, as part of what.
    fn scope(&self, front: &Front) -> Scope {
        Scope { trace: self.trace.0, ..front.scope().clone() }
    }
}

async fn watch(front: Front, id: &str, arrived: Arrived) -> Answer<Response> {
    let scope = arrived.scope(&front);
    let Arrived { key, wire, trace: _, admission } = arrived;
    let sending = translate::message::sending(&wire)?;
    let filter = Filter::new(wire.include_return_message_types, "body")?;
    let wanted = Wanted { filter, pings: wire.include_pings.unwrap_or(true) };
    let watching = WatchOptions { pieces: wire.stream_tokens.unwrap_or(false), after: None };
    let agents = front.agents()?;
    let run = agents.send_and_leave(&scope, id, key.0.as_ref(), sending.messages, sending.options).await?;
    let events = agents.watch(&scope, id, &run.id, watching).await?.boxed();
    Ok(stream::respond(front, admission, run.id, events, wanted))
}

fn respond(result: RunResult, filter: &Filter) -> Answer<LettaResponse> {
    if let Some(failure) = result.failure {
        return Err(failed(result.run_id, &failure));
    }
    let messages = result.messages.into_iter().map(translate::message::message);
    Ok(LettaResponse {
        messages: messages.filter(|message| filter.lets(message)).collect(),
        stop_reason: StopReason::new(result.stop_reason.word()),
        usage: translate::message::usage(&result.run_id, result.usage),
    })
}

/// A run that failed is an answer too: the same however often it is asked for. Its status says
/// whose fault it was.
fn failed(run_id: String, failure: &RunFailure) -> HttpError {
    let status = match failure.code.as_str() {
        "model.rate_limited" => StatusCode::TOO_MANY_REQUESTS,
        "model.unavailable" | "model.timed_out" => StatusCode::SERVICE_UNAVAILABLE,
        code if code.starts_with("model.") => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpError::run_failed(status, run_id, &failure.code, &failure.message)
}
