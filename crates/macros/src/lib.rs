//! The attributes `#[actor]` and `#[handlers]`.
//!
//! They write the impls of `kelpie::State` and `kelpie::Handlers`, and a client. Everything
//! that they write names the crate `kelpie`, which exports them; use them from there.
//!
//! Invariant: what is wrong in the user's code is reported at the user's line.

mod actor;
mod handler;
mod handlers;

use proc_macro::TokenStream;

/// Makes a struct the state of an actor type.
///
/// | argument | meaning |
/// |---|---|
/// | `name = "…"` | the name of the type: the second part of its actors' ids, for ever |
/// | `version = N` | the version of the state; one more whenever what is stored cannot be read as the struct any longer |
/// | `upgrades(1 => f, 2 => g)` | for each version before this one, a function of what was stored then to the struct |
/// | `near = Other` | with several nodes: an actor would like to be where the `Other` of the same key is when it is placed |
/// | `label = "…"` | with several nodes: an actor would like to be on a node with that label |
///
/// The struct is `Default` (how an actor begins), `Serialize` and `Deserialize`. A field with
/// `#[serde(default)]` can be added without a new version.
///
/// ```
/// use kelpie::{Result, Turn, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "greeter", version = 2, upgrades(1 => from_v1))]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Greeter {
///     names: Vec<String>,
/// }
///
/// /// What version 1 stored.
/// #[derive(Deserialize)]
/// struct GreeterV1 {
///     name: String,
/// }
///
/// fn from_v1(old: GreeterV1) -> Greeter {
///     Greeter { names: vec![old.name] }
/// }
///
/// #[handlers]
/// impl Greeter {
///     pub async fn meet(&mut self, _: &mut Turn, name: String) -> Result<usize> {
///         self.names.push(name);
///         Ok(self.names.len())
///     }
/// }
/// ```
///
/// State that a newer version has stored is never read as the default: the call fails, with the
/// code `state.newer`.
#[proc_macro_attribute]
pub fn actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    actor::expand(arguments.into(), item.into()).into()
}

/// Makes the public methods of an impl block the handlers of an actor, and writes a client for
/// them: of `Counter`, the `CounterClient`.
///
/// | a handler | runs |
/// |---|---|
/// | `pub async fn f(&mut self, cx: &mut Turn, …) -> Result<T>` | alone; what it leaves commits with the reply, or not at all |
/// | `pub async fn f(&self, view: &View, …) -> Result<T>` | beside others, on the last committed state |
///
/// Arguments and replies are `Serialize` and `Deserialize`, and owned. They travel as JSON, by
/// the names of the arguments: an argument that is an `Option`, or has `#[serde(default)]`, can
/// be added while messages without it are under way. `#[handler(name = "…")]` keeps a handler's
/// name on the wire when the method gets another one. Methods that are not `pub` are left as
/// they are.
///
/// ```
/// use kelpie::{Result, Turn, View, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "counter", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Counter {
///     total: i64,
/// }
///
/// #[handlers]
/// impl Counter {
///     /// Adds to the total and returns it.
///     pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
///         self.total += n;
///         Ok(self.total)
///     }
///
///     pub async fn get(&self, _: &View) -> Result<i64> {
///         Ok(self.total)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Counter>().start().await?;
/// let counter: CounterClient<_> = cluster.actor::<Counter>("a");
/// assert_eq!(counter.add(3).idempotent("req-7").await?, 3);
/// assert_eq!(counter.add(3).idempotent("req-7").await?, 3); // the same request
/// assert_eq!(counter.get().await?, 3);
/// # Ok(())
/// # }
/// ```
#[proc_macro_attribute]
pub fn handlers(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handlers::expand(arguments.into(), item.into()).into()
}
