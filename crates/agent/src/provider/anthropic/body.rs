//! From a request to the body of `POST /v1/messages`.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::PROVIDER;
use crate::format::ResponseFormat;
use crate::provider::wire::results_first;
use crate::provider::{ModelRequest, PromptMessage, RawTurn, ToolCall};

/// The protocol wants a number; every model can give this much.
const MAX_TOKENS_USUAL: u32 = 4096;
/// Stands where an answer would come first, which the protocol refuses.
const OPENING: &str = "(The conversation began earlier.)";

/// The JSON text. The same request gives the same bytes, and a longer conversation keeps the
/// beginning of a shorter one, so that the provider's cache hits.
pub(super) fn render(name: &str, request: &ModelRequest) -> String {
    let cached = Some(Cache { kind: "ephemeral" });
    let system = (!request.system.is_empty())
        .then(|| Block::Known(Known::Text { text: &request.system, cache_control: cached }));
    let form = form(request.response_format.as_ref());
    let form = form.as_ref().map(|text| Block::Known(Known::Text { text, cache_control: None }));
    let mut messages = turns(request);
    if let Some(Block::Known(last)) = messages.last_mut().and_then(|turn| turn.content.last_mut()) {
        last.cache();
    }
    let tools = request.tools.iter().map(|tool| Tool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.parameters,
    });
    let body = Body {
        model: name,
        max_tokens: request.max_tokens.unwrap_or(MAX_TOKENS_USUAL),
        tools: tools.collect(),
        tool_choice: (request.require_tool && !request.tools.is_empty()).then_some(Choice { kind: "any" }),
        system: system.into_iter().chain(form).collect(),
        messages,
        temperature: request.temperature,
        stream: true,
    };
    serde_json::to_string(&body).expect("strings, numbers and JSON that was parsed before")
}

/// The form of an answer in words: the protocol has no field for it.
fn form(format: Option<&ResponseFormat>) -> Option<String> {
    let object = "Whatever you answer in text has to be one JSON object and nothing else.";
    match format? {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(object.to_owned()),
        format @ ResponseFormat::JsonSchema { .. } => {
            Some(format!("{object} It has to fit this JSON schema: {}", format.schema()?))
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    stream: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct Choice {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize, Clone, Copy)]
struct Cache {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Known(Known<'a>),
    /// As the provider wrote it.
    Raw(Box<RawValue>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Known<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
}

impl Known<'_> {
    /// Marks the end of what the provider should keep for the next question.
    fn cache(&mut self) {
        match self {
            Self::Text { cache_control, .. } | Self::ToolResult { cache_control, .. } => {
                *cache_control = Some(Cache { kind: "ephemeral" });
            }
            Self::ToolUse { .. } => {}
        }
    }
}

/// Turns of alternating roles, the person's first.
fn turns(request: &ModelRequest) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = vec![];
    for message in results_first(&request.messages) {
        let (role, content) = blocks(message);
        if content.is_empty() {
            continue;
        }
        if turns.is_empty() && role == "assistant" {
            turns.push(Turn { role: "user", content: vec![text(OPENING)] });
        }
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.content.extend(content),
            Some(_) | None => turns.push(Turn { role, content }),
        }
    }
    turns
}

fn blocks(message: &PromptMessage) -> (&'static str, Vec<Block<'_>>) {
    match message {
        PromptMessage::User { text: said } => ("user", Vec::from_iter(nonempty(Some(said)))),
        PromptMessage::ToolResult { call_id, text, is_error } => {
            let (tool_use_id, content, is_error) = (call_id.as_str(), text.as_str(), *is_error);
            let result = Known::ToolResult { tool_use_id, content, is_error, cache_control: None };
            ("user", vec![Block::Known(result)])
        }
        PromptMessage::Assistant { text, tool_calls, raw, .. } => {
            let raw = raw.as_ref().and_then(|raw| raw_blocks(raw, tool_calls));
            let built = || {
                let calls = tool_calls.iter().map(|call| {
                    Block::Known(Known::ToolUse {
                        id: &call.id,
                        name: &call.name,
                        input: input(&call.arguments),
                    })
                });
                nonempty(text.as_ref()).into_iter().chain(calls).collect()
            };
            ("assistant", raw.unwrap_or_else(built))
        }
    }
}

fn text(text: &str) -> Block<'_> {
    Block::Known(Known::Text { text, cache_control: None })
}

/// The protocol refuses texts without a visible character.
fn nonempty(said: Option<&String>) -> Option<Block<'_>> {
    said.filter(|said| !said.trim().is_empty()).map(|said| text(said))
}

/// The provider's own blocks, as long as they call what the neutral form calls: who edited the
/// calls since then wants the edited ones.
fn raw_blocks<'a>(raw: &RawTurn, calls: &[ToolCall]) -> Option<Vec<Block<'a>>> {
    if raw.provider != PROVIDER {
        return None;
    }
    let mut called = vec![];
    let mut blocks = vec![];
    for block in &raw.blocks {
        let value: Value = serde_json::from_str(block).ok()?;
        if value["type"] == "tool_use" {
            called.push(value["id"].as_str()?.to_owned());
        }
        blocks.push(Block::Raw(RawValue::from_string(block.clone()).ok()?));
    }
    called.iter().eq(calls.iter().map(|call| &call.id)).then_some(blocks)
}

/// Arguments as the object that the protocol wants. What is no object is shown to the model
/// as what it is, beside the tool's error about it.
pub(super) fn input(arguments: &str) -> Box<RawValue> {
    match RawValue::from_string(arguments.to_owned()) {
        Ok(raw) if raw.get().trim_start().starts_with('{') => raw,
        Ok(_) | Err(_) => serde_json::value::to_raw_value(&serde_json::json!({ "not_an_object": arguments }))
            .expect("a string in an object is JSON"),
    }
}
