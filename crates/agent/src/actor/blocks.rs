//! Core memory blocks: an agent's own, and those that several agents share.
//!
//! ```text
//!   block/<label> of an agent      the block; or, when it is shared, its id and place only
//!   index `blocks`, by block id    whose it is; or, when it is shared, the block itself
//! ```
//!
//! A shared block is a row that no actor owns: a turn that reads it commits only if it is still
//! the same, else the turn runs again. So two agents never lose one another's edit. Changes by
//! people and programs are turns of an actor with the block's id, for their keys' sake.

use kelpie_core::record;
use kelpie_memory::block::{Block, EditError};
use kelpie_memory::layout;
use kelpie_runtime::{HandlerError, Turn, TurnError};

use super::desk::Desk;
use super::manage::edit;
use super::rows::{self, BlockHome, Changes, SharedBlock};
use super::{ChangeBlock, CreateBlock, code, undo};
use crate::record::AgentRecord;

/// Makes a block that belongs to no agent.
pub(super) async fn create(turn: &mut Turn, create: CreateBlock) -> Result<SharedBlock, HandlerError> {
    let CreateBlock { block, kept } = create;
    let id = turn.actor().key().to_owned();
    if turn.index_get(rows::INDEX_BLOCKS, id.as_bytes()).await?.is_some() {
        return Err(HandlerError::app(code::EXISTS, "the block exists already"));
    }
    let block = Block { shared: true, ..Block::new(id, 0, block).map_err(edit)? };
    block.fits_shared().map_err(edit)?;
    let shared = SharedBlock { block, created_ms: turn.now_ms(), kept, changes: Changes::default() };
    list(turn, &shared.block.id, shared.created_ms);
    set_shared(turn, &shared);
    Ok(shared)
}

/// Changes a block that belongs to no agent.
pub(super) async fn change(turn: &mut Turn, change: ChangeBlock) -> Result<SharedBlock, HandlerError> {
    let ChangeBlock { change, kept } = change;
    let before = own(turn).await?;
    let block = before.block.changed(&change).map_err(edit)?;
    block.fits_shared().map_err(edit)?;
    let mut shared = undo::changed_shared(turn, before, block);
    shared.kept.extend(kept);
    set_shared(turn, &shared);
    Ok(shared)
}

/// Takes the last change of a block that belongs to no agent back.
pub(super) async fn undo(turn: &mut Turn) -> Result<SharedBlock, HandlerError> {
    let shared = own(turn).await?;
    undo::undone_shared(turn, shared).await
}

/// Deletes a block that belongs to no agent: those that have it lose it.
pub(super) async fn delete(turn: &mut Turn) -> Result<(), HandlerError> {
    let shared = own(turn).await?;
    let entry = rows::created_entry(shared.created_ms, &shared.block.id);
    turn.index_clear(rows::INDEX_BLOCKS_CREATED, &entry);
    turn.index_clear(rows::INDEX_BLOCKS, shared.block.id.as_bytes());
    undo::forget_shared(turn, &shared);
    Ok(())
}

async fn own(turn: &mut Turn) -> Result<SharedBlock, HandlerError> {
    let id = turn.actor().key().to_owned();
    rows::shared_block(turn, &id).await?.ok_or_else(no_block)
}

pub(super) fn no_block() -> HandlerError {
    HandlerError::app(code::NO_BLOCK, "Block not found")
}

fn set_home(turn: &mut Turn, id: &str, home: &BlockHome) {
    turn.index_set(rows::INDEX_BLOCKS, id.as_bytes(), record::encode(home));
}

/// Writes a shared block.
pub(super) fn set_shared(turn: &mut Turn, shared: &SharedBlock) {
    set_home(turn, &shared.block.id, &BlockHome::Own(Box::new(shared.clone())));
}

fn list(turn: &mut Turn, id: &str, created_ms: u64) {
    turn.index_set(rows::INDEX_BLOCKS_CREATED, &rows::created_entry(created_ms, id), "");
}

/// Writes that an agent has a block of its own.
pub(super) fn keep(turn: &mut Turn, agent: &AgentRecord, block: &Block) {
    let now_ms = turn.now_ms();
    turn.set(layout::block(&block.label), record::encode(block));
    list(turn, &block.id, now_ms);
    let (agent_id, label) = (agent.id.clone(), block.label.clone());
    set_home(turn, &block.id, &BlockHome::Agent { agent_id, label, created_ms: now_ms });
    turn.index_set(rows::INDEX_BLOCK_AGENTS, &rows::value_entry(&block.id, agent.created_ms, &agent.id), "");
}

/// Writes that an agent has a shared block.
pub(super) fn link(turn: &mut Turn, agent: &AgentRecord, block: &Block) {
    let row = Block { value: String::new(), description: None, ..block.clone() };
    turn.set(layout::block(&block.label), record::encode(&row));
    turn.index_set(rows::INDEX_BLOCK_AGENTS, &rows::value_entry(&block.id, agent.created_ms, &agent.id), "");
}

/// Writes that an agent no longer has a block. One of its own is gone with that.
pub(super) async fn forget(turn: &mut Turn, agent: &AgentRecord, block: &Block) -> Result<(), TurnError> {
    turn.clear(layout::block(&block.label));
    turn.index_clear(rows::INDEX_BLOCK_AGENTS, &rows::value_entry(&block.id, agent.created_ms, &agent.id));
    if block.shared {
        return Ok(());
    }
    undo::forget(turn, &block.id);
    if let Some(BlockHome::Agent { created_ms, .. }) = rows::home(turn, &block.id).await? {
        turn.index_clear(rows::INDEX_BLOCKS_CREATED, &rows::created_entry(created_ms, &block.id));
        turn.index_clear(rows::INDEX_BLOCKS, block.id.as_bytes());
    }
    Ok(())
}

impl Desk<'_> {
    /// Makes a block of this agent one that others may have, too. The agent keeps it.
    pub(super) async fn share_block(&mut self, id: &str) -> Result<(), HandlerError> {
        let found = self.agent.blocks.iter().find(|block| block.id == id).cloned();
        let mut block = found.ok_or_else(no_block)?;
        if block.shared {
            return Ok(());
        }
        block.fits_shared().map_err(edit)?;
        let created_ms = match rows::home(self.turn, id).await? {
            Some(BlockHome::Agent { created_ms, .. }) => created_ms,
            Some(BlockHome::Own(_)) | None => return Err(no_block()),
        };
        block.shared = true;
        let changes = undo::share(self.turn, id).await?;
        set_shared(
            self.turn,
            &SharedBlock { block: block.clone(), created_ms, kept: Default::default(), changes },
        );
        link(self.turn, &self.agent, &block);
        self.seen(&block);
        Ok(())
    }

    /// Gives the agent a shared block.
    pub(super) async fn attach_block(&mut self, id: &str) -> Result<AgentRecord, HandlerError> {
        if self.agent.blocks.iter().any(|block| block.id == id) {
            return Ok(self.agent.clone());
        }
        let shared = rows::shared_block(self.turn, id).await?.ok_or_else(no_block)?;
        let block = super::manage::placed(&self.agent.blocks, shared.block).map_err(edit)?;
        link(self.turn, &self.agent, &block);
        self.agent.blocks.push(block);
        Ok(self.agent.clone())
    }

    /// Takes a block from the agent; the block stays, also when it was the agent's own.
    pub(super) async fn detach_block(&mut self, id: &str) -> Result<AgentRecord, HandlerError> {
        self.share_block(id).await?;
        let found = self.agent.blocks.iter().find(|block| block.id == id).cloned();
        let block = found.ok_or_else(no_block)?;
        forget(self.turn, &self.agent, &block).await?;
        self.agent.blocks.retain(|block| block.id != id);
        Ok(self.agent.clone())
    }

    /// Writes a block where it belongs.
    pub(super) async fn save_block(&mut self, block: Block) -> Result<Result<(), EditError>, TurnError> {
        if block.shared {
            if let Err(error) = block.fits_shared() {
                return Ok(Err(error));
            }
            let Some(shared) = rows::shared_block(self.turn, &block.id).await? else {
                let available = self.agent.blocks.iter().map(|block| block.label.clone()).collect();
                return Ok(Err(EditError::NoSuchBlock { label: block.label, available }));
            };
            let shared = undo::changed_shared(self.turn, shared, block.clone());
            set_shared(self.turn, &shared);
        } else {
            let before = self.agent.blocks.iter().find(|before| before.id == block.id);
            if let Some(before) = before.filter(|before| before.value != block.value) {
                undo::note(self.turn, before).await?;
            }
            self.turn.set(layout::block(&block.label), record::encode(&block));
        }
        if !kelpie_core::mutant!("block_edit_not_seen_by_the_next") {
            self.seen(&block);
        }
        Ok(Ok(()))
    }

    /// Puts a block in the place of the one with its label, for what follows in this turn.
    pub(super) fn seen(&mut self, block: &Block) {
        for kept in self.agent.blocks.iter_mut().filter(|kept| kept.label == block.label) {
            kept.clone_from(block);
        }
    }
}
