//! Turns of actors, each run a second time from its recorded steps: a handler that depends on more
//! than those and its actor's committed state does not go the same way.

use std::sync::Arc;

use bytes::Bytes;
use kelpie_runtime::{Actor, HandlerError, Turn};
use parking_lot::Mutex;

/// What second runs of turns have come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many there were.
    pub turns: u64,
    /// Where one left the way of the first run, each handler once.
    pub parted: Vec<String>,
}

impl Replayed {
    /// Adds those of another machine.
    pub(crate) fn add(&mut self, other: Self) {
        self.turns += other.turns;
        self.parted.extend(other.parted);
    }
}

/// Of all actors of a machine.
#[derive(Default)]
pub(super) struct Replays(Mutex<Replayed>);

impl Replays {
    /// What they have come to so far.
    pub(super) fn all(&self) -> Replayed {
        self.0.lock().clone()
    }

    /// Runs a handler, twice if it asks for steps.
    pub(super) async fn handle(
        self: Arc<Self>,
        actor: &dyn Actor,
        turn: &mut Turn,
        operation: &str,
        payload: &[u8],
    ) -> Result<Bytes, HandlerError> {
        let (outcome, replay) = turn.handle_and_replay(actor, operation, payload).await;
        if let Some(replay) = replay {
            let mut replayed = self.0.lock();
            replayed.turns += 1;
            if let Err(what) = replay {
                let of = format!("`{operation}` of {}", actor.actor_type());
                if !replayed.parted.iter().any(|parted| parted.starts_with(&of)) {
                    replayed.parted.push(format!("{of} does not repeat itself: {what}"));
                }
            }
        }
        outcome
    }
}
