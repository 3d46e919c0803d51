//! Archival memory: keep, list, find, delete.

use kelpie_core::call::IdempotencyKey;
use kelpie_core::record;
use kelpie_memory::archival::{Hit, Passage, PassageQuery};
use kelpie_memory::layout;
use kelpie_runtime::{RecordRange, View};

use super::log::Walk;
use super::{Agents, failure};
use crate::actor::{index, operation};
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
        new: NewPassage,
    ) -> Result<Passage, AgentError> {
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
    ) -> Result<Vec<Hit>, AgentError> {
        let view = self.view(scope, agent).await?;
        let mut all = vec![self.find_in_view(scope, &view, query).await?];
        for archive in self.get(scope, agent).await?.archives {
            let view = self.runtime.view(&Self::actor(scope, &archive)?);
            all.push(self.find_in_view(scope, &view, query).await?);
        }
        Ok(query.merged(all))
    }

    /// The passages of one collection that fit a question best. When rows for searches have to be
    /// made again, whose they are is told; the search does not wait for it.
    pub(super) async fn find_in_view(
        &self,
        scope: &Scope,
        view: &View,
        query: &PassageQuery,
    ) -> Result<Vec<Hit>, AgentError> {
        let found = index::viewed(view, query, self.shared.embeddings.as_deref()).await;
        let found = found.map_err(|error| failure::read(&error))?;
        if let Some(from) = found.stale {
            let (agents, scope, actor) = (self.clone(), scope.clone(), view.actor().clone());
            self.runtime.env().spawn("renew the rows for searches", async move {
                let renewed: Result<(), AgentError> =
                    agents.call_actor(&scope, actor, None, operation::RENEW_INDEX, &from).await;
                if let Err(error) = renewed {
                    tracing::warn!(%error, "rows for searches are not renewed; the next search asks again");
                }
            });
        }
        Ok(found.hits)
    }
}

async fn passages_in(view: &View, range: RecordRange) -> Result<Vec<Passage>, AgentError> {
    let rows = view.range(range).await.map_err(|error| failure::read(&error))?;
    let passages: Result<Vec<Passage>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
    passages.map_err(|error| failure::damaged(&error))
}
