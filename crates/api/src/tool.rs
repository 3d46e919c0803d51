//! Tools: what an agent can call.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A tool as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tool {
    /// Its id.
    pub id: String,
    /// The name that the model calls.
    pub name: String,
    /// What it does, told to the model.
    pub description: String,
    /// The JSON schema of the function: name, description, parameters.
    pub json_schema: Value,
    /// Where it comes from, such as `letta_core`.
    pub tool_type: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it was made from, if it is source code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_code: Option<String>,
    /// The language of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Other fields of the format, as its maker gave them.
    #[serde(flatten)]
    pub kept: Map<String, Value>,
}

/// A tool of source code to keep, or what to change about one. What is left out, or null, stays,
/// or is read from the source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct KeepTool {
    /// The source of a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_code: Option<String>,
    /// The language of the source, `python` if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// What it does, told to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of the function: name, description, parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<Value>,
    /// The JSON schema of its arguments alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_json_schema: Option<Value>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All other fields, for the server to keep or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A tool that a search has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundTool {
    /// The tool.
    pub tool: Tool,
    /// How well it fits; the best has 1.
    pub combined_score: f64,
    /// Its place among those that the words have found.
    pub fts_rank: u64,
}

/// What came out of a tool that was run by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolExecutionResult {
    /// `success` or `error`.
    pub status: String,
    /// What it returned.
    pub func_return: Value,
    /// What went wrong, in words.
    pub stderr: Vec<String>,
}
