//! Conversations over HTTP: several with one agent, which share its memory.
//!
//! A path names a conversation by its id, or the one that every agent has as `default` (with
//! `agent_id` beside it) or by the agent's own id.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use kelpie_agent::conversation::{
    ConversationName, ConversationQuery, ConversationRecord, NewConversation, UpdateConversation,
};
use kelpie_agent::outcome::Compacted;
use kelpie_agent::query::WatchOptions;
use kelpie_api::conversation::{ChangeConversation, CompactionResponse, Conversation};
use kelpie_api::error::ErrorBody;
use kelpie_api::message::Message;
use kelpie_api::request::{ResumeStream, SendMessages};
use kelpie_api::response::LettaResponse;
use kelpie_api::run::Cancelled;
use kelpie_api::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::guard::Admission;
use crate::idempotency::Key;
use crate::messages::{self, Arrived, Filter, Target};
use crate::path::Path;
use crate::query::Parameters;
use crate::stream::{self, Wanted};

/// Conversations of a page that does not say how many.
const PAGE_DEFAULT: usize = 50;
/// What a path may name instead of an id.
const DEFAULT: &str = "default";

/// Begins a conversation.
#[utoipa::path(post, path = "/v1/conversations/", tag = "conversations", request_body = ChangeConversation,
    params(("agent_id" = String, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Conversation), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    parameters: Parameters,
    Key(key): Key,
    JsonBody(wire): JsonBody<ChangeConversation>,
) -> Answer<Json<Conversation>> {
    let mut reader = parameters.reader();
    let agent_id = reader.required("agent_id");
    reader.finish()?;
    refuse_settings(&wire)?;
    let new = NewConversation {
        summary: wire.summary,
        description: wire.description,
        hidden: wire.hidden.unwrap_or(false),
        model: wire.model,
        context_window: wire.context_window_limit,
    };
    let agents = front.agents()?;
    let about = agents.begin_conversation(front.scope(), &agent_id, key.as_ref(), new).await?;
    Ok(Json(show(about)))
}

/// Lists conversations, newest first.
#[utoipa::path(get, path = "/v1/conversations/", tag = "conversations",
    params(("agent_id" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("order" = Option<String>, Query), ("summary_search" = Option<String>, Query),
        ("archive_status" = Option<String>, Query, description = "unarchived, archived or all")),
    responses((status = 200, body = Vec<Conversation>), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    parameters: Parameters,
) -> Answer<Json<Vec<Conversation>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let archived = match reader.text("archive_status").as_deref() {
        None | Some("unarchived") => Some(false),
        Some("archived") => Some(true),
        Some("all") => None,
        Some(_) => {
            let msg = "Input should be 'unarchived', 'archived' or 'all'";
            reader.problem("archive_status", "literal_error", msg);
            None
        }
    };
    let (agent_id, summary) = (reader.text("agent_id"), reader.text("summary_search"));
    reader.finish()?;
    let query = ConversationQuery { page, agent_id, archived, summary };
    let found = front.agents()?.conversations(front.scope(), &query).await?;
    Ok(Json(found.into_iter().map(show).collect()))
}

/// Shows a conversation.
#[utoipa::path(get, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = String, Path)),
    responses((status = 200, body = Conversation), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Conversation>> {
    let name = named(&front, &id, &parameters, None).await?;
    let about = front.agents()?.conversation(front.scope(), &name).await?;
    Ok(Json(show(about)))
}

/// Changes what is kept with a conversation.
#[utoipa::path(patch, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    request_body = ChangeConversation,
    params(("conversation_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Conversation), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    Key(key): Key,
    JsonBody(wire): JsonBody<ChangeConversation>,
) -> Answer<Json<Conversation>> {
    refuse_settings(&wire)?;
    let name = named(&front, &id, &parameters, None).await?;
    let change = UpdateConversation {
        summary: wire.summary,
        description: wire.description,
        archived: wire.archived,
        model: wire.model,
        context_window: wire.context_window_limit,
    };
    let about = front.agents()?.update_conversation(front.scope(), &name, key.as_ref(), change).await?;
    Ok(Json(show(about)))
}

/// Ends a conversation; its messages go with it.
#[utoipa::path(delete, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    Key(key): Key,
) -> Answer<Json<Value>> {
    let name = named(&front, &id, &parameters, None).await?;
    front.agents()?.delete_conversation(front.scope(), &name, key.as_ref()).await?;
    Ok(Json(json!({ "message": format!("Conversation {id} deleted") })))
}

/// Cancels what goes on or waits in a conversation.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/cancel", tag = "conversations",
    params(("conversation_id" = String, Path), ("agent_id" = Option<String>, Query)),
    responses((status = 200, body = Cancelled), (status = 404, body = ErrorBody)))]
pub(crate) async fn cancel(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Cancelled>> {
    let name = named(&front, &id, &parameters, None).await?;
    let ended = front.agents()?.cancel_all(front.scope(), &name.agent_id, Some(name.number)).await?;
    Ok(Json(messages::cancelled(ended)))
}

/// Begins a conversation with what was said in another; nothing is copied.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/fork", tag = "conversations",
    params(("conversation_id" = String, Path), ("agent_id" = Option<String>, Query),
        ("message_id" = Option<String>, Query, description = "the last message to take over; all if not said"),
        ("hidden" = Option<bool>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Conversation), (status = 404, body = ErrorBody)))]
pub(crate) async fn fork(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    Key(key): Key,
) -> Answer<Json<Conversation>> {
    let mut reader = parameters.reader();
    let (message, hidden) = (reader.text("message_id"), reader.flag("hidden", false));
    reader.finish()?;
    let name = named(&front, &id, &parameters, None).await?;
    let agents = front.agents()?;
    let about =
        agents.fork_conversation(front.scope(), &name, key.as_ref(), message.as_deref(), hidden).await?;
    Ok(Json(show(about)))
}

/// Shows the prompt before the messages. It is made anew for each step, so there is nothing to
/// store.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/recompile", tag = "conversations",
    params(("conversation_id" = String, Path), ("agent_id" = Option<String>, Query)),
    responses((status = 200, body = String), (status = 404, body = ErrorBody)))]
pub(crate) async fn recompile(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<String>> {
    let name = named(&front, &id, &parameters, None).await?;
    Ok(Json(front.agents()?.system_prompt(front.scope(), &name.agent_id).await?))
}

/// Puts a summary in the place of the oldest part of a conversation's prompt.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/compact", tag = "conversations",
    params(("conversation_id" = String, Path), ("agent_id" = Option<String>, Query),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = CompactionResponse), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 502, body = ErrorBody)))]
pub(crate) async fn compact(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    Key(key): Key,
) -> Answer<Json<CompactionResponse>> {
    let name = named(&front, &id, &parameters, None).await?;
    compacted(front.agents()?.compact(front.scope(), &name, key.as_ref()).await?)
}

/// What became of a compaction, on the wire.
pub(crate) fn compacted(outcome: Compacted) -> Answer<Json<CompactionResponse>> {
    match outcome {
        Compacted::Done { summary, before, after } => Ok(Json(CompactionResponse {
            summary,
            num_messages_before: before as u64,
            num_messages_after: after as u64,
        })),
        Compacted::Failed { run_id, failure } => Err(messages::failed(run_id, &failure)),
    }
}

/// Lists a conversation's messages, newest first.
#[utoipa::path(get, path = "/v1/conversations/{conversation_id}/messages", tag = "conversations",
    params(("conversation_id" = String, Path), ("agent_id" = Option<String>, Query),
        ("before" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("order" = Option<String>, Query), ("include_return_message_types" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<Message>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list_messages(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Message>>> {
    let name = named(&front, &id, &parameters, None).await?;
    messages::list_of(&front, &name, &parameters).await
}

/// Sends messages into a conversation; streams what the agent does, unless `streaming` is false.
/// A conversation in which a run goes on refuses them.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/messages", tag = "conversations",
    request_body = SendMessages,
    params(("conversation_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = LettaResponse), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn send(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    request: Request,
) -> Answer<Response> {
    let arrived = Arrived::read(request, &front).await?;
    let name = named(&front, &id, &parameters, arrived.wire.agent_id.clone()).await?;
    let target = Target { name, refuse_when_busy: true };
    if arrived.wire.streaming.unwrap_or(true) {
        messages::watch(front, &target, arrived).await
    } else {
        messages::send(&front, &target, arrived).await
    }
}

/// Streams the last run of a conversation, or the one that is named, from a place on.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/stream", tag = "conversations",
    request_body = ResumeStream, params(("conversation_id" = String, Path)),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = ErrorBody)))]
pub(crate) async fn resume(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
    request: Request,
) -> Answer<Response> {
    let admission = request.extensions().get::<Admission>().cloned();
    let JsonBody(wire) =
        <JsonBody<ResumeStream> as axum::extract::FromRequest<Front>>::from_request(request, &front).await?;
    let name = named(&front, &id, &parameters, wire.agent_id).await?;
    let agents = front.agents()?;
    let run_id = match wire.run_id {
        Some(run_id) => run_id,
        None => agents.last_run(front.scope(), &name).await?,
    };
    let options = WatchOptions { pieces: true, after: wire.starting_after };
    let events = agents.watch(front.scope(), &name.agent_id, &run_id, options).await?.boxed();
    let wanted = Wanted { filter: Filter::default(), pings: wire.include_pings.unwrap_or(true) };
    Ok(stream::respond(front, admission, run_id, events, wanted))
}

/// The conversation that a request names.
async fn named(
    front: &Front,
    id: &str,
    parameters: &Parameters,
    agent_in_body: Option<String>,
) -> Answer<ConversationName> {
    let agents = front.agents()?;
    if id.starts_with("agent-") {
        let agent_id = agents.get(front.scope(), id).await?.id;
        return Ok(ConversationName { agent_id, number: 0 });
    }
    if id != DEFAULT {
        return Ok(agents.conversation_name(front.scope(), id).await?);
    }
    let Some(agent_id) = agent_in_body.or_else(|| parameters.reader().text("agent_id")) else {
        let msg = "The default conversation is one of an agent: say which";
        return Err(HttpError::issue(["query".into(), "agent_id".into()], "missing", msg));
    };
    let agent_id = agents.get(front.scope(), &agent_id).await?.id;
    Ok(ConversationName { agent_id, number: 0 })
}

/// What would change the run and can't be done here is refused.
fn refuse_settings(wire: &ChangeConversation) -> Answer<()> {
    match wire.rest.get("model_settings") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => {
            let msg = "This build does not have model settings of a conversation; an agent has them";
            Err(HttpError::body_field("model_settings", msg))
        }
    }
}

fn show(about: ConversationRecord) -> Conversation {
    Conversation {
        id: about.id,
        agent_id: about.agent_id,
        summary: about.summary,
        description: about.description,
        archived: about.archived,
        hidden: about.hidden,
        model: about.model,
        context_window_limit: about.context_window,
        created_at: Timestamp(about.created_ms),
        updated_at: Timestamp(about.updated_ms),
        last_message_at: about.last_message_ms.map(Timestamp),
    }
}
