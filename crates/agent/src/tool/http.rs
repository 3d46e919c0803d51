//! HTTP tools: one POST per call, with a key by which the service can tell a repetition.
//!
//! ```text
//!   POST <url>   Idempotency-Key: <agent>/<run>/<step>/<call>
//!   { "tool", "arguments", "agent_id", "run_id", "call_id" }
//!   ◀── 2xx: the body is the result        else: a failed result with status and body
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kelpie_env::Env;
use reqwest::Response;
use serde_json::{Value, json};

use super::file::HttpTool;
use crate::http_client;

use super::runner::{Invocation, OutsideTool, RESULT_BYTES_MAX, ToolOutcome, ToolRunner};

/// How long it may take to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Calls tools over HTTP.
pub struct HttpTools {
    env: Env,
    /// Each tool with the client for its server.
    tools: BTreeMap<String, (HttpTool, reqwest::Client)>,
}

/// The HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP for tools")]
pub struct HttpToolsError(#[source] reqwest::Error);

impl HttpTools {
    /// Offers these tools.
    pub fn new(env: Env, tools: Vec<HttpTool>) -> Result<Self, HttpToolsError> {
        let mut clients = BTreeMap::new();
        for tool in tools {
            // A redirected POST loses its body: better to say so than to call something else.
            let client = http_client::for_server(&tool.url)
                .connect_timeout(CONNECT_TIME_MAX)
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(HttpToolsError)?;
            clients.insert(tool.tool.spec.name.clone(), (tool, client));
        }
        Ok(Self { env, tools: clients })
    }
}

impl ToolRunner for HttpTools {
    fn tools(&self) -> Vec<OutsideTool> {
        self.tools.values().map(|(tool, _)| tool.tool.clone()).collect()
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        let Some((HttpTool { tool, url }, client)) = self.tools.get(&invocation.tool).cloned() else {
            let text = format!("there is no tool {}", invocation.tool);
            return std::future::ready(ToolOutcome::failed(text)).boxed();
        };
        let env = self.env.clone();
        async move {
            match env.timeout(tool.timeout, post(&client, url, &invocation)).await {
                Ok(outcome) => outcome.bounded(),
                Err(_) => ToolOutcome::failed(format!(
                    "the tool did not answer within {} s; it may or may not have had its effect",
                    tool.timeout.as_secs()
                )),
            }
        }
        .boxed()
    }
}

async fn post(client: &reqwest::Client, url: reqwest::Url, invocation: &Invocation) -> ToolOutcome {
    let Invocation { tool, arguments, agent_id, run_id, call_id, idempotency_key } = invocation;
    let arguments: Value = match serde_json::from_str(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return ToolOutcome::failed(format!("the arguments are no valid JSON: {error}")),
    };
    let body = json!({
        "tool": tool, "arguments": arguments, "agent_id": agent_id, "run_id": run_id, "call_id": call_id
    });
    let sent = client.post(url).header("Idempotency-Key", idempotency_key).json(&body).send().await;
    let response = match sent {
        Ok(response) => response,
        Err(error) if error.is_connect() => {
            return ToolOutcome::failed(format!(
                "the tool cannot be reached and was not called: {}",
                words(error)
            ));
        }
        Err(error) => {
            let what = words(error);
            return ToolOutcome::failed(format!(
                "the call broke off; it may or may not have had its effect: {what}"
            ));
        }
    };
    let status = response.status();
    // One byte more than the model gets to see, so that it is told of the cut.
    let body = read(response, RESULT_BYTES_MAX + 1).await;
    match body.map(|(body, _)| String::from_utf8_lossy(&body).into_owned()) {
        Ok(text) if status.is_success() => ToolOutcome::ok(text),
        Ok(text) => ToolOutcome::failed(format!("the tool answered HTTP {}: {text}", status.as_u16())),
        Err(error) => ToolOutcome::failed(format!(
            "the tool answered HTTP {} and broke off; its effect is likely done: {}",
            status.as_u16(),
            words(error)
        )),
    }
}

/// The first bytes of a body, and whether there are more.
pub(super) async fn read(response: Response, bytes_max: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        body.extend_from_slice(&part?);
        if body.len() > bytes_max {
            body.truncate(bytes_max);
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// The error and its causes, without the URL, which may hold a secret.
pub(super) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
