//! Which processes this node cannot reach, and since when.
//!
//! A live owner that cannot be reached for a lease term may be claimed over, once per actor and
//! term: a way that is cut in one direction would keep its actors from this node's callers for
//! ever. The fence makes it safe; the bound keeps two nodes from taking an actor from each
//! other with every call.
//!
//! Callers may have less patience than a term, or come seldom: whoever is told of the first failure goes
//! on trying, whether or not anybody waits for it.
//!
//! Invariant: time counts only from failure to failure, at most a third of a term apart, and from
//! when something last came over a connection that was lost: its peer should have said every sixth
//! of a term that it lives, and somebody listened all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{ActorId, Boot};

/// Failed ways to processes. Owned by one lock.
#[derive(Debug, Clone)]
pub struct Reach {
    term: Duration,
    failing: BTreeMap<Boot, Failing>,
    /// Those that somebody goes on trying.
    tried: BTreeSet<Boot>,
    /// When an actor was last claimed over its owner.
    claimed_over: BTreeMap<ActorId, Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Duration,
    last: Duration,
}

impl Reach {
    /// Everybody can be reached; the lease has this term.
    pub fn new(term: Duration) -> Self {
        Self { term, failing: BTreeMap::new(), tried: BTreeSet::new(), claimed_over: BTreeMap::new() }
    }

    /// A process answered.
    pub fn reached(&mut self, boot: Boot) {
        self.failing.remove(&boot);
    }

    /// A process could not be reached; a connection to it on which nothing had come for `unheard_for`
    /// was lost by that, if there was one. Whether the caller is to go on trying it, until it is reached
    /// or has ended, and then to say so: nobody else does.
    #[must_use = "nobody else goes on trying"]
    pub fn failed(&mut self, boot: Boot, now: Duration, unheard_for: Duration) -> bool {
        let gap = self.term / 3;
        self.failing.retain(|_, failing| now.saturating_sub(failing.last) <= gap);
        let unheard_for = if crate::mutant!("silence_does_not_count") { Duration::ZERO } else { unheard_for };
        let heard = now.saturating_sub(unheard_for);
        let failing = self.failing.entry(boot).or_insert(Failing { since: heard, last: now });
        failing.since = failing.since.min(heard);
        failing.last = now;
        self.tried.insert(boot) && !crate::mutant!("nobody_goes_on_trying")
    }

    /// Nobody goes on trying a process any more: what is known of it grows old.
    pub fn given_up(&mut self, boot: Boot) {
        self.tried.remove(&boot);
        self.failing.remove(&boot);
    }

    /// Whether a process is being tried, and could not be reached for a term: nobody has to try it once
    /// more to know.
    pub fn is_tried_in_vain(&self, boot: Boot) -> bool {
        self.tried.contains(&boot) && self.unreachable_for(boot).is_some()
    }

    /// For how long a process has not been reached, if that is a term and more.
    pub fn unreachable_for(&self, boot: Boot) -> Option<Duration> {
        let failing = self.failing.get(&boot)?;
        let time = failing.last.saturating_sub(failing.since);
        (time >= self.term).then_some(time)
    }

    /// Whether an actor may be claimed over the process that owns it. Counts as done when it says
    /// yes.
    pub fn claim_over(&mut self, actor: &ActorId, boot: Boot, now: Duration) -> bool {
        if self.unreachable_for(boot).is_none() {
            return false;
        }
        let term = self.term;
        self.claimed_over.retain(|_, at| now.saturating_sub(*at) < term);
        if self.claimed_over.contains_key(actor) && !crate::mutant!("claims_over_again_and_again") {
            return false;
        }
        self.claimed_over.insert(actor.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn actor(key: &str) -> ActorId {
        ActorId::new("t", "a", key).unwrap()
    }

    fn failing_from(reach: &mut Reach, from: u64, to: u64) {
        for at in (from..=to).step_by(100) {
            let _ = reach.failed(Boot(1), ms(at), Duration::ZERO);
        }
    }

    #[test]
    fn an_owner_is_out_of_reach_after_a_term_without_an_answer() {
        let mut reach = Reach::new(ms(3_000));
        failing_from(&mut reach, 1_000, 3_900);
        assert!(!reach.claim_over(&actor("x"), Boot(1), ms(3_900)));
        let _ = reach.failed(Boot(1), ms(4_000), Duration::ZERO);
        assert!(!reach.claim_over(&actor("x"), Boot(2), ms(4_000)), "another process");
        assert!(reach.claim_over(&actor("x"), Boot(1), ms(4_000)));
        reach.reached(Boot(1));
        assert!(!reach.claim_over(&actor("y"), Boot(1), ms(4_100)), "it has answered");
    }

    #[test]
    fn time_without_a_try_does_not_count() {
        let mut reach = Reach::new(ms(3_000));
        let _ = reach.failed(Boot(1), ms(0), Duration::ZERO);
        failing_from(&mut reach, 60_000, 62_900);
        assert_eq!(reach.unreachable_for(Boot(1)), None);
    }

    #[test]
    fn the_silence_of_a_connection_that_was_lost_counts() {
        let mut reach = Reach::new(ms(3_000));
        let _ = reach.failed(Boot(1), ms(5_000), ms(2_500));
        let _ = reach.failed(Boot(1), ms(5_400), Duration::ZERO);
        assert_eq!(reach.unreachable_for(Boot(1)), None);
        let _ = reach.failed(Boot(1), ms(5_500), Duration::ZERO);
        assert_eq!(reach.unreachable_for(Boot(1)), Some(ms(3_000)));
        let _ = reach.failed(Boot(2), ms(5_500), ms(3_000));
        assert!(reach.claim_over(&actor("x"), Boot(2), ms(5_500)), "at once");
    }

    #[test]
    fn one_goes_on_trying_until_it_has_given_up() {
        let mut reach = Reach::new(ms(3_000));
        assert!(reach.failed(Boot(1), ms(0), Duration::ZERO));
        assert!(!reach.failed(Boot(1), ms(100), Duration::ZERO), "somebody does");
        assert!(reach.failed(Boot(2), ms(100), Duration::ZERO), "another process");
        assert!(!reach.failed(Boot(1), ms(60_000), Duration::ZERO), "still, after however long");
        for at in (60_100..64_000).step_by(100) {
            assert!(!reach.is_tried_in_vain(Boot(1)) || at > 63_000, "{at}");
            let _ = reach.failed(Boot(1), ms(at), Duration::ZERO);
        }
        assert!(reach.is_tried_in_vain(Boot(1)));
        reach.given_up(Boot(1));
        assert!(!reach.is_tried_in_vain(Boot(1)), "nobody knows any more");
        assert!(reach.failed(Boot(1), ms(64_100), Duration::ZERO));
    }

    #[test]
    fn an_actor_is_claimed_over_once_a_term() {
        let mut reach = Reach::new(ms(3_000));
        failing_from(&mut reach, 0, 10_000);
        assert!(reach.claim_over(&actor("x"), Boot(1), ms(10_000)));
        assert!(!reach.claim_over(&actor("x"), Boot(1), ms(12_900)));
        assert!(reach.claim_over(&actor("y"), Boot(1), ms(12_900)), "another actor");
        assert!(reach.claim_over(&actor("x"), Boot(1), ms(13_000)));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn claiming_over_again_and_again_is_caught() {
        let _armed = crate::mutant::arm("claims_over_again_and_again");
        std::panic::catch_unwind(an_actor_is_claimed_over_once_a_term).unwrap_err();
    }
}
