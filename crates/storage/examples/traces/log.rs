//! The steps of the log, for `KelpieWAL`.
//!
//! Writers of records that all have one size, so that a segment has room for a number of them; in
//! each life a fault at some step of the log: the power is cut at an operation of the disk, the
//! process is killed, a write or a sync fails.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::log::LSN_JUMP;
use kelpie_core::log::frame::{FRAME_BYTES, RECORDS_BEGIN};
use kelpie_env::Env;
use kelpie_env::sim::{DiskControl, Node, Sim};
use kelpie_storage::{CommitError, Embedded, EmbeddedOptions, LogStep, LogSteps, Store};
use parking_lot::Mutex;

use crate::Traces;

const SEGMENT_BYTES: u64 = 8192;
const OPTIONS: EmbeddedOptions =
    EmbeddedOptions { segment_bytes: SEGMENT_BYTES, checkpoint_bytes: 4500, cache_bytes: 1 << 20 };
/// Four records fill a segment.
const VALUE_BYTES: usize = 900;
const SLOTS: u64 = 4;
/// Fewer than a segment has room for, so that a batch always fits.
const WRITERS: u64 = 3;
const COMMITS: u64 = 5;
const LIVES: u64 = 4;
/// By how much numbers jump at a start where TLC counts them.
const JUMP: u64 = 1000;

/// What goes wrong in a life.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Power,
    Kill,
    Sync,
    /// A sync of the start, or the first one after it.
    EarlySync,
    Write,
    /// A write, and the sync that would undo it.
    WriteAndUndo,
}

const FAULTS: &[Fault] = &[
    Fault::Power,
    Fault::Kill,
    Fault::Sync,
    Fault::Power,
    Fault::Write,
    Fault::Kill,
    Fault::EarlySync,
    Fault::WriteAndUndo,
];

/// A life as it is told.
struct Life {
    events: Vec<String>,
    appended: u64,
    /// Steps until the fault; none once it has come.
    until: Option<u64>,
    fault: Fault,
    /// The power is cut at that operation of the disk.
    cut_at: Option<u64>,
    is_over: bool,
    /// Records in the active segment, and in the batch on its way.
    used: u64,
    taken: u64,
    node: Arc<Node>,
}

impl Life {
    fn disk(&self) -> DiskControl {
        self.node.disk()
    }

    fn hear(&mut self, step: LogStep) {
        if self.is_over || self.cut_at.is_some_and(|at| self.disk().operations() >= at) {
            return;
        }
        self.events.push(event(step));
        if let LogStep::Appended { .. } = step {
            self.appended += 1;
        } else if let LogStep::Noted { .. } = step {
            self.used = 0;
        } else if let LogStep::BatchLanded { .. } = step {
            self.used += std::mem::take(&mut self.taken);
        } else if let LogStep::BatchTaken { records, bytes } = step {
            let room = SEGMENT_BYTES - (RECORDS_BEGIN + FRAME_BYTES) as u64;
            assert_eq!(room / (bytes / records), SLOTS, "records of {} bytes", bytes / records);
            self.taken = records;
        }
        let is_due = self.until.is_some_and(|steps| steps == 0);
        self.until = self.until.map(|steps| steps.saturating_sub(1));
        if is_due && self.befall(step) {
            self.until = None;
        }
    }

    /// Lets the fault come, where it can at this step.
    fn befall(&mut self, step: LogStep) -> bool {
        match (self.fault, step) {
            (Fault::Power, _) => {
                let at = self.disk().operations() + 1 + self.appended % 3;
                self.disk().crash_at(at);
                self.cut_at = Some(at);
            }
            // Told before it is done, and a process that is killed does it no more.
            (
                Fault::Kill,
                LogStep::HeaderWritten { .. }
                | LogStep::Renamed
                | LogStep::CutRenamed { .. }
                | LogStep::Hardened { needed: true },
            ) => return false,
            (Fault::Kill, _) => {
                self.is_over = true;
                self.node.kill_process();
            }
            (
                Fault::Sync | Fault::EarlySync,
                LogStep::BatchWritten | LogStep::HeaderWritten { .. } | LogStep::Hardened { needed: true },
            ) => self.disk().fail_next_sync(),
            // Its segment is there already: the next write is that of the batch.
            (Fault::Write | Fault::WriteAndUndo, LogStep::BatchTaken { records, .. })
                if self.used + records <= SLOTS =>
            {
                self.disk().fail_next_write();
                // The undoing is the next thing that is told.
                return self.fault == Fault::Write;
            }
            (Fault::WriteAndUndo, LogStep::WriteFailed) => self.disk().fail_next_sync(),
            _ => return false,
        }
        true
    }
}

/// A number of the log, with a smaller jump.
fn number(lsn: u64) -> u64 {
    let within = lsn % LSN_JUMP;
    assert!(within < JUMP, "a trace has fewer records than a start skips");
    lsn / LSN_JUMP * JUMP + within
}

fn event(step: LogStep) -> String {
    let (name, seen) = match step {
        LogStep::Appended { lsn } => ("Appended", format!(", lsn |-> {}", number(lsn))),
        LogStep::BatchTaken { records, .. } => ("BatchTaken", format!(", records |-> {records}")),
        LogStep::BatchWritten => ("BatchWritten", String::new()),
        LogStep::BatchLanded { through } => ("BatchLanded", format!(", through |-> {}", number(through))),
        LogStep::SyncFailed => ("SyncFailed", String::new()),
        LogStep::WriteFailed => ("WriteFailed", String::new()),
        LogStep::Neutralised => ("Neutralised", String::new()),
        LogStep::NeutraliseFailed => ("NeutraliseFailed", String::new()),
        LogStep::HeaderWritten { generation, first, previous, cut, was } => (
            "HeaderWritten",
            format!(
                ", generation |-> {generation}, first |-> {}, previous |-> {previous}, cut |-> {}, was |-> {was}",
                number(first),
                number(cut)
            ),
        ),
        LogStep::HeaderSynced => ("HeaderSynced", String::new()),
        LogStep::HeaderSyncFailed => ("HeaderSyncFailed", String::new()),
        LogStep::Renamed => ("Renamed", String::new()),
        LogStep::NamesSynced => ("NamesSynced", String::new()),
        LogStep::Noted { generation } => ("Noted", format!(", generation |-> {generation}")),
        LogStep::Folded { position } => ("Folded", format!(", position |-> {}", number(position))),
        LogStep::CutRenamed { generation } => ("CutRenamed", format!(", generation |-> {generation}")),
        LogStep::CutSynced => ("CutSynced", String::new()),
        LogStep::Started { last, next, generation, replayed } => (
            "Started",
            format!(
                ", last |-> {}, next |-> {}, generation |-> {generation}, replayed |-> {replayed}",
                number(last),
                number(next)
            ),
        ),
        LogStep::Hardened { needed } => {
            ("Hardened", format!(", needed |-> {}", if needed { "TRUE" } else { "FALSE" }))
        }
        LogStep::HardenSynced => ("HardenSynced", String::new()),
        LogStep::HardenFailed => ("HardenFailed", String::new()),
        LogStep::SparesAdopted => ("SparesAdopted", String::new()),
    };
    format!("[action |-> \"{name}\"{seen}]")
}

async fn write(store: Store, env: Env, writer: u64, life: u64) {
    for commit in 0..COMMITS {
        let mut tx = store.begin();
        tx.set(format!("{life}/{writer}/{commit:02}"), vec![b'x'; VALUE_BYTES]);
        match tx.commit().await {
            Ok(_) | Err(CommitError::Conflict) => {}
            // A write that failed is over; a store that is poisoned takes no more.
            Err(CommitError::Unavailable(outage)) if !outage.to_string().contains("restart") => {}
            Err(_) => return,
        }
        if env.random_u64().is_multiple_of(3) {
            env.sleep(Duration::from_micros(env.random_u64() % 900_000)).await;
        }
    }
}

/// One life: the store is opened and written to until the fault, or until all is done.
fn live(sim: &Sim, node: &Arc<Node>, env: &Env, number: u64, told: &Arc<Mutex<Life>>) {
    let listener = told.clone();
    let steps = LogSteps::new(move |step| listener.lock().hear(step));
    let life = async {
        let opened = Embedded::open_told(env, Path::new("data").to_owned(), OPTIONS, steps).await;
        // A sync that failed ends a start; the next one begins anew.
        let Ok(backend) = opened else { return };
        let store = Store::from_backend(Arc::new(backend), env.clone());
        let writers = (0..WRITERS).map(|writer| write(store.clone(), env.clone(), writer, number));
        futures::future::join_all(writers).await;
        env.sleep(Duration::from_secs(2)).await;
    };
    sim.block_on(node.while_alive(life));
}

/// The events of one store, and how many records it was given.
fn trace(seed: u64) -> (Vec<String>, u64) {
    let sim = Sim::new(seed);
    let node = Arc::new(sim.node("store"));
    let mut env = node.env();
    let (mut events, mut appended) = (Vec::new(), 0);
    for number in 0..LIVES {
        let drawn = env.random_u64();
        let fault = FAULTS[usize::try_from((seed + number) % FAULTS.len() as u64).expect("one of a few")];
        let told = Arc::new(Mutex::new(Life {
            events: Vec::new(),
            appended: 0,
            until: Some(if fault == Fault::EarlySync { 0 } else { drawn % 80 }),
            fault,
            cut_at: None,
            is_over: false,
            used: 0,
            taken: 0,
            node: node.clone(),
        }));
        live(&sim, &node, &env, number, &told);
        let mut life = told.lock();
        life.is_over = true;
        // What has not ended by itself ends so.
        let by_power =
            node.disk().clear_crash() || life.cut_at.is_some() || (seed + number).is_multiple_of(2);
        let was_killed = fault == Fault::Kill && life.until.is_none();
        if by_power && !was_killed {
            node.kill();
            life.events.push("[action |-> \"PowerCut\"]".to_owned());
        } else {
            node.kill_process();
            life.events.push("[action |-> \"Killed\"]".to_owned());
        }
        events.append(&mut life.events);
        appended += life.appended;
        drop(life);
        env = node.restart();
    }
    (events, appended)
}

/// The traces of these seeds.
pub(crate) fn traces(seeds: Range<u64>) -> Traces {
    let (events, appended): (Vec<_>, Vec<u64>) = seeds.map(trace).unzip();
    let records = appended.into_iter().max().unwrap_or(0);
    let definitions = format!("TraceKeys == 1..{records}\nTraceSlots == {SLOTS}\nTraceJumps == {JUMP}\n");
    Traces { definitions, events }
}
