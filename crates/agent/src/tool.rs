//! Tools: what an agent may call, and who carries it out.
//!
//! ```text
//!   built in   a change of the agent's own state: within the turn that records the call
//!   outside    an HTTP service or a page: after that turn's commit, with a key, result recorded later
//!   custom     source code that somebody gave: kept and listed; a call of it is refused
//!   foreign    what other servers of this API have: an agent may name it; a call of it is refused
//! ```
//!
//! Invariants: a tool that is not granted to an agent is refused when it is called, not only
//! hidden from the model; none is called with arguments that do not fit its schema.

pub mod builtin;
pub mod custom;
pub mod file;
pub(crate) mod foreign;
pub mod http;
pub mod runner;
pub mod schema;
mod source;
pub mod web;

use builtin::BuiltIn;
use custom::CustomTool;
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
    /// Nobody yet: it is source code.
    Custom,
}

/// Bytes of a tool's name: what all model providers accept.
const NAME_BYTES_MAX: usize = 64;

/// A tool as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// `tool-…`, the same for the same name.
    pub id: String,
    /// What the model gets to see.
    pub spec: ToolSpec,
    /// Who carries it out.
    pub kind: ToolKind,
    /// What it was made from, if it is source code.
    pub custom: Option<Box<CustomTool>>,
}

impl ToolInfo {
    /// Shows a tool.
    pub fn new(spec: ToolSpec, kind: ToolKind) -> Self {
        Self { id: id_of(&spec.name), spec, kind, custom: None }
    }

    /// Shows a tool that is source code.
    pub fn custom(tool: CustomTool) -> Self {
        let custom = Some(Box::new(tool.clone()));
        Self { custom, ..Self::new(tool.spec, ToolKind::Custom) }
    }
}

/// The id of the tool of that name.
pub(crate) fn id_of(name: &str) -> String {
    kelpie_memory::name::derived("tool", &[name.as_bytes()])
}

/// Whether somebody may give a tool this name; else why not.
fn checked_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(format!("must have 1 to {NAME_BYTES_MAX} letters, digits, `_` or `-`"));
    }
    if BuiltIn::from_name(name).is_some() {
        return Err("is the name of a built-in tool".to_owned());
    }
    Ok(())
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
