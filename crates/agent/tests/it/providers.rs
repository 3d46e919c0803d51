//! Model providers over real HTTP.
//!
//! [`aimock`] is an independent double of both services, which knows nothing of our code.
//! [`double`] is a few lines of TCP for what that one cannot do: stop at any byte, stall, lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aimock;
mod double;

use std::time::Duration;

use kelpie_agent::models::Models;
use kelpie_agent::provider::{
    Delta, ModelAnswer, ModelError, ModelRequest, Patience, PromptMessage, ToolSpec,
};
use kelpie_env::Env;

/// A key that must never show.
const KEY: &str = "sk-test-0123456789";
/// Both wires: the handle of a model, and the variables that lead to a server.
const WIRES: [Wire; 2] = [
    Wire { model: "anthropic/claude-x", key: "ANTHROPIC_API_KEY", base: "ANTHROPIC_BASE_URL", path: "" },
    Wire { model: "openai/gpt-x", key: "OPENAI_API_KEY", base: "OPENAI_BASE_URL", path: "/v1" },
];

/// One protocol, as a user sets it up.
#[derive(Debug, Clone, Copy)]
struct Wire {
    model: &'static str,
    key: &'static str,
    base: &'static str,
    path: &'static str,
}

impl Wire {
    /// The provider at `url`, with short times.
    fn at(self, env: &Env, url: &str) -> Models {
        self.with_patience(env, url, hasty())
    }

    fn with_patience(self, env: &Env, url: &str, patience: Patience) -> Models {
        let base = format!("{url}{}", self.path);
        let lookup = |name: &str| match name {
            _ if name == self.key => Some(KEY.to_owned()),
            _ if name == self.base => Some(base.clone()),
            _ => None,
        };
        Models::from_variables(env, patience, lookup).unwrap()
    }

    fn request(self, text: &str) -> ModelRequest {
        ModelRequest {
            model: self.model.to_owned(),
            system: "You are a test.".to_owned(),
            messages: vec![PromptMessage::user(text)],
            tools: vec![ToolSpec {
                name: "say".to_owned(),
                description: "Says it.".to_owned(),
                parameters: serde_json::json!({
                    "type": "object", "properties": { "text": { "type": "string" } }
                }),
            }],
            ..ModelRequest::default()
        }
    }
}

/// Short pauses, and times that a test can wait for.
fn hasty() -> Patience {
    Patience {
        attempts_max: 3,
        pause_first: Duration::from_millis(20),
        pause_max: Duration::from_millis(100),
        ..Patience::default()
    }
}

/// Asks; gives the pieces and the outcome.
async fn ask(models: &Models, request: &ModelRequest) -> (Vec<Delta>, Result<ModelAnswer, ModelError>) {
    let mut deltas = vec![];
    let outcome = models.complete(request, &mut |delta| deltas.push(delta)).await;
    if let Err(error) = &outcome {
        assert!(!format!("{error} {error:?}").contains(KEY), "the key shows: {error}");
    }
    (deltas, outcome)
}

/// The text that the pieces add up to, from the last new start on.
fn text_of(deltas: &[Delta]) -> String {
    let start = deltas.iter().rposition(|delta| *delta == Delta::Restart).map_or(0, |at| at + 1);
    let text = deltas[start..].iter().filter_map(|delta| match delta {
        Delta::Text(text) => Some(text.as_str()),
        Delta::Reasoning(_) | Delta::ToolCall { .. } | Delta::Restart => None,
    });
    text.collect()
}
