//! A node's session: its record in the store, and who may replace it.
//!
//! ```text
//!   (none) ──join──▶ active ──drain──▶ draining ──leave──▶ left ──join──▶ active, incarnation + 1
//!                      └──────── declared dead ─────────▶ dead ──join──▶ active, incarnation + 1
//! ```
//!
//! A live session is replaced by whoever holds its directory, or has seen its beat stand still.
//!
//! Invariant: an incarnation that is dead or left is never active again, and two processes
//! never hold the same (incarnation, boot). A session is never deleted.
//!
//! The specification is `specs/KelpieRegistry.tla`.

mod silence;

use serde::{Deserialize, Serialize};

use crate::id::{Boot, Incarnation, NodeId};
pub use silence::{Beat, Seen, Silence};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// It claims actors and serves calls.
    Active,
    /// It serves what it owns and claims nothing.
    Draining,
    /// It went by itself; nothing of it is in flight.
    Left,
    /// It was declared dead.
    Dead,
}

/// The record `node/<node>/session`, written on state changes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// Which process.
    pub boot: Boot,
    /// Where it stands.
    pub state: SessionState,
    /// Where other nodes reach it; empty while it serves alone.
    pub address: String,
    /// The version of Kelpie that it runs.
    pub version: String,
}

impl Session {
    /// Whether the session may own actors.
    pub fn is_live(&self) -> bool {
        match self.state {
            SessionState::Active | SessionState::Draining => true,
            SessionState::Left | SessionState::Dead => false,
        }
    }
}

/// The record `node/<node>/lease`, renewed by its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose beat.
    pub incarnation: Incarnation,
    /// Grows with each renewal; others watch it stand still.
    pub beat: u64,
    /// Activations in memory, advisory.
    pub load: u64,
}

/// A process that wants to become a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joiner {
    /// The name it wants.
    pub node: NodeId,
    /// Its own boot.
    pub boot: Boot,
    /// Where other nodes reach it.
    pub address: String,
    /// The version it runs.
    pub version: String,
    /// It holds the lock of the directory in which this session is kept, so the process
    /// that wrote it is gone.
    pub holds_directory: bool,
    /// The beat that it has seen stand still for longer than its process may be silent.
    pub silent: Option<Beat>,
}

/// What a joiner has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// Write this session.
    Write(Session),
    /// It has been written already, by this very process (an unknown outcome, settled).
    Joined(Session),
    /// Somebody else lives under that name, or did when it last renewed its lease.
    Refused(JoinRefused, Beat),
}

/// Why a process may not join under a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node `{node}` is {state:?} already, as incarnation {} of another process; choose another --node, or wait until it has left", incarnation.0)]
pub struct JoinRefused {
    /// The wanted name.
    pub node: NodeId,
    /// What the other process is.
    pub state: SessionState,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// Decides a join, given the session and the lease that stand under the wanted name.
pub fn join(standing: Option<&Session>, lease: Option<&Lease>, joiner: &Joiner) -> Join {
    let next = |incarnation| {
        Join::Write(Session {
            incarnation,
            boot: joiner.boot,
            state: SessionState::Active,
            address: joiner.address.clone(),
            version: joiner.version.clone(),
        })
    };
    match standing {
        None => next(Incarnation(1)),
        Some(session) if session.boot == joiner.boot && session.is_live() => Join::Joined(session.clone()),
        Some(session) => {
            let beat = Beat::of(session, lease);
            if !session.is_live() || joiner.holds_directory || joiner.silent == Some(beat) {
                return next(session.incarnation.next());
            }
            let (node, state) = (joiner.node.clone(), session.state);
            Join::Refused(JoinRefused { node, state, incarnation: session.incarnation }, beat)
        }
    }
}

/// What a renewal finds out about its own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Write the lease.
    Renew,
    /// The session was declared dead or left: join anew.
    Rejoin,
    /// Another process has the name: stop, and never come back (else two duel for ever).
    Superseded,
    /// The rows are those of another life of the store, put back from a backup: stop. What
    /// this process remembers of the store may never have happened there.
    Restored,
}

/// What a process remembers of its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// Which process.
    pub boot: Boot,
    /// Which life of the store it joined.
    pub generation: u128,
}

/// Decides a renewal, given the session under the holder's name and the store's generation.
pub fn renew(standing: Option<&Session>, generation: Option<u128>, holder: &Holder) -> Renewal {
    // First of all: a backup of a running node holds its session, with its boot.
    if generation != Some(holder.generation) && !crate::mutant!("generation_ignored") {
        return Renewal::Restored;
    }
    match standing {
        Some(session) if session.boot != holder.boot => Renewal::Superseded,
        Some(session)
            if session.incarnation == holder.incarnation
                && (session.is_live() || crate::mutant!("late_beat_revives")) =>
        {
            Renewal::Renew
        }
        Some(_) => Renewal::Rejoin,
        None => Renewal::Superseded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joiner(boot: u128) -> Joiner {
        Joiner {
            node: NodeId::new("n1").unwrap(),
            boot: Boot(boot),
            address: String::new(),
            version: "0".into(),
            holds_directory: false,
            silent: None,
        }
    }

    fn holder(incarnation: u64, boot: u128) -> Holder {
        Holder { incarnation: Incarnation(incarnation), boot: Boot(boot), generation: 7 }
    }

    fn written(join: Join) -> Session {
        match join {
            Join::Write(session) => session,
            Join::Joined(_) | Join::Refused(..) => panic!("not written: {join:?}"),
        }
    }

    #[test]
    fn a_live_session_is_replaced_only_by_who_holds_its_directory() {
        let first = written(join(None, None, &joiner(1)));
        assert!(matches!(join(Some(&first), None, &joiner(2)), Join::Refused(..)));
        let second = written(join(Some(&first), None, &Joiner { holds_directory: true, ..joiner(2) }));
        assert_eq!(second.incarnation, Incarnation(2));
    }

    #[test]
    fn a_beat_that_moves_before_the_join_keeps_its_session() {
        let first = written(join(None, None, &joiner(1)));
        let lease = |beat| Lease { incarnation: first.incarnation, beat, load: 0 };
        let silent = Some(Beat::of(&first, Some(&lease(7))));
        let heir = Joiner { silent, ..joiner(2) };
        assert!(matches!(join(Some(&first), Some(&lease(8)), &heir), Join::Refused(..)));
        let second = written(join(Some(&first), Some(&lease(7)), &heir));
        assert_eq!(second.incarnation, Incarnation(2));
        // The same number of another life is another beat.
        assert!(matches!(
            join(Some(&second), Some(&lease(7)), &Joiner { boot: Boot(3), ..heir }),
            Join::Refused(..)
        ));
    }

    #[test]
    fn a_join_of_unknown_outcome_is_recognised_by_its_boot() {
        let session = written(join(None, None, &joiner(1)));
        assert_eq!(join(Some(&session), None, &joiner(1)), Join::Joined(session));
    }

    #[test]
    fn the_dead_stay_dead() {
        let mut session = written(join(None, None, &joiner(1)));
        session.state = SessionState::Dead;
        assert_eq!(renew(Some(&session), Some(7), &holder(1, 1)), Renewal::Rejoin);
        assert_eq!(written(join(Some(&session), None, &joiner(1))).incarnation, Incarnation(2));
        session.boot = Boot(9);
        assert_eq!(renew(Some(&session), Some(7), &holder(1, 1)), Renewal::Superseded);
    }

    #[test]
    fn a_session_is_renewed_by_its_own_process_in_its_own_store_alone() {
        let first = written(join(None, None, &joiner(1)));
        let draining = Session { state: SessionState::Draining, ..first.clone() };
        let left = Session { state: SessionState::Left, ..first.clone() };
        let renewed = |standing, holder| renew(standing, Some(7), &holder);
        assert_eq!(renewed(Some(&first), holder(1, 1)), Renewal::Renew);
        assert_eq!(renewed(Some(&draining), holder(1, 1)), Renewal::Renew);
        assert_eq!(renewed(Some(&left), holder(1, 1)), Renewal::Rejoin, "the end of a session is final");
        assert_eq!(renewed(Some(&first), holder(2, 1)), Renewal::Rejoin, "another life of the same process");
        assert_eq!(renewed(Some(&first), holder(1, 2)), Renewal::Superseded);
        assert_eq!(renewed(None, holder(1, 1)), Renewal::Superseded);
    }

    #[test]
    fn a_session_out_of_a_backup_is_not_renewed() {
        let first = written(join(None, None, &joiner(1)));
        for generation in [None, Some(8)] {
            assert_eq!(renew(Some(&first), generation, &holder(1, 1)), Renewal::Restored);
        }
    }
}
