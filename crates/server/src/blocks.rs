//! The core memory of an agent over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_agent::query::Order;
use kelpie_api::block::{Block, UpdateBlock};
use kelpie_api::error::ErrorBody;

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
