//! Calls as values: who is called, what, and with which options.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::call::IdempotencyKey;
use kelpie_core::id::{ActorId, NameError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Handlers;
use super::error::{AppAnswer, AppError, Error, Reason};
use super::misfit::Misfit;
use super::wire;
use crate::call::Call;
use crate::runtime::Runtime;

/// The tenant of actors whose caller says nothing about it.
pub(super) const TENANT: &str = "default";

/// What carries calls to actors: a runtime, a simulated client.
pub trait Via: Clone + Send + Sync + 'static {
    /// Carries one call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kelpie::untyped::Call;
    /// use kelpie::{ActorId, Error, Via};
    ///
    /// let cluster = kelpie::open("memory:").start().await?;
    /// let call = Call::new(ActorId::new("default", "nobody", "a")?, "greet", "");
    /// assert!(matches!(cluster.invoke(call).await, Err(Error::Fix(_)))); // there is no such type
    /// # Ok(())
    /// # }
    /// ```
    fn invoke(&self, call: Call) -> BoxFuture<'static, Result<Bytes, Error<AppAnswer>>>;
}

impl Via for Runtime {
    fn invoke(&self, call: Call) -> BoxFuture<'static, Result<Bytes, Error<AppAnswer>>> {
        let runtime = self.clone();
        Box::pin(async move { runtime.call(call).await.map_err(|error| Error::from(&error)) })
    }
}

/// No way to an actor yet: the call is for [`Turn::send`](super::Turn::send) and
/// [`Turn::call`](super::Turn::call), which know one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detached;

/// The actor itself: the call is for [`Turn::remind`](super::Turn::remind).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Me;

/// The handler may change the actor's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {}

/// The handler only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {}

/// One actor, and the way to it.
///
/// ```
/// # use kelpie::{Cluster, Result, Turn, actor, handlers};
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
/// use kelpie::{Changes, Invocation, Refusal, Target};
///
/// let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
/// // What `cluster.actor::<Lamp>("desk").switch()` does.
/// let desk = Target::new::<Lamp>(cluster, "default", "desk");
/// let switch: Invocation<Cluster, bool, Refusal, Changes> = desk.invocation("switch", &());
/// assert!(switch.await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Target<V> {
    via: V,
    actor: Result<ActorId, NameError>,
}

impl<V> Target<V> {
    /// The actor of `A` with that key.
    ///
    /// Shown at [`Target`].
    pub fn new<A: Handlers>(via: V, tenant: &str, key: &str) -> Self {
        Self { via, actor: ActorId::new(tenant, A::TYPE, key) }
    }
}

impl<V: Clone> Target<V> {
    /// A call of one of its handlers.
    ///
    /// Shown at [`Target`].
    pub fn invocation<T, E, K>(
        &self,
        operation: &'static str,
        arguments: &impl Serialize,
    ) -> Invocation<V, T, E, K> {
        // No arguments are no payload.
        let payload = if size_of_val(arguments) == 0 {
            Ok(Bytes::new())
        } else {
            wire::to_json(arguments).map_err(|reason| Misfit::Arguments {
                operation: operation.to_owned(),
                argument: None,
                reason,
            })
        };
        Invocation {
            target: self.clone(),
            operation,
            payload,
            key: None,
            deadline: None,
            stale_ok: false,
            kind: PhantomData,
        }
    }
}

/// A client of an actor for messages and calls from within a turn:
/// `cx.send(to::<Account>("bob").deposit(5))?`. The actor is one of the caller's tenant.
///
/// ```
/// # use kelpie::{Result, Turn, actor, handlers, to};
/// # use serde::{Deserialize, Serialize};
/// # #[actor(name = "shop", version = 1)]
/// # #[derive(Default, Serialize, Deserialize)]
/// # pub struct Shop { sold: u64 }
/// # #[handlers]
/// # impl Shop {
/// pub async fn order(&mut self, cx: &mut Turn) -> Result<()> {
///     cx.send(to::<Self>("the wholesaler").sell())?;
///     Ok(())
/// }
/// # pub async fn sell(&mut self, _: &mut Turn) -> Result<()> {
/// #     self.sold += 1;
/// #     Ok(())
/// # }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
/// cluster.actor::<Shop>("corner").order().await?;
/// # Ok(())
/// # }
/// ```
pub fn to<A: Handlers>(key: &str) -> A::Client<Detached> {
    A::client(Target::new::<A>(Detached, TENANT, key))
}

/// Owns none of them, so that a call can be sent to another thread whatever it gives.
type Kind<T, E, K> = fn() -> (T, E, K);

/// A client of the actor whose turn it is, for its reminders:
/// `cx.remind("expiry", schedule, me::<Order>().expire()).await?`.
///
/// ```
/// # use kelpie::{Result, Schedule, Turn, actor, handlers, me};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// # #[actor(name = "shop", version = 1)]
/// # #[derive(Default, Serialize, Deserialize)]
/// # pub struct Shop { sold: u64 }
/// # #[handlers]
/// # impl Shop {
/// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
///     cx.remind("evening", Schedule::After(Duration::from_secs(36_000)), me::<Self>().close()).await?;
///     Ok(())
/// }
/// # pub async fn close(&mut self, _: &mut Turn) -> Result<()> {
/// #     Ok(())
/// # }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
/// cluster.actor::<Shop>("corner").open().await?;
/// # Ok(())
/// # }
/// ```
pub fn me<A: Handlers>() -> A::Client<Me> {
    A::client(Target::new::<A>(Me, TENANT, "me"))
}

/// A call that has not been made: `.await` makes it. It gives `T`, and of the actor's own
/// errors `E`.
#[must_use = "a call does nothing until it is awaited or sent"]
pub struct Invocation<V, T, E, K> {
    target: Target<V>,
    operation: &'static str,
    payload: Result<Bytes, Misfit>,
    key: Option<String>,
    deadline: Option<Duration>,
    stale_ok: bool,
    kind: PhantomData<Kind<T, E, K>>,
}

impl<V: Via, T, E, K> Invocation<V, T, E, K> {
    /// How long it may take from now; a minute, unless you say so.
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
    /// let within = std::time::Duration::from_secs(2);
    /// assert!(cluster.actor::<Lamp>("desk").switch().deadline(within).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

impl<V: Via, T, E> Invocation<V, T, E, Changes> {
    /// Names the intent: however often a call is made with this key within 24 hours, it has
    /// its effect once, and every time the same reply.
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
    /// assert!(lamp.switch().idempotent("evening").await?);
    /// assert!(lamp.switch().idempotent("evening").await?); // the same switching, and its answer
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotent(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

impl<V: Via, T, E> Invocation<V, T, E, Reads> {
    /// A state is good enough that may not be the last one: read from what this node has in
    /// memory, or as it is stored, without asking the actor's owner and without activating the
    /// actor.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn sold(&self, _: &View) -> Result<u64> {
    /// #     Ok(self.sold)
    /// # }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let sold = cluster.actor::<Shop>("corner").sold().stale_ok().await?;
    /// assert_eq!(sold, 0);
    /// assert_eq!(cluster.runtime().activations(), 0); // nothing was activated
    /// # Ok(())
    /// # }
    /// ```
    pub fn stale_ok(self) -> Self {
        Self { stale_ok: true, ..self }
    }
}

impl<V, T, E, K> Invocation<V, T, E, K> {
    fn call(self) -> Result<Call, Misfit> {
        let name = |error: NameError| Misfit::Name { reason: error.to_string() };
        let call = Call::new(self.target.actor.map_err(name)?, self.operation, self.payload?);
        let call = match self.key {
            Some(key) => call.key(IdempotencyKey::new(&key).map_err(name)?),
            None => call,
        };
        let call = match self.deadline {
            Some(deadline) => call.deadline(deadline),
            None => call,
        };
        Ok(if self.stale_ok { call.stale_ok() } else { call })
    }

    /// Whom it asks, what, and with which arguments; in another tenant.
    pub(super) fn message(self, tenant: &str) -> Result<(ActorId, &'static str, Bytes), Misfit> {
        let name = |error: NameError| Misfit::Name { reason: error.to_string() };
        let actor = self.target.actor.map_err(name)?;
        let actor = if actor.tenant() == tenant {
            actor
        } else {
            ActorId::new(tenant, actor.actor_type(), actor.key()).map_err(name)?
        };
        Ok((actor, self.operation, self.payload?))
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }
}

impl<V: Via, T, E, K> IntoFuture for Invocation<V, T, E, K>
where
    T: DeserializeOwned + Send + 'static,
    E: AppError,
{
    type Output = Result<T, Error<E>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (via, operation) = (self.target.via.clone(), self.operation);
        let call = self.call();
        Box::pin(async move {
            match call {
                Ok(call) => wire::outcome(operation, via.invoke(call).await),
                Err(misfit) => {
                    Err(Error::Fix(Reason { code: misfit.code().to_owned(), message: misfit.to_string() }))
                }
            }
        })
    }
}
