//! What one provider's protocol is made of, without any network.
//!
//! A wire turns a request into a body and the events of the answer's stream into an answer.
//! [`super::remote`] carries the bytes.

use std::collections::BTreeSet;

use super::error::ModelError;
use super::refusal::Refusal;
use super::sse::{Decoder, NotText};
use super::{DeltaSink, ModelAnswer, ModelInfo, ModelRequest, PromptMessage, ToolCall};

/// One protocol.
pub(super) trait Wire: Send + Sync {
    /// What stands before the slash in its handles.
    fn provider(&self) -> &'static str;

    /// Headers of each request and whether their values are secret.
    fn headers(&self) -> Vec<Header>;

    /// Where questions go, below the base URL.
    fn ask_path(&self) -> &'static str;

    /// The body of a question to the model `name`.
    fn body(&self, name: &str, request: &ModelRequest) -> String;

    /// Reads the answer to `request`.
    fn reader(&self, name: &str, request: &ModelRequest) -> Box<dyn Reader>;

    /// Where the list of models is, below the base URL.
    fn models_path(&self) -> &'static str;

    /// The model to take when nobody chose one, if the list need not be asked for it.
    fn usual_model(&self) -> Option<&'static str>;
}

/// A header of a request.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) secret: bool,
}

/// Reads the events of one answer, in order.
pub(super) trait Reader: Send {
    /// Takes the data of the next event.
    fn event(&mut self, data: &str, deltas: DeltaSink<'_>) -> Result<Progress, Fault>;

    /// The answer, once the stream is over.
    fn finish(self: Box<Self>) -> Result<ModelAnswer, Fault>;
}

/// The bytes of an answer's stream, in whatever chunks they come.
pub(super) struct Answering {
    decoder: Decoder,
    reader: Box<dyn Reader>,
}

impl Answering {
    pub(super) fn new(reader: Box<dyn Reader>) -> Self {
        Self { decoder: Decoder::default(), reader }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], deltas: DeltaSink<'_>) -> Result<Progress, Fault> {
        let not_text = |NotText| Fault::Malformed("the stream is not UTF-8".to_owned());
        for event in self.decoder.push(bytes).map_err(not_text)? {
            if self.reader.event(&event, deltas)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// Takes a body that is no stream: all of it is one event.
    pub(super) fn whole(&mut self, body: &[u8], deltas: DeltaSink<'_>) -> Result<Progress, Fault> {
        self.reader.event(&String::from_utf8_lossy(body), deltas)
    }

    /// The answer, once the stream is over or done.
    pub(super) fn finish(self) -> Result<ModelAnswer, Fault> {
        self.reader.finish()
    }
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More events.
    More,
    /// Nothing further is of interest.
    Done,
}

/// Why a stream gives no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The provider says that it failed.
    Told(Refusal),
    /// It does not follow its own protocol.
    Malformed(String),
    /// It ended too early.
    Cut,
}

impl Fault {
    /// An event that is not what the protocol promises.
    pub(super) fn malformed(error: impl std::fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }

    /// Our error for it.
    pub(super) fn into_error(self, model: &str, key: Option<&str>) -> ModelError {
        match self {
            Self::Told(refusal) => refusal.into_error(model, key),
            Self::Malformed(message) => ModelError::Malformed { message },
            Self::Cut => ModelError::Cut { message: "the stream ended before the answer did".to_owned() },
        }
    }
}

/// Gives each call of an answer an id that no other call of the conversation has.
///
/// Some servers send no ids, or the same ones in each answer; results could not be told apart
/// then. The replacement depends on the request and the call's place alone.
#[derive(Debug)]
pub(super) struct CallIds {
    taken: BTreeSet<String>,
    position: usize,
    next: usize,
}

impl CallIds {
    pub(super) fn of(request: &ModelRequest) -> Self {
        let taken = request.messages.iter().flat_map(calls).map(|call| call.id.clone()).collect();
        Self { taken, position: request.messages.len(), next: 0 }
    }

    /// The id of the next call, for which the provider gave `id`.
    pub(super) fn assign(&mut self, id: &str) -> String {
        let place = format!("{}_{}", self.position, self.next);
        self.next += 1;
        let mut unique = if id.is_empty() { format!("call_{place}") } else { id.to_owned() };
        while !self.taken.insert(unique.clone()) {
            unique = format!("{unique}_{place}");
        }
        unique
    }
}

/// The calls of an entry.
pub(super) fn calls(message: &PromptMessage) -> &[ToolCall] {
    match message {
        PromptMessage::Assistant { tool_calls, .. } => tool_calls,
        PromptMessage::User { .. } | PromptMessage::ToolResult { .. } => &[],
    }
}

/// The conversation with the results of an answer's calls directly behind it, where both
/// protocols want them, and what people said meanwhile after that.
pub(super) fn results_first(messages: &[PromptMessage]) -> Vec<&PromptMessage> {
    let mut ordered: Vec<&PromptMessage> = Vec::with_capacity(messages.len());
    let mut result_at = 0;
    for message in messages {
        match message {
            PromptMessage::ToolResult { .. } => {
                ordered.insert(result_at, message);
                result_at += 1;
            }
            PromptMessage::Assistant { .. } => {
                ordered.push(message);
                result_at = ordered.len();
            }
            PromptMessage::User { .. } => ordered.push(message),
        }
    }
    ordered
}

/// Reads a list of models, which both protocols write as `{"data": [{"id": …}]}`.
pub(super) fn models(provider: &str, body: &str) -> Result<Vec<ModelInfo>, ModelError> {
    #[derive(serde::Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        id: String,
        // Each server has another name for it, or none; some have two.
        context_length: Option<u64>,
        context_window: Option<u64>,
        max_model_len: Option<u64>,
        max_input_tokens: Option<u64>,
        meta: Option<Meta>,
    }
    /// Where llama-server has it.
    #[derive(serde::Deserialize)]
    struct Meta {
        n_ctx: Option<u64>,
    }
    let list: List = serde_json::from_str(body)
        .map_err(|error| ModelError::Malformed { message: format!("the list of models: {error}") })?;
    let info = |entry: Entry| {
        let windows = [
            entry.context_length,
            entry.context_window,
            entry.max_model_len,
            entry.max_input_tokens,
            entry.meta.and_then(|meta| meta.n_ctx),
        ];
        ModelInfo {
            handle: format!("{provider}/{}", entry.id),
            provider: provider.to_owned(),
            name: entry.id,
            context_window: windows.into_iter().flatten().find_map(|window| u32::try_from(window).ok()),
        }
    };
    Ok(list.data.into_iter().map(info).collect())
}

#[cfg(test)]
pub(super) mod tests;
