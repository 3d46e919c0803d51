//! A node inside the user's program.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kelpie_core::id::NameError;
use kelpie_registry::RegistryError;
use kelpie_runtime::typed::{AppAnswer, Behaviours, Error, Handlers, Target, Via};
use kelpie_runtime::{Actor, Call, CallLimits, Drained, Options, Runtime, StartError};
use kelpie_storage::{CloseError, OpenError, Store, StoreConfig, StoreUrlError};

use crate::Bytes;

/// How long [`Cluster::close`] waits for what is under way.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

/// Opens a store for actors of this program: `memory:` (gone with the process),
/// `embedded:<directory>`, `postgres://…`. Nothing happens before [`Builder::start`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").node("shop-1").start().await?;
/// cluster.close().await?;
/// # Ok(())
/// # }
/// ```
pub fn open(store: impl Into<String>) -> Builder {
    Builder::of(Source::Url(store.into()))
}

/// The same in a store that is open: several nodes in one program share it, as tests want it.
/// `Runtime::store` of a node gives it; each of them [drains](Cluster::drain), the last one closes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let one = kelpie::open("memory:").start().await?;
/// let two = kelpie::on(one.runtime().store().clone()).node("n2").start().await?;
/// two.drain(std::time::Duration::from_secs(5)).await;
/// one.close().await?;
/// # Ok(())
/// # }
/// ```
pub fn on(store: Store) -> Builder {
    Builder::of(Source::Open(store))
}

/// Where a node's store comes from.
enum Source {
    Url(String),
    Open(Store),
}

/// What a node is to be: see [`open`].
#[must_use = "a node runs when it is started"]
pub struct Builder {
    store: Source,
    node: String,
    idle_after: Option<Duration>,
    call_limits: CallLimits,
    behaviours: Behaviours,
    untyped: Vec<Arc<dyn Actor>>,
    #[cfg(feature = "cluster")]
    pub(crate) among: crate::among::Among,
}

impl Builder {
    fn of(store: Source) -> Self {
        Self {
            store,
            node: "node-1".to_owned(),
            idle_after: None,
            call_limits: CallLimits::default(),
            behaviours: Behaviours::new(),
            untyped: Vec::new(),
            #[cfg(feature = "cluster")]
            among: crate::among::Among::default(),
        }
    }

    /// One more type of actors.
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
    /// let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
    /// assert!(cluster.actor::<Lamp>("desk").switch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn actor<A: Handlers>(self) -> Self {
        Self { behaviours: self.behaviours.actor::<A>(), ..self }
    }

    /// Something that handlers get with `cx.given::<T>()?`, such as a client of the world
    /// outside: one of each type.
    ///
    /// ```
    /// use kelpie::{Result, Turn, actor, handlers};
    /// use serde::{Deserialize, Serialize};
    ///
    /// struct Greeting(&'static str);
    ///
    /// #[actor(name = "host", version = 1)]
    /// #[derive(Default, Serialize, Deserialize)]
    /// pub struct Host {}
    ///
    /// #[handlers]
    /// impl Host {
    ///     pub async fn greet(&mut self, cx: &mut Turn) -> Result<String> {
    ///         Ok(format!("{}, {}", cx.given::<Greeting>()?.0, cx.key()))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").actor::<Host>().with(Greeting("Hello")).start().await?;
    /// assert_eq!(cluster.actor::<Host>("Ada").greet().await?, "Hello, Ada");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<T: Send + Sync + 'static>(self, given: T) -> Self {
        Self { behaviours: self.behaviours.with(given), ..self }
    }

    /// One more type of actors, below the typed layer.
    ///
    /// ```
    /// use futures::future::BoxFuture;
    /// use kelpie::Bytes;
    /// use kelpie::untyped::{Actor, Call, HandlerError, Turn, View};
    ///
    /// /// Says what it is told.
    /// struct Echo;
    ///
    /// impl Actor for Echo {
    ///     fn actor_type(&self) -> &str {
    ///         "echo"
    ///     }
    ///     fn is_read(&self, _operation: &str) -> bool {
    ///         true
    ///     }
    ///     fn handle<'a>(
    ///         &'a self, _: &'a mut Turn, _: &'a str, payload: &'a [u8],
    ///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    ///         Box::pin(async { Ok(Bytes::copy_from_slice(payload)) })
    ///     }
    ///     fn read<'a>(
    ///         &'a self, _: &'a View, _: &'a str, payload: &'a [u8],
    ///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
    ///         Box::pin(async { Ok(Bytes::copy_from_slice(payload)) })
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").untyped(std::sync::Arc::new(Echo)).start().await?;
    /// let call = Call::new(kelpie::ActorId::new("default", "echo", "a")?, "say", "hello");
    /// assert_eq!(cluster.runtime().call(call).await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn untyped(mut self, actor: Arc<dyn Actor>) -> Self {
        self.untyped.push(actor);
        self
    }

    /// The node's name, `node-1` unless you say so. It is the same after a restart; no two
    /// processes have one name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").node("shop-1").start().await?;
    /// assert!(kelpie::open("memory:").node("").start().await.is_err());
    /// # cluster.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn node(self, name: impl Into<String>) -> Self {
        Self { node: name.into(), ..self }
    }

    /// How long an actor stays in memory without calls; a minute unless you say so.
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
    /// let builder = kelpie::open("memory:").actor::<Lamp>();
    /// let cluster = builder.idle_after(std::time::Duration::from_millis(20)).start().await?;
    /// assert!(cluster.actor::<Lamp>("desk").switch().await?);
    /// while cluster.runtime().activations() > 0 {
    ///     cluster.runtime().env().sleep(std::time::Duration::from_millis(5)).await;
    /// }
    /// // It has left memory, and is as it was.
    /// assert!(!cluster.actor::<Lamp>("desk").switch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_after(self, idle_after: Duration) -> Self {
        Self { idle_after: Some(idle_after), ..self }
    }

    /// How often and how much at once this node may be called from outside; as much as it can
    /// unless you say so. What is refused has done nothing and says when to come again
    /// (`call.too_many`). Calls between actors are not counted.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    ///
    /// use kelpie::{CallLimits, Rate};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ten = NonZeroU32::new(10).ok_or("not zero")?;
    /// let limits = CallLimits { actor_rate: Some(Rate { per_second: ten, burst: ten }), ..CallLimits::default() };
    /// let cluster = kelpie::open("memory:").call_limits(limits).start().await?;
    /// # cluster.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call_limits(self, call_limits: CallLimits) -> Self {
        Self { call_limits, ..self }
    }

    /// Opens the store, joins, and goes on with what is owed from before: reminders, messages,
    /// turns that a crash has interrupted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// cluster.close().await?;
    /// assert!(kelpie::open("nowhere:").start().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The URL names no store, the store does not open, or the node cannot join.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Cluster, NotStarted> {
        let mut options = Options::alone(&self.node)?;
        options.call_limits = self.call_limits;
        options.idle_after = self.idle_after.unwrap_or(options.idle_after);
        let env = kelpie_env::real::env();
        let store = match self.store {
            Source::Url(url) => Store::open(&url.parse::<StoreConfig>()?, &env).await?,
            Source::Open(store) => store,
        };
        let mut actors = self.behaviours.untyped();
        actors.extend(self.untyped);
        let tenant = Arc::from("default");
        #[cfg(feature = "cluster")]
        if let Some(options) = self.among.options(&options, &env)? {
            let peer = kelpie_cluster::start(options, env, store, actors).await?;
            return Ok(Cluster { runtime: peer.runtime().clone(), tenant, peer: Some(Arc::new(peer)) });
        }
        let runtime = Runtime::start(options, env, store, actors).await?;
        Ok(Cluster {
            runtime,
            tenant,
            #[cfg(feature = "cluster")]
            peer: None,
        })
    }
}

/// The node of this program, and through it the actors. Cheap to clone.
///
/// Dropped without [`Cluster::close`] it ends like a crashed process: nothing that was
/// acknowledged is lost, and the next start goes on with what is owed.
#[derive(Clone)]
pub struct Cluster {
    runtime: Runtime,
    tenant: Arc<str>,
    /// Its place among other nodes, if it has one.
    #[cfg(feature = "cluster")]
    peer: Option<Arc<kelpie_cluster::Node>>,
}

impl Cluster {
    /// A client of the actor of that type and key. The actor always exists.
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
    /// # let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
    /// let lamp = cluster.actor::<Lamp>("desk");
    /// assert!(lamp.switch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn actor<A: Handlers>(&self, key: &str) -> A::Client<Self> {
        A::client(Target::new::<A>(self.clone(), &self.tenant, key))
    }

    /// The same node, for another tenant's actors; `default` is the tenant of all others.
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
    /// # let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
    /// assert!(cluster.actor::<Lamp>("desk").switch().await?);
    /// // Another desk.
    /// assert!(cluster.tenant("acme").actor::<Lamp>("desk").switch().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> Self {
        Self { tenant: Arc::from(tenant), ..self.clone() }
    }

    /// Whose actors [`Cluster::actor`] names.
    #[cfg(feature = "http")]
    pub(crate) fn tenant_name(&self) -> &str {
        &self.tenant
    }

    /// The runtime underneath.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// assert_eq!(cluster.runtime().activations(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Hands its actors over to other nodes, if there are any, waits for the calls that were
    /// admitted, and leaves; at most `limit` in all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// let drained = cluster.drain(std::time::Duration::from_secs(5)).await;
    /// assert_eq!(drained.cut_off, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self, limit: Duration) -> Drained {
        #[cfg(feature = "cluster")]
        if let Some(peer) = &self.peer {
            return peer.drain(limit).await;
        }
        self.runtime.drain(limit).await
    }

    /// Refuses new calls, waits half a minute for those that were admitted, and closes the
    /// store.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// cluster.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What did not end well. Nothing that was acknowledged is lost by it.
    pub async fn close(&self) -> Result<(), NotClosed> {
        let drained = self.drain(CLOSE_WAIT).await;
        let closed = self.runtime.store().close().await;
        if drained.cut_off > 0 {
            return Err(NotClosed::CutOff { calls: drained.cut_off });
        }
        drained.left?;
        Ok(closed?)
    }
}

impl Via for Cluster {
    fn invoke(&self, call: Call) -> BoxFuture<'static, Result<Bytes, Error<AppAnswer>>> {
        self.runtime.invoke(call)
    }
}

/// A node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The URL names no store of this build.
    #[error(transparent)]
    Url(#[from] StoreUrlError),
    /// The store does not open.
    #[error("the store does not open")]
    Store(#[from] OpenError),
    /// The node's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The node cannot join.
    #[error("the node cannot start")]
    Runtime(#[from] StartError),
    /// Its certificates or its secret cannot be used.
    #[cfg(feature = "cluster")]
    #[error("the node's peers could not make sure of it")]
    Security(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Where it is to be reached, or to listen, is no place.
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Advertised(#[from] kelpie_cluster::AdvertiseError),
    /// The node cannot run among others.
    #[cfg(feature = "cluster")]
    #[error("the node cannot start among others")]
    Among(#[from] kelpie_cluster::StartError),
}

/// A node did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum NotClosed {
    /// Calls were under way and were cut off; what they owe goes on after the next start.
    #[error("{calls} calls were cut off; they go on after the next start")]
    CutOff {
        /// How many.
        calls: u64,
    },
    /// The store does not know that the node has left.
    #[error("the store does not know that this node has left")]
    NotLeft(#[from] RegistryError),
    /// The store did not close; its log is replayed at the next start.
    #[error("the store did not close")]
    Store(#[from] CloseError),
}
