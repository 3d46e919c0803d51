//! Archives: an actor each, whose rows are its passages. What it is stands in an index, where an
//! agent's turn looks whether it is still there.

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_core::record;
use kelpie_memory::archival::{Hit, Passage, PassageQuery};
use kelpie_memory::layout;
use kelpie_memory::name;
use kelpie_runtime::{CallError, HandlerError, RecordRange, Turn, TurnError, View};

use super::desk::Desk;
use super::index::{self, Found, Rows};
use super::rows::{self, Progress};
use super::{ACTOR_TYPE, Shared, code, invalid, operation, reply};
use crate::archive::{ArchiveChange, ArchiveRecord, NewArchive, NewPassage};
use crate::record::AgentRecord;

/// Bytes of an archive's name and of what it is for.
const TEXT_BYTES_MAX: usize = 10_000;
/// Archives of one agent: each search asks all of them.
const ARCHIVES_MAX: usize = 8;
/// Passages that one request may bring: together with their rows they are one commit.
const PASSAGES_MAX: usize = 100;

/// Makes the archive of this turn.
pub(super) async fn create(turn: &mut Turn, new: NewArchive) -> Result<ArchiveRecord, HandlerError> {
    let id = turn.actor().key().to_owned();
    if found(turn, &id).await?.is_some() {
        return Err(HandlerError::app(code::EXISTS, "the archive exists already"));
    }
    let now_ms = turn.now_ms();
    let NewArchive { name, description, embedding } = new;
    let archive = ArchiveRecord { id, name, description, embedding, created_ms: now_ms, updated_ms: now_ms };
    checked(&archive)?;
    let entry = rows::created_entry(now_ms, &archive.id);
    turn.index_set(rows::INDEX_ARCHIVES_CREATED, &entry, "");
    set(turn, &archive);
    Ok(archive)
}

/// Changes the archive of this turn.
pub(super) async fn change(turn: &mut Turn, change: ArchiveChange) -> Result<ArchiveRecord, HandlerError> {
    let mut archive = own(turn).await?;
    archive.name = change.name.unwrap_or(archive.name);
    archive.description = change.description.or(archive.description);
    archive.updated_ms = turn.now_ms();
    checked(&archive)?;
    set(turn, &archive);
    Ok(archive)
}

/// Deletes the archive of this turn with its passages: agents that have it lose it.
pub(super) async fn delete(turn: &mut Turn) -> Result<(), HandlerError> {
    let archive = own(turn).await?;
    let entry = rows::created_entry(archive.created_ms, &archive.id);
    turn.index_clear(rows::INDEX_ARCHIVES_CREATED, &entry);
    turn.index_clear(rows::INDEX_ARCHIVES, archive.id.as_bytes());
    turn.clear_range(RecordRange::prefix(b""));
    Ok(())
}

/// Keeps passages, all of them or none.
pub(super) async fn insert(
    turn: &mut Turn,
    shared: &Shared,
    new: Vec<NewPassage>,
) -> Result<Vec<Passage>, HandlerError> {
    let archive = own(turn).await?;
    if new.is_empty() || new.len() > PASSAGES_MAX {
        return Err(invalid("passages", format!("there must be 1 to {PASSAGES_MAX} passages")));
    }
    let mut progress: Progress = rows::decoded(turn.get(rows::PROGRESS).await?)?.unwrap_or_default();
    let mut kept = Vec::new();
    for passage in new {
        kept.push(index::keep(turn, shared, &archive.id, progress.passages, passage).await?);
        progress.passages += 1;
    }
    turn.set(rows::PROGRESS, record::encode(&progress));
    Ok(kept)
}

/// Deletes a passage of the archive of this turn for good.
pub(super) async fn delete_passage(turn: &mut Turn, id: &str) -> Result<(), HandlerError> {
    let archive = own(turn).await?;
    let gone = || HandlerError::app(code::NO_PASSAGE, "Passage not found");
    let place = name::place("passage", &archive.id, id).ok_or_else(gone)?;
    let row = layout::passage(place.position);
    turn.get(&row).await?.ok_or_else(gone)?;
    Ok(index::forget(turn, place.position).await?)
}

/// The passages of an archive that fit a question best.
pub(super) async fn find(view: &View, shared: &Shared, query: &PassageQuery) -> Result<Bytes, HandlerError> {
    Ok(reply(&index::viewed(view, query, shared.embeddings.as_deref()).await?))
}

async fn found(turn: &mut Turn, id: &str) -> Result<Option<ArchiveRecord>, TurnError> {
    rows::decoded(turn.index_get(rows::INDEX_ARCHIVES, id.as_bytes()).await?)
}

async fn own(turn: &mut Turn) -> Result<ArchiveRecord, HandlerError> {
    let id = turn.actor().key().to_owned();
    found(turn, &id).await?.ok_or_else(no_archive)
}

fn set(turn: &mut Turn, archive: &ArchiveRecord) {
    turn.index_set(rows::INDEX_ARCHIVES, archive.id.as_bytes(), record::encode(archive));
}

fn no_archive() -> HandlerError {
    HandlerError::app(code::NO_ARCHIVE, "Archive not found")
}

fn checked(archive: &ArchiveRecord) -> Result<(), HandlerError> {
    if archive.name.trim().is_empty() || archive.name.len() > TEXT_BYTES_MAX {
        return Err(invalid("name", format!("must have 1 to {TEXT_BYTES_MAX} bytes")));
    }
    match archive.description.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        true => Err(invalid("description", format!("must have at most {TEXT_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

impl Desk<'_> {
    /// Gives the agent an archive to search.
    pub(super) async fn attach_archive(&mut self, id: &str) -> Result<AgentRecord, HandlerError> {
        found(self.turn, id).await?.ok_or_else(no_archive)?;
        if !self.agent.archives.iter().any(|known| known == id) {
            if self.agent.archives.len() >= ARCHIVES_MAX {
                return Err(invalid(
                    "archive_id",
                    format!("an agent may have at most {ARCHIVES_MAX} archives"),
                ));
            }
            self.agent.archives.push(id.to_owned());
            self.save_agent();
        }
        Ok(self.agent.clone())
    }

    /// Takes an archive from the agent; the archive stays.
    pub(super) fn detach_archive(&mut self, id: &str) -> Result<AgentRecord, HandlerError> {
        let before = self.agent.archives.len();
        self.agent.archives.retain(|known| known != id);
        if self.agent.archives.len() == before {
            return Err(no_archive());
        }
        self.save_agent();
        Ok(self.agent.clone())
    }

    /// What the agent and its archives have about a question, best first. An archive that was
    /// deleted has nothing.
    pub(super) async fn search_passages(&mut self, query: &PassageQuery) -> Result<Vec<Hit>, TurnError> {
        let embeddings = self.shared.embeddings.as_deref();
        let rows = Rows::Turn(self.turn);
        let own = index::search(rows, query, embeddings, self.progress.passages).await?;
        if let Some(from) = own.stale {
            let actor = self.turn.actor().clone();
            self.turn.send(actor, operation::RENEW_INDEX, record::encode(&from));
        }
        let mut all = vec![own.hits];
        for (place, id) in self.agent.archives.clone().into_iter().enumerate() {
            if found(self.turn, &id).await?.is_none() {
                continue;
            }
            let tenant = self.turn.actor().tenant().to_owned();
            let Ok(actor) = ActorId::new(&tenant, ACTOR_TYPE, &id) else { continue };
            // A search is a read, and each has a name of its own in the turn.
            self.searches += 1;
            let name = format!("archive/{}/{place}", self.searches);
            let asked = record::encode(query);
            let answer = self.turn.call(name, actor.clone(), operation::FIND_IN_ARCHIVE, asked).await;
            match answer {
                Ok(found) => {
                    let found: Found = record::decode(&found)?;
                    if let Some(from) = found.stale {
                        self.turn.send(actor, operation::RENEW_INDEX, record::encode(&from));
                    }
                    all.push(found.hits);
                }
                Err(TurnError::Call(error)) if matches!(*error, CallError::App { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(query.merged(all))
    }
}
