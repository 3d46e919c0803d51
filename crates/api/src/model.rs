//! The models that agents can think with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model as `/v1/models` lists it. Half of the fields say the same under an older name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// `provider/name`: what an agent's `model` field takes.
    pub handle: String,
    /// The name that the provider knows.
    pub name: String,
    /// The same, older name.
    pub model: String,
    /// The name for people.
    pub display_name: String,
    /// Which kind of provider.
    pub provider_type: String,
    /// Which provider.
    pub provider_name: String,
    /// `base`: configured by the operator.
    pub provider_category: String,
    /// The wire format of the provider.
    pub model_endpoint_type: String,
    /// `llm`.
    pub model_type: String,
    /// Tokens that fit into one request.
    pub context_window: u64,
    /// The same, newer name.
    pub max_context_window: u64,
}

/// The model of one agent, in the older form that clients still require.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LlmConfig {
    /// The name that the provider knows.
    pub model: String,
    /// The wire format of the provider.
    pub model_endpoint_type: String,
    /// Tokens that fit into one request.
    pub context_window: u64,
    /// `provider/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Which provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
}
