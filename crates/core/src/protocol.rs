//! What a transaction did, as a step of the protocol that it belongs to.
//!
//! A store that records writes one row a transaction, in that transaction: its steps, in the words
//! of the specifications in `specs/`. So the rows are what was committed and nothing else, in the
//! order of the commits. `cargo xtask specs --traces` holds them against the specifications.
//!
//! A step says what its writer believes: `before` is what it has read or was loaded under, and what
//! comes after is what it writes. Whether that was so is for the specification to find out.

use serde::{Deserialize, Serialize};

use crate::call::{CallKey, Fingerprint, OutboxPosition};
use crate::id::{Boot, Incarnation, NodeId};
use crate::ownership::Own;
use crate::run::{self, Run};
use crate::session::{Session, SessionState};

/// A life of a node, as its session says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Which life.
    pub incarnation: u64,
    /// Which process, in hexadecimal.
    pub boot: String,
    /// Where it stands.
    pub state: SessionState,
}

impl Life {
    /// This life, standing there.
    pub fn of(incarnation: Incarnation, boot: Boot, state: SessionState) -> Self {
        Self { incarnation: incarnation.0, boot: format!("{:032x}", boot.0), state }
    }
}

impl From<&Session> for Life {
    fn from(session: &Session) -> Self {
        Self::of(session.incarnation, session.boot, session.state)
    }
}

/// An owner, as the record of an actor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: u64,
    /// Which process, in hexadecimal.
    pub boot: String,
    /// How often the actor changed hands.
    pub epoch: u64,
}

impl From<&Own> for Owner {
    fn from(own: &Own) -> Self {
        Self {
            node: own.node.clone(),
            incarnation: own.incarnation.0,
            boot: format!("{:032x}", own.boot.0),
            epoch: own.epoch.0,
        }
    }
}

/// A message, by where it stands in the outbox of its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who sent it.
    pub sender: String,
    /// Epoch, sequence and place.
    pub position: Place,
    /// The oldest one that its sender has not noted as delivered, when it sent it.
    pub low: Place,
}

/// A position in an outbox: epoch, sequence and place.
pub type Place = (u64, u64, u32);

/// A position in an outbox, as a step has it.
pub fn place(position: OutboxPosition) -> Place {
    (position.epoch.0, position.seq.0, position.index)
}

/// A key, as a step has it: in hexadecimal.
pub fn key(key: CallKey) -> String {
    format!("{:032x}", u128::from_be_bytes(key.0))
}

/// A fingerprint, as a step has it: the first half, in hexadecimal.
pub fn print(fingerprint: &Fingerprint) -> String {
    fingerprint.0[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A reply that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Until when, in wall milliseconds, if not for ever.
    pub until_ms: Option<u64>,
}

/// What a commit of a turn leaves beside its actor's own records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Left {
    /// The reply, if it is recorded under the key.
    pub reply: Option<Kept>,
    /// The message that the turn was.
    pub message: Option<Message>,
    /// The mark of its sender, where it is kept with this commit.
    pub low: Option<Place>,
    /// Messages that it sends.
    pub sent: Vec<Place>,
    /// Messages of its own that it notes as delivered.
    pub delivered: Vec<Place>,
}

/// One step. The names are those of the actions in `specs/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Step {
    /// A process becomes a node (`Join`).
    Join {
        /// The name.
        node: NodeId,
        /// What stood there.
        before: Option<Life>,
        /// What stands there now.
        after: Life,
    },
    /// A node keeps its lease (`Renew`).
    Renew {
        /// The name.
        node: NodeId,
        /// Whose lease.
        after: Life,
        /// How many renewals it has asked for.
        beat: u64,
    },
    /// A process that was declared dead goes on as the next life of its node (`Rejoin`).
    Rejoin {
        /// The name.
        node: NodeId,
        /// What stood there.
        before: Option<Life>,
        /// What stands there now.
        after: Life,
    },
    /// A session drains or leaves (`WriteState`).
    State {
        /// The name.
        node: NodeId,
        /// What stood there.
        before: Life,
        /// What stands there now.
        after: Life,
    },
    /// The operator has a session drain, or ends it: its process will find that.
    Told {
        /// The name.
        node: NodeId,
        /// What stood there.
        before: Life,
        /// What stands there now.
        after: Life,
    },
    /// A session whose beat stands still is ended by another node (`Declare`).
    Declare {
        /// The name.
        node: NodeId,
        /// What stands there now.
        after: Life,
        /// The beat that was watched.
        beat: u64,
    },
    /// An actor is taken (`Claim`).
    Claim {
        /// Which actor.
        actor: String,
        /// Whose it was.
        before: Option<Owner>,
        /// Whose it is.
        after: Owner,
    },
    /// An actor is given away (`Migrate`).
    Migrate {
        /// Which actor.
        actor: String,
        /// Whose it was.
        before: Owner,
        /// Whose it is.
        after: Owner,
    },
    /// An owner claims from itself, so that a lost commit is over (`Settle`).
    Settle {
        /// Which actor.
        actor: String,
        /// Under which epoch it had the actor.
        before: Owner,
        /// Under which it has it.
        after: Owner,
    },
    /// A turn records steps (`StepRecorded`).
    Recorded {
        /// Which actor.
        actor: String,
        /// Under which record.
        owner: Owner,
        /// The sequence after it.
        seq: u64,
        /// The turn.
        key: String,
        /// How many steps.
        steps: u64,
        /// Whether a wake-up stands after it.
        wake: bool,
    },
    /// A turn is committed (`Landed`, `CommitSucceeded`, `CallCommitted`, `MessageCommitted`).
    Commit {
        /// Which actor.
        actor: String,
        /// Under which record.
        owner: Owner,
        /// The sequence after it.
        seq: u64,
        /// The turn.
        key: String,
        /// What it asked.
        print: String,
        /// Whether the actor's node asked for it: nobody outside waits for an answer.
        own: bool,
        /// Messages owed after it.
        outbox: u32,
        /// Whether a wake-up stands after it.
        wake: bool,
        /// Whether it ends a turn that had recorded steps.
        resumed: bool,
        /// What it leaves.
        left: Left,
    },
    /// A run of an agent takes an input (the actions of `KelpieAgentTurn`).
    Run {
        /// Which actor.
        actor: String,
        /// Which run of it.
        run: String,
        /// What the shell observed.
        input: run::Input,
        /// The calls that are closed with it and have no result of their own, by their places.
        closed: Vec<usize>,
        /// Whether a wake-up stands from now on, if that is decided anew.
        wakes: Option<bool>,
        /// The run before it.
        before: Run,
        /// The run after it.
        after: Run,
    },
}
