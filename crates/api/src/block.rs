//! Core memory blocks: the parts of an agent's memory that are always in its prompt.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// A block as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Block {
    /// Its id.
    pub id: String,
    /// Its text.
    pub value: String,
    /// Its name in the prompt.
    pub label: String,
    /// How many characters its text may have.
    pub limit: u64,
    /// What it is for, told to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the agent itself may not change it.
    pub read_only: bool,
    /// Other fields of the format, as they were given.
    #[serde(flatten)]
    pub kept: Map<String, Value>,
}

/// A block to create together with its agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateBlock {
    /// Its name in the prompt.
    pub label: String,
    /// Its text.
    pub value: String,
    /// How many characters its text may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the agent itself may not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// All other fields, for the server to refuse or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What to change about a block. What is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateBlock {
    /// The new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The new limit in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the agent itself may not change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// All other fields, for the server to refuse or ignore.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A text that a block had (Kelpie's own).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastBlock {
    /// The text.
    pub value: String,
    /// When it was changed.
    pub until: Timestamp,
}
