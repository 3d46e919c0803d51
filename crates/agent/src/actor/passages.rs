//! Archival memory in the hands of people and programs.

use kelpie_core::record;
use kelpie_memory::archival::{Passage, PassageError};
use kelpie_memory::layout;
use kelpie_memory::name::{self, Place};
use kelpie_runtime::HandlerError;

use super::desk::Desk;
use super::{code, invalid};
use crate::archive::NewPassage;

impl Desk<'_> {
    /// Keeps a passage.
    pub(super) fn insert_passage(&mut self, new: NewPassage) -> Result<Passage, HandlerError> {
        let NewPassage { text, tags, created_ms } = new;
        self.keep(text, tags, created_ms).map_err(|error| invalid("text", error.to_string()))
    }

    /// Keeps a passage at the next position.
    pub(super) fn keep(
        &mut self,
        text: String,
        tags: Vec<String>,
        created_ms: Option<u64>,
    ) -> Result<Passage, PassageError> {
        let position = self.progress.passages;
        let id = name::placed("passage", &self.agent.id, Place { position, part: 0 });
        let passage = Passage::new(id, text, tags, created_ms.unwrap_or(self.turn.now_ms()))?;
        self.turn.set(layout::passage(position), record::encode(&passage));
        if !kelpie_core::mutant!("passage_position_not_counted") {
            self.progress.passages += 1;
        }
        Ok(passage)
    }

    /// Deletes a passage for good.
    pub(super) async fn delete_passage(&mut self, id: &str) -> Result<(), HandlerError> {
        let gone = || HandlerError::app(code::NO_PASSAGE, "Passage not found");
        let place = name::place("passage", &self.agent.id, id).ok_or_else(gone)?;
        let row = layout::passage(place.position);
        self.turn.get(&row).await?.ok_or_else(gone)?;
        self.turn.clear(row);
        Ok(())
    }
}
