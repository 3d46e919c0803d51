//! Kelpie as a library: durable actors inside your own program.
//!
//! The binary `kelpie` serves agents over HTTP; this is what stands underneath, for programs
//! in Rust that bring actors of their own. An actor is a behaviour over records: what one turn
//! sets commits together with its reply, once per idempotency key, also across `kill -9`.
//!
//! ```
//! use futures::future::BoxFuture;
//! use kelpie::{Actor, ActorId, Bytes, Call, HandlerError, Options, Runtime, Store, StoreConfig, Turn, View};
//!
//! struct Counter;
//!
//! fn number(bytes: Option<Bytes>) -> u64 {
//!     bytes.map_or(0, |bytes| u64::from_be_bytes((&*bytes).try_into().expect("written below")))
//! }
//!
//! impl Actor for Counter {
//!     fn actor_type(&self) -> &str {
//!         "counter"
//!     }
//!
//!     fn is_read(&self, operation: &str) -> bool {
//!         operation == "get"
//!     }
//!
//!     fn handle<'a>(
//!         &'a self, turn: &'a mut Turn, _operation: &'a str, _payload: &'a [u8],
//!     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
//!         Box::pin(async move {
//!             let total = number(turn.get(b"total").await?) + 1;
//!             let total = Bytes::copy_from_slice(&total.to_be_bytes());
//!             turn.set("total", total.clone());
//!             Ok(total)
//!         })
//!     }
//!
//!     fn read<'a>(
//!         &'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8],
//!     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
//!         Box::pin(async move { Ok(view.get(b"total").await?.unwrap_or_default()) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = kelpie::real_env();
//! let store = Store::open(&StoreConfig::Memory, &env).await?; // StoreConfig::embedded("./data") keeps it
//! let actors: Vec<std::sync::Arc<dyn Actor>> = vec![std::sync::Arc::new(Counter)];
//! let runtime = Runtime::start(Options::alone("node-1")?, env, store, actors).await?;
//!
//! let counter = ActorId::new("default", "counter", "visits")?;
//! let add = || Call::new(counter.clone(), "add", "");
//! runtime.call(add().key(kelpie::IdempotencyKey::new("request-7")?)).await?;
//! runtime.call(add().key(kelpie::IdempotencyKey::new("request-7")?)).await?; // the same request
//! assert_eq!(number(Some(runtime.call(add()).await?)), 2);
//! # Ok(())
//! # }
//! ```

pub use bytes::Bytes;
pub use kelpie_core::advice::Advice;
pub use kelpie_core::call::{Caller, IdempotencyKey};
pub use kelpie_core::id::ActorId;
pub use kelpie_env::Env;
pub use kelpie_env::real::env as real_env;
pub use kelpie_runtime::{
    Actor, Call, CallError, Drained, EffectContext, HandlerError, Health, Options, PendingEffect,
    RecordRange, Runtime, StartError, Turn, TurnError, View,
};
pub use kelpie_storage::{OpenError, Store, StoreConfig};
