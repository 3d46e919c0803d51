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

mod own;
mod protocols;
mod silence;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Boot, Incarnation, NodeId};
use crate::limits::LEASE_TERM;
pub use own::{Act, Health, Heard, OwnSession};
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
    /// How long it may be silent, in milliseconds: by its own lease term it is judged.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// What its operator says about it, for placement.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// How many actors it takes into memory, if it is bounded.
    #[serde(default)]
    pub capacity: Option<u64>,
}

fn default_lease_ms() -> u64 {
    u64::try_from(LEASE_TERM.as_millis()).expect("a few seconds")
}

impl Session {
    /// How long it may be silent.
    pub fn lease_term(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

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
    /// How long it may be silent, in milliseconds.
    pub lease_ms: u64,
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
            lease_ms: joiner.lease_ms,
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

/// A life of a node, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The node's name.
    pub node: &'a NodeId,
    /// Its session.
    pub session: &'a Session,
}

/// A live node that a newcomer could not talk to.
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
    /// What the newcomer speaks.
    pub ours: Protocols,
}

/// Whether a life that is about to begin could talk to another node, if they have to: both are
/// live and say where they are reached.
pub fn can_talk(newcomer: Named<'_>, other: Named<'_>) -> Result<(), NoCommonProtocol> {
    let (mine, theirs) = (newcomer.session, other.session);
    let talk = other.node != newcomer.node
        && theirs.is_live()
        && !theirs.address.is_empty()
        && !mine.address.is_empty()
        && !crate::mutant!("joins_whoever_is_there");
    if !talk || mine.protocols.common(theirs.protocols).is_some() {
        return Ok(());
    }
    Err(NoCommonProtocol {
        node: other.node.clone(),
        version: theirs.version.clone(),
        theirs: theirs.protocols,
        ours: mine.protocols,
    })
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
mod tests;
