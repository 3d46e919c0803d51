//! Search over HTTP: messages of all conversations, and tools.

use axum::Json;
use axum::extract::State;
use kelpie_agent::message::MessageBody;
use kelpie_agent::service::{FoundMessage, MessageQuery};
use kelpie_api::error::ErrorBody;
use kelpie_api::request::{SearchMessages, SearchTools};
use kelpie_api::timestamp::Timestamp;
use kelpie_api::tool::FoundTool;
use kelpie_memory::search::Query;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::Answer;
use crate::front::Front;
use crate::translate;

/// Hits of a search that does not say how many.
const HITS_DEFAULT: u32 = 50;
/// The most hits of a search.
const HITS_MAX: u32 = 1_000;

/// Finds messages that have all words, newest first.
#[utoipa::path(post, path = "/v1/messages/search", tag = "messages", request_body = SearchMessages,
    responses((status = 200, body = Vec<Value>), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn messages(
    State(front): State<Front>,
    JsonBody(wire): JsonBody<SearchMessages>,
) -> Answer<Json<Vec<Value>>> {
    let query = MessageQuery {
        text: wire.query,
        agent_id: wire.agent_id,
        conversation_id: wire.conversation_id,
        from_ms: wire.start_date.map(|at| at.0),
        to_ms: wire.end_date.map(|at| at.0),
        limit: limit(wire.limit),
    };
    let found = front.agents()?.find_messages(front.scope(), &query).await?;
    Ok(Json(found.into_iter().filter_map(found_message).collect()))
}

/// Finds tools by the words of their names and descriptions.
#[utoipa::path(post, path = "/v1/tools/search", tag = "tools", request_body = SearchTools,
    responses((status = 200, body = Vec<FoundTool>), (status = 422, body = ErrorBody)))]
pub(crate) async fn tools(
    State(front): State<Front>,
    JsonBody(wire): JsonBody<SearchTools>,
) -> Answer<Json<Vec<FoundTool>>> {
    let query = Query::new(&wire.query.unwrap_or_default());
    let types = wire.tool_types.unwrap_or_default();
    let all = front.agents()?.tools(front.scope()).await?;
    let found = all.iter().map(translate::agent::tool).filter(|tool| {
        (types.is_empty() || types.contains(&tool.tool_type))
            && query.finds(&format!("{} {}", tool.name.replace('_', " "), tool.description))
    });
    let ranked = (1_u32..).zip(found.take(limit(wire.limit)));
    Ok(Json(
        ranked
            .map(|(rank, tool)| FoundTool {
                tool,
                combined_score: 1.0 / f64::from(rank),
                fts_rank: rank.into(),
            })
            .collect(),
    ))
}

fn limit(asked: Option<u32>) -> usize {
    usize::try_from(asked.unwrap_or(HITS_DEFAULT).clamp(1, HITS_MAX)).unwrap_or(usize::MAX)
}

fn found_message(found: FoundMessage) -> Option<Value> {
    let FoundMessage { agent_id, conversation_id, message } = found;
    let (kind, field, text) = match message.body {
        MessageBody::System { text } => ("system_message", "content", text),
        MessageBody::User { text } => ("user_message", "content", text),
        MessageBody::Assistant { text } => ("assistant_message", "content", text),
        MessageBody::Reasoning { text } => ("reasoning_message", "reasoning", text),
        MessageBody::ToolCall { .. }
        | MessageBody::ToolReturn { .. }
        | MessageBody::ApprovalRequest { .. }
        | MessageBody::ApprovalResponse { .. }
        | MessageBody::Summary { .. } => return None,
    };
    Some(json!({
        "message_type": kind, "message_id": message.id, field: text, "created_at": Timestamp(message.date_ms),
        "agent_id": agent_id, "conversation_id": conversation_id,
    }))
}
