//! The description of the API, made from the handlers themselves.

use axum::Json;
use utoipa::OpenApi;

use crate::{actors, agents, blocks, cluster, messages, models, runs, store, system, tools};

#[derive(OpenApi)]
#[openapi(
    info(title = "Kelpie", description = "Durable, stateful agents, in the Letta v1 wire format"),
    paths(
        system::health,
        system::ready,
        system::metrics,
        models::list,
        models::list_embedding,
        tools::list,
        tools::retrieve,
        tools::list_of_agent,
        agents::list,
        agents::create,
        agents::count,
        agents::retrieve,
        agents::update,
        agents::delete,
        blocks::list,
        blocks::retrieve,
        blocks::update,
        messages::list,
        messages::create,
        messages::stream,
        messages::cancel,
        runs::retrieve,
        runs::stream,
        actors::list,
        actors::call,
        actors::state,
        actors::why,
        actors::history,
        actors::migrate,
        actors::cancel,
        cluster::list,
        cluster::drain,
        cluster::evict,
        store::stats,
        store::backup,
        store::checkpoint,
    )
)]
struct Description;

/// The description, for those who want it without a server.
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(crate) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}
