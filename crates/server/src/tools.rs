//! The tools of this server over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kelpie_agent::query::{Order, Page};
use kelpie_agent::record::AgentRecord;
use kelpie_agent::tool::ToolInfo;
use kelpie_api::agent::AgentState;
use kelpie_api::error::ErrorBody;
use kelpie_api::request::{RunTool, SetApproval};
use kelpie_api::tool::{KeepTool, Tool, ToolExecutionResult};
use kelpie_core::advice::Advice;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::{Parameters, cut};
use crate::translate;

/// Tools of a page that does not say how many.
const PAGE_DEFAULT: usize = 50;

/// Lists the tools.
#[utoipa::path(get, path = "/v1/tools/", tag = "tools",
    params(("before" = Option<String>, Query), ("after" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("order" = Option<String>, Query), ("name" = Option<String>, Query)),
    responses((status = 200, body = Vec<Tool>)))]
pub(crate) async fn list(State(front): State<Front>, parameters: Parameters) -> Answer<Json<Vec<Tool>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let names: Vec<String> = reader.text("name").into_iter().chain(reader.list("names")).collect();
    reader.finish()?;
    let mut tools = front.agents()?.tools(front.scope()).await?;
    tools.retain(|tool| names.is_empty() || names.contains(&tool.spec.name));
    Ok(Json(show(tools, &page)))
}

/// Shows a tool.
#[utoipa::path(get, path = "/v1/tools/{tool_id}", tag = "tools", params(("tool_id" = String, Path)),
    responses((status = 200, body = Tool), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<Tool>> {
    let tools = front.agents()?.tools(front.scope()).await?;
    let tool = tools.iter().find(|tool| tool.id == id).map(translate::agent::tool);
    let missing = || HttpError::new(StatusCode::NOT_FOUND, "tool.not_found", Advice::Fix, "Tool not found");
    tool.map(Json).ok_or_else(missing)
}

/// Keeps a tool of source code. It is listed and can be given to agents; a call of it is refused.
#[utoipa::path(post, path = "/v1/tools/", tag = "tools", request_body = KeepTool,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Tool), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Key(key): Key,
    JsonBody(wire): JsonBody<KeepTool>,
) -> Answer<Json<Tool>> {
    let new = translate::agent::new_tool(wire);
    let tool = front.agents()?.keep_tool(front.scope(), key.as_ref(), new, false).await?;
    Ok(Json(translate::agent::tool(&tool)))
}

/// Keeps a tool of source code, in place of the one of that name if there is one.
#[utoipa::path(put, path = "/v1/tools/", tag = "tools", request_body = KeepTool,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Tool), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn upsert(
    State(front): State<Front>,
    Key(key): Key,
    JsonBody(wire): JsonBody<KeepTool>,
) -> Answer<Json<Tool>> {
    let new = translate::agent::new_tool(wire);
    let tool = front.agents()?.keep_tool(front.scope(), key.as_ref(), new, true).await?;
    Ok(Json(translate::agent::tool(&tool)))
}

/// Changes a tool of source code, for all agents that have it.
#[utoipa::path(patch, path = "/v1/tools/{tool_id}", tag = "tools", request_body = KeepTool,
    params(("tool_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Tool), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn update(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<KeepTool>,
) -> Answer<Json<Tool>> {
    let change = translate::agent::new_tool(wire);
    let tool = front.agents()?.change_tool(front.scope(), &id, key.as_ref(), change).await?;
    Ok(Json(translate::agent::tool(&tool)))
}

/// Deletes a tool of source code: all agents that have it lose it.
#[utoipa::path(delete, path = "/v1/tools/{tool_id}", tag = "tools",
    params(("tool_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.delete_tool(front.scope(), &id, key.as_ref()).await?;
    Ok(Json(json!({ "message": format!("Tool {id} deleted") })))
}

/// Lists an agent's tools.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/tools", tag = "tools", params(("agent_id" = String, Path)),
    responses((status = 200, body = Vec<Tool>), (status = 404, body = ErrorBody)))]
pub(crate) async fn list_of_agent(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Vec<Tool>>> {
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    reader.finish()?;
    let agent = front.agents()?.get(front.scope(), &id).await?;
    let mut tools = front.agents()?.tools(front.scope()).await?;
    tools.retain(|tool| agent.tools.contains(&tool.spec.name));
    Ok(Json(show(tools, &page)))
}

/// Gives an agent a tool.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/attach/{tool_id}", tag = "tools",
    params(("agent_id" = String, Path), ("tool_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody)))]
pub(crate) async fn attach(
    State(front): State<Front>,
    Path((id, tool_id)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<AgentState>> {
    let name = name_of(&front, &tool_id).await?;
    let agent = front.agents()?.set_tool(front.scope(), &id, key.as_ref(), &name, Some(true), None).await?;
    show_agent(&front, agent).await
}

/// Takes a tool away from an agent.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/detach/{tool_id}", tag = "tools",
    params(("agent_id" = String, Path), ("tool_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody)))]
pub(crate) async fn detach(
    State(front): State<Front>,
    Path((id, tool_id)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<AgentState>> {
    let name = name_of(&front, &tool_id).await?;
    let agent = front.agents()?.set_tool(front.scope(), &id, key.as_ref(), &name, Some(false), None).await?;
    show_agent(&front, agent).await
}

/// Says whether somebody has to approve each call of an agent's tool.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/approval/{tool_name}", tag = "tools",
    request_body = SetApproval,
    params(("agent_id" = String, Path), ("tool_name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = AgentState), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn set_approval(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
    Key(key): Key,
    JsonBody(wire): JsonBody<SetApproval>,
) -> Answer<Json<AgentState>> {
    let required = Some(wire.requires_approval);
    let agent = front.agents()?.set_tool(front.scope(), &id, key.as_ref(), &name, None, required).await?;
    show_agent(&front, agent).await
}

/// Runs a tool of an agent by hand.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/tools/{tool_name}/run", tag = "tools", request_body = RunTool,
    params(("agent_id" = String, Path), ("tool_name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = ToolExecutionResult), (status = 404, body = ErrorBody)))]
pub(crate) async fn run(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
    Key(key): Key,
    JsonBody(wire): JsonBody<RunTool>,
) -> Answer<Json<ToolExecutionResult>> {
    let arguments = Value::Object(wire.args).to_string();
    let outcome = front.agents()?.run_tool(front.scope(), &id, key.as_ref(), &name, arguments).await?;
    Ok(Json(if outcome.ok {
        let func_return = Value::String(outcome.text);
        ToolExecutionResult { status: "success".to_owned(), func_return, stderr: Vec::new() }
    } else {
        ToolExecutionResult {
            status: "error".to_owned(),
            func_return: Value::Null,
            stderr: vec![outcome.text],
        }
    }))
}

async fn name_of(front: &Front, id: &str) -> Answer<String> {
    let tools = front.agents()?.tools(front.scope()).await?;
    let name = tools.into_iter().find(|tool| tool.id == id).map(|tool| tool.spec.name);
    name.ok_or_else(|| HttpError::new(StatusCode::NOT_FOUND, "tool.not_found", Advice::Fix, "Tool not found"))
}

async fn show_agent(front: &Front, agent: AgentRecord) -> Answer<Json<AgentState>> {
    Ok(Json(translate::agent::state(agent, &front.agents()?.tools(front.scope()).await?)))
}

fn show(mut tools: Vec<ToolInfo>, page: &Page) -> Vec<Tool> {
    match page.order {
        Order::Ascending => {}
        Order::Descending => tools.reverse(),
    }
    cut(tools, page, |tool| &tool.id).iter().map(translate::agent::tool).collect()
}
