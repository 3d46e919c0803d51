//! Who may commit for an actor, and how that changes.
//!
//! Invariant: the epoch of an actor only grows, the record is never deleted and compared
//! whole. Every commit of a turn requires the record that its activation was loaded under,
//! so a node that lost an actor can be slow but never wrong. That is also why an actor may be
//! claimed over an owner that lives and cannot be reached: what it still commits lands before
//! the claim, or never.
//!
//! Nothing is ever released: an actor whose owner has ended is free by that.
//!
//! The specification is `specs/KelpieRegistry.tla`.

mod why;

use serde::{Deserialize, Serialize};

use crate::id::{Boot, Epoch, Incarnation, NodeId};
use crate::session::{Session, SessionState};
pub use why::{Mover, Unmet, Why};

/// The record `own/<actor>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Own {
    /// The owner's name.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Which process.
    pub boot: Boot,
    /// How often the actor changed hands.
    pub epoch: Epoch,
}

impl Own {
    /// Whether a session, of the node that it names, is that of the very life that it names.
    #[doc(hidden)]
    pub fn names(&self, session: &Session) -> bool {
        session.incarnation == self.incarnation && session.boot == self.boot
    }
}

/// A node, as it knows itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Myself {
    /// My name.
    pub node: NodeId,
    /// My life.
    pub incarnation: Incarnation,
    /// My process.
    pub boot: Boot,
}

impl Myself {
    /// Whether a session is mine.
    pub fn is(&self, session: &Session) -> bool {
        session.incarnation == self.incarnation && session.boot == self.boot
    }

    /// The record under which this process has an actor that had this one.
    fn next(&self, own: Option<&Own>) -> Own {
        let next = |own: &Own| if crate::mutant!("claim_keeps_epoch") { own.epoch } else { own.epoch.next() };
        Own {
            node: self.node.clone(),
            incarnation: self.incarnation,
            boot: self.boot,
            epoch: own.map_or(Epoch(1), next),
        }
    }

    /// Whether an owner is this very process.
    pub fn owns(&self, own: &Own) -> bool {
        own.node == self.node && own.incarnation == self.incarnation && own.boot == self.boot
    }
}

/// The value of an entry in an owner's list. It tells, and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Under which epoch the actor came there.
    pub epoch: Epoch,
    /// Why.
    pub why: Why,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is mine already: write nothing.
    Mine(Own),
    /// Write this record.
    Take(Own),
    /// A live node owns it: ask there.
    Redirect(Own),
    /// I may not claim: my session is not active.
    NotActive,
}

/// Decides a claim. `holder` is the session of the node that `own` names; `mine` is the
/// session that stands under my name.
pub fn claim(own: Option<&Own>, holder: Option<&Session>, mine: Option<&Session>, me: &Myself) -> Claim {
    let stillborn = crate::mutant!("claim_without_own_session");
    let Some(mine) = mine.filter(|session| stillborn || (me.is(session) && session.is_live())) else {
        return Claim::NotActive;
    };
    if let Some(own) = own {
        if me.owns(own) {
            return Claim::Mine(own.clone());
        }
        if holder.is_some_and(|session| session.is_live() && own.names(session)) {
            return Claim::Redirect(own.clone());
        }
    }
    if mine.state != SessionState::Active && !stillborn {
        return Claim::NotActive;
    }
    Claim::Take(me.next(own))
}

/// Decides a claim over an owner that lives and could not be reached for a lease term. `over` is
/// the record that it was known by: whatever stands there instead is followed.
pub fn claim_over(
    own: Option<&Own>,
    holder: Option<&Session>,
    mine: Option<&Session>,
    me: &Myself,
    over: &Own,
) -> Claim {
    let decided = claim(own, holder, mine, me);
    let Claim::Redirect(standing) = &decided else { return decided };
    if standing != over && !crate::mutant!("claims_over_whoever_holds") {
        return decided;
    }
    if mine.is_some_and(|session| session.state == SessionState::Active) {
        Claim::Take(me.next(Some(standing)))
    } else {
        Claim::NotActive
    }
}

/// What giving an actor away found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Migrate {
    /// Write this record: from now on it is the target's.
    Move(Own),
    /// It is the target's already (an unknown outcome, settled).
    Moved(Own),
    /// It is not the giver's any more: ask there.
    NotMine(Option<Own>),
    /// The target claims nothing, or is another process by now.
    TargetNotActive,
}

/// Decides a migration. `held` is the record that the giver's activation was loaded under, `own`
/// what stands there now, and `session` the one that stands under the target's name.
pub fn migrate(own: Option<&Own>, held: &Own, session: Option<&Session>, target: &Myself) -> Migrate {
    match own {
        Some(own) if target.owns(own) && own.epoch > held.epoch => Migrate::Moved(own.clone()),
        Some(own) if own == held => {
            let is_active = |session: &&Session| {
                target.is(session) && session.state == SessionState::Active
                    || crate::mutant!("migrates_to_whoever")
            };
            session
                .filter(is_active)
                .map_or(Migrate::TargetNotActive, |_| Migrate::Move(target.next(Some(own))))
        }
        other => Migrate::NotMine(other.cloned()),
    }
}

/// The record that settles an unknown outcome of its owner's commit: the same owner, one
/// epoch on, so that the commit in flight can no longer land.
pub fn settle(own: &Own) -> Own {
    Own { epoch: own.epoch.next(), ..own.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(incarnation: u64, boot: u128, state: SessionState) -> Session {
        Session {
            incarnation: Incarnation(incarnation),
            boot: Boot(boot),
            state,
            address: String::new(),
            version: String::new(),
            labels: std::collections::BTreeSet::new(),
            capacity: None,
            protocols: crate::session::Protocols::default(),
            lease_ms: 3_000,
        }
    }

    fn me() -> Myself {
        Myself { node: NodeId::new("me").unwrap(), incarnation: Incarnation(2), boot: Boot(7) }
    }

    fn taken(claim: Claim) -> Own {
        match claim {
            Claim::Take(own) => own,
            Claim::Mine(_) | Claim::Redirect(_) | Claim::NotActive => panic!("not taken: {claim:?}"),
        }
    }

    #[test]
    fn an_actor_of_a_former_life_is_taken_with_the_next_epoch() {
        let mine = session(2, 7, SessionState::Active);
        let first = taken(claim(None, None, Some(&mine), &me()));
        assert_eq!(first.epoch, Epoch(1));
        let former = Own { incarnation: Incarnation(1), boot: Boot(3), ..first };
        assert_eq!(taken(claim(Some(&former), Some(&mine), Some(&mine), &me())).epoch, Epoch(2));
    }

    #[test]
    fn a_live_holder_is_followed_also_while_it_drains() {
        let mine = session(2, 7, SessionState::Active);
        let own = Own {
            node: NodeId::new("b").unwrap(),
            incarnation: Incarnation(1),
            boot: Boot(3),
            epoch: Epoch(4),
        };
        for state in [SessionState::Active, SessionState::Draining] {
            assert_eq!(
                claim(Some(&own), Some(&session(1, 3, state)), Some(&mine), &me()),
                Claim::Redirect(own.clone())
            );
        }
        assert_eq!(
            taken(claim(Some(&own), Some(&session(1, 3, SessionState::Dead)), Some(&mine), &me())).epoch,
            Epoch(5)
        );
        assert_eq!(
            taken(claim(Some(&own), Some(&session(2, 8, SessionState::Active)), Some(&mine), &me())).epoch,
            Epoch(5)
        );
    }

    #[test]
    fn a_node_without_an_active_session_claims_nothing() {
        for mine in
            [None, Some(session(1, 7, SessionState::Active)), Some(session(2, 7, SessionState::Draining))]
        {
            assert_eq!(claim(None, None, mine.as_ref(), &me()), Claim::NotActive);
        }
    }

    fn of_b(epoch: u64) -> Own {
        Own {
            node: NodeId::new("b").unwrap(),
            incarnation: Incarnation(1),
            boot: Boot(3),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn a_claim_over_takes_from_the_holder_it_knew_and_follows_any_other() {
        let mine = session(2, 7, SessionState::Active);
        let holder = session(1, 3, SessionState::Active);
        let over = |own: Own| claim_over(Some(&own), Some(&holder), Some(&mine), &me(), &of_b(4));
        assert_eq!(taken(over(of_b(4))).epoch, Epoch(5));
        assert_eq!(over(of_b(5)), Claim::Redirect(of_b(5)), "it has changed hands since");
        let draining = session(2, 7, SessionState::Draining);
        assert_eq!(
            claim_over(Some(&of_b(4)), Some(&holder), Some(&draining), &me(), &of_b(4)),
            Claim::NotActive
        );
        let dead = session(1, 3, SessionState::Dead);
        assert_eq!(
            taken(claim_over(Some(&of_b(6)), Some(&dead), Some(&mine), &me(), &of_b(4))).epoch,
            Epoch(7)
        );
    }

    #[test]
    fn an_actor_moves_to_the_active_life_that_was_meant() {
        let moved = Migrate::Move(Own { epoch: Epoch(5), ..me().next(None) });
        let migrate = |session: &Session| migrate(Some(&of_b(4)), &of_b(4), Some(session), &me());
        assert_eq!(migrate(&session(2, 7, SessionState::Active)), moved);
        let others = [
            session(2, 7, SessionState::Draining),
            session(2, 7, SessionState::Dead),
            session(3, 7, SessionState::Active),
            session(2, 8, SessionState::Active),
        ];
        for other in others {
            assert_eq!(migrate(&other), Migrate::TargetNotActive, "{other:?}");
        }
    }

    #[test]
    fn only_what_is_held_is_given_away_and_a_move_whose_answer_was_lost_is_recognised() {
        let active = session(2, 7, SessionState::Active);
        let migrate = |own: Option<Own>| migrate(own.as_ref(), &of_b(4), Some(&active), &me());
        assert_eq!(migrate(Some(of_b(5))), Migrate::NotMine(Some(of_b(5))), "settled since");
        assert_eq!(migrate(None), Migrate::NotMine(None));
        let moved = Own { epoch: Epoch(5), ..me().next(None) };
        assert_eq!(migrate(Some(moved.clone())), Migrate::Moved(moved.clone()));
        let before = Own { epoch: Epoch(3), ..moved };
        assert_eq!(migrate(Some(before.clone())), Migrate::NotMine(Some(before)), "of an earlier time");
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutants_of_ownership_are_caught() {
        let tests: [(&'static str, fn()); 2] = [
            ("claims_over_whoever_holds", a_claim_over_takes_from_the_holder_it_knew_and_follows_any_other),
            ("migrates_to_whoever", an_actor_moves_to_the_active_life_that_was_meant),
        ];
        for (mutant, test) in tests {
            let _armed = crate::mutant::arm(mutant);
            std::panic::catch_unwind(test).expect_err(mutant);
        }
    }
}
