//! What a block said before: its last changes, to be taken back one by one.
//!
//! ```text
//!   undo/<block id>/<number>   the text that stood until a change, and when that was
//! ```
//!
//! Kept for blocks of one agent: a shared block is a row that no actor owns, and its changes come from
//! many. The row is written in the commit of the change.

use kelpie_core::record;
use kelpie_memory::block::{Block, BlockChange};
use kelpie_runtime::{HandlerError, RecordRange, Turn, TurnError, View};
use serde::{Deserialize, Serialize};

use super::desk::Desk;
use super::{invalid, manage};

/// What all rows of it begin with.
pub(crate) const UNDO: &[u8] = b"undo/";
/// Changes of a block that can be taken back: an older one is forgotten.
pub(crate) const UNDO_MAX: u64 = 16;

/// A text that a block had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastValue {
    /// The text.
    pub value: String,
    /// When it was changed, in milliseconds of Unix time.
    pub until_ms: u64,
}

fn prefix(block_id: &str) -> Vec<u8> {
    [UNDO, block_id.as_bytes(), b"/"].concat()
}

fn row(block_id: &str, number: u64) -> Vec<u8> {
    [prefix(block_id), number.to_be_bytes().to_vec()].concat()
}

/// The newest of them, with its number.
async fn newest(turn: &mut Turn, block_id: &str) -> Result<Option<(u64, PastValue)>, TurnError> {
    let prefix = prefix(block_id);
    let found = turn.range(RecordRange::prefix(&prefix).reversed().limit(1)).await?;
    let Some((key, value)) = found.into_iter().next() else { return Ok(None) };
    let number = kelpie_memory::layout::position(&prefix, &key).ok_or(record::RecordError::Empty)?;
    Ok(Some((number, record::decode(&value)?)))
}

/// Notes what a block said, before it says something else.
pub(super) async fn note(turn: &mut Turn, before: &Block) -> Result<(), TurnError> {
    let number = newest(turn, &before.id).await?.map_or(0, |(number, _)| number + 1);
    let past = PastValue { value: before.value.clone(), until_ms: turn.now_ms() };
    turn.set(row(&before.id, number), record::encode(&past));
    if let Some(oldest) = number.checked_sub(UNDO_MAX) {
        turn.clear(row(&before.id, oldest));
    }
    Ok(())
}

/// Forgets all of it.
pub(super) fn forget(turn: &mut Turn, block_id: &str) {
    turn.clear_range(RecordRange::prefix(&prefix(block_id)));
}

/// What a block said before, newest first.
pub(crate) async fn past(view: &View, block_id: &str) -> Result<Vec<PastValue>, TurnError> {
    let found = view.range(RecordRange::prefix(&prefix(block_id)).reversed()).await?;
    let past: Result<Vec<PastValue>, record::RecordError> =
        found.iter().map(|(_, value)| record::decode(value)).collect();
    Ok(past?)
}

impl Desk<'_> {
    /// Takes the last change of a block back.
    pub(super) async fn undo_block(&mut self, label: &str) -> Result<Block, HandlerError> {
        let block = self.block(label).map_err(manage::edit)?.clone();
        if block.shared {
            return Err(invalid("label", "the block is shared: changes of shared blocks are not kept"));
        }
        let Some((number, past)) = newest(self.turn, &block.id).await? else {
            return Err(invalid("label", "there is no change to take back"));
        };
        let change = BlockChange { value: Some(past.value), ..BlockChange::default() };
        let block = block.changed(&change).map_err(manage::edit)?;
        self.turn.clear(row(&block.id, number));
        self.turn.set(kelpie_memory::layout::block(&block.label), record::encode(&block));
        self.seen(&block);
        Ok(block)
    }
}
