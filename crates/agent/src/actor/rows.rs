//! The records of an agent beside its memory, and how they are read.
//!
//! ```text
//!   agent            its settings, or that it was deleted
//!   progress         what is counted, and when which conversation wakes up
//!   conversation/<number>   where one stands: its run that goes on, its runs that wait
//!   run/<number>     one run          waiting/<number>   what was said and waits for its run
//!   scheduled/<id>   what is to be said later
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use kelpie_core::record::{self, RecordError};
use kelpie_core::run::Run;
use kelpie_memory::block::Block;
use kelpie_memory::layout;
use kelpie_memory::recall::Entry;
use kelpie_runtime::{RecordRange, Turn, TurnError, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Spent;
use crate::conversation::ConversationRecord;
use crate::message::NewMessage;
use crate::provider::ToolSpec;
use crate::query::Overrides;
use crate::record::AgentRecord;
use crate::rules::Called;

/// The row of an agent's settings.
pub(crate) const AGENT: &[u8] = b"agent";
/// The row of where an agent stands.
pub(crate) const PROGRESS: &[u8] = b"progress";
/// What the keys of all runs begin with.
pub(crate) const RUNS: &[u8] = b"run/";
/// What the keys of all conversations begin with.
pub(crate) const CONVERSATIONS: &[u8] = b"conversation/";
/// What the keys of all that waits for its run begin with.
pub(crate) const WAITING: &[u8] = b"waiting/";

/// Agents by time of creation.
pub(crate) const INDEX_CREATED: &str = "created";
/// Agents by name.
pub(crate) const INDEX_NAME: &str = "name";
/// Agents by tag.
pub(crate) const INDEX_TAG: &str = "tag";

/// Agents by what the ids of their runs, conversations and messages begin with.
pub(crate) const INDEX_OWNERS: &str = "owners";
/// Blocks by their id: whose they are, or, when they are shared, what they are.
pub(crate) const INDEX_BLOCKS: &str = "blocks";
/// Blocks by time of creation.
pub(crate) const INDEX_BLOCKS_CREATED: &str = "blocks_created";
/// What shared blocks said before, by their id and a number.
pub(crate) const INDEX_BLOCKS_PAST: &str = "blocks_past";
/// The agents of each block.
pub(crate) const INDEX_BLOCK_AGENTS: &str = "block_agents";
/// Tools of source code by their id.
pub(crate) const INDEX_TOOLS: &str = "tools";
/// Archives by their id.
pub(crate) const INDEX_ARCHIVES: &str = "archives";
/// Archives by time of creation.
pub(crate) const INDEX_ARCHIVES_CREATED: &str = "archives_created";
/// What each tenant has used up on each day, see [`crate::budget`].
pub(crate) const INDEX_SPENT: &str = "spent";
/// Conversations by time of creation.
pub(crate) const INDEX_CONVERSATIONS: &str = "conversations";

/// Whether an agent is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// It is; its blocks stand in rows of their own.
    Alive(Box<AgentRecord>),
    /// It was.
    Deleted {
        /// Its place in lists, for cursors that still name it.
        created_ms: u64,
    },
}

/// Where a block is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BlockHome {
    /// With its one agent.
    Agent {
        /// Whose.
        agent_id: String,
        /// Its name there.
        label: String,
        /// When it was made.
        created_ms: u64,
    },
    /// Here: several agents may have it.
    Own(Box<SharedBlock>),
}

/// A block that several agents may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SharedBlock {
    /// The block; its place is another one with each agent.
    pub(crate) block: Block,
    /// When it was made.
    pub(crate) created_ms: u64,
    /// Fields of the wire format that come back as given.
    #[serde(default)]
    pub(crate) kept: BTreeMap<String, Value>,
    /// Its last changes, see [`super::undo`].
    #[serde(default)]
    pub(crate) changes: Changes,
}

/// The numbers of the changes that can be taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Of the oldest one.
    pub(crate) from: u64,
    /// After the newest one.
    pub(crate) to: u64,
}

/// Where an agent stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    /// How many runs there were.
    pub(crate) runs: u64,
    /// How many passages there were.
    pub(crate) passages: u64,
    /// How many schedules there were.
    pub(crate) schedules: u64,
    /// The number of the newest conversation; 0 is the one that every agent has.
    pub(crate) conversations: u64,
    /// What was used up on the last day that anything was.
    pub(crate) spent: Spent,
    /// When each conversation with a run that goes on wakes up.
    pub(crate) wakes: BTreeMap<u64, u64>,
}

/// Where a conversation stands. All else (memory, tools, settings) is its agent's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Conversation {
    /// Its number.
    pub(crate) number: u64,
    /// Where its own part of the log starts.
    pub(crate) log_first: u64,
    /// The next position of its own part of the log.
    pub(crate) log_next: u64,
    /// Where the prompt's part of the log starts.
    pub(crate) context_from: u64,
    /// Where the summary stands of what comes before that.
    pub(crate) summary_at: Option<u64>,
    /// Parts of other conversations that come before its own: it was forked from them.
    pub(crate) inherited: Vec<Span>,
    /// The run that goes on.
    pub(crate) current: Option<Current>,
    /// The numbers of the runs that wait, in order.
    pub(crate) waiting: Vec<u64>,
    /// What people keep with it; the conversation that every agent has is without.
    pub(crate) about: Option<ConversationRecord>,
}

/// A part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// The first position.
    pub(crate) from: u64,
    /// The position after the last one.
    pub(crate) to: u64,
}

impl Span {
    /// Its part between two positions, if there is any.
    pub(crate) fn between(self, from: u64, to: u64) -> Option<Self> {
        let span = Self { from: self.from.max(from), to: self.to.min(to) };
        (span.from < span.to).then_some(span)
    }
}

impl Conversation {
    /// One that has not begun.
    pub(crate) fn new(number: u64) -> Self {
        let first = layout::first_of(number);
        Self { number, log_first: first, log_next: first, context_from: first, ..Self::default() }
    }

    /// The parts of the log that it consists of, between two positions, oldest first. A fork has
    /// a higher number than what it was forked from, so their positions are in this order too.
    pub(crate) fn spans(&self, from: u64, to: u64) -> Vec<Span> {
        let own = Span { from: self.log_first, to: self.log_next };
        let all = self.inherited.iter().copied().chain([own]);
        all.filter_map(|span| span.between(from, to)).collect()
    }
}

/// The run that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Current {
    /// Its number.
    pub(crate) number: u64,
    /// Its machine.
    pub(crate) machine: Run,
    /// Where the answer stands that is being made, or whose calls are being made.
    pub(crate) answer_at: u64,
    /// Where the part ends that a summary is being made of.
    #[serde(default)]
    pub(crate) summary_to: u64,
    /// Tools that whoever sent the message carries out.
    #[serde(default)]
    pub(crate) client_tools: Vec<ToolSpec>,
    /// What is other than the agent's settings.
    #[serde(default)]
    pub(crate) overrides: Overrides,
    /// What was called so far, for the rules about tools.
    #[serde(default)]
    pub(crate) called: Called,
}

/// What was said and waits for its run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Queued {
    /// The messages; a run without any makes a summary.
    pub(crate) messages: Vec<NewMessage>,
    /// Tools that the sender carries out.
    #[serde(default)]
    pub(crate) client_tools: Vec<ToolSpec>,
    /// What is other than the agent's settings.
    #[serde(default)]
    pub(crate) overrides: Overrides,
}

/// The row of a run.
pub(crate) fn run(number: u64) -> Vec<u8> {
    [RUNS, &number.to_be_bytes()].concat()
}

/// The row of a conversation.
pub(crate) fn conversation(number: u64) -> Vec<u8> {
    [CONVERSATIONS, &number.to_be_bytes()].concat()
}

/// The row of what waits for its run.
pub(crate) fn waiting(number: u64) -> Vec<u8> {
    [WAITING, &number.to_be_bytes()].concat()
}

/// An entry of the index by creation.
pub(crate) fn created_entry(created_ms: u64, agent_id: &str) -> Vec<u8> {
    [&created_ms.to_be_bytes()[..], agent_id.as_bytes()].concat()
}

/// What the entries of one name or tag begin with.
pub(crate) fn value_prefix(value: &str) -> Vec<u8> {
    [value.as_bytes(), b"\0"].concat()
}

/// An entry of the index by name or tag.
pub(crate) fn value_entry(value: &str, created_ms: u64, agent_id: &str) -> Vec<u8> {
    [value_prefix(value), created_entry(created_ms, agent_id)].concat()
}

/// The id at the end of an index entry whose prefix has been cut off.
pub(crate) fn entry_agent(entry: &[u8]) -> Option<&str> {
    std::str::from_utf8(entry.get(8..)?).ok()
}

/// A stored record, read.
pub(crate) fn decoded<T: DeserializeOwned>(row: Option<Bytes>) -> Result<Option<T>, TurnError> {
    Ok(row.map(|bytes| record::decode(&bytes)).transpose()?)
}

fn all<T: DeserializeOwned>(rows: Vec<(Bytes, Bytes)>) -> Result<Vec<T>, TurnError> {
    let rows: Result<Vec<T>, RecordError> = rows.iter().map(|(_, bytes)| record::decode(bytes)).collect();
    Ok(rows?)
}

fn in_order(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.sort_by_key(|block| block.place);
    blocks
}

/// Log rows with their positions.
pub(crate) fn entries(rows: Vec<(Bytes, Bytes)>) -> Result<Vec<(u64, Entry)>, TurnError> {
    let entry = |(key, bytes): (Bytes, Bytes)| {
        let position = layout::position(layout::LOG, &key).ok_or(RecordError::Empty)?;
        Ok((position, record::decode(&bytes)?))
    };
    let rows: Result<Vec<_>, RecordError> = rows.into_iter().map(entry).collect();
    Ok(rows?)
}

/// Log rows from one position up to another, exclusive.
pub(crate) fn log_range(from: u64, to: u64) -> RecordRange {
    RecordRange {
        begin: layout::log(from).into(),
        end: layout::log(to).into(),
        limit: usize::MAX,
        reverse: false,
    }
}

/// Whether the agent of this turn is there.
pub(crate) async fn is_alive(turn: &mut Turn) -> Result<bool, TurnError> {
    Ok(matches!(decoded(turn.get(AGENT).await?)?, Some(Life::Alive(_))))
}

/// The blocks of the agent of this turn, in the prompt's order.
pub(crate) async fn blocks(turn: &mut Turn) -> Result<Vec<Block>, TurnError> {
    let stored: Vec<Block> = all(turn.range(RecordRange::prefix(layout::BLOCKS)).await?)?;
    let mut blocks = Vec::new();
    for block in stored {
        if !block.shared {
            blocks.push(block);
        } else if let Some(shared) = shared_block(turn, &block.id).await? {
            blocks.push(Block { place: block.place, ..shared.block });
        }
        // A shared block that was deleted is gone for all who had it.
    }
    Ok(in_order(blocks))
}

/// Where a block is.
pub(crate) async fn home(turn: &mut Turn, id: &str) -> Result<Option<BlockHome>, TurnError> {
    if kelpie_core::mutant!("shared_block_not_compared") {
        return decoded(turn.index_glance(INDEX_BLOCKS, &[id.as_bytes().to_vec()]).await?.swap_remove(0));
    }
    decoded(turn.index_get(INDEX_BLOCKS, id.as_bytes()).await?)
}

/// A shared block, if it is one.
pub(crate) async fn shared_block(turn: &mut Turn, id: &str) -> Result<Option<SharedBlock>, TurnError> {
    match home(turn, id).await? {
        Some(BlockHome::Own(shared)) => Ok(Some(*shared)),
        Some(BlockHome::Agent { .. }) | None => Ok(None),
    }
}

/// The blocks of an agent as committed, in the prompt's order.
async fn viewed_blocks(view: &View) -> Result<Vec<Block>, TurnError> {
    let stored: Vec<Block> = all(view.range(RecordRange::prefix(layout::BLOCKS)).await?)?;
    let mut blocks = Vec::new();
    for block in stored {
        if !block.shared {
            blocks.push(block);
        } else if let Some(BlockHome::Own(shared)) =
            decoded(view.index_get(INDEX_BLOCKS, block.id.as_bytes()).await?)?
        {
            blocks.push(Block { place: block.place, ..shared.block });
        }
    }
    Ok(in_order(blocks))
}

/// An agent with its blocks, as committed.
pub(crate) async fn viewed(view: &View) -> Result<Option<AgentRecord>, TurnError> {
    match decoded(view.get(AGENT).await?)? {
        Some(Life::Alive(agent)) => {
            let blocks = viewed_blocks(view).await?;
            Ok(Some(AgentRecord { blocks, ..*agent }))
        }
        Some(Life::Deleted { .. }) | None => Ok(None),
    }
}

/// A conversation as committed; the one that every agent has needs no row.
pub(crate) async fn conversation_in(view: &View, number: u64) -> Result<Option<Conversation>, TurnError> {
    let stored = decoded(view.get(&conversation(number)).await?)?;
    Ok(stored.or_else(|| (number == 0).then(|| Conversation::new(0))))
}
