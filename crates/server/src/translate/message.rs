//! Messages and runs: between the wire and the domain.

use kelpie_agent::message::{Message, MessageBody, NewMessage, Role, ToolStatus};
use kelpie_agent::outcome::{RunRecord, RunStatus, RunUsage};
use kelpie_agent::query::SendOptions;
use kelpie_api::message as wire;
use kelpie_api::request::{self, Content, SendMessages};
use kelpie_api::response::{Usage, UsageTag};
use kelpie_api::run::Run;
use kelpie_api::timestamp::Timestamp;

use crate::error::HttpError;

/// What a client sends to an agent.
pub(crate) struct Sending {
    /// The messages.
    pub(crate) messages: Vec<NewMessage>,
    /// How to run on them.
    pub(crate) options: SendOptions,
}

/// Reads what a client sends. What would change the run and can't be done here is refused.
pub(crate) fn sending(wire: &SendMessages) -> Result<Sending, HttpError> {
    let refused = [
        (
            "client_tools",
            "tools that run in the client",
            wire.client_tools.as_ref().is_some_and(|t| !t.is_empty()),
        ),
        ("override_model", "another model for one request", wire.override_model.is_some()),
        ("override_system", "other instructions for one request", wire.override_system.is_some()),
    ];
    for (field, what, asked) in refused {
        if asked {
            return Err(HttpError::body_field(field, format!("This build does not have {what}")));
        }
    }
    if wire.max_steps == Some(0) {
        return Err(HttpError::body_field("max_steps", "Input should be greater than or equal to 1"));
    }
    let options = SendOptions {
        max_steps: wire.max_steps,
        tool_calls_verbatim: !wire.use_assistant_message.unwrap_or(true),
    };
    Ok(Sending { messages: new_messages(wire)?, options })
}

fn new_messages(wire: &SendMessages) -> Result<Vec<NewMessage>, HttpError> {
    let listed = wire.messages.as_deref().unwrap_or_default();
    match (&wire.input, listed) {
        (Some(_), [_, ..]) => Err(HttpError::body_field("input", "Either input or messages, not both")),
        (Some(input), []) => Ok(vec![NewMessage { text: text("input", input)?, ..NewMessage::default() }]),
        (None, []) => Err(HttpError::body_field("messages", "At least one message, or input, is needed")),
        (None, listed) => {
            listed.iter().enumerate().map(|(place, message)| new_message(place, message)).collect()
        }
    }
}

fn new_message(place: usize, message: &request::NewMessage) -> Result<NewMessage, HttpError> {
    let field = |name: &str| format!("messages.{place}.{name}");
    match message.kind.as_deref() {
        None | Some("message") => {}
        Some(other) => {
            let msg = format!("This build takes messages of the type 'message', not '{other}'");
            return Err(HttpError::body_field(&field("type"), msg));
        }
    }
    let role = match message.role.as_deref() {
        Some("user") => Role::User,
        Some("system") => Role::System,
        Some("assistant") => Role::Assistant,
        Some(_) | None => {
            return Err(HttpError::body_field(
                &field("role"),
                "Input should be 'user', 'system' or 'assistant'",
            ));
        }
    };
    let Some(content) = &message.content else {
        return Err(HttpError::body_field(&field("content"), "Field required"));
    };
    let text = text(&field("content"), content)?;
    Ok(NewMessage { role, text, name: message.name.clone(), otid: message.otid.clone() })
}

fn text(field: &str, content: &Content) -> Result<String, HttpError> {
    let parts = match content {
        Content::Text(text) => return Ok(text.clone()),
        Content::Parts(parts) => parts,
    };
    let mut joined = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        match (part.kind.as_deref(), &part.text) {
            (None | Some("text"), Some(text)) => joined.push(text.as_str()),
            (kind, _) => {
                let kind = kind.unwrap_or("none");
                let msg = format!("This build takes parts of the type 'text' only, not '{kind}'");
                return Err(HttpError::body_field(&format!("{field}.{place}"), msg));
            }
        }
    }
    Ok(joined.join("\n"))
}

/// A message as clients see it.
pub(crate) fn message(message: Message) -> wire::Message {
    let header = wire::Header {
        id: message.id,
        date: Timestamp(message.date_ms),
        otid: message.otid,
        run_id: Some(message.run_id),
        step_id: message.step_id,
        seq_id: None,
        name: message.name,
    };
    match message.body {
        MessageBody::System { text } => wire::Message::System(wire::Text { header, content: text }),
        MessageBody::User { text } => wire::Message::User(wire::Text { header, content: text }),
        MessageBody::Assistant { text } => wire::Message::Assistant(wire::Text { header, content: text }),
        MessageBody::Reasoning { text } => {
            wire::Message::Reasoning(wire::Reasoning { header, reasoning: text })
        }
        MessageBody::ToolCall { call_id, name, arguments } => {
            let call = wire::ToolCall { name, arguments, tool_call_id: call_id };
            let tool_calls = vec![call.clone()];
            wire::Message::ToolCall(wire::ToolCallMessage { header, tool_call: call, tool_calls })
        }
        MessageBody::ToolReturn { call_id, name, text, status } => {
            let header = wire::Header { name: Some(name), ..header };
            wire::Message::ToolReturn(tool_return(header, call_id, text, status))
        }
    }
}

fn tool_return(
    header: wire::Header,
    call_id: String,
    text: String,
    status: ToolStatus,
) -> wire::ToolReturnMessage {
    let status = match status {
        ToolStatus::Success => "success",
        ToolStatus::Error => "error",
    };
    let tool_return = wire::ToolReturn {
        tool_return: text.clone(),
        status: status.to_owned(),
        tool_call_id: call_id.clone(),
        kind: "tool".to_owned(),
    };
    wire::ToolReturnMessage {
        header,
        tool_return: text,
        status: status.to_owned(),
        tool_call_id: call_id,
        tool_returns: vec![tool_return],
    }
}

/// What a run cost, as clients see it.
pub(crate) fn usage(run_id: &str, usage: RunUsage) -> Usage {
    Usage {
        message_type: UsageTag::UsageStatistics,
        completion_tokens: usage.completion_tokens,
        prompt_tokens: usage.prompt_tokens,
        total_tokens: usage.completion_tokens + usage.prompt_tokens,
        cached_input_tokens: usage.cached_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        step_count: u64::from(usage.steps),
        run_ids: vec![run_id.to_owned()],
    }
}

/// The word for where a run stands.
pub(crate) fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Created => "created",
        RunStatus::Running => "running",
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    }
}

/// A run as clients see it.
pub(crate) fn run(run: RunRecord) -> Run {
    Run {
        id: run.id,
        agent_id: run.agent_id,
        status: status(run.status).to_owned(),
        stop_reason: run.stop_reason.map(|reason| reason.word().to_owned()),
        created_at: Timestamp(run.created_ms),
        completed_at: run.completed_ms.map(Timestamp),
    }
}
