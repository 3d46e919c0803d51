//! Tools: what an agent may call, and who carries it out.
//!
//! ```text
//!   built in   a change of the agent's own state: within the turn that records the call
//!   outside    an HTTP service: after that turn's commit, with a key, result recorded later
//! ```
//!
//! Invariants: a tool that is not granted to an agent is refused when it is called, not only
//! hidden from the model; none is called with arguments that do not fit its schema.

pub mod builtin;
pub mod file;
pub mod http;
pub mod runner;
pub mod schema;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provider::ToolSpec;

/// Who carries a tool out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// The agent itself, within its turn.
    BuiltIn,
    /// Somebody else.
    Outside,
}

/// A tool as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// `tool-…`, the same for the same name.
    pub id: String,
    /// What the model gets to see.
    pub spec: ToolSpec,
    /// Who carries it out.
    pub kind: ToolKind,
}

impl ToolInfo {
    /// Shows a tool.
    pub fn new(spec: ToolSpec, kind: ToolKind) -> Self {
        Self { id: kelpie_memory::name::derived("tool", &[spec.name.as_bytes()]), spec, kind }
    }
}

/// The arguments of a call, as the object that they have to be.
pub(crate) fn arguments(text: &str) -> Result<serde_json::Map<String, Value>, String> {
    // Some models write nothing where there is nothing to say.
    let text = if text.trim().is_empty() { "{}" } else { text };
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(other) => Err(format!("the arguments must be a JSON object, not {other}")),
        Err(error) => Err(format!("the arguments are no valid JSON: {error}")),
    }
}
