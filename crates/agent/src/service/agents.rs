//! Agents and their core memory: create, list, show, change, delete.

use std::collections::BTreeSet;

use bytes::Bytes;
use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_memory::block::{Block, BlockChange, NewBlock};
use kelpie_runtime::RecordRange;

use super::{Agents, failure, not_found};
use crate::actor::undo::{self, PastValue};
use crate::actor::{ACTOR_TYPE, UpdateBlock, operation, rows};
use crate::error::{AgentError, Thing};
use crate::query::{AgentQuery, Order, PAGE_MAX, Page, Scope};
use crate::record::{AgentRecord, CreateAgent, UpdateAgent};
use crate::show;

/// Index rows that are read at once.
const ROWS_AT_ONCE: usize = 200;

impl Agents {
    /// Makes an agent. With a key, its id comes from (tenant, caller, key), so that a
    /// repetition finds the same one and gets the same reply.
    pub async fn create(
        &self,
        scope: &Scope,
        key: Option<&IdempotencyKey>,
        create: CreateAgent,
    ) -> Result<AgentRecord, AgentError> {
        let bytes = match key {
            Some(key) => CallKey::new(&scope.caller, key).0,
            None => self.runtime.env().random_u128().to_be_bytes(),
        };
        let actor = Self::actor(scope, &show::agent_id(bytes))?;
        if create.model.is_none()
            && let Err(error) = self.shared.models.default_model().await
        {
            // Its turn refuses, or has the reply of the first time.
            tracing::warn!(%error, "no default model");
        }
        for (place, id) in create.block_ids.iter().enumerate() {
            let field = format!("block_ids.{place}");
            self.make_shared(scope, id).await.map_err(|error| {
                let AgentError::NotFound { .. } = error else { return error };
                AgentError::Invalid { field, message: format!("there is no block {id}") }
            })?;
        }
        self.call_actor(scope, actor, key, operation::CREATE, &create).await
    }

    /// One agent with its blocks.
    pub async fn get(&self, scope: &Scope, agent: &str) -> Result<AgentRecord, AgentError> {
        let view = self.runtime.view(&Self::actor(scope, agent)?);
        let record = rows::viewed(&view).await.map_err(|error| failure::read(&error))?;
        record.ok_or_else(|| not_found(Thing::Agent, agent))
    }

    /// Changes an agent's settings.
    pub async fn update(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        change: UpdateAgent,
    ) -> Result<AgentRecord, AgentError> {
        self.call(scope, agent, key, operation::UPDATE, &change).await
    }

    /// Deletes an agent and all that it has.
    pub async fn delete(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::DELETE, &()).await
    }

    /// Core memory, in the prompt's order.
    pub async fn blocks(&self, scope: &Scope, agent: &str) -> Result<Vec<Block>, AgentError> {
        Ok(self.get(scope, agent).await?.blocks)
    }

    /// One block of core memory.
    pub async fn block(&self, scope: &Scope, agent: &str, label: &str) -> Result<Block, AgentError> {
        let blocks = self.blocks(scope, agent).await?;
        blocks.into_iter().find(|block| block.label == label).ok_or_else(|| not_found(Thing::Block, label))
    }

    /// Changes a block of core memory.
    pub async fn update_block(
        &self,
        scope: &Scope,
        agent: &str,
        label: &str,
        key: Option<&IdempotencyKey>,
        change: BlockChange,
    ) -> Result<Block, AgentError> {
        let update = UpdateBlock { label: label.to_owned(), change };
        self.call(scope, agent, key, operation::UPDATE_BLOCK, &update).await
    }

    /// Takes the last change of a block back, also for others who have it; a further one takes back the
    /// one before.
    pub async fn undo_block(
        &self,
        scope: &Scope,
        agent: &str,
        label: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<Block, AgentError> {
        self.call(scope, agent, key, operation::UNDO_BLOCK, &label.to_owned()).await
    }

    /// What a block said before its last changes, newest first: what can be taken back.
    pub async fn past_of_block(
        &self,
        scope: &Scope,
        agent: &str,
        label: &str,
    ) -> Result<Vec<PastValue>, AgentError> {
        let block = self.block(scope, agent, label).await?;
        if block.shared {
            return self.past_of_shared_block(scope, &block.id).await;
        }
        let view = self.view(scope, agent).await?;
        undo::past(&view, &block.id).await.map_err(|error| failure::read(&error))
    }

    /// Adds a block of core memory.
    pub async fn add_block(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        block: NewBlock,
    ) -> Result<Block, AgentError> {
        self.call(scope, agent, key, operation::ADD_BLOCK, &block).await
    }

    /// Removes a block of core memory.
    pub async fn remove_block(
        &self,
        scope: &Scope,
        agent: &str,
        label: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::REMOVE_BLOCK, &label.to_owned()).await
    }

    /// Agents by time of creation.
    pub async fn list(&self, scope: &Scope, query: &AgentQuery) -> Result<Vec<AgentRecord>, AgentError> {
        let (index, prefix) = best_index(query);
        let page = &query.page;
        // Away from a `before` alone one walks backwards, and shows in order.
        let backwards = page.before.is_some() && page.after.is_none();
        let reverse = (page.order == Order::Descending) != backwards;
        let mut range = self.bounds(scope, page, &prefix).await?;
        range.reverse = reverse;
        let limit = page.limit.clamp(1, PAGE_MAX);
        let mut found = Vec::new();
        while found.len() < limit {
            let entries = self.runtime.index(&scope.tenant, ACTOR_TYPE, index, range.clone()).await;
            let entries = entries.map_err(|error| failure::index(&error))?;
            for (entry, _) in &entries {
                found.extend(self.listed(scope, entry, prefix.len(), query).await?);
            }
            let Some((last, _)) = entries.last().filter(|_| entries.len() == ROWS_AT_ONCE) else { break };
            if reverse {
                range.end = last.clone();
            } else {
                range.begin = just_after(last);
            }
        }
        found.truncate(limit);
        if backwards {
            found.reverse();
        }
        Ok(found)
    }

    /// The part of the index that the page's ids leave.
    async fn bounds(&self, scope: &Scope, page: &Page, prefix: &[u8]) -> Result<RecordRange, AgentError> {
        let mut range = RecordRange::prefix(prefix).limit(ROWS_AT_ONCE);
        let (later, earlier) = match page.order {
            Order::Ascending => (&page.after, &page.before),
            Order::Descending => (&page.before, &page.after),
        };
        if let Some(id) = later {
            range.begin = just_after(&self.entry_of(scope, prefix, id).await?);
        }
        if let Some(id) = earlier {
            range.end = self.entry_of(scope, prefix, id).await?.into();
        }
        Ok(range)
    }

    /// Where an agent stands in an index, also when it is deleted.
    async fn entry_of(&self, scope: &Scope, prefix: &[u8], id: &str) -> Result<Vec<u8>, AgentError> {
        let view = self.runtime.view(&Self::actor(scope, id)?);
        let row = view.get(rows::AGENT).await.map_err(|error| failure::read(&error))?;
        let created_ms = match rows::decoded(row).map_err(|error| failure::read(&error))? {
            Some(rows::Life::Alive(agent)) => agent.created_ms,
            Some(rows::Life::Deleted { created_ms }) => created_ms,
            None => return Err(not_found(Thing::Agent, id)),
        };
        Ok([prefix, &rows::created_entry(created_ms, id)].concat())
    }

    /// The agent of an index entry, if it fits the query. One that was deleted or changed since
    /// the entry was read is left out.
    async fn listed(
        &self,
        scope: &Scope,
        entry: &[u8],
        prefix: usize,
        query: &AgentQuery,
    ) -> Result<Option<AgentRecord>, AgentError> {
        let Some(id) = rows::entry_agent(entry.get(prefix..).unwrap_or_default()) else { return Ok(None) };
        match self.get(scope, id).await {
            Ok(agent) => Ok(fits(&agent, query).then_some(agent)),
            Err(AgentError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn just_after(entry: &[u8]) -> Bytes {
    [entry, b"\0"].concat().into()
}

/// The index that leaves the fewest agents to look at.
fn best_index(query: &AgentQuery) -> (&'static str, Vec<u8>) {
    match (&query.name, query.tags.as_slice()) {
        (Some(name), _) => (rows::INDEX_NAME, rows::value_prefix(name)),
        (None, [tag]) => (rows::INDEX_TAG, rows::value_prefix(tag)),
        (None, [tag, ..]) if query.match_all_tags => (rows::INDEX_TAG, rows::value_prefix(tag)),
        (None, _) => (rows::INDEX_CREATED, Vec::new()),
    }
}

fn fits(agent: &AgentRecord, query: &AgentQuery) -> bool {
    let tags: BTreeSet<&String> = agent.tags.iter().collect();
    let tagged = if query.match_all_tags {
        query.tags.iter().all(|tag| tags.contains(tag))
    } else {
        query.tags.is_empty() || query.tags.iter().any(|tag| tags.contains(tag))
    };
    let named = query.name.as_ref().is_none_or(|name| *name == agent.name);
    let text =
        query.text.as_ref().is_none_or(|text| agent.name.to_lowercase().contains(&text.to_lowercase()));
    tagged && named && text
}
