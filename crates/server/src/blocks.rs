//! Core memory blocks over HTTP: those of an agent, and all of them by their own ids.

use axum::Json;
use axum::extract::State;
use kelpie_agent::query::Order;
use kelpie_agent::record::AgentRecord;
use kelpie_agent::service::{BlockQuery, BlockRecord, PastValue};
use kelpie_api::agent::AgentState;
use kelpie_api::block::{Block, CreateBlock, PastBlock, UpdateBlock};
use kelpie_api::error::ErrorBody;
use kelpie_api::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::Parameters;
use crate::translate;

/// Lists an agent's blocks.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks", tag = "blocks",
    params(("agent_id" = String, Path), ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query)),
    responses((status = 200, body = Vec<Block>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Block>>> {
    let mut reader = parameters.reader();
    let page = reader.page(kelpie_memory::block::BLOCKS_MAX);
    reader.finish()?;
    let mut blocks = front.agents()?.blocks(front.scope(), &id).await?;
    match page.order {
        Order::Ascending => {}
        Order::Descending => blocks.reverse(),
    }
    let blocks = crate::query::cut(blocks, &page, |block| &block.id);
    Ok(Json(blocks.into_iter().map(translate::agent::block).collect()))
}

/// Shows a block.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks/{label}", tag = "blocks",
    params(("agent_id" = String, Path), ("label" = String, Path)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path((id, label)): Path<(String, String)>,
) -> Answer<Json<Block>> {
    let block = front.agents()?.block(front.scope(), &id, &label).await?;
    Ok(Json(translate::agent::block(block)))
}

/// Changes a block.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/{label}", tag = "blocks",
    request_body = UpdateBlock,
    params(("agent_id" = String, Path), ("label" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update(
    State(front): State<Front>,
    Path((id, label)): Path<(String, String)>,
    Key(key): Key,
    JsonBody(wire): JsonBody<UpdateBlock>,
) -> Answer<Json<Block>> {
    let change = translate::agent::block_change(&label, wire)?;
    let block = front.agents()?.update_block(front.scope(), &id, &label, key.as_ref(), change).await?;
    Ok(Json(translate::agent::block(block)))
}

/// Takes the last change of a block back.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/core-memory/blocks/{label}/undo", tag = "blocks",
    params(("agent_id" = String, Path), ("label" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn undo(
    State(front): State<Front>,
    Path((id, label)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Block>> {
    let block = front.agents()?.undo_block(front.scope(), &id, &label, key.as_ref()).await?;
    Ok(Json(translate::agent::block(block)))
}

/// Lists what a block said before its last changes, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks/{label}/past", tag = "blocks",
    params(("agent_id" = String, Path), ("label" = String, Path)),
    responses((status = 200, body = Vec<PastBlock>), (status = 404, body = ErrorBody)))]
pub(crate) async fn past(
    State(front): State<Front>,
    Path((id, label)): Path<(String, String)>,
) -> Answer<Json<Vec<PastBlock>>> {
    let past = front.agents()?.past_of_block(front.scope(), &id, &label).await?;
    Ok(Json(past.into_iter().map(show_past).collect()))
}

/// Blocks of a page that does not say how many.
const PAGE_DEFAULT: usize = 50;

/// Makes a block that belongs to no agent yet.
#[utoipa::path(post, path = "/v1/blocks/", tag = "blocks", request_body = CreateBlock,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key makes one block")),
    responses((status = 200, body = Block), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreateBlock>,
) -> Answer<Json<Block>> {
    let (new, kept) = translate::agent::own_block(wire)?;
    let made = front.agents()?.create_block(front.scope(), key.as_ref(), new, kept).await?;
    Ok(Json(show(made)))
}

/// Lists blocks, newest first, whoever has them.
#[utoipa::path(get, path = "/v1/blocks/", tag = "blocks",
    params(("before" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("order" = Option<String>, Query), ("label" = Option<String>, Query),
        ("label_search" = Option<String>, Query), ("value_search" = Option<String>, Query),
        ("description_search" = Option<String>, Query)),
    responses((status = 200, body = Vec<Block>), (status = 422, body = ErrorBody)))]
pub(crate) async fn list_all(State(front): State<Front>, parameters: Parameters) -> Answer<Json<Vec<Block>>> {
    let mut reader = parameters.reader();
    let query = BlockQuery {
        page: reader.page(PAGE_DEFAULT),
        label: reader.text("label"),
        label_text: reader.text("label_search"),
        value_text: reader.text("value_search"),
        description_text: reader.text("description_search"),
    };
    reader.finish()?;
    let found = front.agents()?.list_blocks(front.scope(), &query).await?;
    Ok(Json(found.into_iter().map(show).collect()))
}

/// Shows the block of an id.
#[utoipa::path(get, path = "/v1/blocks/{block_id}", tag = "blocks", params(("block_id" = String, Path)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve_by_id(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Answer<Json<Block>> {
    Ok(Json(show(front.agents()?.block_by_id(front.scope(), &id).await?)))
}

/// Changes the block of an id, for all agents that have it.
#[utoipa::path(patch, path = "/v1/blocks/{block_id}", tag = "blocks", request_body = UpdateBlock,
    params(("block_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update_by_id(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<UpdateBlock>,
) -> Answer<Json<Block>> {
    let agents = front.agents()?;
    let label = agents.block_by_id(front.scope(), &id).await?.block.label;
    let kept = translate::agent::kept_of_block(wire.rest.clone());
    let change = translate::agent::block_change(&label, wire)?;
    Ok(Json(show(agents.change_block(front.scope(), &id, key.as_ref(), change, kept).await?)))
}

/// Deletes the block of an id: all agents that have it lose it.
#[utoipa::path(delete, path = "/v1/blocks/{block_id}", tag = "blocks",
    params(("block_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete_by_id(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.delete_block(front.scope(), &id, key.as_ref()).await?;
    Ok(Json(json!({ "message": format!("Block {id} deleted") })))
}

/// Takes the last change of the block of an id back, for all agents that have it.
#[utoipa::path(post, path = "/v1/blocks/{block_id}/undo", tag = "blocks",
    params(("block_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Block), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn undo_by_id(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<Block>> {
    Ok(Json(show(front.agents()?.undo_block_by_id(front.scope(), &id, key.as_ref()).await?)))
}

/// Lists what the block of an id said before its last changes, newest first.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/past", tag = "blocks", params(("block_id" = String, Path)),
    responses((status = 200, body = Vec<PastBlock>), (status = 404, body = ErrorBody)))]
pub(crate) async fn past_by_id(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Answer<Json<Vec<PastBlock>>> {
    let past = front.agents()?.past_of_block_by_id(front.scope(), &id).await?;
    Ok(Json(past.into_iter().map(show_past).collect()))
}

/// Lists the agents that have a block.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/agents", tag = "blocks",
    params(("block_id" = String, Path), ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query)),
    responses((status = 200, body = Vec<AgentState>), (status = 404, body = ErrorBody)))]
pub(crate) async fn agents_of(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<AgentState>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    reader.finish()?;
    let agents = front.agents()?;
    let found = agents.agents_of_block(front.scope(), &id, &page).await?;
    let found = crate::query::cut(found, &page, |agent| &agent.id);
    let tools = agents.tools(front.scope()).await?;
    Ok(Json(found.into_iter().map(|agent| translate::agent::state(agent, &tools)).collect()))
}

/// Gives an agent a block that others may have, too.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}", tag = "blocks",
    params(("agent_id" = String, Path), ("block_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn attach(
    State(front): State<Front>,
    Path((id, block_id)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<AgentState>> {
    let agent = front.agents()?.attach_block(front.scope(), &id, key.as_ref(), &block_id).await?;
    show_agent(&front, agent).await
}

/// Takes a block from an agent; the block stays.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}", tag = "blocks",
    params(("agent_id" = String, Path), ("block_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody)))]
pub(crate) async fn detach(
    State(front): State<Front>,
    Path((id, block_id)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<AgentState>> {
    let agent = front.agents()?.detach_block(front.scope(), &id, key.as_ref(), &block_id).await?;
    show_agent(&front, agent).await
}

fn show_past(past: PastValue) -> PastBlock {
    PastBlock { value: past.value, until: Timestamp(past.until_ms) }
}

fn show(record: BlockRecord) -> Block {
    let kept = record.kept.into_iter().collect();
    Block { kept, ..translate::agent::block(record.block) }
}

async fn show_agent(front: &Front, agent: AgentRecord) -> Answer<Json<AgentState>> {
    Ok(Json(translate::agent::state(agent, &front.agents()?.tools(front.scope()).await?)))
}
