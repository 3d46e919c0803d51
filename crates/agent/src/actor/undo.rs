//! What a block said before: its last changes, to be taken back one by one.
//!
//! ```text
//!   undo/<block id>/<number>                       of a block of one agent: the text that stood until a
//!                                                  change, and when that was
//!   index `blocks_past`, by block id and number    the same of a block that several agents may have
//! ```
//!
//! The row is written in the commit of the change. A shared block is a row that no actor owns, and its
//! changes come from many: it says itself which numbers are taken. Who changes it, or takes a change
//! back, commits only if it is still the same, so no two give one number away or take one change back.

use kelpie_core::record;
use kelpie_memory::block::{Block, BlockChange, SHARED_BYTES_MAX};
use kelpie_runtime::{HandlerError, RecordRange, Turn, TurnError, View};
use serde::{Deserialize, Serialize};

use super::blocks;
use super::desk::Desk;
use super::rows::{self, Changes, SharedBlock};
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

fn nothing_to_undo() -> HandlerError {
    invalid("label", "there is no change to take back")
}

fn shared_row(block_id: &str, number: u64) -> Vec<u8> {
    [rows::value_prefix(block_id), number.to_be_bytes().to_vec()].concat()
}

fn set_shared(turn: &mut Turn, block_id: &str, number: u64, past: &PastValue) {
    turn.index_set(rows::INDEX_BLOCKS_PAST, &shared_row(block_id, number), record::encode(past));
}

fn clear_shared(turn: &mut Turn, block_id: &str, number: u64) {
    turn.index_clear(rows::INDEX_BLOCKS_PAST, &shared_row(block_id, number));
}

/// A shared block that says something else from now on, with what it said noted.
pub(super) fn changed_shared(turn: &mut Turn, before: SharedBlock, block: Block) -> SharedBlock {
    let Changes { mut from, mut to } = before.changes;
    if before.block.value != block.value {
        let past = PastValue { value: before.block.value, until_ms: turn.now_ms() };
        set_shared(turn, &block.id, to, &past);
        if !kelpie_core::mutant!("shared_change_not_counted") {
            to += 1;
        }
        if to - from > UNDO_MAX {
            clear_shared(turn, &block.id, from);
            from += 1;
        }
    }
    SharedBlock { block, changes: Changes { from, to }, ..before }
}

/// Takes the last change of a shared block back, whoever made it.
pub(super) async fn undone_shared(turn: &mut Turn, shared: SharedBlock) -> Result<SharedBlock, HandlerError> {
    let Changes { from, to } = shared.changes;
    let number = to.checked_sub(1).filter(|number| *number >= from).ok_or_else(nothing_to_undo)?;
    let row = turn.index_get(rows::INDEX_BLOCKS_PAST, &shared_row(&shared.block.id, number)).await?;
    let past: PastValue = rows::decoded(row)?.ok_or_else(|| TurnError::from(record::RecordError::Empty))?;
    let change = BlockChange { value: Some(past.value), ..BlockChange::default() };
    let block = shared.block.changed(&change).map_err(manage::edit)?;
    clear_shared(turn, &block.id, number);
    let undone = SharedBlock { block, changes: Changes { from, to: number }, ..shared };
    blocks::set_shared(turn, &undone);
    Ok(undone)
}

/// Forgets what a shared block said before.
pub(super) fn forget_shared(turn: &mut Turn, shared: &SharedBlock) {
    for number in shared.changes.from..shared.changes.to {
        clear_shared(turn, &shared.block.id, number);
    }
}

/// Takes what a block of one agent said before along, now that it is shared. What is too long for a
/// shared block is forgotten, and what is older than that.
pub(super) async fn share(turn: &mut Turn, block_id: &str) -> Result<Changes, TurnError> {
    let rows = turn.range(RecordRange::prefix(&prefix(block_id))).await?;
    let past: Result<Vec<PastValue>, record::RecordError> =
        rows.iter().map(|(_, value)| record::decode(value)).collect();
    let past = past?;
    let too_long = past.iter().rposition(|past| past.value.len() > SHARED_BYTES_MAX);
    let kept = &past[too_long.map_or(0, |at| at + 1)..];
    let mut to = 0;
    for past in kept {
        set_shared(turn, block_id, to, past);
        to += 1;
    }
    forget(turn, block_id);
    Ok(Changes { from: 0, to })
}

impl Desk<'_> {
    /// Takes the last change of a block back.
    pub(super) async fn undo_block(&mut self, label: &str) -> Result<Block, HandlerError> {
        let block = self.block(label).map_err(manage::edit)?.clone();
        if block.shared {
            let shared = rows::shared_block(self.turn, &block.id).await?.ok_or_else(blocks::no_block)?;
            let undone = undone_shared(self.turn, shared).await?;
            let block = Block { place: block.place, ..undone.block };
            self.seen(&block);
            return Ok(block);
        }
        let (number, past) = newest(self.turn, &block.id).await?.ok_or_else(nothing_to_undo)?;
        let change = BlockChange { value: Some(past.value), ..BlockChange::default() };
        let block = block.changed(&change).map_err(manage::edit)?;
        self.turn.clear(row(&block.id, number));
        self.turn.set(kelpie_memory::layout::block(&block.label), record::encode(&block));
        self.seen(&block);
        Ok(block)
    }
}
