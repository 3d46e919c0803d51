//! `offline/scripted`: a small script in a model's place, for when there is no model.
//!
//! It says what it is, follows fixed rules, and works the agent's machinery as a model would:
//! it talks through `send_message` where that tool exists, remembers through the memory
//! tools, searches, and calls a tool when told to.
//!
//! Invariant: its answer is a pure function of the request, call ids included. A simulation
//! or a crash test that asks again gets the same bytes.

mod blocks;
mod script;
mod wish;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{
    Delta, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider, Stop, ToolCall, Usage,
};
use script::Act;

/// The scripted model's provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scripted;

impl Scripted {
    /// The handle of its one model.
    pub const HANDLE: &str = "offline/scripted";
    /// The name of its one model.
    const MODEL: &str = "scripted";
    /// How much it pretends to be able to read.
    const CONTEXT_WINDOW: u32 = 128_000;

    /// The answer to a request.
    pub fn answer(request: &ModelRequest) -> ModelAnswer {
        let script::Line { rule, act } = script::next(request);
        let (text, call) = match act {
            Act::Say(text) if script::has_tool(request, script::SEND_MESSAGE) => {
                (None, Some((script::SEND_MESSAGE.to_owned(), script::json(&[("message", &text)]))))
            }
            Act::Say(text) => (Some(text), None),
            Act::Call { tool, arguments } => (None, Some((tool, arguments))),
            Act::Nothing => (None, None),
        };
        let tool_calls: Vec<_> = call
            .into_iter()
            .map(|(name, arguments)| ToolCall { id: call_id(request), name, arguments })
            .collect();
        let reasoning = Some(format!("rule: {rule}"));
        let stop = if tool_calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
        let usage = usage(request, text.as_deref(), &tool_calls);
        ModelAnswer { model: Self::MODEL.to_owned(), text, reasoning, tool_calls, stop, usage, raw: None }
    }
}

impl Provider for Scripted {
    fn name(&self) -> &str {
        "offline"
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        let info = ModelInfo {
            handle: Self::HANDLE.to_owned(),
            provider: self.name().to_owned(),
            name: Self::MODEL.to_owned(),
            context_window: Some(Self::CONTEXT_WINDOW),
        };
        std::future::ready(Ok(vec![info])).boxed()
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        if request.model != Self::HANDLE {
            let error = ModelError::NoSuchModel {
                model: request.model.clone(),
                message: format!("offline there is only {}", Self::HANDLE),
            };
            return std::future::ready(Err(error)).boxed();
        }
        let answer = Self::answer(request);
        stream(&answer, deltas);
        std::future::ready(Ok(answer)).boxed()
    }
}

/// Hands out the answer in pieces of a few words, as a model would.
fn stream(answer: &ModelAnswer, deltas: DeltaSink<'_>) {
    for part in pieces(answer.reasoning.as_deref().unwrap_or_default()) {
        deltas(Delta::Reasoning(part));
    }
    for part in pieces(answer.text.as_deref().unwrap_or_default()) {
        deltas(Delta::Text(part));
    }
    for (index, call) in answer.tool_calls.iter().enumerate() {
        let ToolCall { id, name, arguments } = call;
        let start = (id.clone(), name.clone(), String::new());
        let rest = pieces(arguments).into_iter().map(|part| (String::new(), String::new(), part));
        for (id, name, arguments_part) in std::iter::once(start).chain(rest) {
            deltas(Delta::ToolCall { index, id, name, arguments_part });
        }
    }
}

/// Three words at a time.
fn pieces(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words.chunks(3).map(|chunk| chunk.concat()).collect()
}

/// The position keeps ids apart within a conversation, the digest keeps them apart when old
/// messages were cut away and a position comes again.
fn call_id(request: &ModelRequest) -> String {
    let bytes = rmp_serde::to_vec_named(&request.messages).expect("messages are strings, numbers and lists");
    let digest = blake3::hash(&bytes);
    format!("call_{}_{}", request.messages.len(), &digest.to_hex()[..8])
}

/// Counts a token for every four bytes: the same rule of thumb for everybody.
fn usage(request: &ModelRequest, text: Option<&str>, calls: &[ToolCall]) -> Usage {
    const BYTES_PER_TOKEN: u64 = 4;
    let tokens = |bytes: usize| (bytes as u64).div_ceil(BYTES_PER_TOKEN);
    let history =
        rmp_serde::to_vec_named(&request.messages).expect("messages are strings, numbers and lists");
    let called: usize = calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
    Usage {
        input_tokens: tokens(request.system.len() + history.len()),
        output_tokens: tokens(text.map_or(0, str::len) + called),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests;
