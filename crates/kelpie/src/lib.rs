//! Durable actors inside your own program.
//!
//! An actor is a struct with async methods. It always exists, under a name of your choice; its
//! methods run one at a time; what a call leaves commits together with its reply, once per
//! idempotency key, also across `kill -9`. There is no server to run.
//!
//! ```
//! use std::time::Duration;
//!
//! use kelpie::{Result, Turn, View, actor, handlers};
//! use serde::{Deserialize, Serialize};
//!
//! #[actor(name = "counter", version = 1)]
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Counter {
//!     total: i64,
//! }
//!
//! #[handlers]
//! impl Counter {
//!     pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
//!         self.total += n;
//!         Ok(self.total)
//!     }
//!
//!     pub async fn get(&self, _: &View) -> Result<i64> {
//!         Ok(self.total)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//!     // "embedded:./data" keeps it on disk, "postgres://…" in a database.
//!     let cluster = kelpie::open("memory:").actor::<Counter>().start().await?;
//!
//!     let counter = cluster.actor::<Counter>("visits");
//!     counter.add(3).idempotent("req-7").deadline(Duration::from_secs(2)).await?;
//!     counter.add(3).idempotent("req-7").await?; // the same request: its effect is there once
//!     assert_eq!(counter.get().await?, 3);
//!
//!     cluster.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! `docs/guide/actors.md` leads from here to actors under simulation. The binary `kelpie` is
//! this package's default feature `cli`; a program takes the library alone with
//! `default-features = false`.

#[cfg(feature = "cluster")]
mod among;
mod cluster;
mod exports;
#[cfg(feature = "http")]
mod http;

/// The guide's snippets run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/actors.md")]
#[doc = include_str!("../../../docs/guide/reminders.md")]
struct Guide;

/// The same for a page about what a feature gives.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../../../docs/guide/operating-actors.md")]
struct OperatingGuide;

/// The same for several nodes.
#[cfg(all(doctest, feature = "cluster"))]
#[doc = include_str!("../../../docs/guide/cluster.md")]
struct ClusterGuide;

/// ```
/// use std::time::Duration;
///
/// use kelpie::{Builder, Cluster, NotClosed, NotStarted};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder: Builder = kelpie::open("memory:").node("shop-1").idle_after(Duration::from_secs(5));
/// let cluster: Cluster = builder.start().await?;
/// let acme = cluster.tenant("acme"); // the same node, other actors
/// assert_eq!(acme.runtime().activations(), 0);
/// let drained = cluster.drain(Duration::from_secs(1)).await;
/// assert_eq!(drained.cut_off, 0);
/// match cluster.close().await {
///     Ok(()) => {}
///     Err(NotClosed::CutOff { calls }) => println!("{calls} calls go on at the next start"),
///     Err(error) => println!("{error}"),
/// }
/// let nowhere = kelpie::open("nowhere:").start().await.err();
/// assert!(matches!(nowhere, Some(NotStarted::Url(_))));
/// # Ok(())
/// # }
/// ```
pub use cluster::{Builder, Cluster, NotClosed, NotStarted, on, open};
pub use exports::*;
/// ```
/// use kelpie::{Http, HttpBuilder, NotServed};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").start().await?;
/// let builder: HttpBuilder = cluster.serve_http("127.0.0.1:0");
/// let http: Http = builder.start().await?;
/// assert_eq!(http.url(), format!("http://{}", http.address()));
/// let taken = cluster.serve_http(http.address().to_string()).start().await.err();
/// assert!(matches!(taken, Some(NotServed::Listen { .. })));
/// assert!(http.stop().await, "every request got its answer");
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "http")]
pub use http::{Http, HttpBuilder, NotServed};

/// What stands under typed actors: operation names and bytes in, bytes out.
///
/// ```
/// use futures::future::BoxFuture;
/// use kelpie::Bytes;
/// use kelpie::untyped::{Actor, Call, HandlerError, Turn, View};
///
/// /// Remembers the last thing that it was told.
/// struct Note;
///
/// impl Actor for Note {
///     fn actor_type(&self) -> &str {
///         "note"
///     }
///     fn is_read(&self, operation: &str) -> bool {
///         operation == "read"
///     }
///     fn handle<'a>(
///         &'a self, turn: &'a mut Turn, _operation: &'a str, payload: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         turn.set("text", Bytes::copy_from_slice(payload));
///         Box::pin(async { Ok(Bytes::new()) })
///     }
///     fn read<'a>(
///         &'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         Box::pin(async move { Ok(view.get(b"text").await?.unwrap_or_default()) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Note)).start().await?;
/// let note = kelpie::ActorId::new("default", "note", "shopping")?;
/// cluster.runtime().call(Call::new(note.clone(), "write", "milk")).await?;
/// assert_eq!(cluster.runtime().call(Call::new(note, "read", "")).await?, "milk");
/// # Ok(())
/// # }
/// ```
pub mod untyped {
    /// ```
    /// use kelpie::untyped::{Call, CallError, IdempotencyKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// let note = kelpie::ActorId::new("default", "note", "a")?;
    /// let call = Call::new(note, "write", "milk").key(IdempotencyKey::new("monday's list")?);
    /// let called: Result<kelpie::Bytes, CallError> = cluster.runtime().call(call).await;
    /// assert!(matches!(called, Err(CallError::NoSuchType { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub use kelpie_core::call::IdempotencyKey;
    /// ```
    /// use futures::future::BoxFuture;
    /// use kelpie::untyped::{
    ///     Actor, Call, EffectContext, HandlerError, PendingEffect, PlacementWish, RecordRange, Turn, View, counters,
    /// };
    /// use kelpie::{ActorId, Bytes};
    ///
    /// /// Counts what it was told, and has it printed.
    /// struct Tally;
    ///
    /// impl Actor for Tally {
    ///     fn actor_type(&self) -> &str {
    ///         "tally"
    ///     }
    ///     fn is_read(&self, operation: &str) -> bool {
    ///         operation == "count"
    ///     }
    ///     fn wish(&self, _: &ActorId) -> PlacementWish {
    ///         PlacementWish { label: Some("printer".to_owned()), ..PlacementWish::default() }
    ///     }
    ///     fn handle<'a>(
    ///         &'a self, turn: &'a mut Turn, _: &'a str, payload: &'a [u8],
    ///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    ///         Box::pin(async move {
    ///             if payload.is_empty() {
    ///                 return Err(HandlerError::app("tally.empty", "say something"));
    ///             }
    ///             let count = turn.range(RecordRange::prefix(b"said/")).await?.len();
    ///             turn.set(format!("said/{count:06}"), payload.to_vec());
    ///             turn.index_add("words", payload, &[1]);
    ///             turn.perform("print", payload.to_vec());
    ///             Ok(Bytes::new())
    ///         })
    ///     }
    ///     fn read<'a>(
    ///         &'a self, view: &'a View, _: &'a str, word: &'a [u8],
    ///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    ///         Box::pin(async move {
    ///             let entry = view.index_get("words", word).await?.unwrap_or_default();
    ///             Ok(Bytes::from(counters(&entry).iter().sum::<u64>().to_string()))
    ///         })
    ///     }
    ///     fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
    ///         Box::pin(async move { println!("{}: {:?}", context.actor(), effect.payload) })
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Tally)).start().await?;
    /// let tally = ActorId::new("default", "tally", "a")?;
    /// cluster.runtime().call(Call::new(tally.clone(), "say", "yes")).await?;
    /// assert_eq!(cluster.runtime().call(Call::new(tally, "count", "yes")).await?, "1");
    /// # Ok(())
    /// # }
    /// ```
    pub use kelpie_runtime::{
        Actor, EffectContext, HandlerError, PendingEffect, PlacementWish, RecordRange, Turn, View, counters,
    };
    /// ```
    /// use std::time::Duration;
    ///
    /// use kelpie::untyped::{
    ///     Call, CallError, Drained, Health, JoinError, NodeSettings, Options, Runtime, StartError,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // A second node of this program, on the store of its first.
    /// let first = kelpie::open("memory:").start().await?;
    /// let (env, store) = (first.runtime().env().clone(), first.runtime().store().clone());
    /// let alone = Options::alone("n2")?;
    /// let node = NodeSettings { lease_term: Duration::from_secs(6), ..alone.node.clone() };
    /// let runtime: Runtime = match Runtime::start(Options { node, ..alone }, env, store, vec![]).await {
    ///     Err(StartError::Join(JoinError::Refused(why))) => return Err(why.into()),
    ///     started => started?,
    /// };
    /// assert_eq!(runtime.health(), Health::Ready);
    /// let called = runtime.call(Call::new(kelpie::ActorId::new("default", "note", "a")?, "read", "")).await;
    /// assert!(matches!(called, Err(CallError::NoSuchType { .. })));
    /// let Drained { cut_off, left } = runtime.drain(Duration::from_secs(5)).await;
    /// assert!(cut_off == 0 && left.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub use kelpie_runtime::{
        Call, CallError, Drained, Health, JoinError, NodeSettings, Options, Runtime, StartError,
    };
    /// ```
    /// use kelpie::untyped::{OpenError, ReadError, Store, StoreConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let first = kelpie::open("memory:").start().await?;
    /// # let env = first.runtime().env().clone();
    /// let config: StoreConfig = "memory:".parse()?;
    /// let opened: Result<Store, OpenError> = Store::open(&config, &env).await;
    /// let read: Result<Option<kelpie::Bytes>, ReadError> = opened?.begin().get(b"row").await;
    /// assert_eq!(read?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub use kelpie_storage::{OpenError, ReadError, Store, StoreConfig};
}

/// What the attributes write names these.
#[doc(hidden)]
pub mod __private {
    pub use kelpie_runtime::typed::{Outcome, arguments, no_handler, reply};
    pub use serde;
}
