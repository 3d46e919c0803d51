//! Actors whose handlers panic now and then when a client calls, as those of users do, that run a
//! second time where they asked for steps, and that may wish a machine.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::call::Caller;
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use kelpie_runtime::{Actor, EffectContext, HandlerError, PendingEffect, PlacementWish, Turn, View};

use super::replays::{Replayed, Replays};
use crate::schedule::Wishes;

/// Of all actors of a machine: how easily their handlers panic.
#[derive(Default)]
pub(super) struct Nerves {
    ppm: AtomicU32,
    lost: AtomicU64,
    replays: Arc<Replays>,
}

impl Nerves {
    pub(super) fn set(&self, ppm: u32) {
        self.ppm.store(ppm, Ordering::Relaxed);
    }

    /// How often one has panicked.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What second runs have come to.
    pub(super) fn replayed(&self) -> Replayed {
        self.replays.all()
    }

    /// The same actor, except that it may panic, runs twice, and wishes this, if anything, instead of what it
    /// wishes itself.
    pub(super) fn frail(
        self: &Arc<Self>,
        env: &Env,
        wishes: Wishes,
        actor: Arc<dyn Actor>,
    ) -> Arc<dyn Actor> {
        Arc::new(Frail { actor, env: env.clone(), nerves: self.clone(), wishes })
    }

    /// Where a call panics, if it does: drawn only while calls do, so that other runs stay.
    fn draw(&self, env: &Env) -> Option<Moment> {
        let ppm = u64::from(self.ppm.load(Ordering::Relaxed));
        let drawn = if ppm > 0 { env.random_u64() } else { return None };
        let moment = if drawn >> 63 == 0 { Moment::Begin } else { Moment::End };
        (drawn % 1_000_000 < ppm).then_some(moment)
    }

    fn lose(&self) -> ! {
        self.lost.fetch_add(1, Ordering::Relaxed);
        // Without the hook: it is expected, and would only fill the output.
        resume_unwind(Box::new("a panic of the simulation"))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Begin,
    /// With everything done that the turn is to commit.
    End,
}

struct Frail {
    actor: Arc<dyn Actor>,
    env: Env,
    nerves: Arc<Nerves>,
    wishes: Wishes,
}

impl Frail {
    async fn panics<T>(&self, handler: impl Future<Output = T>) -> T {
        let moment = self.nerves.draw(&self.env);
        if moment == Some(Moment::Begin) {
            self.nerves.lose();
        }
        let handled = handler.await;
        if moment == Some(Moment::End) {
            self.nerves.lose();
        }
        handled
    }
}

impl Actor for Frail {
    fn actor_type(&self) -> &str {
        self.actor.actor_type()
    }

    fn is_read(&self, operation: &str) -> bool {
        self.actor.is_read(operation)
    }

    fn takes_json(&self) -> bool {
        self.actor.takes_json()
    }

    fn wish(&self, actor: &ActorId) -> PlacementWish {
        match self.wishes {
            Wishes::None => self.actor.wish(actor),
            wishes @ (Wishes::Mixed | Wishes::FirstRack) => wishes.of(actor),
        }
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        // A message whose handler panics becomes a dead letter: what it carried is kept there, and
        // nobody in a simulation takes it up again.
        let is_clients = matches!(turn.caller(), Caller::Principal { .. });
        let handled = self.nerves.replays.clone().handle(&*self.actor, turn, operation, payload);
        if is_clients { self.panics(handled).boxed() } else { handled.boxed() }
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        self.panics(self.actor.read(view, operation, payload)).boxed()
    }

    fn wake<'a>(&'a self, turn: &'a mut Turn) -> BoxFuture<'a, Result<(), HandlerError>> {
        self.actor.wake(turn)
    }

    fn asked(&self, env: Env, actor: ActorId, question: Bytes) -> BoxFuture<'static, Bytes> {
        self.actor.asked(env, actor, question)
    }

    fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
        self.actor.perform(context, effect)
    }
}
