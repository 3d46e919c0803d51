//! The tools of this server over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kelpie_agent::query::{Order, Page};
use kelpie_agent::tool::ToolInfo;
use kelpie_api::error::ErrorBody;
use kelpie_api::tool::Tool;
use kelpie_core::advice::Advice;

use crate::error::{Answer, HttpError};
use crate::front::Front;
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
    let mut tools = front.agents()?.tools();
    tools.retain(|tool| names.is_empty() || names.contains(&tool.spec.name));
    Ok(Json(show(tools, &page)))
}

/// Shows a tool.
#[utoipa::path(get, path = "/v1/tools/{tool_id}", tag = "tools", params(("tool_id" = String, Path)),
    responses((status = 200, body = Tool), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(State(front): State<Front>, Path(id): Path<String>) -> Answer<Json<Tool>> {
    let tools = front.agents()?.tools();
    let tool = tools.iter().find(|tool| tool.id == id).map(translate::agent::tool);
    let missing = || HttpError::new(StatusCode::NOT_FOUND, "tool.not_found", Advice::Fix, "Tool not found");
    tool.map(Json).ok_or_else(missing)
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
    let mut tools = front.agents()?.tools();
    tools.retain(|tool| agent.tools.contains(&tool.spec.name));
    Ok(Json(show(tools, &page)))
}

fn show(mut tools: Vec<ToolInfo>, page: &Page) -> Vec<Tool> {
    match page.order {
        Order::Ascending => {}
        Order::Descending => tools.reverse(),
    }
    cut(tools, page, |tool| &tool.id).iter().map(translate::agent::tool).collect()
}
