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
mod error;
mod request;
mod scripted;

use futures::future::BoxFuture;

pub use answer::{Delta, ModelAnswer, ModelInfo, Stop, Usage};
pub use error::ModelError;
pub use request::{ModelRequest, PromptMessage, RawTurn, ToolCall, ToolSpec};
pub use scripted::Scripted;

/// Takes the pieces of an answer while it is being made.
pub type DeltaSink<'a> = &'a mut (dyn FnMut(Delta) + Send);

/// One service that runs models.
pub trait Provider: Send + Sync {
    /// What stands before the slash in the handles of its models: `anthropic`, `openai`.
    fn name(&self) -> &str;

    /// The models that it offers now.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>>;

    /// Asks a model and waits for its whole answer. Pieces go to `deltas` as they come and
    /// are provisional until this returns; after [`Delta::Restart`] those before it are void.
    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>>;
}
