//! A node's session: its record in the store, and who may replace it.
//!
//! ```text
//!   (none) ──join──▶ active ──drain──▶ draining ──leave──▶ left ─────join──▶ active, incarnation + 1
//!                      ├──────── declared dead ─────────▶ dead ─────join──▶ active, incarnation + 1
//!                      │                                     └────rejoin──▶ live again as incarnation + 1
//!                      └──── ended by the operator ─────▶ evicted ──join──▶ active, incarnation + 1
//! ```
//!
//! A live session is replaced by whoever holds its directory, or has seen its beat stand still.
//! A process that finds itself dead goes on as the next incarnation; one that was evicted, or
//! finds another boot under its name, stops and does not come back by itself.
//!
//! Invariant: an incarnation that is dead or left is never active again, and two processes
//! never hold the same (incarnation, boot). A session is never deleted.
//!
//! The specification is `specs/KelpieRegistry.tla`.

mod protocols;
mod silence;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Boot, Incarnation, NodeId};
pub use protocols::{PROTOCOL_MAX, PROTOCOL_MIN, Protocols};
pub use silence::{Beat, Seen, Silence, Stillness};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionState {
    /// It claims actors and serves calls.
    Active,
    /// It serves what it owns and claims nothing.
    Draining,
    /// It went by itself; nothing of it is in flight.
    Left,
    /// It was declared dead.
    Dead,
    /// The operator has ended it.
    Evicted,
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Left => "left",
            Self::Dead => "dead",
            Self::Evicted => "evicted",
        })
    }
}

/// The record `node/<node>/session`, written on state changes only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Which versions of the protocol between nodes it speaks.
    #[serde(default = "Protocols::first")]
    pub protocols: Protocols,
    /// What its operator says about it, for placement.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// How many actors it takes into memory, if it is bounded.
    #[serde(default)]
    pub capacity: Option<u64>,
}

impl Session {
    /// Whether the session may own actors.
    pub fn is_live(&self) -> bool {
        match self.state {
            SessionState::Active | SessionState::Draining => true,
            SessionState::Left | SessionState::Dead | SessionState::Evicted => false,
        }
    }
}

/// The record `node/<node>/lease`, renewed by its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Which versions of the protocol between nodes it speaks.
    pub protocols: Protocols,
    /// What its operator says about it, for placement.
    pub labels: BTreeSet<String>,
    /// How many actors it takes into memory, if it is bounded.
    pub capacity: Option<u64>,
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
            protocols: joiner.protocols,
            labels: joiner.labels.clone(),
            capacity: joiner.capacity,
        })
    };
    match standing {
        None => next(Incarnation(1)),
        Some(session)
            if session.is_live() && (session.boot == joiner.boot || crate::mutant!("join_without_boot")) =>
        {
            Join::Joined(session.clone())
        }
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

/// A live node that a joiner could not talk to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "node `{node}` (Kelpie {version}) speaks versions {theirs} of the protocol between nodes, this process speaks \
     {ours}: first put a release that speaks a version of each on all nodes, or stop `{node}`"
)]
pub struct NoCommonProtocol {
    /// Its name.
    pub node: NodeId,
    /// The version of Kelpie that it runs.
    pub version: String,
    /// What it speaks.
    pub theirs: Protocols,
    /// What the joiner speaks.
    pub ours: Protocols,
}

/// Whether a joiner could talk to another node, if they have to: both are live and say where they
/// are reached.
pub fn can_talk(joiner: &Joiner, node: &NodeId, session: &Session) -> Result<(), NoCommonProtocol> {
    let talk = *node != joiner.node
        && session.is_live()
        && !session.address.is_empty()
        && !joiner.address.is_empty()
        && !crate::mutant!("joins_whoever_is_there");
    if !talk || joiner.protocols.common(session.protocols).is_some() {
        return Ok(());
    }
    let (version, theirs) = (session.version.clone(), session.protocols);
    Err(NoCommonProtocol { node: node.clone(), version, theirs, ours: joiner.protocols })
}

/// What a renewal finds out about its own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Write the lease.
    Renew,
    /// The session was declared dead: go on as the next incarnation.
    Rejoin,
    /// The operator has ended the session: stop.
    Evicted,
    /// Another process has the name: stop, and never come back (else two duel for ever).
    Superseded,
    /// The rows are those of another life of the store, put back from a backup: stop. What
    /// this process remembers of the store may never have happened there.
    Restored,
}

/// What a process remembers of its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        Some(session) if session.boot != holder.boot && !crate::mutant!("superseded_rejoins") => {
            Renewal::Superseded
        }
        Some(session) if session.state == SessionState::Evicted => Renewal::Evicted,
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

/// What a process does that has found its session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejoin {
    /// Write this session: the next life of the same process.
    Write(Session),
    /// It is live already, as this incarnation (an unknown outcome, settled).
    Joined(Incarnation),
    /// It may not: stop.
    Over(Renewal),
}

/// Decides how a process goes on whose session was declared dead. `state` is what it is to be
/// from then on: a process that drains does not begin to claim again.
pub fn rejoin(
    standing: Option<&Session>,
    generation: Option<u128>,
    holder: &Holder,
    state: SessionState,
) -> Rejoin {
    match (renew(standing, generation, holder), standing) {
        (Renewal::Renew | Renewal::Rejoin, Some(session))
            if session.is_live() && session.boot == holder.boot =>
        {
            Rejoin::Joined(session.incarnation)
        }
        (Renewal::Rejoin, Some(session)) => {
            let (incarnation, boot) = (session.incarnation.next(), holder.boot);
            Rejoin::Write(Session { incarnation, boot, state, ..session.clone() })
        }
        (over, _) => Rejoin::Over(over),
    }
}

/// What a declaration finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declaration {
    /// Write this session.
    Write(Session),
    /// It has ended already, or another life of the node stands there.
    Over,
    /// It has renewed since it was watched: it lives.
    Renewed,
}

/// Decides whether the life behind `watched` may be declared dead, given the session and the
/// lease that stand there now, both read serializably in the declaring transaction.
pub fn declare_dead(standing: Option<&Session>, lease: Option<&Lease>, watched: &Beat) -> Declaration {
    let Some(session) = standing.filter(|session| session.is_live() && watched.is_of(session)) else {
        return Declaration::Over;
    };
    if Beat::of(session, lease) != *watched && !crate::mutant!("declare_unvalidated") {
        return Declaration::Renewed;
    }
    Declaration::Write(Session { state: SessionState::Dead, ..session.clone() })
}

/// The session that an operator leaves when he ends one; nothing if it has ended already.
pub fn evict(standing: &Session) -> Option<Session> {
    standing.is_live().then(|| Session { state: SessionState::Evicted, ..standing.clone() })
}

/// The session of a node that was told to drain; nothing if it drains or has ended already.
pub fn drain(standing: &Session) -> Option<Session> {
    (standing.state == SessionState::Active)
        .then(|| Session { state: SessionState::Draining, ..standing.clone() })
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
            protocols: Protocols::default(),
            labels: BTreeSet::new(),
            capacity: None,
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
    fn a_joiner_has_a_version_in_common_with_every_live_node_that_it_has_to_talk_to() {
        let speaks = |min, max| Protocols { min, max };
        let address = || "n2:7000".to_owned();
        let second = Joiner { address: address(), protocols: speaks(2, 2), ..joiner(2) };
        let n2 = NodeId::new("n2").unwrap();
        let first = Session { address: address(), ..written(join(None, None, &joiner(1))) };
        let refused = can_talk(&second, &n2, &first).unwrap_err();
        assert_eq!((refused.theirs, refused.ours), (speaks(1, 1), speaks(2, 2)));
        assert_eq!(can_talk(&Joiner { protocols: speaks(1, 2), ..second.clone() }, &n2, &first), Ok(()));
        // The name's own former life, one that has ended, and whoever serves alone.
        let dead = Session { state: SessionState::Dead, ..first.clone() };
        let alone = Session { address: String::new(), ..first.clone() };
        assert_eq!(can_talk(&second, &second.node, &first), Ok(()));
        assert_eq!(can_talk(&second, &n2, &dead), Ok(()));
        assert_eq!(can_talk(&second, &n2, &alone), Ok(()));
        assert_eq!(can_talk(&Joiner { address: String::new(), ..second }, &n2, &first), Ok(()));
    }

    #[test]
    fn a_session_that_does_not_say_what_it_speaks_speaks_the_first_version() {
        #[derive(Serialize)]
        struct Before<'a> {
            incarnation: Incarnation,
            boot: Boot,
            state: SessionState,
            address: &'a str,
            version: &'a str,
        }
        let (incarnation, boot, state) = (Incarnation(1), Boot(1), SessionState::Active);
        let before = crate::record::encode(&Before { incarnation, boot, state, address: "", version: "0" });
        let session: Session = crate::record::decode(&before).unwrap();
        assert_eq!(session.protocols, Protocols { min: 1, max: 1 });
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
    fn a_process_that_finds_itself_dead_goes_on_as_the_next_incarnation() {
        let dead = Session { state: SessionState::Dead, ..written(join(None, None, &joiner(1))) };
        let rejoined = |standing, holder| rejoin(standing, Some(7), &holder, SessionState::Active);
        let Rejoin::Write(second) = rejoined(Some(&dead), holder(1, 1)) else { panic!("it rejoins") };
        assert_eq!((second.incarnation, second.boot), (Incarnation(2), Boot(1)));
        assert_eq!(second.state, SessionState::Active);
        // The answer was lost, and the process asks again.
        assert_eq!(rejoined(Some(&second), holder(1, 1)), Rejoin::Joined(Incarnation(2)));
        let draining = rejoin(Some(&dead), Some(7), &holder(1, 1), SessionState::Draining);
        assert!(matches!(draining, Rejoin::Write(session) if session.state == SessionState::Draining));
    }

    #[test]
    fn who_was_replaced_evicted_or_restored_never_rejoins() {
        let dead = Session { state: SessionState::Dead, ..written(join(None, None, &joiner(1))) };
        let rejoined =
            |standing, generation| rejoin(standing, generation, &holder(1, 1), SessionState::Active);
        let heir = Session { boot: Boot(2), ..dead.clone() };
        assert_eq!(rejoined(Some(&heir), Some(7)), Rejoin::Over(Renewal::Superseded), "dead or not");
        assert_eq!(rejoined(None, Some(7)), Rejoin::Over(Renewal::Superseded));
        let evicted = Session { state: SessionState::Evicted, ..dead.clone() };
        assert_eq!(rejoined(Some(&evicted), Some(7)), Rejoin::Over(Renewal::Evicted));
        assert_eq!(rejoined(Some(&dead), Some(8)), Rejoin::Over(Renewal::Restored));
        // A new process may have the name of either.
        assert_eq!(written(join(Some(&evicted), None, &joiner(3))).incarnation, Incarnation(2));
    }

    #[test]
    fn only_the_beat_that_was_watched_is_declared_dead() {
        let first = written(join(None, None, &joiner(1)));
        let lease = |beat| Lease { incarnation: first.incarnation, beat, load: 0 };
        let watched = Beat::of(&first, Some(&lease(7)));
        let dead = Session { state: SessionState::Dead, ..first.clone() };
        assert_eq!(declare_dead(Some(&first), Some(&lease(7)), &watched), Declaration::Write(dead.clone()));
        assert_eq!(declare_dead(Some(&first), Some(&lease(8)), &watched), Declaration::Renewed);
        assert_eq!(declare_dead(Some(&dead), Some(&lease(7)), &watched), Declaration::Over);
        let heir = Session { incarnation: Incarnation(2), boot: Boot(2), ..first.clone() };
        assert_eq!(declare_dead(Some(&heir), Some(&lease(7)), &watched), Declaration::Over);
        assert_eq!(declare_dead(None, None, &watched), Declaration::Over);
        let draining = Session { state: SessionState::Draining, ..first };
        assert!(matches!(declare_dead(Some(&draining), Some(&lease(7)), &watched), Declaration::Write(_)));
    }

    #[test]
    fn an_operator_drains_what_is_active_and_evicts_what_is_live() {
        let active = written(join(None, None, &joiner(1)));
        let draining = drain(&active).unwrap();
        assert_eq!(draining.state, SessionState::Draining);
        assert_eq!(drain(&draining), None);
        for live in [active, draining] {
            let evicted = evict(&live).unwrap();
            assert_eq!(evicted.state, SessionState::Evicted);
            assert_eq!((evict(&evicted), drain(&evicted)), (None, None));
        }
    }

    #[test]
    fn a_session_out_of_a_backup_is_not_renewed() {
        let first = written(join(None, None, &joiner(1)));
        for generation in [None, Some(8)] {
            assert_eq!(renew(Some(&first), generation, &holder(1, 1)), Renewal::Restored);
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutants_of_sessions_are_caught() {
        let tests: [(&'static str, fn()); 2] = [
            ("join_without_boot", a_live_session_is_replaced_only_by_who_holds_its_directory),
            ("superseded_rejoins", who_was_replaced_evicted_or_restored_never_rejoins),
        ];
        for (mutant, test) in tests {
            let _armed = crate::mutant::arm(mutant);
            std::panic::catch_unwind(test).expect_err(mutant);
        }
    }
}
