//! Archives over HTTP: passages that several agents may search.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kelpie_agent::archive::{ArchiveChange, ArchiveRecord, NewArchive};
use kelpie_api::archive::{
    Archive, CreateArchive, CreatePassages, RankedPassage, SearchPassages, UpdateArchive,
};
use kelpie_api::error::ErrorBody;
use kelpie_api::passage::{CreatePassage, Passage};
use kelpie_api::timestamp::Timestamp;
use kelpie_memory::archival::{self, Hit, PassageQuery};
use serde_json::{Map, Value};

use crate::body::JsonBody;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::idempotency::Key;
use crate::passages;
use crate::path::Path;
use crate::query::Parameters;

/// Archives of a page that does not say how many.
const PAGE_DEFAULT: usize = 50;
/// Passages that a search finds which does not say how many.
const HITS_DEFAULT: u32 = 50;

/// Makes an archive.
#[utoipa::path(post, path = "/v1/archives/", tag = "archives", request_body = CreateArchive,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key makes one archive")),
    responses((status = 200, body = Archive), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreateArchive>,
) -> Answer<Json<Archive>> {
    let CreateArchive { name, description, embedding } = wire;
    let new = NewArchive { name, description, embedding };
    Ok(Json(show(front.agents()?.create_archive(front.scope(), key.as_ref(), new).await?)))
}

/// Lists archives, newest first: all, or those of an agent.
#[utoipa::path(get, path = "/v1/archives/", tag = "archives",
    params(("before" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("order" = Option<String>, Query), ("name" = Option<String>, Query), ("agent_id" = Option<String>, Query)),
    responses((status = 200, body = Vec<Archive>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(State(front): State<Front>, parameters: Parameters) -> Answer<Json<Vec<Archive>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let (name, agent) = (reader.text("name"), reader.text("agent_id"));
    reader.finish()?;
    let mut found = front.agents()?.archives(front.scope(), agent.as_deref(), page.order).await?;
    found.retain(|archive| name.as_ref().is_none_or(|name| *name == archive.name));
    let found = crate::query::cut(found, &page, |archive| &archive.id);
    Ok(Json(found.into_iter().map(show).collect()))
}

/// Shows an archive.
#[utoipa::path(get, path = "/v1/archives/{archive_id}", tag = "archives", params(("archive_id" = String, Path)),
    responses((status = 200, body = Archive), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<Archive>> {
    Ok(Json(show(front.agents()?.archive(front.scope(), &id).await?)))
}

/// Changes what is said about an archive.
#[utoipa::path(patch, path = "/v1/archives/{archive_id}", tag = "archives", request_body = UpdateArchive,
    params(("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Archive), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<UpdateArchive>,
) -> Answer<Json<Archive>> {
    let UpdateArchive { name, description } = wire;
    let change = ArchiveChange { name, description };
    Ok(Json(show(front.agents()?.change_archive(front.scope(), &id, key.as_ref(), change).await?)))
}

/// Deletes an archive with its passages: agents that have it lose it.
#[utoipa::path(delete, path = "/v1/archives/{archive_id}", tag = "archives",
    params(("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<StatusCode> {
    front.agents()?.delete_archive(front.scope(), &id, key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a passage into an archive.
#[utoipa::path(post, path = "/v1/archives/{archive_id}/passages", tag = "archives", request_body = CreatePassage,
    params(("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Passage), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create_passage(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreatePassage>,
) -> Answer<Json<Passage>> {
    let new = vec![passages::new(wire)];
    let kept = front.agents()?.insert_in_archive(front.scope(), &id, key.as_ref(), new).await?;
    let passage = kept.into_iter().next().map(|passage| in_archive(passage, &id));
    passage.map(Json).ok_or_else(|| HttpError::body_field("text", "Field required"))
}

/// Puts passages into an archive, all of them or none.
#[utoipa::path(post, path = "/v1/archives/{archive_id}/passages/batch", tag = "archives",
    request_body = CreatePassages,
    params(("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Vec<Passage>), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create_passages(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreatePassages>,
) -> Answer<Json<Vec<Passage>>> {
    let new = wire.passages.into_iter().map(passages::new).collect();
    let kept = front.agents()?.insert_in_archive(front.scope(), &id, key.as_ref(), new).await?;
    Ok(Json(kept.into_iter().map(|passage| in_archive(passage, &id)).collect()))
}

/// Deletes a passage of an archive for good.
#[utoipa::path(delete, path = "/v1/archives/{archive_id}/passages/{passage_id}", tag = "archives",
    params(("archive_id" = String, Path), ("passage_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete_passage(
    State(front): State<Front>,
    Path((id, passage)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<StatusCode> {
    front.agents()?.delete_in_archive(front.scope(), &id, key.as_ref(), &passage).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an agent an archive to search.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/archives/attach/{archive_id}", tag = "archives",
    params(("agent_id" = String, Path), ("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn attach(
    State(front): State<Front>,
    Path((id, archive)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.attach_archive(front.scope(), &id, key.as_ref(), &archive).await?;
    Ok(Json(Value::Null))
}

/// Takes an archive from an agent; the archive stays.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/archives/detach/{archive_id}", tag = "archives",
    params(("agent_id" = String, Path), ("archive_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn detach(
    State(front): State<Front>,
    Path((id, archive)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.detach_archive(front.scope(), &id, key.as_ref(), &archive).await?;
    Ok(Json(Value::Null))
}

/// Finds passages, best first: of an agent and its archives, or of an archive.
#[utoipa::path(post, path = "/v1/passages/search", tag = "archives", request_body = SearchPassages,
    responses((status = 200, body = Vec<RankedPassage>), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn search(
    State(front): State<Front>,
    JsonBody(wire): JsonBody<SearchPassages>,
) -> Answer<Json<Vec<RankedPassage>>> {
    let match_all_tags = match wire.tag_match_mode.as_deref() {
        None | Some("any") => false,
        Some("all") => true,
        Some(_) => return Err(HttpError::body_field("tag_match_mode", "Input should be 'any' or 'all'")),
    };
    let query = PassageQuery {
        text: wire.query.unwrap_or_default(),
        tags: wire.tags.unwrap_or_default(),
        match_all_tags,
        from_ms: wire.start_date.map(|at| at.0),
        to_ms: wire.end_date.map(|at| at.0),
        history: wire.history.unwrap_or_default(),
        limit: usize::try_from(wire.limit.unwrap_or(HITS_DEFAULT)).unwrap_or(usize::MAX),
    };
    let agents = front.agents()?;
    let found: Vec<(Map<String, Value>, Passage)> = match (wire.agent_id, wire.archive_id) {
        (_, Some(archive)) => {
            let found = agents.find_in_archive(front.scope(), &archive, &query).await?;
            found.into_iter().map(|hit| (scores(&hit), in_archive(hit.passage, &archive))).collect()
        }
        (Some(agent), None) => {
            let found = agents.find_passages(front.scope(), &agent, &query).await?;
            found.into_iter().map(|hit| (scores(&hit), passages::show(hit.passage))).collect()
        }
        (None, None) => {
            return Err(HttpError::body_field("agent_id", "Name an agent or an archive to search in"));
        }
    };
    let ranked = (1_u32..).zip(found);
    let ranked = ranked.map(|(rank, (metadata, passage))| RankedPassage {
        passage,
        score: 1.0 / f64::from(rank),
        metadata,
    });
    Ok(Json(ranked.collect()))
}

/// How well a passage fits by each way of looking at it.
fn scores(hit: &Hit) -> Map<String, Value> {
    let scores = [("words", hit.words), ("meaning", hit.meaning)];
    scores.into_iter().filter_map(|(name, score)| Some((name.to_owned(), score?.into()))).collect()
}

fn in_archive(passage: archival::Passage, archive: &str) -> Passage {
    Passage { archive_id: Some(archive.to_owned()), ..passages::show(passage) }
}

fn show(archive: ArchiveRecord) -> Archive {
    let ArchiveRecord { id, name, description, embedding: _, created_ms, updated_ms } = archive;
    let (created_at, updated_at) = (Timestamp(created_ms), Timestamp(updated_ms));
    Archive { id, name, description, created_at, updated_at, vector_db_provider: "native".to_owned() }
}
