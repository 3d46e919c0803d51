//! Commits, batches, rotation, checkpoints and crashes. What cannot happen leaves the world as it was.

use std::collections::BTreeSet;

use kelpie_core::log::Log as Machine;
use kelpie_core::mutant;

use super::{
    Action, Begin, Fault, File, Id, Key, Log, Name, Phase, Process, Record, Stage, Told, World, Written,
};

impl World {
    /// What may happen; [`Self::take`] has the last word.
    pub(super) fn offer(&self, bounds: &Log, actions: &mut Vec<Action>) {
        for key in 0..bounds.keys {
            actions.extend([Action::Appended(key), Action::DedupHit(key)]);
        }
        actions.extend((0..self.records.len()).map(Action::CallerGaveUp));
        actions.extend([
            Action::BatchTaken,
            Action::BatchWritten,
            Action::BatchLanded,
            Action::Neutralised,
            Action::HeaderSynced,
            Action::HeaderSyncFailed(false),
            Action::HeaderSyncFailed(true),
            Action::Renamed,
            Action::NamesSynced,
            Action::Noted,
            Action::RotationFailed,
            Action::Folded,
            Action::CutSynced,
            Action::Started,
            Action::Hardened,
            Action::HardenSynced,
            Action::SparesAdopted,
            Action::Killed,
            Action::Restarted,
        ]);
        for file in 0..self.files.len() {
            actions.extend([Action::HeaderWritten(file), Action::CutRenamed(file)]);
        }
        if self.faults >= bounds.faults_max {
            return;
        }
        for part in subsets(&self.batch_places()) {
            actions.extend([Action::SyncFailed(part.clone()), Action::NeutraliseFailed(part.clone())]);
            let early = subsets(&part).into_iter();
            actions.extend(early.map(|early| Action::WriteFailed(part.clone(), early)));
        }
        if self.process.phase == Phase::Hardening {
            let dirty = &self.files[self.process.active.expect("it hardens one")].dirty;
            actions.extend(subsets(dirty).into_iter().map(Action::HardenFailed));
        }
        if !bounds.faulty.contains(&Fault::Power) {
            return;
        }
        let mut left: Vec<Vec<File>> = vec![vec![]];
        for file in &self.files {
            let survivors = file.survivors();
            let and = |files: Vec<File>| {
                let more = survivors.iter().cloned();
                more.map(move |file| [&files[..], &[file]].concat()).collect::<Vec<_>>()
            };
            left = left.into_iter().flat_map(and).collect();
        }
        actions.extend(left.into_iter().map(Action::PowerCut));
    }

    /// Takes one action. Whether it could happen.
    pub(super) fn take(&mut self, bounds: &Log, action: Action) -> bool {
        match action {
            Action::Appended(key) => self.appended(bounds, key),
            Action::DedupHit(key) => self.dedup_hit(key),
            Action::CallerGaveUp(id) => self.caller_gave_up(bounds, id),
            Action::BatchTaken => self.batch_taken(bounds),
            Action::BatchWritten => self.batch_written(),
            Action::BatchLanded => self.batch_landed(),
            Action::SyncFailed(cells) => self.sync_failed(bounds, &cells),
            Action::WriteFailed(part, early) => self.write_failed(bounds, &part, &early),
            Action::Neutralised => self.neutralised(),
            Action::NeutraliseFailed(cells) => self.neutralise_failed(bounds, &cells),
            Action::HeaderWritten(file) => self.header_written(bounds, file),
            Action::HeaderSynced => self.header_synced(),
            Action::HeaderSyncFailed(landed) => self.header_sync_failed(bounds, landed),
            Action::Renamed => self.renamed(),
            Action::NamesSynced => self.names_synced(),
            Action::Noted => self.noted(),
            Action::RotationFailed => self.rotation_failed(),
            Action::Folded => self.folded(),
            Action::CutRenamed(file) => self.cut_renamed(file),
            Action::CutSynced => self.cut_synced(),
            Action::Started => self.started(),
            Action::Hardened => self.hardened(),
            Action::HardenSynced => self.harden_synced(),
            Action::HardenFailed(cells) => self.harden_failed(bounds, &cells),
            Action::SparesAdopted => self.spares_adopted(),
            Action::Killed => self.killed(bounds),
            Action::PowerCut(files) => self.power_cut(bounds, files),
            Action::Restarted => self.restarted(),
        }
    }

    pub(super) fn fault(&mut self, bounds: &Log, kind: Fault) -> bool {
        self.faults += 1;
        self.faults <= bounds.faults_max && bounds.faulty.contains(&kind)
    }

    pub(super) fn log(&self) -> &Machine {
        self.process.log.as_ref().expect("it has started")
    }

    fn log_mut(&mut self) -> &mut Machine {
        self.process.log.as_mut().expect("it has started")
    }

    pub(super) fn active(&mut self) -> &mut File {
        &mut self.files[self.process.active.expect("a segment is active")]
    }

    // Commits

    /// Nobody asks again while an answer is on its way, or once there was one.
    fn may_ask(&self, key: Key) -> bool {
        let mut told = self.records.iter().filter(|record| record.key == key).map(|record| record.told);
        self.process.phase == Phase::Up && told.all(|told| !matches!(told, Told::Waiting | Told::Acked))
    }

    fn appended(&mut self, bounds: &Log, key: Key) -> bool {
        let room = self.records.len() < bounds.appends_max && self.process.forming.len() < bounds.slots;
        if !self.may_ask(key) || !room {
            return false;
        }
        // What the resolver knows of: also what is inserted and not visible yet.
        let memory =
            if mutant!("Append_DuplicateIdempotency") { self.visible() } else { self.process.memory.clone() };
        if memory.iter().chain(&self.base.rows).any(|id| self.records[*id].key == key) {
            return false;
        }
        let Ok(lsn) = self.log_mut().append() else { return false };
        let id = self.records.len();
        self.records.push(Record { lsn, key, told: Told::Waiting });
        self.process.forming.push(id);
        self.process.memory.insert(id);
        self.process.flushing = true;
        true
    }

    fn caller_gave_up(&mut self, bounds: &Log, id: Id) -> bool {
        std::mem::replace(&mut self.records[id].told, Told::Unknown) == Told::Waiting
            && self.fault(bounds, Fault::Deadline)
    }

    fn dedup_hit(&mut self, key: Key) -> bool {
        let found = self.visible().union(&self.base.rows).copied().find(|id| self.records[*id].key == key);
        let Some(id) = found.filter(|_| self.may_ask(key)) else { return false };
        self.records[id].told = Told::Acked;
        true
    }

    fn batch_taken(&mut self, bounds: &Log) -> bool {
        let process = &mut self.process;
        let takes = process.phase == Phase::Up && process.stage == Stage::None && process.flushing;
        if !takes || process.forming.is_empty() {
            return false;
        }
        process.batch = std::mem::take(&mut process.forming);
        let fits = process.end + process.batch.len() <= bounds.slots;
        process.stage = if fits { Stage::Taken } else { Stage::Rotating };
        true
    }

    fn batch_places(&self) -> BTreeSet<usize> {
        (self.process.end..self.process.end + self.process.batch.len()).collect()
    }

    fn record(&self, place: usize) -> Written {
        let id = self.process.batch[place - self.process.end];
        let active = self.process.active.expect("a segment is active");
        let generation = self.files[active].head.expect("with its header").generation;
        Written { lsn: self.records[id].lsn, generation, synced: self.log().synced(), id }
    }

    fn tell(&mut self, ids: &[Id], told: Told) {
        for id in ids {
            let record = &mut self.records[*id];
            if record.told == Told::Waiting {
                record.told = told;
            }
        }
    }

    fn batch_written(&mut self) -> bool {
        if self.process.stage != Stage::Taken {
            return false;
        }
        for place in self.batch_places() {
            let cell = Some(self.record(place));
            self.active().write(place, cell);
        }
        self.process.stage = Stage::Written;
        if mutant!("wal_ack_before_fsync") {
            let batch = self.process.batch.clone();
            self.tell(&batch, Told::Acked);
        }
        true
    }

    fn batch_landed(&mut self) -> bool {
        if self.process.stage != Stage::Written {
            return false;
        }
        self.active().sync();
        self.landed();
        true
    }

    /// Durable: visible to everybody, then acknowledged; and the next batch is somebody's.
    fn landed(&mut self) {
        let batch = std::mem::take(&mut self.process.batch);
        let last = self.records[*batch.last().expect("a batch has records")].lsn;
        self.log_mut().sync(last);
        self.log_mut().publish();
        self.tell(&batch, Told::Acked);
        self.seen.extend(batch.iter().copied());
        self.process.stage = Stage::None;
        self.process.end += batch.len();
        self.process.flushing = !self.process.forming.is_empty();
    }

    /// What was written is unknown; what was not yet written never will be.
    fn poisoned(&mut self) {
        self.log_mut().sync_failed();
        let (batch, forming) =
            (std::mem::take(&mut self.process.batch), std::mem::take(&mut self.process.forming));
        self.tell(&batch, Told::Unknown);
        self.tell(&forming, Told::Refused);
        self.dead.extend(forming);
        self.process.phase = Phase::Poisoned;
        self.process.stage = Stage::None;
        self.process.begin = Begin::No;
    }

    fn sync_failed(&mut self, bounds: &Log, cells: &BTreeSet<usize>) -> bool {
        if self.process.stage != Stage::Written {
            return false;
        }
        self.active().half_sync(cells, false);
        self.poisoned();
        self.fault(bounds, Fault::Sync)
    }

    /// Nothing of the batch is in the log, and what was resolved against it goes with it.
    fn refused(&mut self) {
        let process = &mut self.process;
        let mut gone = std::mem::take(&mut process.batch);
        gone.append(&mut process.forming);
        process.memory.retain(|id| !gone.contains(id));
        (process.stage, process.begin, process.flushing) = (Stage::None, Begin::No, false);
        self.tell(&gone, Told::Refused);
        self.dead.extend(gone);
    }

    fn write_failed(&mut self, bounds: &Log, part: &BTreeSet<usize>, early: &BTreeSet<usize>) -> bool {
        if self.process.stage != Stage::Taken {
            return false;
        }
        for place in part {
            let cell = Some(self.record(*place));
            self.active().write(*place, cell);
            if early.contains(place) {
                self.active().cells_disk[*place] = cell;
            }
        }
        self.process.stage = Stage::Failed;
        self.fault(bounds, Fault::Write)
    }

    fn zeroed(&mut self) {
        for place in self.batch_places() {
            self.active().write(place, None);
        }
    }

    fn neutralised(&mut self) -> bool {
        if self.process.stage != Stage::Failed {
            return false;
        }
        if !mutant!("refused_batch_stays") {
            self.zeroed();
            self.active().sync();
        }
        self.refused();
        true
    }

    fn neutralise_failed(&mut self, bounds: &Log, cells: &BTreeSet<usize>) -> bool {
        if self.process.stage != Stage::Failed {
            return false;
        }
        self.zeroed();
        self.active().half_sync(cells, false);
        self.poisoned();
        self.fault(bounds, Fault::Sync)
    }

    // A segment is begun

    fn is_usable(&self, file: usize) -> bool {
        let spares = &self.process.spares;
        spares.contains(&file) || spares.is_empty() && self.files[file].name == Name::None
    }

    fn header_written(&mut self, bounds: &Log, file: usize) -> bool {
        let begins = match self.process.phase {
            Phase::Adopted => true,
            Phase::Up => self.process.stage == Stage::Rotating,
            Phase::Down
            | Phase::Judged
            | Phase::Hardening
            | Phase::Hardened
            | Phase::Poisoned
            | Phase::Refused => false,
        };
        if !begins || self.process.begin != Begin::No || !self.is_usable(file) {
            return false;
        }
        let header = self.header();
        if !self.process.spares.remove(&file) {
            let name_disk = self.files[file].name_disk;
            self.files[file] = File { name: Name::Fresh, name_disk, ..File::empty(bounds.slots) };
        }
        self.files[file].write_head(header);
        self.process.begin = Begin::Header;
        self.process.new = Some(file);
        self.process.generation += 1;
        true
    }

    fn begun(&mut self, from: Begin) -> Option<&mut File> {
        let file = self.process.new.filter(|_| self.process.begin == from)?;
        Some(&mut self.files[file])
    }

    fn header_synced(&mut self) -> bool {
        let Some(file) = self.begun(Begin::Header) else { return false };
        file.sync();
        self.process.begin = Begin::Synced;
        true
    }

    fn header_sync_failed(&mut self, bounds: &Log, landed: bool) -> bool {
        let Some(file) = self.begun(Begin::Header) else { return false };
        file.half_sync(&BTreeSet::new(), landed);
        if self.process.phase == Phase::Up {
            self.poisoned();
        } else {
            self.process = Process::down();
        }
        self.fault(bounds, Fault::Sync)
    }

    fn renamed(&mut self) -> bool {
        let Some(file) = self.begun(Begin::Synced) else { return false };
        file.name = Name::Segment(file.head.expect("it was written").generation);
        self.process.begin = Begin::Named;
        true
    }

    fn names_synced(&mut self) -> bool {
        if self.begun(Begin::Named).is_none() {
            return false;
        }
        self.names_durable();
        self.process.begin = Begin::Listed;
        true
    }

    /// No room for another file: the batch is refused.
    fn rotation_failed(&mut self) -> bool {
        let rotates = self.process.phase == Phase::Up && self.process.stage == Stage::Rotating;
        if !rotates
            || self.process.begin != Begin::No
            || (0..self.files.len()).any(|file| self.is_usable(file))
        {
            return false;
        }
        self.refused();
        true
    }

    // The checkpoint, and the files that it frees

    fn folded(&mut self) -> bool {
        if self.process.phase != Phase::Up || self.log().published() <= self.base.position {
            return false;
        }
        let (position, visible) = (self.log().published(), self.visible());
        self.base.rows.extend(visible);
        self.base.position = position;
        self.log_mut().checkpoint(position);
        true
    }

    fn cut_renamed(&mut self, file: usize) -> bool {
        if self.process.phase != Phase::Up || self.process.cutting.is_some() {
            return false;
        }
        let mut retired = self.process.retired.iter().copied();
        let Some(old) = retired.find(|(retired, last)| *retired == file && self.log().may_cut(*last)) else {
            return false;
        };
        self.files[file].name = Name::Spare;
        self.process.retired.remove(&old);
        self.process.cutting = Some(file);
        true
    }

    /// Before a new header may go in: under its old name it would be damage.
    fn cut_synced(&mut self) -> bool {
        let Some(file) = self.process.cutting.filter(|_| self.process.phase == Phase::Up) else {
            return false;
        };
        self.names_durable();
        self.process.cutting = None;
        self.process.spares.insert(file);
        true
    }

    // Crashes

    fn gone(&mut self) {
        let all: Vec<Id> = (0..self.records.len()).collect();
        self.tell(&all, Told::Unknown);
        self.process = Process::down();
    }

    /// What it wrote is shown to the next one.
    fn killed(&mut self, bounds: &Log) -> bool {
        if matches!(self.process.phase, Phase::Down | Phase::Refused) {
            return false;
        }
        self.gone();
        self.fault(bounds, Fault::Kill)
    }

    fn power_cut(&mut self, bounds: &Log, files: Vec<File>) -> bool {
        if self.process.phase == Phase::Refused {
            return false;
        }
        self.gone();
        self.files = files;
        self.fault(bounds, Fault::Power)
    }

    /// A poisoned store is started anew by whoever runs it.
    fn restarted(&mut self) -> bool {
        let poisoned = self.process.phase == Phase::Poisoned;
        self.process = Process::down();
        poisoned
    }
}

impl Process {
    /// The batch that waited for a new segment may be written.
    pub(super) fn taken_after_rotation(&mut self) {
        if self.stage == Stage::Rotating {
            self.stage = Stage::Taken;
        }
    }
}

fn subsets(places: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
    let mut subsets = vec![BTreeSet::new()];
    for place in places {
        let with = subsets.iter().map(|subset| {
            let mut subset: BTreeSet<usize> = subset.clone();
            subset.insert(*place);
            subset
        });
        let with: Vec<_> = with.collect();
        subsets.extend(with);
    }
    subsets
}
