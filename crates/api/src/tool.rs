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
