//! Tools: what an agent can call.

use serde::{Deserialize, Serialize};
use serde_json::Value;
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
