//! What a power cut leaves of writes that no sync has confirmed.
//!
//! One mood per cut: all gone, all there, the oldest there, or any of them, each whole,
//! torn or gone. Drawing each write alone would almost never give the first three.

use std::sync::Arc;

use super::super::chance::{Chance, Event};
use super::super::fault::Fault;
use super::inode::Change;
use super::pages::Pages;
use super::state::State;

/// A torn write can leave any subset of these, as well as any number of its first bytes.
const SECTOR: usize = 512;

/// Counts of what power cuts did to unsynced changes: lets a test show that it met each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survived {
    /// Power cuts with something unsynced.
    pub cuts: u64,
    /// Changes of files that survived whole.
    pub kept: u64,
    /// Changes of files that are gone.
    pub lost: u64,
    /// Writes of which a part survived.
    pub torn: u64,
    /// Changes that survived whole though an earlier one of the same file did not.
    pub reordered: u64,
    /// Changes of names that survived.
    pub names_kept: u64,
    /// Changes of names that are gone.
    pub names_lost: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Nothing,
    Everything,
    Oldest,
    Any,
}

enum Fate {
    Kept,
    Torn,
    Lost,
}

impl Mood {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        match chance.below(Event::Crash, 6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Oldest,
            _ => Self::Any,
        }
    }

    /// What happens to number `index` when those before `end` are the oldest.
    fn fate(self, index: usize, end: usize, chance: &mut Chance) -> Fate {
        match self {
            Self::Nothing => Fate::Lost,
            Self::Everything => Fate::Kept,
            Self::Oldest if index < end => Fate::Kept,
            Self::Oldest if index == end => Fate::Torn,
            Self::Oldest => Fate::Lost,
            Self::Any => match chance.below(Event::Crash, 3) {
                0 => Fate::Kept,
                1 => Fate::Torn,
                _ => Fate::Lost,
            },
        }
    }

    /// Applies to `durable` what survives of the changes of one file.
    pub(super) fn settle(
        self,
        pending: &[Arc<Change>],
        durable: &mut Pages,
        chance: &mut Chance,
        survived: &mut Survived,
    ) {
        let end = chance.index(Event::Crash, pending.len() + 1);
        let mut gap = false;
        for (index, change) in pending.iter().enumerate() {
            match self.fate(index, end, chance) {
                Fate::Kept => {
                    change.apply(durable);
                    survived.kept += 1;
                    survived.reordered += u64::from(gap);
                }
                Fate::Torn => {
                    tear(change, durable, chance, survived);
                    gap = true;
                }
                Fate::Lost => {
                    survived.lost += 1;
                    gap = true;
                }
            }
        }
    }
}

fn tear(change: &Change, durable: &mut Pages, chance: &mut Chance, survived: &mut Survived) {
    match change {
        // A length has no half.
        Change::Length(_) => survived.lost += 1,
        Change::Write { offset, bytes } if chance.one_in(Event::Crash, 2) => {
            let length = chance.index(Event::Crash, bytes.len());
            durable.write(*offset, &bytes.bytes(0..length));
            survived.torn += 1;
        }
        Change::Write { offset, bytes } => {
            // The length first, as a file system does that writes its metadata early: what
            // does not follow reads as zeroes.
            let end = offset + bytes.len();
            durable.set_len(durable.len().max(end));
            let mut start = *offset;
            while start < end {
                let stop = ((start / SECTOR + 1) * SECTOR).min(end);
                if chance.one_in(Event::Crash, 2) {
                    durable.write(start, &bytes.bytes(start - offset..stop - offset));
                }
                start = stop;
            }
            survived.torn += 1;
        }
    }
}

impl State {
    /// The machine loses power: settles what is on the disk.
    pub(super) fn cut_power(&mut self, chance: &mut Chance) {
        self.locks.clear();
        let mood = Mood::draw(chance);
        let before = self.survived;
        for inode in self.names.inodes().values() {
            inode.cut(mood, chance, &mut self.survived);
        }
        let end = chance.index(Event::Crash, self.names.pending() + 1);
        let mut index = 0;
        let Self { names, survived, marks, .. } = self;
        names.cut(|renames| {
            let fate = mood.fate(index, end, chance);
            index += 1;
            let kept = matches!(fate, Fate::Kept);
            if kept {
                survived.names_kept += 1;
            } else {
                survived.names_lost += 1;
                marks.fire(if renames { Fault::RenameNotDurable } else { Fault::NameNotDurable });
            }
            kept
        });
        if before != self.survived {
            self.survived.cuts += 1;
            self.marks.fire(Fault::CrashBeforeSync);
        }
        self.count(before);
    }

    /// Counts what has been done to unsynced writes since.
    pub(super) fn count(&self, before: Survived) {
        let Survived { kept, lost, torn, reordered, .. } = self.survived;
        let (lost, torn) = (lost - before.lost, torn - before.torn);
        self.marks.add(Fault::LostUnsyncedWrite, lost);
        self.marks.add(Fault::TornWrite, torn);
        self.marks.add(Fault::ReorderedUnsyncedWrites, reordered - before.reordered);
        let partial = kept > before.kept && lost + torn > 0;
        self.marks.add(Fault::PartialBatch, partial.into());
    }
}
