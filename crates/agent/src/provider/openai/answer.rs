//! From the chunks of a stream to an answer.
//!
//! Servers differ in what they leave out: ids, indices, usage, `[DONE]`, even the streaming.
//! An answer is whole when a chunk gave its `finish_reason` or `[DONE]` came; the rest is
//! taken as it is there.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::provider::refusal::Refusal;
use crate::provider::wire::{CallIds, Fault, Progress, Reader};
use crate::provider::{Delta, DeltaSink, ModelAnswer, ModelRequest, Stop, ToolCall, Usage};

/// The last event of a stream.
const DONE: &str = "[DONE]";

/// The answer so far.
pub(super) struct Chunks {
    ids: CallIds,
    model: String,
    text: String,
    reasoning: String,
    refused: bool,
    calls: Vec<Call>,
    usage: Usage,
    stop: Option<String>,
    ended: bool,
}

/// A call so far, and what its pieces are known by.
struct Call {
    index: Option<u64>,
    given_id: String,
    call: ToolCall,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    model: Option<String>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Counts>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Part<'a>>,
    /// The whole of it, from servers that do not stream.
    #[serde(borrow)]
    message: Option<Part<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Part<'a> {
    content: Option<String>,
    reasoning_content: Option<String>,
    /// Its name at OpenRouter and Ollama. Some send both, so it is no alias.
    reasoning: Option<String>,
    refusal: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<CallPart<'a>>>,
}

#[derive(Deserialize)]
struct CallPart<'a> {
    index: Option<u64>,
    id: Option<String>,
    #[serde(borrow)]
    function: Option<FunctionPart<'a>>,
}

#[derive(Deserialize)]
struct FunctionPart<'a> {
    name: Option<String>,
    /// A string, or the object itself from servers that take the protocol lightly.
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptCounts>,
    completion_tokens_details: Option<CompletionCounts>,
}

#[derive(Deserialize)]
struct PromptCounts {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionCounts {
    reasoning_tokens: Option<u64>,
}

impl Chunks {
    pub(super) fn new(name: &str, request: &ModelRequest) -> Self {
        Self {
            ids: CallIds::of(request),
            model: name.to_owned(),
            text: String::new(),
            reasoning: String::new(),
            refused: false,
            calls: vec![],
            usage: Usage::default(),
            stop: None,
            ended: false,
        }
    }

    fn grew(&mut self, part: Part<'_>, deltas: DeltaSink<'_>) -> Result<(), Fault> {
        let Part { content, reasoning_content, reasoning, refusal, tool_calls } = part;
        if let Some(more) = nonempty(reasoning_content).or(nonempty(reasoning)) {
            self.reasoning.push_str(&more);
            deltas(Delta::Reasoning(more));
        }
        if let Some(more) = nonempty(content) {
            self.text.push_str(&more);
            deltas(Delta::Text(more));
        }
        if let Some(more) = nonempty(refusal) {
            self.refused = true;
            self.text.push_str(&more);
            deltas(Delta::Text(more));
        }
        for part in tool_calls.into_iter().flatten() {
            self.call_grew(part, deltas)?;
        }
        Ok(())
    }

    fn call_grew(&mut self, part: CallPart<'_>, deltas: DeltaSink<'_>) -> Result<(), Fault> {
        let CallPart { index, id, function } = part;
        let (id, function) = (id.unwrap_or_default(), function);
        let name = function.as_ref().and_then(|function| function.name.clone()).unwrap_or_default();
        let arguments = match function.and_then(|function| function.arguments) {
            Some(raw) => arguments_of(raw)?,
            None => String::new(),
        };
        let known = self.known(index, &id, &name);
        let (at, mut delta_id, mut delta_name) =
            (known.unwrap_or(self.calls.len()), String::new(), String::new());
        if known.is_none() {
            if name.is_empty() {
                return Err(Fault::Malformed("a tool call without a name".to_owned()));
            }
            (delta_id, delta_name) = (self.ids.assign(&id), name.clone());
            let call = ToolCall { id: delta_id.clone(), name, arguments: String::new() };
            self.calls.push(Call { index, given_id: id, call });
        }
        self.calls[at].call.arguments.push_str(&arguments);
        if known.is_none() || !arguments.is_empty() {
            deltas(Delta::ToolCall { index: at, id: delta_id, name: delta_name, arguments_part: arguments });
        }
        Ok(())
    }

    /// The call that a piece goes on. Without an index it goes on the last one, unless it has
    /// a name of its own; one index with a second id is a second call (some servers number
    /// each of parallel calls 0).
    fn known(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let at = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index)?,
            None if name.is_empty() => self.calls.len().checked_sub(1)?,
            None => return None,
        };
        let another = !id.is_empty() && !name.is_empty() && self.calls[at].given_id != id;
        (!another).then_some(at)
    }
}

impl Reader for Chunks {
    fn event(&mut self, data: &str, deltas: DeltaSink<'_>) -> Result<Progress, Fault> {
        if data.trim() == DONE {
            self.ended = true;
            return Ok(Progress::Done);
        }
        let chunk: Chunk<'_> = serde_json::from_str(data).map_err(Fault::malformed)?;
        if let Some(error) = chunk.error {
            return Err(Fault::Told(Refusal::of_event(&error)));
        }
        if let Some(model) = nonempty(chunk.model) {
            self.model = model;
        }
        // One answer was asked for, so there is one choice.
        if let Some(choice) = chunk.choices.into_iter().flatten().next() {
            if let Some(part) = choice.delta.or(choice.message) {
                self.grew(part, deltas)?;
            }
            if let Some(reason) = nonempty(choice.finish_reason) {
                self.stop = Some(reason);
                self.ended = true;
            }
        }
        if let Some(counts) = chunk.usage {
            self.usage = counts.usage();
        }
        Ok(Progress::More)
    }

    fn finish(self: Box<Self>) -> Result<ModelAnswer, Fault> {
        if !self.ended {
            return Err(Fault::Cut);
        }
        let tool_calls: Vec<_> = self.calls.into_iter().map(|call| with_arguments(call.call)).collect();
        Ok(ModelAnswer {
            model: self.model,
            text: nonempty(Some(self.text)),
            reasoning: nonempty(Some(self.reasoning)),
            stop: stop(self.stop.as_deref(), self.refused, !tool_calls.is_empty()),
            tool_calls,
            usage: self.usage,
            raw: None,
        })
    }
}

impl Counts {
    fn usage(&self) -> Usage {
        let prompt = self.prompt_tokens_details.as_ref();
        let completion = self.completion_tokens_details.as_ref();
        Usage {
            input_tokens: self.prompt_tokens.unwrap_or(0),
            output_tokens: self.completion_tokens.unwrap_or(0),
            cached_tokens: prompt.and_then(|counts| counts.cached_tokens).unwrap_or(0),
            reasoning_tokens: completion.and_then(|counts| counts.reasoning_tokens).unwrap_or(0),
        }
    }
}

fn nonempty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn arguments_of(raw: &RawValue) -> Result<String, Fault> {
    match raw.get() {
        "null" => Ok(String::new()),
        text if text.starts_with('"') => serde_json::from_str(text).map_err(Fault::malformed),
        object => Ok(object.to_owned()),
    }
}

/// A tool without parameters is often called with nothing at all.
fn with_arguments(call: ToolCall) -> ToolCall {
    if call.arguments.is_empty() { ToolCall { arguments: "{}".to_owned(), ..call } } else { call }
}

fn stop(reason: Option<&str>, refused: bool, calls: bool) -> Stop {
    match reason {
        _ if refused => Stop::Refusal,
        Some("content_filter") => Stop::Refusal,
        Some("length") => Stop::MaxTokens,
        Some("stop" | "tool_calls" | "function_call") | None => {
            if calls {
                Stop::ToolUse
            } else {
                Stop::EndTurn
            }
        }
        Some(other) => Stop::Other(other.to_owned()),
    }
}
