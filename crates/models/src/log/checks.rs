//! What must hold.

use std::collections::BTreeSet;

use super::{Id, Phase, Told, World};

impl World {
    fn is_up(&self) -> bool {
        self.process.phase == Phase::Up
    }

    fn ids(&self) -> impl Iterator<Item = Id> {
        0..self.records.len()
    }

    /// Records of memory that are visible.
    pub(super) fn visible(&self) -> BTreeSet<Id> {
        let Some(log) = &self.process.log else { return BTreeSet::new() };
        let published = log.published();
        self.process.memory.iter().copied().filter(|id| self.records[*id].lsn <= published).collect()
    }

    fn state(&self) -> BTreeSet<Id> {
        self.visible().union(&self.base.rows).copied().collect()
    }

    /// Whatever was acknowledged or seen would survive the power going now.
    pub(super) fn what_was_seen_would_survive(&self) -> bool {
        let replayed = self.would_replay().unwrap_or_default();
        self.ids().all(|id| {
            let shown = self.seen.contains(&id) || self.records[id].told == Told::Acked;
            !shown || self.base.rows.contains(&id) || replayed.contains(&id)
        })
    }

    /// A number is given once, and later records have larger ones.
    pub(super) fn numbers_grow(&self) -> bool {
        self.records.windows(2).all(|pair| pair[0].lsn < pair[1].lsn)
    }

    pub(super) fn keys_have_one_effect(&self) -> bool {
        let state = self.state();
        let keys: BTreeSet<_> = state.iter().map(|id| self.records[*id].key).collect();
        !self.is_up() || keys.len() == state.len()
    }

    /// What serves has everything that was ever acknowledged or seen, and nothing behind a cut counts.
    pub(super) fn recovery_is_complete(&self) -> bool {
        let state = self.state();
        !self.is_up()
            || self.seen.is_subset(&state)
                && self.ids().all(|id| self.records[id].told != Told::Acked || state.contains(&id))
                && self.cuts.iter().all(|(id, after)| self.records[*id].lsn > *after)
    }

    /// Complete is what the durable position has passed, and the base holds exactly that; pending
    /// what is durable above it; a refused record is neither.
    pub(super) fn statuses_are_consistent(&self) -> bool {
        let position = self.base.position;
        let lsn = |id: &Id| self.records[*id].lsn;
        let in_order = self.process.log.as_ref().is_none_or(|log| {
            position <= log.published() && log.published() <= log.synced() && log.synced() < log.next()
        });
        self.base.rows.iter().all(|id| lsn(id) <= position)
            && self.seen.iter().all(|id| lsn(id) > position || self.base.rows.contains(id))
            && self.ids().all(|id| self.records[id].told != Told::Refused || !self.seen.contains(&id))
            && (!self.is_up() || in_order)
    }

    /// What was refused, or cut by a start, never counts again.
    pub(super) fn the_dead_stay_dead(&self) -> bool {
        let memory = self.process.memory.iter().filter(|_| self.is_up());
        self.base.rows.iter().chain(memory).all(|id| !self.dead.contains(id))
    }
}
