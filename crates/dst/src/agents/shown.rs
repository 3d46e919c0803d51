//! What clients get to see of an agent, as the service shows it.

use kelpie_agent::message::Message;
use kelpie_agent::outcome::RunRecord;
use kelpie_memory::archival::Passage;
use kelpie_memory::block::Block;
use kelpie_memory::working::WorkingEntry;
use serde::{Deserialize, Serialize};

/// All that an agent is, once it stands still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Everything that was said, oldest first.
    pub messages: Vec<Message>,
    /// All runs, oldest first.
    pub runs: Vec<RunRecord>,
    /// Core memory.
    pub blocks: Vec<Block>,
    /// Archival memory, oldest first.
    pub passages: Vec<Passage>,
    /// Working memory, by name.
    pub working: Vec<WorkingEntry>,
    /// The ids that a search for all of it finds, at most so many as a search may find.
    pub found: Vec<String>,
}

/// What a tenant sees of its agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The names of those that its list shows.
    pub names: Vec<String>,
    /// Whether it sees the agents of another tenant that have the same ids.
    pub strangers: Vec<String>,
}

/// A run that somebody wanted to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Which.
    pub run_id: String,
}
