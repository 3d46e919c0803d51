//! Messages over HTTP: the history, and sending.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kelpie_agent::conversation::ConversationName;
use kelpie_agent::message::{AskedCall, MessageBody};
use kelpie_agent::outcome::{RunFailure, RunRecord, RunResult};
use kelpie_agent::query::{PAGE_MAX, Scope, SendOptions, WatchOptions};
use kelpie_api::agent::AgentState;
use kelpie_api::conversation::CompactionResponse;
use kelpie_api::error::ErrorBody;
use kelpie_api::message::{MESSAGE_TYPES, Message};
use kelpie_api::request::{CancelRuns, SendMessages};
use kelpie_api::response::{LettaResponse, StopReason};
use kelpie_api::run::{Cancelled, Run};
use kelpie_core::advice::Advice;
use kelpie_memory::recall::Verdict;

use crate::body::JsonBody;
use crate::conversations;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::guard::Admission;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::Parameters;
use crate::stream::{self, Wanted};
use crate::trace::Trace;
use crate::translate;
use crate::translate::message::{Sending, What};

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
    let name = match parameters.reader().text("conversation_id") {
        Some(conversation) if conversation != "default" => {
            let name = front.agents()?.conversation_name(front.scope(), &conversation).await?;
            if name.agent_id != id {
                let detail = "Conversation not found";
                return Err(HttpError::new(StatusCode::NOT_FOUND, "agent.not_found", Advice::Fix, detail));
            }
            name
        }
        Some(_) | None => ConversationName { agent_id: id, number: 0 },
    };
    list_of(&front, &name, &parameters).await
}

/// Lists the messages of a conversation.
pub(crate) async fn list_of(
    front: &Front,
    name: &ConversationName,
    parameters: &Parameters,
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
        let messages = front.agents()?.conversation_messages(front.scope(), name, &page).await?;
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
    let target = Target::agent(id);
    if arrived.wire.streaming.unwrap_or(false) {
        return watch(front, &target, arrived).await;
    }
    send(&front, &target, arrived).await
}

/// Sends messages and waits for what the agent does.
pub(crate) async fn send(front: &Front, target: &Target, arrived: Arrived) -> Answer<Response> {
    let scope = arrived.scope(front);
    let Arrived { key, wire, trace: _, admission: _admission } = arrived;
    let filter = Filter::new(wire.include_return_message_types.clone(), "body")?;
    let run = begin(front, &scope, target, &key, &wire).await?;
    let result = front.agents()?.run_to_end(&scope, &target.name.agent_id, &run.id).await?;
    Ok(Json(respond(result, &filter)?).into_response())
}

/// Sends messages; the run goes on by itself, and the answer is that it began.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/async", tag = "messages", request_body = SendMessages,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Run), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn create_async(
    State(front): State<Front>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<Run>> {
    let arrived = Arrived::read(request, &front).await?;
    let scope = arrived.scope(&front);
    let Arrived { key, wire, trace: _, admission: _admission } = arrived;
    if wire.callback_url.is_some() {
        let msg = "This build calls nobody back: ask for the run";
        return Err(HttpError::body_field("callback_url", msg));
    }
    Filter::new(wire.include_return_message_types.clone(), "body")?;
    let run = begin(&front, &scope, &Target::agent(id), &key, &wire).await?;
    Ok(Json(translate::message::run(run)))
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
    watch(front, &Target::agent(id), arrived).await
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
    let Some(run_ids) = wire.run_ids else {
        return Ok(Json(cancelled(agents.cancel_all(scope, &id, None).await?)));
    };
    let mut ended = Vec::new();
    for run_id in run_ids {
        // A run ends once: cancelling it again changes nothing and gives the same answer.
        ended.push(agents.cancel(scope, &id, &run_id).await?);
    }
    Ok(Json(cancelled(ended)))
}

/// What became of each run.
pub(crate) fn cancelled(runs: Vec<RunRecord>) -> Cancelled {
    runs.into_iter().map(|run| (run.id, translate::message::status(run.status).to_owned())).collect()
}

/// Puts a summary in the place of the oldest part of the prompt.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/summarize", tag = "messages",
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = CompactionResponse), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 502, body = ErrorBody)))]
pub(crate) async fn compact(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<CompactionResponse>> {
    let name = ConversationName { agent_id: id, number: 0 };
    conversations::compacted(front.agents()?.compact(front.scope(), &name, key.as_ref()).await?)
}

/// Forgets the messages of the conversation that every agent has.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/reset-messages", tag = "messages",
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(crate) async fn reset(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<AgentState>> {
    let agents = front.agents()?;
    let agent = agents.reset(front.scope(), &id, key.as_ref()).await?;
    Ok(Json(translate::agent::state(agent, &agents.tools(front.scope()).await?)))
}

/// Shows the message of an id, whoever's it is.
#[utoipa::path(get, path = "/v1/messages/{message_id}", tag = "messages", params(("message_id" = String, Path)),
    responses((status = 200, body = Vec<Message>), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Answer<Json<Vec<Message>>> {
    let found = front.agents()?.message(front.scope(), &id).await?;
    Ok(Json(found.into_iter().map(translate::message::message).collect()))
}

/// Where messages are sent.
pub(crate) struct Target {
    pub(crate) name: ConversationName,
    /// Whether they are refused while a run goes on there.
    pub(crate) refuse_when_busy: bool,
}

impl Target {
    /// The conversation that every agent has: its messages wait for one another.
    fn agent(agent_id: String) -> Self {
        Self { name: ConversationName { agent_id, number: 0 }, refuse_when_busy: false }
    }
}

/// Commits what is sent; the run that it sets off.
async fn begin(
    front: &Front,
    scope: &Scope,
    target: &Target,
    key: &Key,
    wire: &SendMessages,
) -> Answer<RunRecord> {
    let Sending { what, options } = translate::message::sending(wire)?;
    let conversation = target.name.number;
    let options = SendOptions { conversation, refuse_when_busy: target.refuse_when_busy, ..options };
    let (agents, agent) = (front.agents()?, target.name.agent_id.as_str());
    let verdicts = match what {
        What::Say(messages) => {
            return Ok(agents.send_and_leave(scope, agent, key.0.as_ref(), messages, options).await?);
        }
        What::Decide(verdicts) => verdicts,
        What::DecideAll { request_id, ruling } => {
            let asked = agents.message(scope, &request_id).await?;
            let calls = asked.into_iter().filter_map(|message| {
                let MessageBody::ApprovalRequest { calls } = message.body else { return None };
                Some(calls)
            });
            let verdict = |call: AskedCall| Verdict { call_id: call.call_id, ruling: ruling.clone() };
            calls.flatten().map(verdict).collect()
        }
    };
    let otid = wire.messages.iter().flatten().find_map(|message| message.otid.as_deref());
    Ok(agents.decide(scope, agent, key.0.as_ref(), otid, verdicts, options).await?)
}

/// A sending request, read but not yet understood.
pub(crate) struct Arrived {
    key: Key,
    pub(crate) wire: SendMessages,
    /// Which request of the client's it belongs to.
    trace: Trace,
    /// The place that the request holds; a stream holds it until its end.
    admission: Option<Admission>,
}

impl Arrived {
    pub(crate) async fn read(request: Request, front: &Front) -> Answer<Self> {
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

/// Sends messages and streams what the agent does.
pub(crate) async fn watch(front: Front, target: &Target, arrived: Arrived) -> Answer<Response> {
    let scope = arrived.scope(&front);
    let Arrived { key, wire, trace: _, admission } = arrived;
    let filter = Filter::new(wire.include_return_message_types.clone(), "body")?;
    let wanted = Wanted { filter, pings: wire.include_pings.unwrap_or(true) };
    let watching = WatchOptions { pieces: wire.stream_tokens.unwrap_or(false), after: None };
    let run = begin(&front, &scope, target, &key, &wire).await?;
    let agent = target.name.agent_id.as_str();
    let events = front.agents()?.watch(&scope, agent, &run.id, watching).await?.boxed();
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
pub(crate) fn failed(run_id: String, failure: &RunFailure) -> HttpError {
    let status = match failure.code.as_str() {
        "model.rate_limited" | "budget_exceeded" => StatusCode::TOO_MANY_REQUESTS,
        "price_unknown" => StatusCode::UNPROCESSABLE_ENTITY,
        "model.unavailable" | "model.timed_out" => StatusCode::SERVICE_UNAVAILABLE,
        code if code.starts_with("model.") => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpError::run_failed(status, run_id, &failure.code, &failure.message)
}
