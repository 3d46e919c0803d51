//! Which path goes where.
//!
//! Every route is there with and without a slash at its end, because the two SDKs differ in it;
//! a redirect instead would lose the body of a POST.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{MethodRouter, any, delete, get, patch, post};
use kelpie_core::advice::Advice;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::HttpError;
use crate::front::Front;
use crate::{
    actors, agents, archives, blocks, cluster, context, conversations, guard, messages, models, openapi,
    panics, passages, recording, request_log, runs, schedule, search, spending, store, system, tools,
    unbuilt, working,
};

/// All routes as one service. Needs no listener: a test or the simulator may call it.
pub fn router(front: Front) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes().into_iter().chain(memory_routes()).chain(shared_routes()) {
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    for &(path, what) in unbuilt::ROUTES {
        let answer = any(move || async move { HttpError::not_built(what) });
        router = router.route(path, answer.clone()).route(&format!("{path}/"), answer);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(front.clone(), guard::guard))
        .layer(CatchPanicLayer::custom(panics::answer))
        .layer(axum::middleware::from_fn_with_state(front.clone(), request_log::log))
        .with_state(front)
}

fn routes() -> Vec<(&'static str, MethodRouter<Front>)> {
    vec![
        ("/health", get(system::health)),
        ("/v1/health", get(system::health)),
        ("/ready", get(system::ready)),
        ("/metrics", get(system::metrics)),
        ("/openapi.json", get(openapi::show)),
        ("/v1/models", get(models::list)),
        ("/v1/models/embedding", get(models::list_embedding)),
        ("/v1/tools", get(tools::list).post(tools::create).put(tools::upsert)),
        ("/v1/tools/{tool_id}", get(tools::retrieve).patch(tools::update).delete(tools::delete)),
        ("/v1/agents", get(agents::list).post(agents::create)),
        ("/v1/agents/count", get(agents::count)),
        ("/v1/agents/{agent_id}", get(agents::retrieve).patch(agents::update).delete(agents::delete)),
        ("/v1/agents/{agent_id}/recompile", post(agents::recompile)),
        ("/v1/agents/{agent_id}/fork", post(agents::fork)),
        ("/v1/agents/{agent_id}/reset-messages", patch(messages::reset)),
        ("/v1/agents/{agent_id}/summarize", post(messages::compact)),
        ("/v1/agents/{agent_id}/context", get(context::show)),
        ("/v1/agents/{agent_id}/archives/attach/{archive_id}", patch(archives::attach)),
        ("/v1/agents/{agent_id}/archives/detach/{archive_id}", patch(archives::detach)),
        ("/v1/agents/{agent_id}/tools", get(tools::list_of_agent)),
        ("/v1/agents/{agent_id}/tools/attach/{tool_id}", patch(tools::attach)),
        ("/v1/agents/{agent_id}/tools/detach/{tool_id}", patch(tools::detach)),
        ("/v1/agents/{agent_id}/tools/approval/{tool_name}", patch(tools::set_approval)),
        ("/v1/agents/{agent_id}/tools/{tool_name}/run", post(tools::run)),
        ("/v1/agents/{agent_id}/messages", get(messages::list).post(messages::create)),
        ("/v1/agents/{agent_id}/messages/stream", post(messages::stream)),
        ("/v1/agents/{agent_id}/messages/async", post(messages::create_async)),
        ("/v1/agents/{agent_id}/messages/cancel", post(messages::cancel)),
        ("/v1/messages/search", post(search::messages)),
        ("/v1/messages/{message_id}", get(messages::retrieve)),
        ("/v1/tools/search", post(search::tools)),
        ("/v1/conversations", get(conversations::list).post(conversations::create)),
        (
            "/v1/conversations/{conversation_id}",
            get(conversations::retrieve).patch(conversations::update).delete(conversations::delete),
        ),
        ("/v1/conversations/{conversation_id}/cancel", post(conversations::cancel)),
        ("/v1/conversations/{conversation_id}/compact", post(conversations::compact)),
        ("/v1/conversations/{conversation_id}/fork", post(conversations::fork)),
        (
            "/v1/conversations/{conversation_id}/messages",
            get(conversations::list_messages).post(conversations::send),
        ),
        ("/v1/conversations/{conversation_id}/recompile", post(conversations::recompile)),
        ("/v1/conversations/{conversation_id}/stream", post(conversations::resume)),
        ("/v1/actors/{type}", get(actors::list)),
        ("/v1/actors/{type}/{key}/{handler}", get(actors::look).post(actors::call)),
        ("/v1/actors/{type}/{key}/owner/migrate", post(actors::migrate)),
        ("/v1/actors/{type}/{key}/turns/{turn}/cancel", post(actors::cancel)),
        ("/v1/cluster/nodes", get(cluster::list)),
        ("/v1/cluster/nodes/{node}/actors", get(cluster::actors)),
        ("/v1/cluster/nodes/{node}/drain", post(cluster::drain)),
        ("/v1/cluster/nodes/{node}/evict", post(cluster::evict)),
        ("/v1/store/stats", get(store::stats)),
        ("/v1/store/backup", get(store::backup)),
        ("/v1/store/checkpoint", post(store::checkpoint)),
    ]
}

/// What an agent remembers, and what it is to hear later.
fn memory_routes() -> Vec<(&'static str, MethodRouter<Front>)> {
    vec![
        ("/v1/agents/{agent_id}/archival-memory", get(passages::list).post(passages::create)),
        ("/v1/agents/{agent_id}/archival-memory/search", get(passages::search)),
        ("/v1/agents/{agent_id}/archival-memory/{memory_id}", delete(passages::delete)),
        ("/v1/agents/{agent_id}/working-memory", get(working::list)),
        (
            "/v1/agents/{agent_id}/working-memory/{key}",
            get(working::retrieve).put(working::set).delete(working::delete),
        ),
        ("/v1/agents/{agent_id}/schedule", get(schedule::list).post(schedule::create)),
        (
            "/v1/agents/{agent_id}/schedule/{scheduled_message_id}",
            get(schedule::retrieve).delete(schedule::delete),
        ),
        ("/v1/agents/{agent_id}/core-memory/blocks", get(blocks::list)),
        ("/v1/agents/{agent_id}/core-memory/blocks/{label}", get(blocks::retrieve).patch(blocks::update)),
        ("/v1/agents/{agent_id}/core-memory/blocks/{label}/undo", post(blocks::undo)),
        ("/v1/agents/{agent_id}/core-memory/blocks/{label}/past", get(blocks::past)),
        ("/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}", patch(blocks::attach)),
        ("/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}", patch(blocks::detach)),
    ]
}

/// What belongs to no agent, or to several.
fn shared_routes() -> Vec<(&'static str, MethodRouter<Front>)> {
    vec![
        ("/v1/archives", get(archives::list).post(archives::create)),
        (
            "/v1/archives/{archive_id}",
            get(archives::retrieve).patch(archives::update).delete(archives::delete),
        ),
        ("/v1/archives/{archive_id}/passages", post(archives::create_passage)),
        ("/v1/archives/{archive_id}/passages/batch", post(archives::create_passages)),
        ("/v1/archives/{archive_id}/passages/{passage_id}", delete(archives::delete_passage)),
        ("/v1/passages/search", post(archives::search)),
        ("/v1/blocks", get(blocks::list_all).post(blocks::create)),
        (
            "/v1/blocks/{block_id}",
            get(blocks::retrieve_by_id).patch(blocks::update_by_id).delete(blocks::delete_by_id),
        ),
        ("/v1/blocks/{block_id}/undo", post(blocks::undo_by_id)),
        ("/v1/blocks/{block_id}/past", get(blocks::past_by_id)),
        ("/v1/blocks/{block_id}/agents", get(blocks::agents_of)),
        ("/v1/runs", get(runs::list)),
        ("/v1/runs/{run_id}", get(runs::retrieve)),
        ("/v1/runs/{run_id}/messages", get(runs::messages)),
        ("/v1/runs/{run_id}/usage", get(runs::usage)),
        ("/v1/runs/{run_id}/stream", post(runs::stream)),
        ("/v1/runs/{run_id}/recording", get(recording::show)),
        ("/v1/runs/{run_id}/replay", get(recording::replay)),
        ("/v1/spending", get(spending::show)),
    ]
}

async fn not_found(uri: Uri) -> HttpError {
    let detail = format!("There is nothing at {}", uri.path());
    HttpError::new(StatusCode::NOT_FOUND, "route.unknown", Advice::Fix, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    let detail = format!("{method} is not possible at {}; the allow header says what is", uri.path());
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "route.wrong_method", Advice::Fix, detail)
}
