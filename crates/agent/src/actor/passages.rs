//! Archival memory in the hands of people and programs.

use kelpie_memory::archival::Passage;
use kelpie_memory::layout;
use kelpie_memory::name;
use kelpie_runtime::HandlerError;

use super::code;
use super::desk::Desk;
use super::index::{self, KeepError};
use crate::archive::NewPassage;

impl Desk<'_> {
    /// Keeps a passage at the next position.
    pub(super) async fn keep(&mut self, new: NewPassage) -> Result<Passage, KeepError> {
        let position = self.progress.passages;
        let passage = index::keep(self.turn, self.shared, &self.agent.id, position, new).await?;
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
        Ok(index::forget(self.turn, place.position).await?)
    }
}
