//! Who may commit for an actor, and how that changes.
//!
//! Invariant: the epoch of an actor only grows, the record is never deleted and compared
//! whole. Every commit of a turn requires the record that its activation was loaded under,
//! so a node that lost an actor can be slow but never wrong.
//!
//! The specification is `specs/KelpieRegistry.tla`.

use serde::{Deserialize, Serialize};

use crate::id::{Boot, Epoch, Incarnation, NodeId};
use crate::session::{Session, SessionState};

/// The record `own/<actor>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A node, as it knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Whether an owner is this very process.
    pub fn owns(&self, own: &Own) -> bool {
        own.node == self.node && own.incarnation == self.incarnation && own.boot == self.boot
    }
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
        let holder_lives = holder.is_some_and(|session| {
            session.is_live() && session.incarnation == own.incarnation && session.boot == own.boot
        });
        if holder_lives {
            return Claim::Redirect(own.clone());
        }
    }
    if mine.state != SessionState::Active && !stillborn {
        return Claim::NotActive;
    }
    let next = |own: &Own| if crate::mutant!("claim_keeps_epoch") { own.epoch } else { own.epoch.next() };
    Claim::Take(Own {
        node: me.node.clone(),
        incarnation: me.incarnation,
        boot: me.boot,
        epoch: own.map_or(Epoch(1), next),
    })
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
}
