//! Archival memory over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_agent::archive::NewPassage;
use kelpie_agent::query::Order;
use kelpie_api::error::ErrorBody;
use kelpie_api::passage::{CreatePassage, FoundPassage, FoundPassages, Passage};
use kelpie_api::timestamp::Timestamp;
use kelpie_memory::archival::{self, PassageQuery};
use kelpie_memory::search::{HITS_DEFAULT, HITS_MAX};
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::{Parameters, Reader};

/// Passages of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;

/// Keeps a passage; the answer is a list because others split long texts.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/archival-memory", tag = "archival memory",
    request_body = CreatePassage,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Vec<Passage>), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreatePassage>,
) -> Answer<Json<Vec<Passage>>> {
    let passage = front.agents()?.insert_passage(front.scope(), &id, key.as_ref(), new(wire)).await?;
    Ok(Json(vec![show(passage)]))
}

/// Lists passages, newest first; with `search`, those that fit it best.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/archival-memory", tag = "archival memory",
    params(("agent_id" = String, Path), ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("ascending" = Option<bool>, Query), ("search" = Option<String>, Query)),
    responses((status = 200, body = Vec<Passage>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Passage>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let search = reader.text("search");
    reader.finish()?;
    let agents = front.agents()?;
    let Some(text) = search else {
        let passages = agents.passages(front.scope(), &id, &page).await?;
        return Ok(Json(passages.into_iter().map(show).collect()));
    };
    let query = PassageQuery { text, limit: HITS_MAX, ..PassageQuery::default() };
    let found = agents.find_passages(front.scope(), &id, &query).await?;
    let mut found: Vec<archival::Passage> = found.into_iter().map(|hit| hit.passage).collect();
    found.sort_by_key(|passage| passage.created_ms);
    if page.order == Order::Descending {
        found.reverse();
    }
    let found = crate::query::cut(found, &page, |passage| &passage.id);
    Ok(Json(found.into_iter().map(show).collect()))
}

/// Finds passages, best first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/archival-memory/search", tag = "archival memory",
    params(("agent_id" = String, Path), ("query" = String, Query), ("tags" = Option<Vec<String>>, Query),
        ("tag_match_mode" = Option<String>, Query, description = "any or all"), ("top_k" = Option<u32>, Query),
        ("start_datetime" = Option<String>, Query), ("end_datetime" = Option<String>, Query),
        ("history" = Option<bool>, Query, description = "also passages that were superseded")),
    responses((status = 200, body = FoundPassages), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn search(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<FoundPassages>> {
    let mut reader = parameters.reader();
    let text = reader.text("query").unwrap_or_default();
    let match_all_tags = match reader.text("tag_match_mode").as_deref() {
        None | Some("any") => false,
        Some("all") => true,
        Some(_) => {
            reader.problem("tag_match_mode", "literal_error", "Input should be 'any' or 'all'");
            false
        }
    };
    let query = PassageQuery {
        text,
        tags: reader.list("tags"),
        match_all_tags,
        from_ms: time(&mut reader, "start_datetime"),
        to_ms: time(&mut reader, "end_datetime"),
        history: reader.flag("history", false),
        limit: reader.number("top_k").unwrap_or(HITS_DEFAULT),
    };
    reader.finish()?;
    let found = front.agents()?.find_passages(front.scope(), &id, &query).await?;
    let results: Vec<FoundPassage> = found.into_iter().map(|hit| found_passage(hit.passage)).collect();
    Ok(Json(FoundPassages { count: results.len() as u64, results }))
}

/// Deletes a passage for good.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}/archival-memory/{memory_id}", tag = "archival memory",
    params(("agent_id" = String, Path), ("memory_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path((id, memory_id)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.delete_passage(front.scope(), &id, key.as_ref(), &memory_id).await?;
    Ok(Json(json!({ "message": format!("Passage {memory_id} deleted") })))
}

/// A point in time, as a date or a date with a time.
fn time(reader: &mut Reader<'_>, name: &str) -> Option<u64> {
    let text = reader.text(name)?;
    let whole = if text.len() == "2026-11-23".len() { format!("{text}T00:00:00Z") } else { text };
    match whole.parse::<Timestamp>() {
        Ok(at) => Some(at.0),
        Err(error) => {
            reader.problem(name, "datetime_parsing", &error.to_string());
            None
        }
    }
}

pub(crate) fn new(wire: CreatePassage) -> NewPassage {
    let CreatePassage { text, tags, created_at, supersedes } = wire;
    NewPassage { text, tags: tags.unwrap_or_default(), created_ms: created_at.map(|at| at.0), supersedes }
}

pub(crate) fn show(passage: archival::Passage) -> Passage {
    let archival::Passage { id, text, tags, created_ms, superseded_ms, superseded_by } = passage;
    Passage {
        id,
        text,
        tags,
        created_at: Timestamp(created_ms),
        archive_id: None,
        superseded_at: superseded_ms.map(Timestamp),
        superseded_by,
    }
}

fn found_passage(passage: archival::Passage) -> FoundPassage {
    let archival::Passage { id, text, tags, created_ms, superseded_ms, superseded_by } = passage;
    FoundPassage {
        id,
        content: text,
        timestamp: Timestamp(created_ms),
        tags,
        superseded_at: superseded_ms.map(Timestamp),
        superseded_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::HttpError;

    #[test]
    fn a_day_begins_at_midnight() {
        let parameters = Parameters::of(&[("at", "1970-01-02"), ("bad", "soon")]);
        let mut reader = parameters.reader();
        assert_eq!(time(&mut reader, "at"), Some(86_400_000));
        assert_eq!(time(&mut reader, "bad"), None);
        let _: HttpError = reader.finish().expect_err("`soon` is no time");
    }
}
