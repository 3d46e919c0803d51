//! Doubles of what stands outside: a model that follows lines of a script and takes its time,
//! and tools that note each effect. Both outlive the node that asks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_agent::provider::{
    Delta, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, PromptMessage, Provider, Stop,
    ToolCall, ToolSpec, Usage,
};
use kelpie_agent::tool::runner::{Invocation, OutsideTool, ToolOutcome, ToolRunner};
use kelpie_env::Env;
use parking_lot::Mutex;

/// What the model has been asked, by all lives of the node.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) requests: Mutex<Vec<ModelRequest>>,
}

/// A model that does what the last message of a person says, line by line:
/// `call NAME {…}` makes a call, `say …` sends a message, `text …` is its text, `fail` gives no answer, other text is
/// echoed. Its answer is a function of the request.
#[derive(Clone)]
pub(crate) struct Puppet {
    pub(crate) env: Env,
    pub(crate) thinks: Duration,
    pub(crate) asked: Arc<Asked>,
}

impl Puppet {
    pub(crate) const HANDLE: &str = "puppet/lines";
}

fn call(id: String, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id, name: name.to_owned(), arguments: arguments.to_owned() }
}

/// The line that is due: as many answers as there were since the person spoke.
fn answer(request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
    let person = |message: &PromptMessage| matches!(message, PromptMessage::User { text } if !text.starts_with("<system>"));
    let spoke = request.messages.iter().rposition(person);
    let spoke = spoke.expect("somebody spoke");
    let PromptMessage::User { text } = &request.messages[spoke] else { unreachable!() };
    let since = &request.messages[spoke + 1..];
    let answers = since.iter().filter(|message| matches!(message, PromptMessage::Assistant { .. })).count();
    let line = text.lines().nth(answers).unwrap_or("say done");
    let id = |n: usize| format!("call-{}-{n}", request.messages.len());
    let (text, tool_calls) = if let Some(rest) = line.strip_prefix("call ") {
        let parts = rest.split(" and ").enumerate();
        let calls = parts.map(|(n, part)| {
            let (name, arguments) = part.split_once(' ').unwrap_or((part, "{}"));
            call(id(n), name, arguments)
        });
        (None, calls.collect())
    } else if let Some(said) = line.strip_prefix("say ") {
        let arguments = serde_json::json!({ "message": said }).to_string();
        (None, vec![call(id(0), "send_message", &arguments)])
    } else if let Some(text) = line.strip_prefix("text ") {
        (Some(text.to_owned()), Vec::new())
    } else if line == "fail" {
        let last = ModelError::Unavailable { status: Some(503), retry_after: None, message: "down".into() };
        return Err(ModelError::Exhausted { attempts: 3, last: Box::new(last) });
    } else {
        (Some(format!("echo {line}")), Vec::new())
    };
    let usage = Usage { input_tokens: 10, output_tokens: 2, ..Usage::default() };
    Ok(ModelAnswer {
        model: "lines".into(),
        text,
        reasoning: None,
        tool_calls,
        stop: Stop::EndTurn,
        usage,
        raw: None,
    })
}

impl Provider for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        let info = ModelInfo {
            handle: Self::HANDLE.into(),
            provider: "puppet".into(),
            name: "lines".into(),
            context_window: Some(8_000),
        };
        std::future::ready(Ok(vec![info])).boxed()
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        self.asked.requests.lock().push(request.clone());
        async move {
            let answer = answer(request);
            for (index, call) in answer.iter().flat_map(|answer| &answer.tool_calls).enumerate() {
                let mut start = (call.id.clone(), call.name.clone());
                for part in call.arguments.split_inclusive(' ') {
                    self.env.sleep(self.thinks / 8).await;
                    let (id, name) = std::mem::take(&mut start);
                    deltas(Delta::ToolCall { index, id, name, arguments_part: part.into() });
                }
            }
            self.env.sleep(self.thinks).await;
            answer
        }
        .boxed()
    }
}

/// What tools have done, whoever asked.
#[derive(Default)]
pub(crate) struct Effects {
    /// All calls that arrived, in order.
    pub(crate) arrived: Mutex<Vec<Invocation>>,
    /// Effects by key: what an idempotent tool keeps apart.
    pub(crate) by_key: Mutex<BTreeMap<String, u32>>,
}

/// `book` (not idempotent), `note` (idempotent), `broken` (always fails).
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) env: Env,
    pub(crate) takes: Duration,
    pub(crate) effects: Arc<Effects>,
}

impl ToolRunner for Tools {
    fn tools(&self) -> Vec<OutsideTool> {
        let tool = |name: &str, idempotent| {
            let parameters = serde_json::json!({
                "type": "object",
                "properties": { "room": { "type": "integer" }, "text": { "type": "string" } }
            });
            let spec = ToolSpec { name: name.into(), description: "A double.".into(), parameters };
            OutsideTool::new(spec, idempotent, Duration::from_secs(30)).expect("a schema")
        };
        vec![tool("book", false), tool("note", true), tool("broken", true)]
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        let Self { env, takes, effects } = self.clone();
        async move {
            env.sleep(takes / 2).await;
            effects.arrived.lock().push(invocation.clone());
            *effects.by_key.lock().entry(invocation.idempotency_key.clone()).or_default() += 1;
            env.sleep(takes / 2).await;
            match invocation.tool.as_str() {
                "broken" => ToolOutcome::failed("out of order"),
                tool => ToolOutcome::ok(format!("{tool} did {}", invocation.arguments)),
            }
        }
        .boxed()
    }
}
