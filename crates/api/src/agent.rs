//! Agents: how they are shown, created and changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::block::{Block, CreateBlock};
use crate::model::LlmConfig;
use crate::timestamp::Timestamp;
use crate::tool::Tool;

/// An agent as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentState {
    /// Its id.
    pub id: String,
    /// Its name; not unique.
    pub name: String,
    /// Which loop it runs, such as `memgpt_agent`.
    pub agent_type: String,
    /// Its instructions, without the memory that is rendered into them.
    pub system: String,
    /// Its core memory.
    pub blocks: Vec<Block>,
    /// Its core memory again, in the older form.
    pub memory: Memory,
    /// `provider/name` of its model.
    pub model: String,
    /// Its model again, in the older form.
    pub llm_config: LlmConfig,
    /// What it can call.
    pub tools: Vec<Tool>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Attached folders in their older form: always empty, this server has none.
    pub sources: Vec<Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whatever its maker wanted to keep with it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The time zone of its user, an IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The handle of its embedding model, as its maker gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// Other fields of the format, as its maker gave them.
    #[serde(flatten)]
    pub kept: Map<String, Value>,
}

/// The in-context memory of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Memory {
    /// The blocks.
    pub blocks: Vec<Block>,
}

/// An agent to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateAgent {
    /// Its name; one is made up if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which loop it runs; `memgpt_agent` if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// Its instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `provider/name` of its model; the server's first one if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its model in the older form: `handle` counts, then `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm_config: Option<ModelChoice>,
    /// Tokens of context to use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window_limit: Option<u32>,
    /// Its core memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_blocks: Option<Vec<CreateBlock>>,
    /// Names of tools to grant, beside the base tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Ids of tools to grant, beside the base tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_ids: Option<Vec<String>>,
    /// Whether it gets the base tools; yes if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_base_tools: Option<bool>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whatever its maker wants to keep with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The time zone of its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The handle of its embedding model; kept, not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// Tokens of the longest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How the model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_settings: Option<ModelSettings>,
    /// All other fields, for the server to keep, refuse or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Which model, in the older form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelChoice {
    /// `provider/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The name that the provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// How a model answers: what this server understands of it, and the rest as it came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelSettings {
    /// How freely the model chooses words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Tokens of the longest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// All other settings.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What to change about an agent. What is left out, or null, stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateAgent {
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The new model in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm_config: Option<ModelChoice>,
    /// Tokens of context to use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window_limit: Option<u32>,
    /// Ids of the tools it has from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_ids: Option<Vec<String>>,
    /// The new tags, in place of the old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The new metadata, in place of the old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The new time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The handle of its embedding model; kept, not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// Tokens of the longest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How the model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_settings: Option<ModelSettings>,
    /// All other fields, for the server to keep, refuse or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An agent to be made from another (Kelpie's own).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForkAgent {
    /// Its name; that of the other with `-fork` if absent.
    pub name: Option<String>,
    /// The run whose end its messages end with; all there are if absent.
    pub run_id: Option<String>,
}
