//! The log of the embedded store: `specs/KelpieWAL.tla`.
//!
//! Which number a record gets, what counts as synced and visible, and which segment may go is
//! decided by `log`; what a start makes of the files by `log::recovery`, of real bytes: a record
//! here is a frame, a segment is scanned, a torn record is zeroes. What the system shows and what
//! the disk holds, and everybody who waits, is the model's.

use std::collections::BTreeSet;

use kelpie_core::log::frame::Header;
use kelpie_core::log::{Log as Machine, Lsn};
use stateright::{Model, Property};

mod checks;
mod disk;
mod start;
mod step;

/// An idempotency key, by its number.
pub type Key = usize;
/// A record, by its place among all that were given a number.
pub type Id = usize;

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub struct Log {
    /// How many keys callers have.
    pub keys: usize,
    /// Records of a file.
    pub slots: usize,
    /// How many files the disk has room for.
    pub files_max: usize,
    /// Bounds the records.
    pub appends_max: usize,
    /// Bounds crashes and failing calls of the disk.
    pub faults_max: u32,
    /// Which there are.
    pub faulty: &'static [Fault],
    /// The seeded bug that is armed.
    pub mutant: Option<&'static str>,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes.
    Power,
    /// The process is killed.
    Kill,
    /// A sync fails.
    Sync,
    /// A write fails.
    Write,
    /// A caller's deadline ends.
    Deadline,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    files: Vec<File>,
    base: Base,
    process: Process,
    records: Vec<Record>,
    /// Records that were refused, or cut by a start that ended.
    dead: BTreeSet<Id>,
    /// Of those that were cut: behind which number.
    cuts: BTreeSet<(Id, Lsn)>,
    /// Records that were visible.
    seen: BTreeSet<Id>,
    faults: u32,
}

/// A file of the log, as the system shows it and as the disk holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct File {
    name: Name,
    name_disk: Name,
    /// Nothing: torn, or never written.
    head: Option<Header>,
    head_disk: Option<Header>,
    head_dirty: bool,
    cells: Vec<Cell>,
    cells_disk: Vec<Cell>,
    /// What the next sync of the file will write.
    dirty: BTreeSet<usize>,
}

/// What a file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    /// It is not there.
    None,
    /// Being made, for a segment.
    Fresh,
    /// A segment that is no longer needed.
    Spare,
    /// The segment of that generation.
    Segment(u64),
}

/// What stands in the place of a record; nothing: zeroes.
type Cell = Option<Written>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Written {
    lsn: Lsn,
    generation: u64,
    synced: Lsn,
    id: Id,
}

/// The base: what is folded, up to where, and the newest segment that was noted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Base {
    rows: BTreeSet<Id>,
    position: Lsn,
    newest: u64,
}

/// A record that was given a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    lsn: Lsn,
    key: Key,
    told: Told,
}

/// What the caller of a record was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Waiting,
    Acked,
    Refused,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    phase: Phase,
    begin: Begin,
    stage: Stage,
    log: Option<Machine>,
    new: Option<usize>,
    active: Option<usize>,
    /// Records in the active segment.
    end: usize,
    generation: u64,
    memory: BTreeSet<Id>,
    forming: Vec<Id>,
    batch: Vec<Id>,
    flushing: bool,
    spares: BTreeSet<usize>,
    /// Segments that are full, with their last record.
    retired: BTreeSet<(usize, Lsn)>,
    cutting: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Down,
    Judged,
    Hardening,
    Hardened,
    Adopted,
    Up,
    Poisoned,
    Refused,
}

/// A segment being begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Begin {
    No,
    Header,
    Synced,
    Named,
    Listed,
}

/// The batch on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    None,
    Rotating,
    Taken,
    Written,
    Failed,
}

/// What can happen. Sets of cells are those that a failing call wrote all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A commit is given its number.
    Appended(Key),
    /// Its key has a record already.
    DedupHit(Key),
    /// A caller's deadline ends.
    CallerGaveUp(Id),
    /// Whoever is bound to flush takes what has formed.
    BatchTaken,
    /// It is written.
    BatchWritten,
    /// It is durable.
    BatchLanded,
    /// Its sync fails.
    SyncFailed(BTreeSet<usize>),
    /// Its write fails: what is shown, and what of that is on disk.
    WriteFailed(BTreeSet<usize>, BTreeSet<usize>),
    /// What a failed write has left is made zeroes.
    Neutralised,
    /// That fails as well.
    NeutraliseFailed(BTreeSet<usize>),
    /// A segment's header is written.
    HeaderWritten(usize),
    /// And durable.
    HeaderSynced,
    /// Or not; whether it landed all the same.
    HeaderSyncFailed(bool),
    /// The file gets its name.
    Renamed,
    /// Which is durable.
    NamesSynced,
    /// It is noted that there is such a segment.
    Noted,
    /// There is no room for another file.
    RotationFailed,
    /// A checkpoint.
    Folded,
    /// A segment that is no longer needed gets the name of a spare one.
    CutRenamed(usize),
    /// Which is durable.
    CutSynced,
    /// A start reads the files, and decides.
    Started,
    /// The newest segment is written anew.
    Hardened,
    /// And durable.
    HardenSynced,
    /// Or not.
    HardenFailed(BTreeSet<usize>),
    /// Spare files of an earlier process are taken over.
    SparesAdopted,
    /// The process is killed.
    Killed,
    /// The power goes; what is left of the files.
    PowerCut(Vec<File>),
    /// A poisoned store is started anew.
    Restarted,
}

impl Process {
    fn down() -> Self {
        Self {
            phase: Phase::Down,
            begin: Begin::No,
            stage: Stage::None,
            log: None,
            new: None,
            active: None,
            end: 0,
            generation: 0,
            memory: BTreeSet::new(),
            forming: vec![],
            batch: vec![],
            flushing: false,
            spares: BTreeSet::new(),
            retired: BTreeSet::new(),
            cutting: None,
        }
    }
}

impl Model for Log {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            files: vec![File::empty(self.slots); self.files_max],
            base: Base { rows: BTreeSet::new(), position: 0, newest: 0 },
            process: Process::down(),
            records: vec![],
            dead: BTreeSet::new(),
            cuts: BTreeSet::new(),
            seen: BTreeSet::new(),
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.offer(self, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let _armed = self.armed();
        let mut next = world.clone();
        next.take(self, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("WAL_Durability", |model: &Self, world: &World| {
                let _armed = model.armed();
                world.what_was_seen_would_survive()
            }),
            Property::always("WAL_Monotonicity", |_, world: &World| world.numbers_grow()),
            Property::always("WAL_IdempotencyGuarantee", |_, world: &World| world.keys_have_one_effect()),
            Property::always("WAL_RecoveryCompleteness", |_, world: &World| world.recovery_is_complete()),
            Property::always("WAL_StatusConsistency", |_, world: &World| world.statuses_are_consistent()),
            Property::always("WAL_NoZombieComplete", |_, world: &World| world.the_dead_stay_dead()),
            Property::always("StartsAgain", |_, world: &World| world.process.phase != Phase::Refused),
        ]
    }
}

impl Log {
    /// Keeps the seeded bug armed on this thread.
    #[cfg(feature = "mutants")]
    fn armed(&self) -> Option<kelpie_core::mutant::Armed> {
        self.mutant.map(kelpie_core::mutant::arm)
    }

    /// There is none in this build.
    #[cfg(not(feature = "mutants"))]
    fn armed(&self) -> &Self {
        self
    }
}
