//! From typed handlers to the untyped seam.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;

use super::turn::{Given, Lent};
use super::view::View;
use super::{Handlers, state, wire};
use crate::actor::{Actor, HandlerError, PlacementWish, TurnError};

/// A read operation of every typed actor: its state as JSON, for people and programs that look
/// at it from outside. No handler has such a name.
pub const STATE_OPERATION: &str = "$state";

/// The untyped behaviour of a typed actor.
pub struct Behaviour<A> {
    given: Arc<Given>,
    actor: PhantomData<fn() -> A>,
}

impl<A: Handlers> Actor for Behaviour<A> {
    fn actor_type(&self) -> &str {
        A::TYPE
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == STATE_OPERATION || A::READS.contains(&operation)
    }

    fn takes_json(&self) -> bool {
        true
    }

    fn wish(&self, actor: &ActorId) -> PlacementWish {
        let near = A::NEAR.and_then(|near| ActorId::new(actor.tenant(), near, actor.key()).ok());
        PlacementWish { near, label: A::LABEL.map(str::to_owned) }
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut crate::Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let stored = turn.get(state::RECORD).await?;
            let mut actor: A = loaded(stored.as_ref())?;
            let mut lent = Lent::new(turn, self.given.clone());
            let reply = actor.handle(&mut lent.turn, operation, payload).await?;
            drop(lent);
            let left = state::store(&actor).map_err(TurnError::from)?;
            let before = match stored {
                Some(stored) => stored,
                // Nothing is written for an actor that is as all actors begin.
                None => state::store(&A::default()).map_err(TurnError::from)?,
            };
            if left != before {
                turn.set(state::RECORD, left);
            }
            Ok(reply)
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a crate::View,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let actor: A = loaded(view.get(state::RECORD).await?.as_ref())?;
            if operation == STATE_OPERATION {
                let misfit = |reason| super::Misfit::Reply { operation: operation.to_owned(), reason };
                return Ok(wire::to_json(&actor).map_err(|reason| TurnError::from(misfit(reason)))?);
            }
            actor.read(&View::new(view.clone(), self.given.clone()), operation, payload).await
        }
        .boxed()
    }
}

fn loaded<A: Handlers>(stored: Option<&Bytes>) -> Result<A, TurnError> {
    Ok(stored.map_or_else(|| Ok(A::default()), |stored| state::load(stored))?)
}

type Make = Box<dyn FnOnce(&Arc<Given>) -> Arc<dyn Actor>>;

/// The typed actors of a node, and what their handlers are given.
#[derive(Default)]
pub struct Behaviours {
    given: Given,
    actors: Vec<Make>,
}

impl Behaviours {
    /// None yet.
    ///
    /// ```
    /// assert_eq!(kelpie::Behaviours::new().untyped().len(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// One more actor type.
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
    /// assert_eq!(kelpie::Behaviours::new().actor::<Lamp>().untyped().len(), 1);
    /// ```
    #[must_use]
    pub fn actor<A: Handlers>(mut self) -> Self {
        self.actors.push(Box::new(|given| {
            Arc::new(Behaviour::<A> { given: given.clone(), actor: PhantomData }) as Arc<dyn Actor>
        }));
        self
    }

    /// Something that handlers get with `cx.given::<T>()?`: one of each type, whatever the
    /// order of these calls.
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
    /// // Handlers of `Lamp` get it with `cx.given::<String>()?`.
    /// let behaviours = kelpie::Behaviours::new().with("to all".to_owned()).actor::<Lamp>();
    /// # assert_eq!(behaviours.untyped().len(), 1);
    /// ```
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, given: T) -> Self {
        self.given.insert(TypeId::of::<T>(), Arc::new(given));
        self
    }

    /// The actors, as a runtime takes them.
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
    /// let actors = kelpie::Behaviours::new().actor::<Lamp>().untyped();
    /// assert_eq!(actors[0].actor_type(), "lamp");
    /// ```
    pub fn untyped(self) -> Vec<Arc<dyn Actor>> {
        let given = Arc::new(self.given);
        self.actors.into_iter().map(|make| make(&given)).collect()
    }
}
