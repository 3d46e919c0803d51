//! Working memory over HTTP (Kelpie's own).

use axum::Json;
use axum::extract::State;
use kelpie_api::error::ErrorBody;
use kelpie_api::timestamp::Timestamp;
use kelpie_api::working::{SetWorkingEntry, WorkingEntry};
use kelpie_memory::working;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;

/// Lists what an agent has noted down for a while, by name.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/working-memory", tag = "working memory",
    params(("agent_id" = String, Path)),
    responses((status = 200, body = Vec<WorkingEntry>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Answer<Json<Vec<WorkingEntry>>> {
    let entries = front.agents()?.working_memory(front.scope(), &id).await?;
    Ok(Json(entries.into_iter().map(show).collect()))
}

/// Shows one entry.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/working-memory/{key}", tag = "working memory",
    params(("agent_id" = String, Path), ("key" = String, Path)),
    responses((status = 200, body = WorkingEntry), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
) -> Answer<Json<WorkingEntry>> {
    Ok(Json(show(front.agents()?.working_entry(front.scope(), &id, &name).await?)))
}

/// Sets an entry; one of that name is replaced, its time as well.
#[utoipa::path(put, path = "/v1/agents/{agent_id}/working-memory/{key}", tag = "working memory",
    request_body = SetWorkingEntry,
    params(("agent_id" = String, Path), ("key" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = WorkingEntry), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn set(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
    Key(key): Key,
    JsonBody(wire): JsonBody<SetWorkingEntry>,
) -> Answer<Json<WorkingEntry>> {
    let SetWorkingEntry { value, ttl_minutes } = wire;
    let new = working::NewWorkingEntry { key: name, value, ttl_minutes };
    Ok(Json(show(front.agents()?.set_working(front.scope(), &id, key.as_ref(), new).await?)))
}

/// Deletes an entry.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}/working-memory/{key}", tag = "working memory",
    params(("agent_id" = String, Path), ("key" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.delete_working(front.scope(), &id, key.as_ref(), &name).await?;
    Ok(Json(json!({ "message": format!("Entry {name} deleted") })))
}

fn show(entry: working::WorkingEntry) -> WorkingEntry {
    let working::WorkingEntry { key, value, set_ms, expires_ms } = entry;
    WorkingEntry { key, value, set_at: Timestamp(set_ms), expires_at: expires_ms.map(Timestamp) }
}
