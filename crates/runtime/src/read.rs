//! Read turns: beside whatever runs, on the last committed state.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;

use crate::activation::Activation;
use crate::actor::{Actor, HandlerError, TurnError};
use crate::call::{CallError, Outcome, Request};
use crate::load::describe;
use crate::view::View;

/// Tries beside the mailbox before a read waits in it like everyone else.
const TRIES: u32 = 3;

/// How a read beside the mailbox ended.
pub(crate) enum Read {
    /// With a result.
    Done(Outcome),
    /// It has to take its turn.
    Exclusive,
}

impl Activation {
    /// Reads without waiting for the running turn.
    ///
    /// The reply may leave because a check, begun after the call was admitted, finds that
    /// nothing was committed since the state it is computed from; every record that the read
    /// loads is checked against the same fence. On a store that only this process writes the
    /// check is a look at the activation: it has no commit in flight.
    pub(crate) async fn read(self: &Arc<Self>, request: &Request) -> Read {
        for _ in 0..TRIES {
            let (fence, settled) = {
                let mut state = self.state.lock();
                state.last_used = self.node.env.now();
                let settled = state.machine.is_settled();
                match &state.loaded {
                    Some(loaded) if !state.machine.is_gone() => (loaded.fence.clone(), settled),
                    Some(_) | None => return Read::Exclusive,
                }
            };
            if !(settled && self.node.single_process) {
                match fence.holds(&mut self.node.store.begin(), &self.actor).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => return Read::Done(Err(CallError::NotRun { reason: describe(&error) })),
                }
            }
            let view = View::of_activation(self.clone(), fence);
            if let Some(outcome) = answer(self.behaviour.as_ref(), &view, request).await {
                return Read::Done(outcome);
            }
        }
        Read::Exclusive
    }

    /// The state as this activation knows it, whether or not it is still the last one.
    pub(crate) fn known(self: &Arc<Self>) -> Option<View> {
        let fence = self.state.lock().loaded.as_ref().map(|loaded| loaded.fence.clone())?;
        Some(View::of_activation(self.clone(), fence))
    }
}

/// Runs a read handler. Nothing if the state that it saw has gone.
pub(crate) async fn answer(behaviour: &dyn Actor, view: &View, request: &Request) -> Option<Outcome> {
    let work = AssertUnwindSafe(behaviour.read(view, &request.operation, &request.payload));
    Some(match work.catch_unwind().await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(HandlerError::App { code, message, detail })) => Err(CallError::App { code, message, detail }),
        Ok(Err(HandlerError::Turn(TurnError::Moved))) => return None,
        Ok(Err(HandlerError::Turn(error @ TurnError::Read(_)))) => {
            Err(CallError::NotRun { reason: describe(&error) })
        }
        Ok(Err(HandlerError::Turn(error))) => Err(CallError::Handler(Arc::new(error))),
        Err(_) => {
            tracing::error!(actor = %request.actor, operation = request.operation, "a read handler panicked");
            Err(CallError::Panicked)
        }
    })
}
