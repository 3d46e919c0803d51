//! Effects: work outside of any turn that a committed turn has left.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::advice::Advice;
use kelpie_core::call::{Caller, IdempotencyKey};
use kelpie_core::id::ActorId;
use kelpie_env::Env;
use parking_lot::Mutex;

use crate::actor::Actor;
use crate::call::{Call, CallError};
use crate::node::{Admission, Node};
use crate::view::View;

/// An effect that a committed turn has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEffect {
    /// Names it within its actor.
    pub key: String,
    /// What to do.
    pub payload: Bytes,
}

/// Effects that this process is carrying out.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    in_flight: Mutex<BTreeSet<(ActorId, String)>>,
}

impl Effects {
    pub(crate) fn in_flight(&self, actor: &ActorId, key: &str) -> bool {
        self.in_flight.lock().contains(&(actor.clone(), key.to_owned()))
    }

    /// Whether this process is carrying out anything for an actor.
    pub(crate) fn any_of(&self, actor: &ActorId) -> bool {
        let first = (actor.clone(), String::new());
        self.in_flight.lock().range(first..).next().is_some_and(|(other, _)| other == actor)
    }

    /// Carries out an effect, unless one with its key is under way.
    pub(crate) fn start(node: &Arc<Node>, behaviour: Arc<dyn Actor>, actor: &ActorId, effect: PendingEffect) {
        let Some(permit) = Node::admit(node, Admission::Owed) else { return };
        let name = (actor.clone(), effect.key.clone());
        if !node.effects.in_flight.lock().insert(name.clone()) {
            return;
        }
        let context = EffectContext { node: node.clone(), actor: actor.clone() };
        let node = node.clone();
        metrics::counter!("kelpie_effects_total").increment(1);
        node.env.clone().spawn("effect", async move {
            let ended = match node.may_begin().await {
                Ok(()) => AssertUnwindSafe(behaviour.perform(context, effect)).catch_unwind().await,
                // The actor still has it as owed, for its next owner.
                Err(_) => Ok(()),
            };
            node.effects.in_flight.lock().remove(&name);
            if ended.is_err() {
                // The actor still has it as owed: its wake entry brings it back.
                metrics::counter!("kelpie_effect_panics_total").increment(1);
                tracing::error!(actor = %name.0, effect = name.1, "an effect panicked");
            }
            drop(permit);
        });
    }
}

/// What an effect can reach.
pub struct EffectContext {
    node: Arc<Node>,
    actor: ActorId,
}

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

impl EffectContext {
    /// The world.
    ///
    /// Shown at [`Actor`].
    pub fn env(&self) -> &Env {
        &self.node.env
    }

    /// Whose effect it is.
    ///
    /// Shown at [`Actor`].
    pub fn actor(&self) -> &ActorId {
        &self.actor
    }

    /// The actor's records as they are committed now.
    ///
    /// Shown at [`Actor`].
    pub fn view(&self) -> View {
        self.node.view(&self.actor)
    }

    /// Brings a result back as a call to the actor, again until the actor has taken or
    /// refused it. `key` names the result; the actor itself drops one that it has already.
    ///
    /// Shown at [`Actor`].
    pub async fn call_back(
        &self,
        operation: &str,
        payload: impl Into<Bytes>,
        key: &str,
    ) -> Result<Bytes, CallError> {
        let payload = payload.into();
        let key = IdempotencyKey::new(key).map_err(|_| CallError::TooLarge {
            what: "the key of a result".into(),
            bytes: key.len(),
            bytes_max: kelpie_core::limits::IDEMPOTENCY_KEY_BYTES_MAX,
        })?;
        let mut backoff = BACKOFF_MIN;
        loop {
            let call = Call::new(self.actor.clone(), operation, payload.clone())
                .caller(Caller::Runtime)
                .key(key.clone());
            match self.node.clone().call(call, Admission::Owed).await {
                Err(CallError::ShuttingDown) => return Err(CallError::ShuttingDown),
                Err(error) if matches!(error.advice(), Advice::NotRun | Advice::Unknown) => {
                    self.node.env.sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                outcome => return outcome,
            }
        }
    }
}
