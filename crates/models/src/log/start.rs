//! A start: what it makes of the files, and its steps until the store serves.

use std::collections::BTreeSet;

use kelpie_core::log::frame::{FRAME_BYTES, Header, RECORDS_BEGIN};
use kelpie_core::log::recovery::{Known, Recovered, Scanned, recover, scan};
use kelpie_core::log::{Log as Machine, Lsn};
use kelpie_core::mutant;

use super::{Begin, Cell, Fault, File, Id, Log, Name, Phase, Process, World, disk};

/// Bytes of a record: a body of eight.
const RECORD_BYTES: usize = FRAME_BYTES + 8;
/// Whose log it is.
pub(super) const STORE: u64 = 1;

/// What a start makes of the files.
pub(super) struct Judged {
    pub(super) recovered: Recovered,
    /// The files of the segments by generation, with what they hold.
    pub(super) segments: Vec<(usize, Scanned)>,
}

impl Judged {
    /// The records to replay.
    pub(super) fn replayed(&self, cells: impl Fn(usize) -> Vec<Cell>) -> BTreeSet<Id> {
        let replay = self.recovered.replay.iter();
        replay
            .map(|(index, placed)| {
                let place = (placed.body - FRAME_BYTES - RECORDS_BEGIN) / RECORD_BYTES;
                cells(self.segments[*index].0)[place].expect("a record stands there").id
            })
            .collect()
    }
}

impl World {
    /// Nothing: it must not be started on.
    fn judge<'a>(
        &self,
        view: impl Fn(&'a File) -> (Name, Option<Header>, &'a [Cell]),
        files: &'a [File],
    ) -> Option<Judged> {
        let mut segments = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let (Name::Segment(name), head, cells) = view(file) else { continue };
            // Torn, or of a segment with another name.
            let head = head.filter(|head| head.generation == name)?;
            segments.push((number, scan(&disk::bytes(cells), head)));
        }
        segments.sort_by_key(|(_, scanned)| scanned.header.generation);
        let known = Known { store: STORE, newest: self.base.newest, position: self.base.position };
        let scanned: Vec<Scanned> = segments.iter().map(|(_, scanned)| scanned.clone()).collect();
        let recovered = recover(&scanned, known).ok()?;
        Some(Judged { recovered, segments })
    }

    pub(super) fn judge_shown(&self) -> Option<Judged> {
        self.judge(|file| (file.name, file.head, &file.cells), &self.files)
    }

    /// Of what the disk holds: the records that a start would replay, if it would start.
    pub(super) fn would_replay(&self) -> Option<BTreeSet<Id>> {
        let judged = self.judge(|file| (file.name_disk, file.head_disk, &file.cells_disk), &self.files)?;
        Some(judged.replayed(|file| self.files[file].cells_disk.clone()))
    }

    pub(super) fn started(&mut self) -> bool {
        if self.process.phase != Phase::Down {
            return false;
        }
        let Some(judged) = self.judge_shown() else {
            self.process.phase = Phase::Refused;
            return true;
        };
        let mut replayed = judged.replayed(|file| self.files[file].cells.clone());
        if mutant!("CompleteRecovery_Partial") {
            replayed.pop_last();
        }
        let last = judged.recovered.last;
        let end = |scanned: &Scanned| {
            scanned.records.last().map_or(scanned.header.cut_after, |record| record.lsn).min(last)
        };
        self.process = Process {
            phase: Phase::Judged,
            log: Some(Machine::new(&judged.recovered, self.base.position)),
            memory: replayed,
            generation: judged.recovered.generation,
            retired: judged.segments.iter().map(|(file, scanned)| (*file, end(scanned))).collect(),
            ..Process::down()
        };
        true
    }

    /// The records of the newest segment are written anew: the system may show what the disk does
    /// not hold, and may take it for written.
    pub(super) fn hardened(&mut self) -> bool {
        if self.process.phase != Phase::Judged {
            return false;
        }
        let judged = self.judge_shown().expect("it has been judged");
        let position = self.base.position;
        let newest = judged.segments.last().map(|(file, scanned)| (*file, &scanned.records));
        let needed = newest.filter(|(_, records)| records.iter().any(|record| record.lsn > position));
        match needed.filter(|_| !mutant!("recovery_trusts_the_page_cache")) {
            Some((file, records)) => {
                self.files[file].dirty.extend(0..records.len());
                self.process.phase = Phase::Hardening;
                self.process.active = Some(file);
            }
            None => self.process.phase = Phase::Hardened,
        }
        true
    }

    pub(super) fn harden_synced(&mut self) -> bool {
        if self.process.phase != Phase::Hardening {
            return false;
        }
        self.active().sync();
        self.process.phase = Phase::Hardened;
        true
    }

    /// The start is given up; the next one begins anew.
    pub(super) fn harden_failed(&mut self, bounds: &Log, cells: &BTreeSet<usize>) -> bool {
        if self.process.phase != Phase::Hardening {
            return false;
        }
        self.active().half_sync(cells, false);
        self.process = Process::down();
        self.fault(bounds, Fault::Sync)
    }

    /// Their names are made durable first: on disk they may still bear the name of a segment, and a
    /// new header would be damage under that name.
    pub(super) fn spares_adopted(&mut self) -> bool {
        if self.process.phase != Phase::Hardened {
            return false;
        }
        for file in &mut self.files {
            if file.name == Name::Fresh {
                file.name = Name::None;
            }
        }
        self.names_durable();
        self.process.phase = Phase::Adopted;
        let spares = self.files.iter().enumerate().filter(|(_, file)| file.name == Name::Spare);
        self.process.spares = spares.map(|(number, _)| number).collect();
        true
    }

    pub(super) fn names_durable(&mut self) {
        for file in &mut self.files {
            file.name_disk = file.name;
        }
    }

    /// By a start, behind the last record that counts; by a rotation, behind the last durable one.
    pub(super) fn header(&self) -> Header {
        let (log, process) = (self.log(), &self.process);
        let (first, previous): (Lsn, u64) = if process.phase == Phase::Adopted {
            (log.next(), process.generation)
        } else {
            let active = self.files[process.active.expect("it rotates away from one")].head;
            (log.synced() + 1, active.expect("an active segment has its header").generation)
        };
        let generation = process.generation + 1;
        Header { store: STORE, bytes: 0, generation, first, previous, cut_after: log.synced() }
    }

    /// It is noted, durably, that there is such a segment: it takes records; a start is over.
    pub(super) fn noted(&mut self) -> bool {
        if self.process.begin != Begin::Listed {
            return false;
        }
        self.base.newest = self.process.generation;
        let (synced, was_up) = (self.log().synced(), self.process.phase == Phase::Up);
        let process = &mut self.process;
        if was_up {
            process.retired.insert((process.active.expect("it rotates away from one"), synced));
        }
        process.begin = Begin::No;
        process.active = process.new.take();
        process.end = 0;
        process.phase = Phase::Up;
        process.taken_after_rotation();
        if !was_up {
            let kept = |id: &Id| {
                self.process.memory.contains(id) || self.base.rows.contains(id) || self.dead.contains(id)
            };
            let cut: Vec<Id> = (0..self.records.len()).filter(|id| !kept(id)).collect();
            self.seen.extend(self.process.memory.iter().copied());
            self.dead.extend(cut.iter().copied());
            self.cuts.extend(cut.into_iter().map(|id| (id, synced)));
        }
        true
    }
}
