//! Turns that are begun again because they had recorded something: when, and how often.

use kelpie_core::turn::Input;

use crate::activation::Activation;
use crate::actor::HandlerError;
use crate::call::Request;
use crate::turn::Turn;
use crate::wake;

/// How often a turn with recorded steps is begun before it is given up.
const TURN_ATTEMPTS_MAX: u32 = 10;

impl Activation {
    /// The activation goes, and with it a turn that has left something in the store.
    pub(crate) fn interrupted(&self, request: &Request) -> Input {
        self.has_begun(request.key);
        Input::Moved
    }
}

impl Turn {
    /// Waits before the next attempt of a turn that has recorded something. Returns whether
    /// it has.
    pub(crate) async fn wait_to_resume(&mut self) -> bool {
        let Some(attempts) = self.steps.get_mut().running.as_ref().map(|running| running.attempts) else {
            return false;
        };
        let backoff = wake::BACKOFF_MIN.saturating_mul(1 << attempts.min(10));
        self.activation.node.env.sleep(backoff.min(wake::BACKOFF_MAX)).await;
        true
    }

    /// Whether something outside of the actor's state may already have come of it.
    pub(crate) fn has_begun(&mut self) -> bool {
        self.steps.get_mut().running.is_some() || *self.called.get_mut()
    }

    /// Whether the turn has been begun too often or for too long.
    pub(crate) fn given_up(&self, now_ms: u64) -> Option<HandlerError> {
        let steps = self.steps.lock();
        let running = steps.running.as_ref()?;
        let why = if running.attempts > TURN_ATTEMPTS_MAX {
            format!("the turn was begun {TURN_ATTEMPTS_MAX} times and never ended")
        } else if running.deadline_ms < now_ms {
            "the turn's deadline passed before it could be resumed".to_owned()
        } else {
            return None;
        };
        Some(HandlerError::app("turn.given_up", why))
    }
}
