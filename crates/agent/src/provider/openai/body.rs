//! From a request to the body of `POST /chat/completions`.

use serde::Serialize;
use serde_json::Value;

use crate::format::ResponseFormat;
use crate::provider::wire::results_first;
use crate::provider::{ModelRequest, PromptMessage, ToolCall};

/// The JSON text. The same request gives the same bytes.
pub(super) fn render(name: &str, request: &ModelRequest, own_service: bool) -> String {
    let system = (!request.system.is_empty()).then_some(Message::System { content: &request.system });
    let tools = request.tools.iter().map(|tool| Tool {
        kind: FUNCTION,
        function: Function { name: &tool.name, description: &tool.description, parameters: &tool.parameters },
    });
    // OpenAI's newer models refuse the old name, other servers do not know the new one.
    let (old, new) = if own_service { (None, request.max_tokens) } else { (request.max_tokens, None) };
    let body = Body {
        model: name,
        messages: system
            .into_iter()
            .chain(results_first(&request.messages).into_iter().filter_map(message))
            .collect(),
        tools: tools.collect(),
        tool_choice: (request.require_tool && !request.tools.is_empty()).then_some("required"),
        max_tokens: old,
        max_completion_tokens: new,
        temperature: request.temperature,
        response_format: request.response_format.as_ref(),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    };
    serde_json::to_string(&body).expect("strings, numbers and JSON that was parsed before")
}

const FUNCTION: &str = "function";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<&'a ResponseFormat>,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: String,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

fn message(message: &PromptMessage) -> Option<Message<'_>> {
    match message {
        PromptMessage::User { text } => Some(Message::User { content: text }),
        PromptMessage::ToolResult { call_id, text, is_error } => {
            // The protocol has no other place to say so.
            let content = if *is_error { format!("Error: {text}") } else { text.clone() };
            Some(Message::Tool { tool_call_id: call_id, content })
        }
        PromptMessage::Assistant { text, tool_calls, .. } => {
            let content = text.as_deref().filter(|text| !text.is_empty());
            let silent = content.is_none() && tool_calls.is_empty();
            (!silent)
                .then(|| Message::Assistant { content, tool_calls: tool_calls.iter().map(call).collect() })
        }
    }
}

fn call(ToolCall { id, name, arguments }: &ToolCall) -> Call<'_> {
    Call { id, kind: FUNCTION, function: Called { name, arguments } }
}
