//! Blocks by their own ids: those of one agent, and those that several agents share.

use std::collections::BTreeMap;

use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_core::record::{self, RecordError};
use kelpie_memory::block::{Block, BlockChange, NewBlock};
use kelpie_memory::name;
use kelpie_runtime::RecordRange;
use serde_json::Value;

use super::{Agents, PastValue, failure, not_found};
use crate::actor::rows::{self, BlockHome, SharedBlock};
use crate::actor::{ACTOR_TYPE, ChangeBlock, CreateBlock, UpdateBlock, operation};
use crate::error::{AgentError, Thing};
use crate::query::{Order, PAGE_MAX, Page, Scope};
use crate::record::AgentRecord;

/// Index rows that are read at once.
const ROWS_AT_ONCE: usize = 200;
/// How often a block is looked for that changes its place meanwhile: from its one agent to a
/// row of its own it goes once.
const LOOKS_MAX: usize = 3;

/// A block with what is kept with it.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRecord {
    /// The block.
    pub block: Block,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: u64,
    /// Fields of the wire format that come back as given.
    pub kept: BTreeMap<String, Value>,
}

/// Which blocks to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockQuery {
    /// Which page of them, by time of creation.
    pub page: Page,
    /// Only with this label.
    pub label: Option<String>,
    /// Only with this in the label, whatever the case.
    pub label_text: Option<String>,
    /// Only with this in the value, whatever the case.
    pub value_text: Option<String>,
    /// Only with this in the description, whatever the case.
    pub description_text: Option<String>,
}

impl Agents {
    /// Makes a block that belongs to no agent yet.
    pub async fn create_block(
        &self,
        scope: &Scope,
        key: Option<&IdempotencyKey>,
        block: NewBlock,
        kept: BTreeMap<String, Value>,
    ) -> Result<BlockRecord, AgentError> {
        let bytes = match key {
            Some(key) => CallKey::new(&scope.caller, key).0,
            None => self.runtime.env().random_u128().to_be_bytes(),
        };
        let actor = Self::actor(scope, &name::plain("block", bytes))?;
        let create = CreateBlock { block, kept };
        let made: SharedBlock =
            self.call_actor(scope, actor, key, operation::CREATE_OWN_BLOCK, &create).await?;
        Ok(made.into())
    }

    /// The block of an id, whoever has it.
    pub async fn block_by_id(&self, scope: &Scope, id: &str) -> Result<BlockRecord, AgentError> {
        match self.block_home(scope, id).await? {
            BlockHome::Own(shared) => Ok((*shared).into()),
            BlockHome::Agent { agent_id, label, created_ms } => {
                let block = self.block(scope, &agent_id, &label).await?;
                Ok(BlockRecord { block, created_ms, kept: BTreeMap::new() })
            }
        }
    }

    /// Changes the block of an id, for all who have it.
    pub async fn change_block(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        change: BlockChange,
        kept: BTreeMap<String, Value>,
    ) -> Result<BlockRecord, AgentError> {
        if !kept.is_empty() {
            self.make_shared(scope, id).await?;
        }
        match self.block_home(scope, id).await? {
            BlockHome::Own(_) => {
                let actor = Self::actor(scope, id)?;
                let change = ChangeBlock { change, kept };
                let changed: SharedBlock =
                    self.call_actor(scope, actor, key, operation::CHANGE_OWN_BLOCK, &change).await?;
                Ok(changed.into())
            }
            BlockHome::Agent { agent_id, label, created_ms } => {
                let update = UpdateBlock { label, change };
                let block: Block = self.call(scope, &agent_id, key, operation::UPDATE_BLOCK, &update).await?;
                Ok(BlockRecord { block, created_ms, kept: BTreeMap::new() })
            }
        }
    }

    /// Takes the last change of the block of an id back, for all who have it.
    pub async fn undo_block_by_id(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<BlockRecord, AgentError> {
        match self.block_home(scope, id).await? {
            BlockHome::Own(_) => {
                let actor = Self::actor(scope, id)?;
                let undone: SharedBlock =
                    self.call_actor(scope, actor, key, operation::UNDO_OWN_BLOCK, &()).await?;
                Ok(undone.into())
            }
            BlockHome::Agent { agent_id, label, created_ms } => {
                let block = self.undo_block(scope, &agent_id, &label, key).await?;
                Ok(BlockRecord { block, created_ms, kept: BTreeMap::new() })
            }
        }
    }

    /// What the block of an id said before its last changes, newest first.
    pub async fn past_of_block_by_id(&self, scope: &Scope, id: &str) -> Result<Vec<PastValue>, AgentError> {
        match self.block_home(scope, id).await? {
            BlockHome::Own(_) => self.past_of_shared_block(scope, id).await,
            BlockHome::Agent { agent_id, label, .. } => self.past_of_block(scope, &agent_id, &label).await,
        }
    }

    /// What a shared block said before.
    pub(super) async fn past_of_shared_block(
        &self,
        scope: &Scope,
        id: &str,
    ) -> Result<Vec<PastValue>, AgentError> {
        let range = RecordRange::prefix(&rows::value_prefix(id)).reversed();
        let found = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_BLOCKS_PAST, range).await;
        let found = found.map_err(|error| failure::index(&error))?;
        let past: Result<Vec<PastValue>, RecordError> =
            found.iter().map(|(_, value)| record::decode(value)).collect();
        past.map_err(|error| failure::damaged(&error))
    }

    /// Deletes the block of an id: all who have it lose it.
    pub async fn delete_block(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        match self.block_home(scope, id).await? {
            BlockHome::Own(_) => {
                let actor = Self::actor(scope, id)?;
                self.call_actor(scope, actor, key, operation::DELETE_OWN_BLOCK, &()).await
            }
            BlockHome::Agent { agent_id, label, .. } => {
                self.remove_block(scope, &agent_id, &label, key).await
            }
        }
    }

    /// Gives an agent a block that others may have, too.
    pub async fn attach_block(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<AgentRecord, AgentError> {
        self.make_shared(scope, id).await?;
        self.call(scope, agent, key, operation::ATTACH_BLOCK, &id.to_owned()).await
    }

    /// Takes a block from an agent; the block stays.
    pub async fn detach_block(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<AgentRecord, AgentError> {
        self.call(scope, agent, key, operation::DETACH_BLOCK, &id.to_owned()).await
    }

    /// The agents that have a block.
    pub async fn agents_of_block(
        &self,
        scope: &Scope,
        id: &str,
        page: &Page,
    ) -> Result<Vec<AgentRecord>, AgentError> {
        self.block_home(scope, id).await?;
        let mut range = RecordRange::prefix(&rows::value_prefix(id)).limit(PAGE_MAX);
        range.reverse = page.order == Order::Descending;
        let entries = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_BLOCK_AGENTS, range).await;
        let prefix = rows::value_prefix(id).len();
        let mut found = Vec::new();
        for (entry, _) in entries.map_err(|error| failure::index(&error))? {
            let Some(agent) = rows::entry_agent(entry.get(prefix..).unwrap_or_default()) else { continue };
            match self.get(scope, agent).await {
                Ok(agent) => found.push(agent),
                Err(AgentError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.retain(|agent| agent.blocks.iter().any(|block| block.id == id));
        Ok(found)
    }

    /// Blocks by time of creation, whoever has them.
    pub async fn list_blocks(
        &self,
        scope: &Scope,
        query: &BlockQuery,
    ) -> Result<Vec<BlockRecord>, AgentError> {
        let page = &query.page;
        let backwards = page.before.is_some() && page.after.is_none();
        let reverse = (page.order == Order::Descending) != backwards;
        let (later, earlier) = match page.order {
            Order::Ascending => (&page.after, &page.before),
            Order::Descending => (&page.before, &page.after),
        };
        let mut range = RecordRange::prefix(b"").limit(ROWS_AT_ONCE);
        range.reverse = reverse;
        if let Some(id) = later {
            range.begin = [self.block_place(scope, id).await?.as_slice(), b"\0"].concat().into();
        }
        if let Some(id) = earlier {
            range.end = self.block_place(scope, id).await?.into();
        }
        let limit = page.limit.clamp(1, PAGE_MAX);
        let mut found = Vec::new();
        while found.len() < limit {
            let index = rows::INDEX_BLOCKS_CREATED;
            let entries = self.runtime.index(&scope.tenant, ACTOR_TYPE, index, range.clone()).await;
            let entries = entries.map_err(|error| failure::index(&error))?;
            for (entry, _) in &entries {
                let Some(id) = rows::entry_agent(entry) else { continue };
                match self.block_by_id(scope, id).await {
                    Ok(record) => found.extend(query.lets(&record).then_some(record)),
                    // Deleted since the entry was read.
                    Err(AgentError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let Some((last, _)) = entries.last().filter(|_| entries.len() == ROWS_AT_ONCE) else { break };
            if reverse {
                range.end = last.clone();
            } else {
                range.begin = [last, &b"\0"[..]].concat().into();
            }
        }
        found.truncate(limit);
        if backwards {
            found.reverse();
        }
        Ok(found)
    }

    async fn block_place(&self, scope: &Scope, id: &str) -> Result<Vec<u8>, AgentError> {
        let created_ms = match self.block_home(scope, id).await? {
            BlockHome::Own(shared) => shared.created_ms,
            BlockHome::Agent { created_ms, .. } => created_ms,
        };
        Ok(rows::created_entry(created_ms, id))
    }

    /// Sees to it that several agents may have a block. Doing it twice does no harm, so it needs
    /// no key.
    pub(super) async fn make_shared(&self, scope: &Scope, id: &str) -> Result<(), AgentError> {
        for _ in 0..LOOKS_MAX {
            let BlockHome::Agent { agent_id, .. } = self.block_home(scope, id).await? else { return Ok(()) };
            self.call::<_, ()>(scope, &agent_id, None, operation::SHARE_BLOCK, &id.to_owned()).await?;
        }
        Err(AgentError::NotRun { message: "the block changes its place".to_owned() })
    }

    async fn block_home(&self, scope: &Scope, id: &str) -> Result<BlockHome, AgentError> {
        let view = self.runtime.view(&Self::actor(scope, id).map_err(|_| not_found(Thing::Block, id))?);
        let home = view.index_get(rows::INDEX_BLOCKS, id.as_bytes()).await;
        let home = home.and_then(rows::decoded).map_err(|error| failure::read(&error))?;
        home.ok_or_else(|| not_found(Thing::Block, id))
    }
}

impl From<SharedBlock> for BlockRecord {
    fn from(shared: SharedBlock) -> Self {
        let SharedBlock { block, created_ms, kept, .. } = shared;
        Self { block, created_ms, kept }
    }
}

impl BlockQuery {
    fn lets(&self, record: &BlockRecord) -> bool {
        let has = |text: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
        };
        let Block { label, value, description, .. } = &record.block;
        self.label.as_ref().is_none_or(|wanted| wanted == label)
            && has(label, &self.label_text)
            && has(value, &self.value_text)
            && has(description.as_deref().unwrap_or_default(), &self.description_text)
    }
}
