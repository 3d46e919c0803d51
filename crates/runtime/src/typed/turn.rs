//! What typed handlers work with.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use kelpie_core::call::{Caller, TurnId};
use kelpie_core::id::ActorId;
use kelpie_core::reminder::Schedule;
use kelpie_env::Env;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{AppError, Error};
use super::invocation::{Changes, Detached, Invocation, Me};
use super::kv::{Kv, KvView};
use super::misfit::Misfit;
use super::step::{Failed, StepError};
use super::{state, wire};
use crate::actor::{HandlerError, TurnError};
use crate::call::CallError;
use crate::reminder::{Firing, Reminder};
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
    turn: crate::Turn,
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
    pub fn actor(&self) -> &ActorId {
        self.turn.actor()
    }

    /// The actor's key.
    pub fn key(&self) -> &str {
        self.actor().key()
    }

    /// The turn's id: the same after a crash and on every node.
    pub fn turn_id(&self) -> TurnId {
        self.turn.turn_id()
    }

    /// Who called.
    pub fn caller(&self) -> &Caller {
        self.turn.caller()
    }

    /// Wall time in milliseconds when the turn began; the same when it runs again.
    pub fn now_ms(&self) -> u64 {
        self.turn.now_ms()
    }

    /// The next random number; the same when the turn runs again.
    pub fn random_u64(&mut self) -> u64 {
        self.turn.random_u64()
    }

    /// The world: for work in steps, which waits and draws numbers through it so that it can be
    /// simulated.
    pub fn env(&self) -> &Env {
        &self.turn.activation.node.env
    }

    /// What the node was given of this type (`with`): a client of the world outside.
    ///
    /// # Errors
    /// It was given none.
    pub fn given<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, TurnError> {
        given(&self.given)
    }

    /// Values beside the state.
    pub fn kv(&mut self) -> Kv<'_> {
        Kv { turn: &mut self.turn }
    }

    /// Sends a message: it leaves with the commit, is delivered until it is taken, and has its
    /// effect once. What the other actor answers is not seen.
    ///
    /// # Errors
    /// The actor's key or the arguments cannot be written.
    pub fn send<T, E>(&mut self, message: Invocation<Detached, T, E, Changes>) -> Result<(), TurnError> {
        let (to, operation, payload) = message.message(self.actor().tenant())?;
        self.turn.send(to, operation, payload);
        Ok(())
    }

    /// Has a handler of this actor run later, as a turn of its own, though nobody calls: each
    /// time once, also after crashes; what was missed while nobody ran counts as one time. Set
    /// with this turn's commit, in place of what has that name. Returns when it is due first,
    /// in milliseconds of wall time.
    ///
    /// A refusal, or an error that would come again, ends that occurrence; the reminder goes on
    /// with the next.
    ///
    /// # Errors
    /// A schedule that can't be kept, something too large, a handler of another type.
    pub async fn remind<T, E>(
        &mut self,
        name: &str,
        schedule: Schedule,
        handler: Invocation<Me, T, E, Changes>,
    ) -> Result<u64, TurnError> {
        let (actor, operation, payload) = handler.message(self.actor().tenant())?;
        if actor.actor_type() != self.actor().actor_type() {
            let reason = format!(
                "a `{}` reminds itself of no handler of a `{}`",
                self.actor().actor_type(),
                actor.actor_type()
            );
            return Err(Misfit::Name { reason }.into());
        }
        self.turn.remind(name, schedule, operation, payload).await
    }

    /// Takes a reminder back, with this turn's commit. Returns whether there was one.
    ///
    /// # Errors
    /// The store does not answer, or the actor has moved.
    pub async fn cancel_reminder(&mut self, name: &str) -> Result<bool, TurnError> {
        self.turn.cancel_reminder(name).await
    }

    /// One of the actor's reminders, as this turn has left it.
    ///
    /// # Errors
    /// The store does not answer, or the actor has moved.
    pub async fn reminder(&self, name: &str) -> Result<Option<Reminder>, TurnError> {
        self.turn.reminder(name).await
    }

    /// The occurrence that this turn runs for, if it is a reminder's.
    pub fn firing(&self) -> Option<&Firing> {
        self.turn.firing()
    }

    /// Calls another actor and waits for its reply. Its effect is there once, also when this
    /// turn runs again; it stays when this turn fails. Calls may run side by side.
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

    /// The key that outside work of a step carries: the same when the work has to run again,
    /// because a crash came before its record.
    pub fn step_key(&self, step: impl Into<StepKey>) -> String {
        self.turn_id().step_key(step.into().as_str())
    }

    /// Outside work whose result is recorded once; when the turn runs again after a crash, a
    /// recorded step gives its result and `work` does not run. Steps may run side by side
    /// (`futures::join!`), each under a name, or a name and an index, of its own.
    ///
    /// A failure is not recorded: when the turn runs again, so does the work. An outcome to
    /// decide upon, such as a card that was declined, belongs into the result.
    ///
    /// A turn that was begun ten times, or that nobody could resume before its call's deadline,
    /// is given up: its call ends with the code `turn.given_up`, which stays its answer. The
    /// actor's state is as before the turn; what its steps have done outside stands.
    ///
    /// # Errors
    /// [`StepError`]; `?` ends the turn with it.
    pub async fn step<T, F>(&self, step: impl Into<StepKey>, work: impl FnOnce() -> F) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let step = step.into();
        let name = step.as_str().to_owned();
        let recorded = self.turn.step(step, b"", |_| packed(&name, work())).await;
        unpacked(&name, recorded)
    }

    /// As [`Turn::step`], for work that must not run a second time whatever happens: after a
    /// crash, or a failure, between its begin and its record it is unknown whether it
    /// happened, and it does not run again.
    ///
    /// # Errors
    /// [`StepError`]; `step.unknown` is the code with which a handler ends that passes that on.
    pub async fn step_once<T, F>(
        &self,
        step: impl Into<StepKey>,
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let step = step.into();
        let name = step.as_str().to_owned();
        let recorded = self.turn.step_once(step, b"", |_| packed(&name, work())).await;
        unpacked(&name, recorded)
    }

    /// The untyped turn underneath.
    pub fn untyped(&mut self) -> &mut crate::Turn {
        &mut self.turn
    }
}

async fn packed<T: Serialize>(
    step: &str,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<bytes::Bytes, HandlerError> {
    let result = work.await?;
    Ok(state::pack(&result).map_err(|reason| TurnError::from(misfit(step, reason)))?)
}

fn unpacked<T: DeserializeOwned>(
    step: &str,
    recorded: Result<bytes::Bytes, HandlerError>,
) -> Result<T, StepError> {
    let recorded = recorded.map_err(|error| StepError::of(step, error))?;
    state::unpack(&recorded).map_err(|reason| StepError::Turn(misfit(step, reason).into()))
}

fn misfit(step: &str, reason: String) -> Misfit {
    Misfit::Value { what: format!("the result of step `{step}`"), reason }
}

/// A read turn: the last committed state, and no way to change it.
pub struct View {
    view: crate::View,
    given: Arc<Given>,
}

impl View {
    pub(super) fn new(view: crate::View, given: Arc<Given>) -> Self {
        Self { view, given }
    }

    /// Whose state it is.
    pub fn actor(&self) -> &ActorId {
        self.view.actor()
    }

    /// The actor's key.
    pub fn key(&self) -> &str {
        self.actor().key()
    }

    /// Wall time in milliseconds when the read began.
    pub fn now_ms(&self) -> u64 {
        self.view.now_ms()
    }

    /// What the node was given of this type (`with`).
    ///
    /// # Errors
    /// It was given none.
    pub fn given<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, TurnError> {
        given(&self.given)
    }

    /// Values beside the state.
    pub fn kv(&self) -> KvView<'_> {
        KvView { view: &self.view }
    }

    /// The untyped view underneath.
    pub fn untyped(&self) -> &crate::View {
        &self.view
    }
}
