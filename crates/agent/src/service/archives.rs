//! Archives: make, list, show, change, fill, delete; and give them to agents.

use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_memory::archival::{Hit, Passage, PassageQuery};
use kelpie_memory::name;
use kelpie_runtime::RecordRange;

use super::{Agents, failure, not_found};
use crate::actor::{ACTOR_TYPE, operation, rows};
use crate::archive::{ArchiveChange, ArchiveRecord, NewArchive, NewPassage};
use crate::error::{AgentError, Thing};
use crate::query::{Order, PAGE_MAX, Scope};
use crate::record::AgentRecord;

impl Agents {
    /// Makes an archive. With a key, its id comes from it.
    pub async fn create_archive(
        &self,
        scope: &Scope,
        key: Option<&IdempotencyKey>,
        new: NewArchive,
    ) -> Result<ArchiveRecord, AgentError> {
        let bytes = match key {
            Some(key) => CallKey::new(&scope.caller, key).0,
            None => self.runtime.env().random_u128().to_be_bytes(),
        };
        let actor = Self::actor(scope, &name::plain("archive", bytes))?;
        self.call_actor(scope, actor, key, operation::CREATE_ARCHIVE, &new).await
    }

    /// An archive.
    pub async fn archive(&self, scope: &Scope, id: &str) -> Result<ArchiveRecord, AgentError> {
        let gone = || not_found(Thing::Archive, id);
        let view = self.runtime.view(&Self::actor(scope, id).map_err(|_| gone())?);
        let row = view.index_get(rows::INDEX_ARCHIVES, id.as_bytes()).await.and_then(rows::decoded);
        row.map_err(|error| failure::read(&error))?.ok_or_else(gone)
    }

    /// All archives, or those of an agent, by time of creation.
    pub async fn archives(
        &self,
        scope: &Scope,
        agent: Option<&str>,
        order: Order,
    ) -> Result<Vec<ArchiveRecord>, AgentError> {
        let ids: Vec<String> = match agent {
            Some(agent) => self.get(scope, agent).await?.archives,
            None => {
                let range = RecordRange::prefix(b"").limit(PAGE_MAX);
                let index = rows::INDEX_ARCHIVES_CREATED;
                let entries = self.runtime.index(&scope.tenant, ACTOR_TYPE, index, range).await;
                let entries = entries.map_err(|error| failure::index(&error))?;
                entries.iter().filter_map(|(entry, _)| rows::entry_agent(entry).map(str::to_owned)).collect()
            }
        };
        let mut found = Vec::new();
        for id in ids {
            match self.archive(scope, &id).await {
                Ok(archive) => found.push(archive),
                // Deleted since it was listed.
                Err(AgentError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
        if order == Order::Descending {
            found.reverse();
        }
        Ok(found)
    }

    /// Changes what is said about an archive.
    pub async fn change_archive(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        change: ArchiveChange,
    ) -> Result<ArchiveRecord, AgentError> {
        self.call_archive(scope, id, key, operation::CHANGE_ARCHIVE, &change).await
    }

    /// Deletes an archive with its passages: agents that have it lose it.
    pub async fn delete_archive(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        self.call_archive(scope, id, key, operation::DELETE_ARCHIVE, &()).await
    }

    /// Puts passages into an archive, all of them or none.
    pub async fn insert_in_archive(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        passages: Vec<NewPassage>,
    ) -> Result<Vec<Passage>, AgentError> {
        self.call_archive(scope, id, key, operation::INSERT_IN_ARCHIVE, &passages).await
    }

    /// Deletes a passage of an archive for good.
    pub async fn delete_in_archive(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        passage: &str,
    ) -> Result<(), AgentError> {
        self.call_archive(scope, id, key, operation::DELETE_IN_ARCHIVE, &passage.to_owned()).await
    }

    /// The passages of an archive that fit a question best, best first.
    pub async fn find_in_archive(
        &self,
        scope: &Scope,
        id: &str,
        query: &PassageQuery,
    ) -> Result<Vec<Hit>, AgentError> {
        let archive = self.archive(scope, id).await?;
        let view = self.runtime.view(&Self::actor(scope, &archive.id)?);
        Ok(query.merged(vec![self.find_in_view(scope, &view, query).await?]))
    }

    /// Gives an agent an archive to search.
    pub async fn attach_archive(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<AgentRecord, AgentError> {
        self.call(scope, agent, key, operation::ATTACH_ARCHIVE, &id.to_owned()).await
    }

    /// Takes an archive from an agent; the archive stays.
    pub async fn detach_archive(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        id: &str,
    ) -> Result<AgentRecord, AgentError> {
        self.call(scope, agent, key, operation::DETACH_ARCHIVE, &id.to_owned()).await
    }

    /// Calls an archive. With a key the call may be a repetition, also of a deletion; without one
    /// an id that names nothing gets no records.
    async fn call_archive<Q: serde::Serialize, A: serde::de::DeserializeOwned>(
        &self,
        scope: &Scope,
        id: &str,
        key: Option<&IdempotencyKey>,
        operation: &'static str,
        request: &Q,
    ) -> Result<A, AgentError> {
        if key.is_none() {
            self.archive(scope, id).await?;
        }
        let actor = Self::actor(scope, id).map_err(|_| not_found(Thing::Archive, id))?;
        self.call_actor(scope, actor, key, operation, request).await
    }
}
