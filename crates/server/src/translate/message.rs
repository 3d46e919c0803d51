//! Messages and runs: between the wire and the domain.

use kelpie_agent::message::{AskedCall, Message, MessageBody, NewMessage, Role, ToolStatus};
use kelpie_agent::outcome::{RunRecord, RunStatus, RunUsage};
use kelpie_agent::provider::ToolSpec;
use kelpie_agent::query::{Overrides, SendOptions};
use kelpie_api::message as wire;
use kelpie_api::request::{self, Content, SendMessages};
use kelpie_api::response::{Usage, UsageTag};
use kelpie_api::run::Run;
use kelpie_api::timestamp::Timestamp;
use kelpie_memory::recall::{Ruling, Verdict};
use serde_json::Value;

use crate::error::HttpError;

/// What a client sends to an agent.
pub(crate) struct Sending {
    /// What it is.
    pub(crate) what: What,
    /// How to run on it.
    pub(crate) options: SendOptions,
}

/// What a client sends: something to say, or decisions about calls that wait for them.
pub(crate) enum What {
    /// Messages.
    Say(Vec<NewMessage>),
    /// A decision about each call.
    Decide(Vec<Verdict>),
    /// The older form: one decision about all calls of a request.
    DecideAll {
        /// The request.
        request_id: String,
        /// What was decided.
        ruling: Ruling,
    },
}

/// Reads what a client sends. What would change the run and can't be done here is refused.
pub(crate) fn sending(wire: &SendMessages) -> Result<Sending, HttpError> {
    if wire.max_steps == Some(0) {
        return Err(HttpError::body_field("max_steps", "Input should be greater than or equal to 1"));
    }
    let options = SendOptions {
        max_steps: wire.max_steps,
        tool_calls_verbatim: !wire.use_assistant_message.unwrap_or(true),
        client_tools: wire.client_tools.iter().flatten().map(client_tool).collect::<Result<_, _>>()?,
        overrides: Overrides { model: wire.override_model.clone(), system: wire.override_system.clone() },
        ..SendOptions::default()
    };
    let listed = wire.messages.as_deref().unwrap_or_default();
    let what = match listed.iter().position(|message| message.kind.as_deref() == Some("approval")) {
        None => What::Say(new_messages(wire)?),
        Some(_) if listed.len() == 1 && wire.input.is_none() => decision(&listed[0])?,
        Some(place) => {
            let msg = "An approval comes alone: nothing may stand between a call and its result";
            return Err(HttpError::body_field(&format!("messages.{place}.type"), msg));
        }
    };
    Ok(Sending { what, options })
}

/// A tool that the client carries out.
fn client_tool(tool: &Value) -> Result<ToolSpec, HttpError> {
    let text = |name: &str| tool.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(name) = text("name") else {
        return Err(HttpError::body_field("client_tools", "Each tool needs a name"));
    };
    let parameters = tool.get("parameters").filter(|parameters| parameters.is_object()).cloned();
    Ok(ToolSpec {
        name: name.to_owned(),
        description: text("description").unwrap_or_default().to_owned(),
        parameters: parameters.unwrap_or_else(|| serde_json::json!({"type": "object", "properties": {}})),
    })
}

fn decision(message: &request::NewMessage) -> Result<What, HttpError> {
    match (&message.approvals, message.approve, &message.approval_request_id) {
        (Some(approvals), _, _) if !approvals.is_empty() => {
            let verdicts = approvals.iter().enumerate().map(|(place, approval)| verdict(place, approval));
            Ok(What::Decide(verdicts.collect::<Result<_, _>>()?))
        }
        (_, Some(approve), Some(request_id)) => {
            let ruling =
                if approve { Ruling::Approved } else { Ruling::Denied { reason: message.reason.clone() } };
            Ok(What::DecideAll { request_id: request_id.clone(), ruling })
        }
        _ => Err(HttpError::body_field("messages.0.approvals", "A decision about each call is needed")),
    }
}

fn verdict(place: usize, approval: &request::NewApproval) -> Result<Verdict, HttpError> {
    let field = |name: &str| format!("messages.0.approvals.{place}.{name}");
    let ruling = match (approval.kind.as_deref(), approval.approve, &approval.tool_return) {
        (None | Some("approval"), Some(true), _) => Ruling::Approved,
        (None | Some("approval"), Some(false), _) => Ruling::Denied { reason: approval.reason.clone() },
        (Some("approval"), None, _) => {
            return Err(HttpError::body_field(&field("approve"), "Field required"));
        }
        (None | Some("tool"), _, Some(content)) => Ruling::Answered {
            text: text(&field("tool_return"), content)?,
            ok: approval.status.as_deref() != Some("error"),
        },
        (Some("tool"), _, None) => {
            return Err(HttpError::body_field(&field("tool_return"), "Field required"));
        }
        (kind, _, _) => {
            let msg = format!("Input should be 'approval' or 'tool', not '{}'", kind.unwrap_or("none"));
            return Err(HttpError::body_field(&field("type"), msg));
        }
    };
    if approval.tool_call_id.is_empty() {
        return Err(HttpError::body_field(&field("tool_call_id"), "Field required"));
    }
    Ok(Verdict { call_id: approval.tool_call_id.clone(), ruling })
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

pub(crate) fn new_message(place: usize, message: &request::NewMessage) -> Result<NewMessage, HttpError> {
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
        MessageBody::ApprovalRequest { calls } => {
            let call = |call: AskedCall| wire::ToolCall {
                name: call.name,
                arguments: call.arguments,
                tool_call_id: call.call_id,
            };
            let tool_calls: Vec<wire::ToolCall> = calls.into_iter().map(call).collect();
            let none = || wire::ToolCall {
                name: String::new(),
                arguments: String::new(),
                tool_call_id: String::new(),
            };
            let tool_call = tool_calls.first().cloned().unwrap_or_else(none);
            wire::Message::ApprovalRequest(wire::ToolCallMessage { header, tool_call, tool_calls })
        }
        MessageBody::ApprovalResponse { verdicts } => {
            wire::Message::ApprovalResponse(response(header, verdicts))
        }
        MessageBody::Summary { text, .. } => wire::Message::Summary(wire::Summary { header, summary: text }),
        MessageBody::ToolReturn { call_id, name, text, status } => {
            let header = wire::Header { name: Some(name), ..header };
            wire::Message::ToolReturn(tool_return(header, call_id, text, status))
        }
    }
}

fn response(header: wire::Header, verdicts: Vec<Verdict>) -> wire::ApprovalResponse {
    let approve = !verdicts.iter().any(|verdict| matches!(verdict.ruling, Ruling::Denied { .. }));
    let reason = verdicts.iter().find_map(|verdict| match &verdict.ruling {
        Ruling::Denied { reason } => reason.clone(),
        Ruling::Approved | Ruling::Answered { .. } => None,
    });
    let approval = |Verdict { call_id: tool_call_id, ruling }| match ruling {
        Ruling::Approved => wire::Approval::Approval { tool_call_id, approve: true, reason: None },
        Ruling::Denied { reason } => wire::Approval::Approval { tool_call_id, approve: false, reason },
        Ruling::Answered { text, ok } => {
            let status = if ok { "success" } else { "error" }.to_owned();
            wire::Approval::Tool { tool_call_id, tool_return: text, status }
        }
    };
    wire::ApprovalResponse {
        header,
        approve,
        approvals: verdicts.into_iter().map(approval).collect(),
        reason,
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
        cost_microdollars: usage.cost(),
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
        conversation_id: run.conversation_id(),
        id: run.id,
        agent_id: run.agent_id,
        status: status(run.status).to_owned(),
        stop_reason: run.stop_reason.map(|reason| reason.word().to_owned()),
        created_at: Timestamp(run.created_ms),
        completed_at: run.completed_ms.map(Timestamp),
        paused_until: run.paused_until_ms.map(Timestamp),
        continues: run.continues,
    }
}
