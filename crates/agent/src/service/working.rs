//! Working memory in the hands of people and programs.

use kelpie_core::call::IdempotencyKey;
use kelpie_memory::working::{NewWorkingEntry, WorkingEntry};

use super::{Agents, failure, not_found};
use crate::actor::{operation, working};
use crate::error::{AgentError, Thing};
use crate::query::Scope;

impl Agents {
    /// What working memory holds, by name.
    pub async fn working_memory(&self, scope: &Scope, agent: &str) -> Result<Vec<WorkingEntry>, AgentError> {
        let view = self.view(scope, agent).await?;
        let memory = working::viewed(&view).await.map_err(|error| failure::read(&error))?;
        Ok(memory.entries().cloned().collect())
    }

    /// One entry of working memory.
    pub async fn working_entry(
        &self,
        scope: &Scope,
        agent: &str,
        key: &str,
    ) -> Result<WorkingEntry, AgentError> {
        let entries = self.working_memory(scope, agent).await?;
        entries.into_iter().find(|entry| entry.key == key).ok_or_else(|| not_found(Thing::Entry, key))
    }

    /// Sets an entry of working memory; one of that name is replaced.
    pub async fn set_working(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        new: NewWorkingEntry,
    ) -> Result<WorkingEntry, AgentError> {
        self.call(scope, agent, key, operation::SET_WORKING, &new).await
    }

    /// Deletes an entry of working memory.
    pub async fn delete_working(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        name: &str,
    ) -> Result<(), AgentError> {
        self.call(scope, agent, key, operation::DELETE_WORKING, &name.to_owned()).await
    }
}
