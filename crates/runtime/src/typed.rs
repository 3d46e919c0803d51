//! Actors as Rust types: a struct for the state, async methods for the handlers.
//!
//! ```text
//!   #[actor] struct ─────▶ State                         kelpie-macros writes these impls
//!   #[handlers] impl ────▶ Handlers ─▶ Behaviour: Actor   the untyped seam
//!                     └──▶ a client ─▶ Invocation ─▶ Via  a runtime, a simulated client, …
//! ```
//!
//! Arguments, replies and an actor's own errors travel as JSON, so that another language, a
//! command line and the story of a simulation show and take the same bytes. State, values and
//! steps are stored as MessagePack with field names behind a version.
//!
//! Invariant: state that cannot be read is an error and never becomes the default; only an
//! actor that has stored nothing yet begins with it.

mod behaviour;
mod error;
mod invocation;
mod kv;
mod misfit;
mod state;
mod step;
mod turn;
mod wire;

pub use behaviour::{Behaviour, Behaviours, STATE_OPERATION};
pub use error::{AppAnswer, AppError, Error, Outcome, Reason, Refusal, Result, Stop, refuse};
pub use invocation::{Changes, Detached, Invocation, Me, Reads, Target, Via, me, to};
pub use kv::{Kv, KvView};
pub use misfit::Misfit;
pub use state::{State, Stored};
pub use step::{Failed, StepError};
pub use turn::{Turn, View};
pub use wire::{arguments, no_handler, reply};

/// The handlers of an actor type. `#[handlers]` writes this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers",
    note = "put `#[handlers]` on the `impl {Self}` block that has them"
)]
pub trait Handlers: State {
    /// The names of those that only read.
    const READS: &'static [&'static str];

    /// Calls an actor of this type through `V`.
    type Client<V>;

    /// A client of one actor.
    fn client<V>(target: Target<V>) -> Self::Client<V>;

    /// Runs a handler that may change the state.
    fn handle(
        &mut self,
        turn: &mut Turn,
        operation: &str,
        payload: &[u8],
    ) -> impl Future<Output = std::result::Result<bytes::Bytes, crate::HandlerError>> + Send;

    /// Runs a handler that reads.
    fn read(
        &self,
        view: &View,
        operation: &str,
        payload: &[u8],
    ) -> impl Future<Output = std::result::Result<bytes::Bytes, crate::HandlerError>> + Send;
}
