//! Actors whose handlers panic now and then when a client calls, as those of users do.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::call::Caller;
use kelpie_env::Env;
use kelpie_runtime::{Actor, EffectContext, HandlerError, PendingEffect, Turn, View};

/// Of all actors of a machine: how easily their handlers panic.
#[derive(Default)]
pub(super) struct Nerves {
    ppm: AtomicU32,
    lost: AtomicU64,
}

impl Nerves {
    pub(super) fn set(&self, ppm: u32) {
        self.ppm.store(ppm, Ordering::Relaxed);
    }

    /// How often one has panicked.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The same actor, except that it may panic.
    pub(super) fn frail(self: &Arc<Self>, env: &Env, actor: Arc<dyn Actor>) -> Arc<dyn Actor> {
        Arc::new(Frail { actor, env: env.clone(), nerves: self.clone() })
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

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        // A message whose handler panics becomes a dead letter: what it carried is kept there, and
        // nobody in a simulation takes it up again.
        match turn.caller() {
            Caller::Principal { .. } => self.panics(self.actor.handle(turn, operation, payload)).boxed(),
            Caller::Actor(_) | Caller::Runtime => self.actor.handle(turn, operation, payload),
        }
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

    fn perform(&self, context: EffectContext, effect: PendingEffect) -> BoxFuture<'static, ()> {
        self.actor.perform(context, effect)
    }
}
