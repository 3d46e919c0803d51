//! The description of the API, made from the handlers themselves.

use axum::Json;
use utoipa::OpenApi;

use crate::{
    actors, agents, archives, blocks, cluster, context, conversations, messages, models, passages, runs,
    search, store, system, tools,
};

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
        tools::create,
        tools::upsert,
        tools::update,
        tools::delete,
        tools::retrieve,
        tools::list_of_agent,
        tools::attach,
        tools::detach,
        tools::set_approval,
        tools::run,
        search::tools,
        search::messages,
        agents::list,
        agents::create,
        agents::count,
        agents::retrieve,
        agents::update,
        agents::delete,
        agents::recompile,
        context::show,
        archives::create,
        archives::list,
        archives::retrieve,
        archives::update,
        archives::delete,
        archives::create_passage,
        archives::create_passages,
        archives::delete_passage,
        archives::attach,
        archives::detach,
        archives::search,
        passages::create,
        passages::list,
        passages::search,
        passages::delete,
        conversations::create,
        conversations::list,
        conversations::retrieve,
        conversations::update,
        conversations::delete,
        conversations::cancel,
        conversations::fork,
        conversations::recompile,
        conversations::compact,
        conversations::list_messages,
        conversations::send,
        conversations::resume,
        blocks::list,
        blocks::retrieve,
        blocks::update,
        blocks::create,
        blocks::list_all,
        blocks::retrieve_by_id,
        blocks::update_by_id,
        blocks::delete_by_id,
        blocks::agents_of,
        blocks::attach,
        blocks::detach,
        messages::list,
        messages::create,
        messages::stream,
        messages::cancel,
        messages::create_async,
        messages::compact,
        messages::reset,
        messages::retrieve,
        runs::list,
        runs::retrieve,
        runs::messages,
        runs::usage,
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
