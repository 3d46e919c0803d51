//! Pages: which part of a list, and which way round.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// A part of a list. `before` and `after` are relative to the order: `after` goes on where
/// the page with that id ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// Only what comes before the thing with this id.
    pub before: Option<String>,
    /// Only what comes after the thing with this id.
    pub after: Option<String>,
    /// How many at most.
    pub limit: usize,
    /// Which end comes first.
    pub order: Order,
}
