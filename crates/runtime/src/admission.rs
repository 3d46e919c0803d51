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
    /// How many calls to one actor may be under way at once, those that wait for it among them.
    pub actor_calls_at_once: Option<NonZeroU32>,
}

/// When somebody may try again who finds as many calls under way as may be: nobody knows when
/// one ends.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The limits of one node, and what counts towards them.
#[derive(Debug)]
pub(crate) struct Limits {
    callers: Counts<Lane>,
    actors: Counts<ActorId>,
}

/// What counts towards the limits of one kind of name.
#[derive(Debug)]
struct Counts<N> {
    rate: Option<Mutex<Limiter<N>>>,
    at_once: Option<AtOnce<N>>,
    often: &'static str,
    many: &'static str,
}

#[derive(Debug)]
struct AtOnce<N> {
    calls_max: u32,
    under_way: Mutex<BTreeMap<N, u32>>,
}

/// Whose end has to be told by [`Limits::leave`].
#[derive(Debug, Default)]
pub(crate) struct Counted {
    caller: Option<Lane>,
    actor: Option<ActorId>,
}

/// What there is too much of, and when there is room again.
type Refused = (&'static str, Duration);

impl Limits {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        Self {
            callers: Counts {
                rate: limits.caller_rate.map(|rate| Mutex::new(Limiter::new(rate))),
                at_once: limits.caller_calls_at_once.map(AtOnce::new),
                often: "calls of this caller",
                many: "calls of this caller at once",
            },
            actors: Counts {
                rate: limits.actor_rate.map(|rate| Mutex::new(Limiter::new(rate))),
                at_once: limits.actor_calls_at_once.map(AtOnce::new),
                often: "calls to this actor",
                many: "calls to this actor at once",
            },
        }
    }

    /// Whether anything is limited.
    pub(crate) fn any(&self) -> bool {
        self.callers.any() || self.actors.any()
    }

    /// Counts a call in: for its caller and for its actor, or for neither.
    pub(crate) fn enter(&self, lane: Lane, actor: &ActorId, now: Duration) -> Result<Counted, CallError> {
        let entered = self.callers.enter(&lane, now).and_then(|caller| {
            let actor = self.actors.enter(actor, now).inspect_err(|_| self.callers.take_back(&lane));
            Ok(Counted { caller, actor: actor? })
        });
        entered.map_err(|(of, retry_after)| {
            metrics::counter!("kelpie_calls_limited_total", "of" => of).increment(1);
            CallError::TooMany { of: of.into(), retry_after }
        })
    }

    /// A call that was counted in has ended.
    pub(crate) fn leave(&self, Counted { caller, actor }: &Counted) {
        if let Some(lane) = caller {
            self.callers.leave(lane);
        }
        if let Some(actor) = actor {
            self.actors.leave(actor);
        }
    }
}

impl<N: Ord + Clone> Counts<N> {
    fn any(&self) -> bool {
        self.rate.is_some() || self.at_once.is_some()
    }

    /// Counts a call in. The name, if its end counts too.
    fn enter(&self, name: &N, now: Duration) -> Result<Option<N>, Refused> {
        if self.at_once.as_ref().is_some_and(|at_once| !at_once.enter(name)) {
            return Err((self.many, TRY_AGAIN));
        }
        let taken = self.rate.as_ref().map_or(Ok(()), |rate| rate.lock().take(name, now));
        taken.map_err(|after| (self.often, after)).inspect_err(|_| self.leave(name))?;
        Ok(self.at_once.is_some().then(|| name.clone()))
    }

    /// A call that was counted in is refused for another reason.
    fn take_back(&self, name: &N) {
        if let Some(rate) = &self.rate {
            rate.lock().give_back(name);
        }
        self.leave(name);
    }

    /// A call that was counted in has ended.
    fn leave(&self, name: &N) {
        if let Some(at_once) = &self.at_once {
            at_once.leave(name);
        }
    }
}

impl<N: Ord + Clone> AtOnce<N> {
    fn new(calls_max: NonZeroU32) -> Self {
        Self { calls_max: calls_max.get(), under_way: Mutex::default() }
    }

    /// Whether there is room for one more.
    fn enter(&self, name: &N) -> bool {
        let mut under_way = self.under_way.lock();
        let calls = under_way.entry(name.clone()).or_default();
        let enters = *calls < self.calls_max;
        *calls += u32::from(enters);
        enters
    }

    fn leave(&self, name: &N) {
        let mut under_way = self.under_way.lock();
        if let Some(calls) = under_way.get_mut(name) {
            *calls -= 1;
            if *calls == 0 {
                under_way.remove(name);
            }
        }
    }
}
