//! Tools: what an agent may call, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who carries a tool out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// The agent itself, within its turn.
    BuiltIn,
    /// Somebody else, over HTTP.
    Http,
}

/// A tool as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// `tool-…`, the same for the same name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When and how to use it.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
    /// Who carries it out.
    pub kind: ToolKind,
}
