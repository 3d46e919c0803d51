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
mod reminders;
mod state;
mod step;
mod turn;
mod view;
mod wire;

pub use behaviour::{Behaviour, Behaviours, STATE_OPERATION};
pub use error::{AppAnswer, AppError, Error, Outcome, Reason, Refusal, Result, Stop, refuse};
pub use invocation::{Changes, Detached, Invocation, Me, Reads, Target, Via, me, to};
pub use kv::{Kv, KvView};
pub use misfit::Misfit;
pub use state::{State, Stored};
pub use step::{Failed, StepError};
pub use turn::Turn;
pub use view::View;
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
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "lamp", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Lamp { on: bool }
    /// # #[handlers]
    /// # impl Lamp {
    /// #     pub async fn switch(&mut self, _: &mut Turn) -> Result<bool> {
    /// #         self.on = !self.on;
    /// #         Ok(self.on)
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// use kelpie::{Handlers, Target};
    ///
    /// let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
    /// // What `cluster.actor::<Lamp>("desk")` does.
    /// let desk = Lamp::client(Target::new::<Lamp>(cluster, "default", "desk"));
    /// assert!(desk.switch().await?);
    /// # Ok(())
    /// # }
    /// ```
    fn client<V>(target: Target<V>) -> Self::Client<V>;

    /// Runs a handler that may change the state.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, View, actor, handlers, refuse};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "lamp", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Lamp { on: bool }
    /// # #[handlers]
    /// # impl Lamp {
    /// #     pub async fn switch(&mut self, _: &mut Turn) -> Result<bool> {
    /// #         self.on = !self.on;
    /// #         Ok(self.on)
    /// #     }
    /// #     pub async fn is_on(&self, _: &View) -> Result<bool> {
    /// #         Ok(self.on)
    /// #     }
    /// # }
    /// use kelpie::Handlers;
    ///
    /// // An actor that holds what is an actor elsewhere, and passes on what it is told.
    /// #[actor(name = "room", version = 1)]
    /// #[derive(Default, Serialize, Deserialize)]
    /// pub struct Room {
    ///     lamp: Lamp,
    /// }
    ///
    /// #[handlers]
    /// impl Room {
    ///     pub async fn tell(&mut self, cx: &mut Turn, what: String) -> Result<String> {
    ///         let told = self.lamp.handle(cx, &what, b"").await;
    ///         let reply = told.map_err(|error| refuse("room.lamp", error.to_string()))?;
    ///         Ok(String::from_utf8_lossy(&reply).into_owned())
    ///     }
    ///
    ///     pub async fn look(&self, view: &View, what: String) -> Result<String> {
    ///         let seen = self.lamp.read(view, &what, b"").await;
    ///         let reply = seen.map_err(|error| refuse("room.lamp", error.to_string()))?;
    ///         Ok(String::from_utf8_lossy(&reply).into_owned())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").actor::<Room>().start().await?;
    /// let kitchen = cluster.actor::<Room>("kitchen");
    /// assert_eq!(kitchen.tell("switch".to_owned()).await?, "true");
    /// assert_eq!((kitchen.look("is_on".to_owned()).await?, Lamp::READS), ("true".to_owned(), &["is_on"][..]));
    /// # Ok(())
    /// # }
    /// ```
    fn handle(
        &mut self,
        turn: &mut Turn,
        operation: &str,
        payload: &[u8],
    ) -> impl Future<Output = std::result::Result<bytes::Bytes, crate::HandlerError>> + Send;

    /// Runs a handler that reads.
    ///
    /// Shown at [`Handlers::handle`].
    fn read(
        &self,
        view: &View,
        operation: &str,
        payload: &[u8],
    ) -> impl Future<Output = std::result::Result<bytes::Bytes, crate::HandlerError>> + Send;
}
