//! Read turns: beside whatever runs, on the last committed state.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use kelpie_core::id::ActorId;
use kelpie_storage::ReadError;

use crate::activation::{Activation, Loaded, Moment};
use crate::actor::{Actor, HandlerError, TurnError};
use crate::call::{CallError, Outcome};
use crate::fence::Fence;
use crate::load::describe;
use crate::view::View;

/// Tries beside the mailbox before a read waits in it like everyone else.
const TRIES: u32 = 3;

impl Activation {
    /// Reads without waiting for the running turn.
    ///
    /// The reply may leave because a check, begun after the call was admitted, finds that
    /// nothing was committed since the state it is computed from; every record that the read
    /// loads is checked against the same fence. On a store that only this process writes the
    /// check is a look at the activation: it has no commit in flight.
    ///
    /// Nothing: it has to take its turn.
    pub(crate) async fn read(
        self: &Arc<Self>,
        behaviour: &dyn Actor,
        operation: &str,
        payload: &[u8],
    ) -> Option<Outcome> {
        for _ in 0..TRIES {
            let (fence, settled) = {
                let mut state = self.state.lock();
                state.last_used = Moment::of(self.node.env.now());
                let loaded = state.loaded.as_ref().filter(|_| !state.is_gone())?;
                (loaded.fence(), state.is_settled())
            };
            if !(settled && self.node.single_process) {
                // Apart, so that a read that need not ask is small.
                match Box::pin(self.stands(&fence)).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => return Some(Err(CallError::NotRun { reason: describe(&error) })),
                }
            }
            let view = View::of_activation(self.clone(), fence);
            let answered = answer(behaviour, &view, operation, payload).await;
            if answered.is_some() {
                return answered;
            }
        }
        None
    }

    async fn stands(&self, fence: &Fence) -> Result<bool, ReadError> {
        if kelpie_core::mutant!("read_joins_a_check") {
            return Ok(self.joined(fence).await);
        }
        fence.holds(&mut self.node.store.begin(), &self.actor).await
    }

    /// The seeded bug of a read that takes the word of a check which had begun before it.
    async fn joined(&self, fence: &Fence) -> bool {
        type Check = Shared<BoxFuture<'static, bool>>;
        thread_local! {
            static BEGUN: RefCell<Vec<(ActorId, Fence, Check)>> = RefCell::default();
        }
        let is_same = |(actor, of, _): &&(ActorId, Fence, _)| *actor == self.actor && of == fence;
        let known = BEGUN.with_borrow_mut(|begun| {
            begun.retain(|(_, _, check)| check.peek().is_none());
            begun.iter().find(is_same).map(|(_, _, check)| check.clone())
        });
        if let Some(check) = known {
            return check.await;
        }
        let (mut tx, actor, of) = (self.node.store.begin(), self.actor.clone(), fence.clone());
        let check = async move { of.holds(&mut tx, &actor).await.unwrap_or(false) }.boxed().shared();
        BEGUN.with_borrow_mut(|begun| begun.push((self.actor.clone(), fence.clone(), check.clone())));
        check.await
    }

    /// The state as this activation knows it, whether or not it is still the last one.
    pub(crate) fn known(self: &Arc<Self>) -> Option<View> {
        let fence = self.state.lock().loaded.as_ref().map(Loaded::fence)?;
        Some(View::of_activation(self.clone(), fence))
    }
}

/// Runs a read handler. Nothing if the state that it saw has gone.
pub(crate) async fn answer(
    behaviour: &dyn Actor,
    view: &View,
    operation: &str,
    payload: &[u8],
) -> Option<Outcome> {
    let work = AssertUnwindSafe(behaviour.read(view, operation, payload));
    Some(match work.catch_unwind().await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(HandlerError::App { code, message, detail })) => Err(CallError::App { code, message, detail }),
        Ok(Err(HandlerError::NotNow { code, message })) => {
            Err(CallError::App { code, message, detail: None })
        }
        Ok(Err(HandlerError::Turn(TurnError::Moved))) => return None,
        Ok(Err(HandlerError::Turn(error @ TurnError::Read(_)))) => {
            Err(CallError::NotRun { reason: describe(&error) })
        }
        Ok(Err(HandlerError::Turn(error))) => Err(CallError::Handler(Arc::new(error))),
        Err(_) => {
            tracing::error!(actor = %view.actor(), operation, "a read handler panicked");
            Err(CallError::Panicked)
        }
    })
}
