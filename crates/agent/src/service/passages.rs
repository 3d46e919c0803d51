//! Archival memory: keep, list, find, delete.

use kelpie_core::call::IdempotencyKey;
use kelpie_core::record;
use kelpie_memory::archival::{Passage, PassageQuery};
use kelpie_memory::layout;
use kelpie_memory::search::ROWS_MAX;
use kelpie_runtime::{RecordRange, View};

use super::log::Walk;
use super::{Agents, failure};
use crate::actor::operation;
use crate::archive::NewPassage;
use crate::error::{AgentError, Thing};
use crate::query::{Page, Scope};

impl Agents {
    /// Keeps a passage.
    pub async fn insert_passage(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        text: String,
        tags: Vec<String>,
        created_ms: Option<u64>,
    ) -> Result<Passage, AgentError> {
        let new = NewPassage { text, tags, created_ms };
        self.call(scope, agent, key, operation::INSERT_PASSAGE, &new).await
    }

    /// Deletes a passage for good.
    pub async fn delete_passage(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::DELETE_PASSAGE, &id.to_owned()).await
    }

    /// Archival passages, page by page.
    pub async fn passages(
        &self,
        scope: &Scope,
        agent: &str,
        page: &Page,
    ) -> Result<Vec<Passage>, AgentError> {
        let view = self.view(scope, agent).await?;
        let walk = Walk::of_ids("passage", Thing::Passage, agent, page)?;
        Ok(walk.in_order(passages_in(&view, walk.rows(layout::PASSAGES)).await?))
    }

    /// The passages that fit a question best, best first, of the agent's own and of its archives.
    /// It looks at the newest ones when there are more than a search can afford.
    pub async fn find_passages(
        &self,
        scope: &Scope,
        agent: &str,
        query: &PassageQuery,
    ) -> Result<Vec<Passage>, AgentError> {
        let view = self.view(scope, agent).await?;
        let range = RecordRange::prefix(layout::PASSAGES).reversed().limit(ROWS_MAX);
        let mut passages = passages_in(&view, range.clone()).await?;
        for archive in self.get(scope, agent).await?.archives {
            let view = self.runtime.view(&Self::actor(scope, &archive)?);
            passages.extend(passages_in(&view, range.clone()).await?);
        }
        Ok(query.best(passages))
    }
}

pub(super) async fn passages_in(view: &View, range: RecordRange) -> Result<Vec<Passage>, AgentError> {
    let rows = view.range(range).await.map_err(|error| failure::read(&error))?;
    let passages: Result<Vec<Passage>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
    passages.map_err(|error| failure::damaged(&error))
}
