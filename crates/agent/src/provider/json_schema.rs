//! Tools for models that cannot call any: what they may call is the form of their answer.
//!
//! ```text
//!   tools          ─▶ told in the instructions, and one schema:  {"call": NAME, "with": {…}} or {"say": TEXT}
//!   calls, results ─▶ what the model wrote, and what a person says
//!   the answer     ─▶ the call, or the text
//! ```
//!
//! A server that holds its model to a schema (llama-server, vLLM, Ollama) makes even a very
//! small model call a tool with arguments that fit. One call per answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::wire::{CallIds, Fault, Header, Progress, Reader, Wire};
use super::{Delta, DeltaSink, ModelAnswer, ModelRequest, PromptMessage, Stop, ToolCall};
use crate::format::ResponseFormat;

mod pieces;
#[cfg(test)]
mod tests;

use pieces::Written;

/// What the schema is called.
const NAME: &str = "answer";

/// A protocol whose models cannot call tools.
#[derive(Debug)]
pub(super) struct JsonSchema<W>(pub(super) W);

impl<W: Wire> Wire for JsonSchema<W> {
    fn provider(&self) -> &'static str {
        self.0.provider()
    }

    fn headers(&self) -> Vec<Header> {
        self.0.headers()
    }

    fn ask_path(&self) -> &'static str {
        self.0.ask_path()
    }

    fn body(&self, name: &str, request: &ModelRequest) -> String {
        self.0.body(name, &told(request))
    }

    fn reader(&self, name: &str, request: &ModelRequest) -> Box<dyn Reader> {
        let inner = self.0.reader(name, request);
        if request.tools.is_empty() {
            return inner;
        }
        Box::new(Spoken { inner, id: CallIds::of(request).assign(""), written: Written::default() })
    }

    fn models_path(&self) -> &'static str {
        self.0.models_path()
    }

    fn usual_model(&self) -> Option<&'static str> {
        self.0.usual_model()
    }
}

/// The request without tools that asks for the same.
fn told(request: &ModelRequest) -> ModelRequest {
    let messages = request.messages.iter().map(|message| said(request, message)).collect();
    if request.tools.is_empty() {
        return ModelRequest { messages, ..request.clone() };
    }
    let mut system = request.system.clone();
    system.push_str("\n\nAnswer with one JSON object and nothing else. ");
    system.push_str("To call a tool: {\"call\": NAME, \"with\": ARGUMENTS}. ");
    if !request.require_tool {
        system.push_str("To say something: {\"say\": TEXT}. ");
    }
    system.push_str("The tools:");
    for tool in &request.tools {
        system.push_str(&format!("\n{}: {} Arguments: {}", tool.name, tool.description, tool.parameters));
    }
    let response_format = Some(ResponseFormat::JsonSchema { json_schema: form(request) });
    let (tools, require_tool) = (Vec::new(), false);
    ModelRequest { system, messages, tools, require_tool, response_format, ..request.clone() }
}

/// What an answer looks like.
fn form(request: &ModelRequest) -> Value {
    let object = |name: &str, value: Value, more: Option<(&str, Value)>| {
        let mut properties = serde_json::Map::from_iter([(name.to_owned(), value)]);
        properties.extend(more.map(|(name, value)| (name.to_owned(), value)));
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
    };
    let call = |tool: &super::ToolSpec| {
        object("call", json!({ "const": tool.name }), Some(("with", tool.parameters.clone())))
    };
    let mut forms: Vec<Value> = request.tools.iter().map(call).collect();
    if !request.require_tool {
        let text = request.response_format.as_ref().and_then(ResponseFormat::schema);
        forms.push(object("say", text.cloned().unwrap_or_else(|| json!({ "type": "string" })), None));
    }
    json!({ "name": NAME, "schema": { "anyOf": forms } })
}

/// One entry of the conversation, as this model has written or read it.
fn said(request: &ModelRequest, message: &PromptMessage) -> PromptMessage {
    match message {
        PromptMessage::User { .. } => message.clone(),
        PromptMessage::Assistant { text, tool_calls, .. } => {
            let call = |call: &ToolCall| {
                // As it was written, when that is no JSON.
                let with = serde_json::from_str(&call.arguments);
                let with: Value = with.unwrap_or_else(|_| Value::from(call.arguments.clone()));
                json!({ "call": call.name, "with": with }).to_string()
            };
            let text =
                text.iter().filter(|text| !text.is_empty()).map(|text| json!({ "say": text }).to_string());
            let lines: Vec<String> = text.chain(tool_calls.iter().map(call)).collect();
            let text = (!lines.is_empty()).then(|| lines.join("\n"));
            PromptMessage::Assistant { text, reasoning: None, tool_calls: Vec::new(), raw: None }
        }
        PromptMessage::ToolResult { call_id, text, is_error } => {
            let calls = request.messages.iter().flat_map(super::wire::calls);
            let name = calls.filter(|call| call.id == *call_id).map(|call| call.name.as_str()).next_back();
            let what = if *is_error { "failed" } else { "returned" };
            PromptMessage::user(format!("<tool {}> {what}: {text}", name.unwrap_or("call")))
        }
    }
}

/// Reads an answer in that form.
struct Spoken {
    inner: Box<dyn Reader>,
    /// The id of its call, if it makes one.
    id: String,
    written: Written,
}

/// What the model wrote.
#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    call: Option<Cow<'a, str>>,
    #[serde(borrow)]
    with: Option<&'a RawValue>,
    #[serde(borrow)]
    say: Option<&'a RawValue>,
}

impl Reader for Spoken {
    fn event(&mut self, data: &str, deltas: DeltaSink<'_>) -> Result<Progress, Fault> {
        let Self { inner, id, written } = self;
        let mut sink = |delta| match delta {
            Delta::Text(part) => written.grew(&part, id, deltas),
            other @ (Delta::Reasoning(_) | Delta::ToolCall { .. } | Delta::Restart) => deltas(other),
        };
        inner.event(data, &mut sink)
    }

    fn finish(self: Box<Self>) -> Result<ModelAnswer, Fault> {
        let Self { inner, id, written: begun } = *self;
        let answer = inner.finish()?;
        let written = answer.text.as_deref().unwrap_or_default();
        let (text, call) = match serde_json::from_str::<Form<'_>>(written) {
            Ok(Form { call: Some(name), with, .. }) => {
                let arguments = with.map_or("{}", RawValue::get).to_owned();
                (None, Some(ToolCall { id, name: name.into_owned(), arguments }))
            }
            Ok(Form { say: Some(say), .. }) => {
                let text = serde_json::from_str::<String>(say.get()).unwrap_or_else(|_| say.get().to_owned());
                (Some(text), None)
            }
            // A call that is cut off: its arguments are no JSON, which the model is told.
            Ok(_) | Err(_) => match begun.call() {
                Some((name, arguments)) => {
                    let (name, arguments) = (name.to_owned(), arguments.to_owned());
                    (None, Some(ToolCall { id, name, arguments }))
                }
                None => (answer.text.clone(), None),
            },
        };
        let stop = if call.is_some() && answer.stop == Stop::EndTurn { Stop::ToolUse } else { answer.stop };
        Ok(ModelAnswer { text, tool_calls: call.into_iter().collect(), stop, ..answer })
    }
}
