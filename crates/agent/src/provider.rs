//! Models behind one trait, whoever serves them.
//!
//! ```text
//!   ModelRequest ──▶ Provider::complete ──┬─▶ Delta, Delta, …   provisional, for who watches
//!   (neutral)                             └─▶ ModelAnswer       whole, or a ModelError
//! ```
//!
//! A request and its answer are plain data: they are recorded in an agent's history, sent
//! again after a crash, and shown to other providers. What only its own provider understands
//! (a signed thinking block) travels beside the neutral form, byte for byte, as [`RawTurn`].
//!
//! Invariant: an answer is whole or it is an error. A stream that ends early is
//! [`ModelError::Cut`] and nothing of it counts, however much was already streamed.

mod answer;
mod anthropic;
mod error;
mod json_schema;
mod openai;
mod patience;
mod patient;
mod refusal;
mod remote;
mod request;
mod scripted;
mod secret;
mod sse;
mod variables;
mod wire;

use futures::future::BoxFuture;

pub use answer::{Delta, ModelAnswer, ModelInfo, Stop, Usage};
pub use error::{Awaited, ModelError};
pub use patience::Patience;
pub use patient::Patient;
pub use request::{ModelRequest, PromptMessage, RawTurn, ToolCall, ToolSpec};
pub use scripted::Scripted;
pub use variables::{VARIABLES, VariablesError};

/// Takes the pieces of an answer while it is being made.
pub type DeltaSink<'a> = &'a mut (dyn FnMut(Delta) + Send);

/// One service that runs models.
pub trait Provider: Send + Sync {
    /// What stands before the slash in the handles of its models: `anthropic`, `openai`.
    fn name(&self) -> &str;

    /// The models that it offers now.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>>;

    /// The handle of the model to take when nobody chose one.
    fn usual_model(&self) -> BoxFuture<'_, Result<String, ModelError>> {
        Box::pin(async move { first_model(self.models().await?) })
    }

    /// Asks a model and waits for its whole answer. Pieces go to `deltas` as they come and
    /// are provisional until this returns; after [`Delta::Restart`] those before it are void.
    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>>;
}

/// The first model that can talk.
pub(crate) fn first_model(models: Vec<ModelInfo>) -> Result<String, ModelError> {
    let talks = |info: &ModelInfo| !info.name.to_ascii_lowercase().contains("embed");
    models.into_iter().find(talks).map(|info| info.handle).ok_or_else(|| ModelError::NoSuchModel {
        model: String::new(),
        message: "the provider lists no model that can talk".to_owned(),
    })
}

/// The part of a handle after `provider/`, which is the model's name at its provider.
fn name_at<'a>(provider: &str, handle: &'a str) -> Result<&'a str, ModelError> {
    match handle.split_once('/') {
        Some((before, name)) if before == provider && !name.is_empty() => Ok(name),
        Some(_) | None => Err(ModelError::NoSuchModel {
            model: handle.to_owned(),
            message: format!("its handle does not start with {provider}/"),
        }),
    }
}
