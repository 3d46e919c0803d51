//! The records of an agent beside its memory, and how they are read.
//!
//! ```text
//!   agent            its settings, or that it was deleted
//!   progress         positions, the run that goes on, the runs that wait
//!   run/<number>     one run          waiting/<number>   what was said and waits for its run
//! ```

use bytes::Bytes;
use kelpie_core::record::{self, RecordError};
use kelpie_core::run::Run;
use kelpie_memory::block::Block;
use kelpie_memory::layout;
use kelpie_memory::recall::Entry;
use kelpie_runtime::{RecordRange, Turn, TurnError, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::AgentRecord;

/// The row of an agent's settings.
pub(crate) const AGENT: &[u8] = b"agent";
/// The row of where an agent stands.
pub(crate) const PROGRESS: &[u8] = b"progress";
/// What the keys of all runs begin with.
pub(crate) const RUNS: &[u8] = b"run/";
const WAITING: &[u8] = b"waiting/";

/// Agents by time of creation.
pub(crate) const INDEX_CREATED: &str = "created";
/// Agents by name.
pub(crate) const INDEX_NAME: &str = "name";
/// Agents by tag.
pub(crate) const INDEX_TAG: &str = "tag";

/// Agents by what their runs' ids begin with.
pub(crate) const INDEX_RUNS: &str = "runs";

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

/// Where an agent stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    /// The next position of the log.
    pub(crate) log_next: u64,
    /// Where the prompt's part of the log starts.
    pub(crate) context_from: u64,
    /// How many runs there were.
    pub(crate) runs: u64,
    /// How many passages there were.
    pub(crate) passages: u64,
    /// The run that goes on.
    pub(crate) current: Option<Current>,
    /// The numbers of the runs that wait, in order.
    pub(crate) waiting: Vec<u64>,
}

/// The run that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Current {
    /// Its number.
    pub(crate) number: u64,
    /// Its machine.
    pub(crate) machine: Run,
    /// Where the answer stands that is being made, or whose calls are being made.
    pub(crate) answer_at: u64,
}

/// The row of a run.
pub(crate) fn run(number: u64) -> Vec<u8> {
    [RUNS, &number.to_be_bytes()].concat()
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
    Ok(in_order(all(turn.range(RecordRange::prefix(layout::BLOCKS)).await?)?))
}

/// An agent with its blocks, as committed.
pub(crate) async fn viewed(view: &View) -> Result<Option<AgentRecord>, TurnError> {
    match decoded(view.get(AGENT).await?)? {
        Some(Life::Alive(agent)) => {
            let blocks = in_order(all(view.range(RecordRange::prefix(layout::BLOCKS)).await?)?);
            Ok(Some(AgentRecord { blocks, ..*agent }))
        }
        Some(Life::Deleted { .. }) | None => Ok(None),
    }
}
