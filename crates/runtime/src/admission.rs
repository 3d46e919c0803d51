//! How much one caller, or all callers of one actor, may ask of this node.
//!
//! What is refused here has done nothing, and says when to come again. Calls that actors make
//! in their turns, messages, reminders and effects are not counted: they are what an admitted
//! call has left to do, and a turn that waits for a call holds nothing that others need.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use kelpie_core::call::Lane;
use kelpie_core::id::ActorId;
use kelpie_core::rate::{Limiter, Rate};
use parking_lot::Mutex;

use crate::call::CallError;

/// Limits on calls from outside. Nothing is limited unless it is set.
#[derive(Debug, Clone, Default)]
pub struct CallLimits {
    /// How often one caller may call.
    pub caller_rate: Option<Rate>,
    /// How many calls of one caller may be under way at once.
    pub caller_calls_at_once: Option<NonZeroU32>,
    /// How often one actor may be called.
    pub actor_rate: Option<Rate>,
}

/// When a caller whose calls are all under way may try again: nobody knows when one ends.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The limits of one node, and what counts towards them.
#[derive(Debug)]
pub(crate) struct Limits {
    callers: Option<Mutex<Limiter<Lane>>>,
    actors: Option<Mutex<Limiter<ActorId>>>,
    at_once: Option<(u32, Mutex<BTreeMap<Lane, u32>>)>,
}

impl Limits {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        let at_once = limits.caller_calls_at_once.map(|max| (max.get(), Mutex::default()));
        Self {
            callers: limits.caller_rate.map(|rate| Mutex::new(Limiter::new(rate))),
            actors: limits.actor_rate.map(|rate| Mutex::new(Limiter::new(rate))),
            at_once,
        }
    }

    /// Whether anything is limited.
    pub(crate) fn any(&self) -> bool {
        self.callers.is_some() || self.actors.is_some() || self.at_once.is_some()
    }

    /// Counts a call in. The lane, if its end has to be told by [`Limits::leave`].
    pub(crate) fn enter(
        &self,
        lane: Lane,
        actor: &ActorId,
        now: Duration,
    ) -> Result<Option<Lane>, CallError> {
        let too_many = |of: &'static str, retry_after| {
            metrics::counter!("kelpie_calls_limited_total", "of" => of).increment(1);
            CallError::TooMany { of: of.into(), retry_after }
        };
        if let Some((max, under_way)) = &self.at_once {
            let mut under_way = under_way.lock();
            let count = under_way.entry(lane).or_default();
            if *count >= *max {
                return Err(too_many("calls of this caller at once", TRY_AGAIN));
            }
            *count += 1;
        }
        let by_caller = self.callers.as_ref().map_or(Ok(()), |callers| callers.lock().take(&lane, now));
        let by_actor = by_caller.map_err(|after| ("calls of this caller", after)).and_then(|()| {
            let actors = self.actors.as_ref();
            let taken = actors.map_or(Ok(()), |actors| actors.lock().take(actor, now));
            taken.map_err(|after| ("calls to this actor", after))
        });
        if let Err((of, retry_after)) = by_actor {
            self.leave(lane);
            return Err(too_many(of, retry_after));
        }
        Ok(self.at_once.is_some().then_some(lane))
    }

    /// A call of this lane has ended.
    pub(crate) fn leave(&self, lane: Lane) {
        let Some((_, under_way)) = &self.at_once else { return };
        let mut under_way = under_way.lock();
        if let Some(count) = under_way.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&lane);
            }
        }
    }
}
