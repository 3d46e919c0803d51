//! Actors over HTTP, for programs in other languages.
//!
//! ```text
//!   POST {type}/{key}/{handler} ─▶ Runtime::call         arguments and reply as JSON, as they are
//!   GET  {type}/{key}/state     ─▶ Runtime::read_stored  the last commit; activates nothing
//! ```
//!
//! A handler of a typed actor takes its arguments by name in an object, or in their order in an
//! array. Types whose payloads are no JSON, such as `agent`, can be looked at and not called.

mod operate;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kelpie_api::actor::{ActorHistory, ActorPage, ActorWhy, ListedActor};
use kelpie_api::error::ErrorBody;
use kelpie_core::advice::Advice;
use kelpie_core::id::{ActorId, NameError};
use kelpie_runtime::typed::STATE_OPERATION;
use kelpie_runtime::{Call, CallError};
use serde::de::IgnoredAny;

pub(crate) use self::operate::{__path_cancel, __path_migrate, cancel, migrate};
use crate::body::JsonText;
use crate::deadline::Deadline;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::Parameters;
use crate::trace::Trace;
use crate::translate;

/// Actors of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;
/// Entries of each list in a history that does not say how many.
const HISTORY_DEFAULT: usize = 100;

/// Calls a handler.
#[utoipa::path(post, path = "/v1/actors/{type}/{key}/{handler}", tag = "actors",
    params(("type" = String, Path), ("key" = String, Path), ("handler" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "the same key has its effect once"),
        ("Kelpie-Deadline-Ms" = Option<u64>, Header, description = "how long the call may take; 60000 if not said"),
        ("traceparent" = Option<String>, Header, description = "the W3C's Trace Context")),
    request_body(content = serde_json::Value,
        description = "the arguments: an object by their names, or an array in their order"),
    responses((status = 200, body = serde_json::Value, description = "what the handler has returned"),
        (status = 404, body = ErrorBody, description = "no such type or handler"),
        (status = 409, body = ErrorBody, description = "the actor's own refusal (advice `app`), or a key that came \
            before with another request"),
        (status = 422, body = ErrorBody, description = "arguments that are not the handler's"),
        (status = 429, body = ErrorBody, description = "too many calls; nothing happened"),
        (status = 500, body = ErrorBody, description = "the actor's code failed"),
        (status = 503, body = ErrorBody, description = "nothing happened"),
        (status = 504, body = ErrorBody, description = "it may have happened: ask again with the same key")))]
pub(crate) async fn call(
    State(front): State<Front>,
    Path((actor_type, key, handler)): Path<(String, String, String)>,
    Key(idempotency_key): Key,
    Deadline(deadline): Deadline,
    Trace(trace): Trace,
    JsonText(arguments): JsonText,
) -> Answer<Response> {
    let actor = named(&front, &actor_type, &key)?;
    if !takes_json(&front, &actor_type)? {
        let hint = if front.agents().is_ok() { "; agents are called at /v1/agents" } else { "" };
        let detail = format!("Actors of type `{actor_type}` take no JSON, so they are not called here{hint}");
        return Err(HttpError::new(StatusCode::NOT_FOUND, "call.no_json", Advice::Fix, detail));
    }
    let call = Call::new(actor, handler, arguments).caller(front.scope().caller.clone());
    let call = match idempotency_key {
        Some(key) => call.key(key),
        None => call,
    };
    let call = match deadline {
        Some(deadline) => call.deadline(deadline),
        None => call,
    };
    let call = match trace {
        Some(trace) => call.trace(trace),
        None => call,
    };
    Ok(json(front.runtime().call(call).await?))
}

/// Looks at an actor. A handler may have any of these names: it is called with POST.
pub(crate) async fn look(
    State(front): State<Front>,
    Path((actor_type, key, what)): Path<(String, String, String)>,
    parameters: Parameters,
) -> Answer<Response> {
    let actor = named(&front, &actor_type, &key)?;
    match what.as_str() {
        "state" => state(&front, actor).await,
        "why" => Ok(why(&front, &actor).await?.into_response()),
        "history" => Ok(history(&front, &actor, &parameters).await?.into_response()),
        _ => {
            let detail =
                format!("An actor shows its state, why and history, and no {what}; handlers need POST");
            Err(HttpError::new(StatusCode::NOT_FOUND, "route.unknown", Advice::Fix, detail))
        }
    }
}

/// Shows an actor's state as it was committed last.
#[utoipa::path(get, path = "/v1/actors/{type}/{key}/state", tag = "actors",
    params(("type" = String, Path), ("key" = String, Path)),
    responses((status = 200, body = serde_json::Value, description = "the state; of an actor that was never called, \
            how it begins"),
        (status = 404, body = ErrorBody, description = "no such type, or one that shows no state")))]
async fn state(front: &Front, actor: ActorId) -> Answer<Response> {
    let call = Call::new(actor.clone(), STATE_OPERATION, "").caller(front.scope().caller.clone());
    let no_state = || {
        let detail = format!("Actors of type `{}` show no state as JSON", actor.actor_type());
        HttpError::new(StatusCode::NOT_FOUND, "actor.no_state", Advice::Fix, detail)
    };
    match front.runtime().read_stored(call).await {
        // An untyped actor may answer anything with anything.
        Ok(state) if serde_json::from_slice::<IgnoredAny>(&state).is_ok() => Ok(json(state)),
        Ok(_) | Err(CallError::NotARead { .. }) => Err(no_state()),
        Err(error) => Err(error.into()),
    }
}

/// Says what an actor does and owes.
#[utoipa::path(get, path = "/v1/actors/{type}/{key}/why", tag = "actors",
    params(("type" = String, Path), ("key" = String, Path)),
    responses((status = 200, body = ActorWhy), (status = 404, body = ErrorBody)))]
async fn why(front: &Front, actor: &ActorId) -> Answer<Json<ActorWhy>> {
    let seen = front.runtime().inspect(actor).await?;
    Ok(Json(translate::actor::why(actor, seen)))
}

/// Shows what the store keeps of an actor.
#[utoipa::path(get, path = "/v1/actors/{type}/{key}/history", tag = "actors",
    params(("type" = String, Path), ("key" = String, Path),
        ("limit" = Option<u32>, Query, description = "entries of each list; 100 if not said")),
    responses((status = 200, body = ActorHistory), (status = 404, body = ErrorBody)))]
async fn history(front: &Front, actor: &ActorId, parameters: &Parameters) -> Answer<Json<ActorHistory>> {
    let mut reader = parameters.reader();
    let limit = reader.page(HISTORY_DEFAULT).limit;
    reader.finish()?;
    let kept = front.runtime().history(actor, limit).await?;
    Ok(Json(translate::actor::history(actor, kept)))
}

/// Lists the actors of a type that were ever called, by key.
#[utoipa::path(get, path = "/v1/actors/{type}", tag = "actors",
    params(("type" = String, Path), ("limit" = Option<u32>, Query),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = ActorPage), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(actor_type): Path<String>,
    parameters: Parameters,
) -> Answer<Json<ActorPage>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let after = page.after.map(|key| ActorId::new(&front.scope().tenant, &actor_type, &key));
    let after = after.and_then(|after| {
        after.map_err(|error| reader.problem("after", "value_error", &error.to_string())).ok()
    });
    reader.finish()?;
    takes_json(&front, &actor_type)?;
    let tenant = &front.scope().tenant;
    // One more, to know whether there is a next page.
    let mut found = front.runtime().actors(tenant, &actor_type, after.as_ref(), page.limit + 1).await?;
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|(actor, _)| actor.key().to_owned());
    let listed = found.into_iter().map(|(actor, own)| ListedActor {
        key: actor.key().to_owned(),
        owner: own.node.into(),
        epoch: own.epoch.0,
    });
    Ok(Json(ActorPage { actors: listed.collect(), next }))
}

/// The actor that a path names, of a type that there is.
fn named(front: &Front, actor_type: &str, key: &str) -> Answer<ActorId> {
    takes_json(front, actor_type)?;
    let wrong = |error: NameError| {
        let loc = ["path".into(), "key".into()];
        HttpError::issue(loc, "value_error", error.to_string())
    };
    ActorId::new(&front.scope().tenant, actor_type, key).map_err(wrong)
}

/// Whether a type takes JSON; an error if this program has no such type.
fn takes_json(front: &Front, actor_type: &str) -> Answer<bool> {
    front.runtime().takes_json(actor_type).ok_or_else(|| {
        let known: Vec<&str> = front.runtime().actor_types().collect();
        let detail = format!(
            "There is no actor type `{actor_type}` in this program: it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        HttpError::new(StatusCode::NOT_FOUND, "call.no_such_type", Advice::Fix, detail)
    })
}

/// What is JSON already.
fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
