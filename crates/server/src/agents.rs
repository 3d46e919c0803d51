//! Agents over HTTP: create, list, show, change, delete.

use axum::Json;
use axum::extract::State;
use kelpie_agent::query::{AgentQuery, PAGE_MAX, Page};
use kelpie_agent::record::AgentRecord;
use kelpie_api::agent::{AgentState, CreateAgent, ForkAgent, UpdateAgent};
use kelpie_api::error::ErrorBody;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::{Parameters, Reader};
use crate::translate;

/// Agents of a page that does not say how many.
const PAGE_DEFAULT: usize = 50;

/// Creates an agent.
#[utoipa::path(post, path = "/v1/agents/", tag = "agents", request_body = CreateAgent,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key creates one agent")),
    responses((status = 200, body = AgentState), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreateAgent>,
) -> Answer<Json<AgentState>> {
    let new = translate::agent::create(wire, &front.agents()?.tools(front.scope()).await?)?;
    let agent = front.agents()?.create(front.scope(), key.as_ref(), new).await?;
    show(&front, agent).await
}

/// Lists agents, newest first.
#[utoipa::path(get, path = "/v1/agents/", tag = "agents",
    params(
        ("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query, description = "asc or desc"),
        ("name" = Option<String>, Query), ("query_text" = Option<String>, Query),
        ("tags" = Option<Vec<String>>, Query), ("match_all_tags" = Option<bool>, Query),
    ),
    responses((status = 200, body = Vec<AgentState>), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    parameters: Parameters,
) -> Answer<Json<Vec<AgentState>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let query = filter(&mut reader, page);
    reader.finish()?;
    let agents = front.agents()?.list(front.scope(), &query).await?;
    let tools = front.agents()?.tools(front.scope()).await?;
    Ok(Json(agents.into_iter().map(|agent| translate::agent::state(agent, &tools)).collect()))
}

/// Counts agents; takes the same filters as the list.
#[utoipa::path(get, path = "/v1/agents/count", tag = "agents",
    responses((status = 200, body = u64), (status = 422, body = ErrorBody)))]
pub(crate) async fn count(State(front): State<Front>, parameters: Parameters) -> Answer<Json<u64>> {
    let mut reader = parameters.reader();
    let page = Page { limit: PAGE_MAX, ..Page::default() };
    let mut query = filter(&mut reader, page);
    reader.finish()?;
    let mut count = 0;
    loop {
        let agents = front.agents()?.list(front.scope(), &query).await?;
        count += agents.len() as u64;
        match agents.last() {
            Some(last) if agents.len() == PAGE_MAX => query.page.after = Some(last.id.clone()),
            Some(_) | None => return Ok(Json(count)),
        }
    }
}

/// Shows an agent.
#[utoipa::path(get, path = "/v1/agents/{agent_id}", tag = "agents", params(("agent_id" = String, Path)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<AgentState>> {
    let agent = front.agents()?.get(front.scope(), &id).await?;
    show(&front, agent).await
}

/// Changes an agent.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}", tag = "agents", request_body = UpdateAgent,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<UpdateAgent>,
) -> Answer<Json<AgentState>> {
    let change = translate::agent::update(wire, &front.agents()?.tools(front.scope()).await?)?;
    let agent = front.agents()?.update(front.scope(), &id, key.as_ref(), change).await?;
    show(&front, agent).await
}

/// Deletes an agent with its memory and messages.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}", tag = "agents",
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.delete(front.scope(), &id, key.as_ref()).await?;
    Ok(Json(json!({ "message": format!("Agent {id} deleted") })))
}

/// Shows the prompt before the messages. It is made anew for each step, so there is nothing to
/// store.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/recompile", tag = "agents", params(("agent_id" = String, Path)),
    responses((status = 200, body = String), (status = 404, body = ErrorBody)))]
pub(crate) async fn recompile(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<String>> {
    Ok(Json(front.agents()?.system_prompt(front.scope(), &id).await?))
}

/// Makes an agent from another: its settings, its memory as it is, its messages up to now or up to
/// the end of a run.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/fork", tag = "agents", request_body = ForkAgent,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn fork(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<ForkAgent>,
) -> Answer<Json<AgentState>> {
    let ForkAgent { name, run_id } = wire;
    let agent = front.agents()?.fork(front.scope(), &id, key.as_ref(), name, run_id).await?;
    show(&front, agent).await
}

fn filter(reader: &mut Reader<'_>, page: Page) -> AgentQuery {
    AgentQuery {
        page,
        name: reader.text("name"),
        tags: reader.list("tags"),
        match_all_tags: reader.flag("match_all_tags", false),
        text: reader.text("query_text"),
    }
}

async fn show(front: &Front, agent: AgentRecord) -> Answer<Json<AgentState>> {
    Ok(Json(translate::agent::state(agent, &front.agents()?.tools(front.scope()).await?)))
}
