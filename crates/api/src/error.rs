//! What an error looks like on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong: a sentence, or one entry per wrong field.
    pub detail: Detail,
    /// The stable name of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do: `not_run` (nothing happened: again later), `unknown` (it may have happened:
    /// again with the same key), `fix` (the request is wrong) or `app` (the agent's own answer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// An actor's own error, as it has written it, where it has a type for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<serde_json::Value>,
    /// The run that is in the way, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// The text of an error, or the list of what is wrong with a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Detail {
    /// One sentence.
    Text(String),
    /// One entry per problem, with status 422.
    Issues(Vec<Issue>),
}

/// One problem of one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Issue {
    /// Where: `body`, `query`, `path` or `header`, then field names and positions.
    pub loc: Vec<Place>,
    /// What is wrong.
    pub msg: String,
    /// The class of the problem.
    #[serde(rename = "type")]
    pub kind: String,
}

/// One step on the way to a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Place {
    /// A position in a list or in the text.
    Index(u64),
    /// The name of a field.
    Field(String),
}

impl From<&str> for Place {
    fn from(field: &str) -> Self {
        Self::Field(field.to_owned())
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Detail::Text(text) => f.write_str(text),
            Detail::Issues(issues) => {
                for (position, issue) in issues.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "; " };
                    write!(f, "{separator}{issue}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, place) in self.loc.iter().enumerate() {
            let separator = if position == 0 { "" } else { "." };
            match place {
                Place::Index(index) => write!(f, "{separator}{index}")?,
                Place::Field(field) => write!(f, "{separator}{field}")?,
            }
        }
        write!(f, ": {}", self.msg)
    }
}
