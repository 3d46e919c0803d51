//! From the events of a stream to an answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::PROVIDER;
use super::body::input;
use crate::provider::refusal::Refusal;
use crate::provider::wire::{CallIds, Fault, Progress, Reader};
use crate::provider::{Delta, DeltaSink, ModelAnswer, ModelRequest, RawTurn, Stop, ToolCall, Usage};

/// The answer so far.
pub(super) struct Events {
    ids: CallIds,
    model: String,
    blocks: BTreeMap<u64, Block>,
    calls: usize,
    usage: Counts,
    stop: Option<String>,
    ended: bool,
}

/// A block so far.
enum Block {
    Text(String),
    Thinking {
        thinking: String,
        signature: String,
    },
    ToolUse {
        index: usize,
        call: ToolCall,
    },
    /// Of a kind that only its provider understands: as it came.
    Other(String),
}

/// All members that an event of any kind can have. Not an enum tagged by `type`, because serde
/// buffers those, and a raw value does not survive that.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    index: Option<u64>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    message: Option<Head>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Head {
    model: String,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Tail {
    stop_reason: Option<String>,
}

/// Each count may come at the start, at the end or both; the last one holds.
#[derive(Deserialize, Default)]
struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Start {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    ToolUse {
        #[serde(default)]
        id: String,
        name: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    TextDelta {
        text: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Other,
}

impl Events {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self {
            ids: CallIds::of(request),
            model: String::new(),
            blocks: BTreeMap::new(),
            calls: 0,
            usage: Counts::default(),
            stop: None,
            ended: false,
        }
    }

    fn block_started(&mut self, index: u64, raw: &RawValue, deltas: DeltaSink<'_>) -> Result<(), Fault> {
        let block = match part_of::<Start>(raw)? {
            Start::Text { text } => {
                give(&text, Delta::Text, deltas);
                Block::Text(text)
            }
            Start::Thinking { thinking, signature } => {
                give(&thinking, Delta::Reasoning, deltas);
                Block::Thinking { thinking, signature }
            }
            Start::ToolUse { id, name } => {
                let call = ToolCall { id: self.ids.assign(&id), name, arguments: String::new() };
                let index = self.calls;
                self.calls += 1;
                let (id, name) = (call.id.clone(), call.name.clone());
                deltas(Delta::ToolCall { index, id, name, arguments_part: String::new() });
                Block::ToolUse { index, call }
            }
            Start::Other => Block::Other(raw.get().to_owned()),
        };
        match self.blocks.insert(index, block) {
            None => Ok(()),
            Some(_) => Err(Fault::Malformed(format!("content block {index} starts twice"))),
        }
    }

    fn block_grew(&mut self, index: u64, part: Part, deltas: DeltaSink<'_>) -> Result<(), Fault> {
        let Some(block) = self.blocks.get_mut(&index) else {
            return Err(Fault::Malformed(format!("a piece of content block {index}, which never started")));
        };
        match (block, part) {
            (Block::Text(text), Part::TextDelta { text: more }) => {
                text.push_str(&more);
                give(&more, Delta::Text, deltas);
            }
            (Block::Thinking { thinking, .. }, Part::ThinkingDelta { thinking: more }) => {
                thinking.push_str(&more);
                give(&more, Delta::Reasoning, deltas);
            }
            (Block::Thinking { signature, .. }, Part::SignatureDelta { signature: more }) => {
                signature.push_str(&more);
            }
            (Block::ToolUse { index, call }, Part::InputJsonDelta { partial_json }) => {
                call.arguments.push_str(&partial_json);
                let (id, name, index) = (String::new(), String::new(), *index);
                deltas(Delta::ToolCall { index, id, name, arguments_part: partial_json });
            }
            // Pieces of blocks that are not understood (server tools), citations.
            (Block::Other(_), _) | (_, Part::Other) => {}
            (
                Block::Text(_) | Block::Thinking { .. } | Block::ToolUse { .. },
                Part::TextDelta { .. }
                | Part::ThinkingDelta { .. }
                | Part::SignatureDelta { .. }
                | Part::InputJsonDelta { .. },
            ) => return Err(Fault::Malformed(format!("content block {index} changes its kind"))),
        }
        Ok(())
    }
}

impl Reader for Events {
    fn event(&mut self, data: &str, deltas: DeltaSink<'_>) -> Result<Progress, Fault> {
        let event: Event<'_> = serde_json::from_str(data).map_err(Fault::malformed)?;
        let Event { kind, index, content_block, delta, message, usage } = event;
        match (kind.as_str(), index, content_block, delta) {
            ("message_start", ..) => {
                let head = message.ok_or_else(|| lacks(&kind))?;
                self.model = head.model;
                self.usage.update(head.usage);
            }
            ("content_block_start", Some(index), Some(block), _) => {
                self.block_started(index, block, deltas)?
            }
            ("content_block_delta", Some(index), _, Some(delta)) => {
                self.block_grew(index, part_of(delta)?, deltas)?;
            }
            ("message_delta", _, _, Some(delta)) => {
                let Tail { stop_reason } = part_of(delta)?;
                self.stop = stop_reason.or(self.stop.take());
                self.usage.update(usage);
            }
            ("message_stop", ..) => {
                self.ended = true;
                return Ok(Progress::Done);
            }
            ("error", ..) => {
                let error: Value = serde_json::from_str(data).map_err(Fault::malformed)?;
                return Err(Fault::Told(Refusal::of_event(&error)));
            }
            ("content_block_start" | "content_block_delta" | "message_delta", ..) => {
                return Err(lacks(&kind));
            }
            // `ping`, the ends of blocks, and what the protocol adds in later years.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn finish(mut self: Box<Self>) -> Result<ModelAnswer, Fault> {
        if !self.ended {
            return Err(Fault::Cut);
        }
        let (mut text, mut reasoning) = (String::new(), String::new());
        let (mut tool_calls, mut raw) = (vec![], vec![]);
        for block in std::mem::take(&mut self.blocks).into_values() {
            match block {
                Block::Text(part) => {
                    raw.extend((!part.is_empty()).then(|| object("text", &[("text", &part)])));
                    text.push_str(&part);
                }
                Block::Thinking { thinking, signature } => {
                    raw.push(object("thinking", &[("thinking", &thinking), ("signature", &signature)]));
                    reasoning.push_str(&thinking);
                }
                Block::ToolUse { mut call, .. } => {
                    if call.arguments.is_empty() {
                        call.arguments = "{}".to_owned();
                    }
                    let head = object("tool_use", &[("id", &call.id), ("name", &call.name)]);
                    let head = head.strip_suffix('}').expect("an object ends with its brace");
                    raw.push(format!("{head},\"input\":{}}}", input(&call.arguments).get()));
                    tool_calls.push(call);
                }
                Block::Other(block) => raw.push(block),
            }
        }
        Ok(ModelAnswer {
            model: self.model,
            text: Some(text).filter(|text| !text.is_empty()),
            reasoning: Some(reasoning).filter(|reasoning| !reasoning.is_empty()),
            stop: stop(self.stop.as_deref(), !tool_calls.is_empty()),
            tool_calls,
            usage: self.usage.total(),
            raw: Some(RawTurn { provider: PROVIDER.to_owned(), blocks: raw }),
        })
    }
}

impl Counts {
    fn update(&mut self, newer: Option<Self>) {
        let Some(newer) = newer else { return };
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
    }

    fn total(&self) -> Usage {
        let cached_tokens = self.cache_read_input_tokens.unwrap_or(0);
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let fresh = self.input_tokens.unwrap_or(0);
        Usage {
            input_tokens: fresh.saturating_add(cached_tokens).saturating_add(written),
            output_tokens: self.output_tokens.unwrap_or(0),
            cached_tokens,
            reasoning_tokens: 0,
        }
    }
}

fn part_of<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Fault> {
    serde_json::from_str(raw.get()).map_err(Fault::malformed)
}

fn lacks(kind: &str) -> Fault {
    Fault::Malformed(format!("an event {kind} without what belongs to it"))
}

fn give(text: &str, delta: impl FnOnce(String) -> Delta, deltas: DeltaSink<'_>) {
    if !text.is_empty() {
        deltas(delta(text.to_owned()));
    }
}

/// JSON text of a block, members in the order that the provider writes them.
fn object(kind: &str, members: &[(&str, &str)]) -> String {
    let mut json = format!("{{\"type\":{}", Value::from(kind));
    for (key, value) in members {
        json.push_str(&format!(",{}:{}", Value::from(*key), Value::from(*value)));
    }
    json.push('}');
    json
}

fn stop(reason: Option<&str>, calls: bool) -> Stop {
    match reason {
        Some("tool_use") => Stop::ToolUse,
        Some("end_turn" | "stop_sequence") | None if !calls => Stop::EndTurn,
        Some("end_turn" | "stop_sequence") | None => Stop::ToolUse,
        Some("max_tokens" | "model_context_window_exceeded") => Stop::MaxTokens,
        Some("refusal") => Stop::Refusal,
        Some(other) => Stop::Other(other.to_owned()),
    }
}
