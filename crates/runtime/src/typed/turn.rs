//! What typed handlers work with.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use kelpie_core::call::{Caller, TurnId};
use kelpie_core::id::ActorId;
use kelpie_core::trace::TraceContext;
use kelpie_env::Env;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::error::{AppError, Error};
use super::invocation::{Changes, Detached, Invocation};
use super::kv::Kv;
use super::misfit::Misfit;
use super::wire;
use crate::actor::TurnError;
use crate::call::CallError;
use crate::step::StepKey;

/// What a node was given beside its actors, by type.
pub(super) type Given = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;

pub(super) fn given<T: Send + Sync + 'static>(given: &Given) -> Result<Arc<T>, TurnError> {
    let found = given.get(&TypeId::of::<T>()).cloned();
    let found = found.and_then(|given| given.downcast().ok());
    found.ok_or_else(|| Misfit::NotGiven { type_name: std::any::type_name::<T>().into() }.into())
}

/// An exclusive turn. What it sets, sends and reminds of commits together with the state and
/// the reply, or not at all.
pub struct Turn {
    pub(super) turn: crate::Turn,
    given: Arc<Given>,
    /// How often this turn has called each handler of each actor.
    calls: Mutex<BTreeMap<(ActorId, &'static str), usize>>,
}

/// An untyped turn lent to a typed handler, which so needs no lifetime in its signature. It
/// goes back however the handler ends.
pub(super) struct Lent<'t> {
    place: &'t mut crate::Turn,
    pub(super) turn: Turn,
}

impl<'t> Lent<'t> {
    pub(super) fn new(place: &'t mut crate::Turn, given: Arc<Given>) -> Self {
        let placeholder = place.placeholder();
        let turn = std::mem::replace(place, placeholder);
        Self { place, turn: Turn { turn, given, calls: Mutex::default() } }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        std::mem::swap(self.place, &mut self.turn.turn);
    }
}

impl Turn {
    /// Whose turn it is.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<String> {
    ///     Ok(cx.actor().to_string())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").open().await?.contains("corner"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn actor(&self) -> &ActorId {
        self.turn.actor()
    }

    /// The actor's key.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<String> {
    ///     Ok(format!("the {} is open", cx.key()))
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").open().await?, "the corner is open");
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(&self) -> &str {
        self.actor().key()
    }

    /// The turn's id: the same after a crash and on every node.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<String> {
    ///     Ok(format!("{:?}", cx.turn_id()))
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// // Another call is another turn.
    /// assert_ne!(cluster.actor::<Shop>("corner").open().await?, cluster.actor::<Shop>("corner").open().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn turn_id(&self) -> TurnId {
        self.turn.turn_id()
    }

    /// The part of a request that this turn is, if it belongs to one: what goes along to programs
    /// outside as their `traceparent`.
    ///
    /// ```
    /// # use kelpie::{ActorId, Result, Turn, actor, handlers, untyped::Call};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<Option<String>> {
    ///     Ok(cx.trace().map(|trace| trace.to_string()))
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let request = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    /// let call = Call::new(ActorId::new("default", "shop", "corner")?, "open", "").trace(request);
    /// let header = cluster.runtime().call(call).await?;
    /// // The same request; the turn is a part of its own in it.
    /// assert!(header.starts_with(b"\"00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn trace(&self) -> Option<TraceContext> {
        self.turn.trace()
    }

    /// Who called.
    ///
    /// ```
    /// # use kelpie::{Caller, Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<bool> {
    ///     Ok(matches!(cx.caller(), Caller::Principal { .. }))
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").open().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn caller(&self) -> &Caller {
        self.turn.caller()
    }

    /// Wall time in milliseconds when the turn began; the same when it runs again.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<u64> {
    ///     Ok(cx.now_ms())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").open().await? > 1_600_000_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn now_ms(&self) -> u64 {
        self.turn.now_ms()
    }

    /// The next random number; the same when the turn runs again.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<u64> {
    ///     Ok(cx.random_u64() % 6 + 1)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!((1..=6).contains(&cluster.actor::<Shop>("corner").open().await?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn random_u64(&mut self) -> u64 {
        self.turn.random_u64()
    }

    /// The world: for work in steps, which waits and draws numbers through it so that it can be
    /// simulated.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.step("wait", || async {
    ///         cx.env().sleep(std::time::Duration::from_millis(1)).await;
    ///         Ok(())
    ///     })
    ///     .await?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn env(&self) -> &Env {
        &self.turn.activation.node.env
    }

    /// What the node was given of this type (`with`): a client of the world outside.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// struct Greeting(&'static str);
    ///
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<String> {
    ///     Ok(format!("{} {}", cx.given::<Greeting>()?.0, cx.key()))
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().with(Greeting("Welcome to")).start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").open().await?, "Welcome to corner");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It was given none.
    pub fn given<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, TurnError> {
        given(&self.given)
    }

    /// Values beside the state.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.kv().set("open", &true)?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn kv(&mut self) -> Kv<'_> {
        Kv { turn: &mut self.turn }
    }

    /// Sends a message: it leaves with the commit, is delivered until it is taken, and has its
    /// effect once. What the other actor answers is not seen.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers, to};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn hear(&mut self, _: &mut Turn, _news: String) -> Result<()> { Ok(()) }
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.send(to::<Self>("next door").hear("we are open".to_owned()))?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The actor's key or the arguments cannot be written.
    pub fn send<T, E>(&mut self, message: Invocation<Detached, T, E, Changes>) -> Result<(), TurnError> {
        let (to, operation, payload) = message.message(self.actor().tenant())?;
        self.turn.send(to, operation, payload);
        Ok(())
    }

    /// Calls another actor and waits for its reply. Its effect is there once, also when this
    /// turn runs again; it stays when this turn fails. Calls may run side by side.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers, to};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn sell(&mut self, _: &mut Turn, count: u64) -> Result<u64> {
    ///     self.sold += count;
    ///     Ok(self.sold)
    /// }
    ///
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<u64> {
    ///     // The wholesaler's own refusal could be told from other errors here.
    ///     Ok(cx.call(to::<Self>("the wholesaler").sell(2)).await?)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").open().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What became of the call. `?` ends this turn with it.
    pub async fn call<T, E, K>(&self, call: Invocation<Detached, T, E, K>) -> Result<T, Error<E>>
    where
        T: DeserializeOwned,
        E: AppError,
    {
        let operation = call.operation();
        let outcome = match call.message(self.actor().tenant()) {
            Ok((to, operation, payload)) => {
                let name = self.call_name(&to, operation);
                match self.turn.call(name, to, operation, payload).await {
                    Err(TurnError::Call(error)) => Err(*error),
                    other => other.map_err(|error| self.turn.activation.refusal(error)),
                }
            }
            Err(misfit) => Err(CallError::Handler(Arc::new(misfit.into()))),
        };
        wire::outcome(operation, outcome.map_err(|error| Error::from(&error)))
    }

    /// Names a call in its turn: by whom and what it asks, and for the how manieth time.
    fn call_name(&self, to: &ActorId, operation: &'static str) -> StepKey {
        let mut calls = self.calls.lock();
        let count = calls.entry((to.clone(), operation)).or_default();
        *count += 1;
        let to = blake3::hash(to.encoded()).to_hex();
        StepKey::from(format!("{operation} {} {count}", &to[..16]))
    }

    /// The untyped turn underneath.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.untyped().index_set("town", b"ljubljana", "");
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn untyped(&mut self) -> &mut crate::Turn {
        &mut self.turn
    }
}
