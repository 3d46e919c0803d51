//! The events of one streamed answer.

use std::pin::Pin;

use eventsource_stream::{EventStreamError, Eventsource};
use futures::{Stream, StreamExt};
use reqwest::Response;
use serde_json::Value;

use super::agents::text;
use super::{Client, ClientError, innermost};

/// One thing that happens while an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The server is there.
    Ping,
    /// A piece of what the agent says; pieces of one message share an id.
    Says { id: String, piece: String },
    /// A piece of what the agent thinks.
    Thinks { id: String, piece: String },
    /// The agent calls a tool; pieces of one call share an id.
    Calls { id: String, tool: String, arguments: String },
    /// A tool answered.
    Returned { id: String, tool: String, answer: String, ok: bool },
    /// The turn is over.
    Stopped { reason: String },
    /// The turn failed.
    Error { message: String },
    /// Something that a chat does not show (usage, the user's own message).
    Other,
}

/// A streamed answer.
pub(crate) struct Events {
    client: Client,
    inner: Pin<Box<dyn Stream<Item = Result<String, EventStreamError<reqwest::Error>>> + Send>>,
}

impl Events {
    pub(super) fn new(client: Client, response: Response) -> Self {
        let inner = response.bytes_stream().eventsource().map(|event| event.map(|event| event.data));
        Self { client, inner: Box::pin(inner) }
    }

    /// The next event; `None` after `[DONE]`. A stream that ends without it was cut.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        let data = match self.inner.next().await {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Some(Err(self.cut(&innermost(&error)))),
            None => return Some(Err(self.cut("the answer was cut"))),
        };
        if data == "[DONE]" {
            return None;
        }
        match serde_json::from_str(&data) {
            Ok(value) => Some(Ok(event(&value))),
            Err(error) => Some(Err(self.client.foreign(error))),
        }
    }

    fn cut(&self, reason: &str) -> ClientError {
        ClientError::Unreachable { server: self.client.server().to_owned(), reason: reason.to_owned() }
    }
}

fn event(value: &Value) -> Event {
    let id = text(value, "id").to_owned();
    match text(value, "message_type") {
        "ping" => Event::Ping,
        "assistant_message" => Event::Says { id, piece: content(&value["content"]) },
        "reasoning_message" => Event::Thinks { id, piece: text(value, "reasoning").to_owned() },
        "tool_call_message" => {
            let call = &value["tool_call"];
            let arguments = text(call, "arguments").to_owned();
            // A call's own id tells two calls of one message apart; later pieces may lack it.
            let id = match text(call, "tool_call_id") {
                "" => id,
                call => call.to_owned(),
            };
            Event::Calls { id, tool: text(call, "name").to_owned(), arguments }
        }
        "tool_return_message" => Event::Returned {
            id: text(value, "tool_call_id").to_owned(),
            tool: text(value, "name").to_owned(),
            answer: content(&value["tool_return"]),
            ok: text(value, "status") != "error",
        },
        "stop_reason" => Event::Stopped { reason: text(value, "stop_reason").to_owned() },
        "error_message" => {
            let parts = [text(value, "message"), text(value, "detail")];
            Event::Error {
                message: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "),
            }
        }
        _ => Event::Other,
    }
}

/// Message content is a text, or a list of parts of which some are texts.
pub(crate) fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| text(part, "text")).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wire_messages_become_events() {
        let says = json!({ "message_type": "assistant_message", "id": "m1", "content": [{ "type": "text", "text": "hi" }] });
        assert_eq!(event(&says), Event::Says { id: "m1".into(), piece: "hi".into() });
        let calls = json!({ "message_type": "tool_call_message", "id": "m2",
            "tool_call": { "name": "tea", "arguments": "{}", "tool_call_id": "c1" } });
        assert_eq!(
            event(&calls),
            Event::Calls { id: "c1".into(), tool: "tea".into(), arguments: "{}".into() }
        );
        let returned = json!({ "message_type": "tool_return_message", "id": "m3", "name": "tea",
            "tool_call_id": "c1", "status": "error", "tool_return": "no milk" });
        let expected =
            Event::Returned { id: "c1".into(), tool: "tea".into(), answer: "no milk".into(), ok: false };
        assert_eq!(event(&returned), expected);
        assert_eq!(event(&json!({ "message_type": "usage_statistics" })), Event::Other);
    }
}
