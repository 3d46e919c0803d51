//! What fills an agent's context window, over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_agent::conversation::ConversationName;
use kelpie_api::context::ContextWindow;
use kelpie_api::error::ErrorBody;

use crate::error::Answer;
use crate::front::Front;
use crate::path::Path;
use crate::query::Parameters;
use crate::translate;

/// Shows what fills the context window: of the conversation that every agent has, or of another.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/context", tag = "agents",
    params(("agent_id" = String, Path), ("conversation_id" = Option<String>, Query)),
    responses((status = 200, body = ContextWindow), (status = 404, body = ErrorBody)))]
pub(crate) async fn show(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<ContextWindow>> {
    let reader = parameters.reader();
    let conversation = reader.text("conversation_id").filter(|id| id != "default");
    reader.finish()?;
    let agents = front.agents()?;
    let name = match conversation {
        None => ConversationName { agent_id: id, number: 0 },
        Some(conversation) => {
            let name = agents.conversation_name(front.scope(), &conversation).await?;
            // One of another agent is none of this one's.
            agents.get(front.scope(), &id).await?;
            ConversationName { agent_id: id, ..name }
        }
    };
    let context = agents.context(front.scope(), &name).await?;
    Ok(Json(ContextWindow {
        context_window_size_max: context.window_tokens.into(),
        context_window_size_current: context.tokens() as u64,
        num_messages: context.messages.len() as u64,
        num_archival_memory: context.passages as u64,
        num_recall_memory: context.recall as u64,
        num_tokens_external_memory_summary: 0,
        external_memory_summary: String::new(),
        num_tokens_system: context.system_tokens() as u64,
        num_tokens_core_memory: context.core_memory_tokens() as u64,
        num_tokens_summary_memory: context.summary_tokens() as u64,
        num_tokens_functions_definitions: context.tool_tokens() as u64,
        num_tokens_messages: context.message_tokens as u64,
        functions_definitions: context.tools.iter().map(translate::agent::function).collect(),
        system_prompt: context.system,
        core_memory: context.core_memory,
        summary_memory: context.summary,
        messages: context.messages.into_iter().map(translate::message::message).collect(),
    }))
}
