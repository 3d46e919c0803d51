//! The embedded store under power cuts at every operation of its disk.

mod history;
#[cfg(feature = "mutants")]
mod mutants;
mod sim_damage;
mod sim_lies;
mod sim_points;
mod workload;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::log::frame::{self, Header, RECORDS_BEGIN};
use kelpie_env::sim::{Node, Sim, Survived};
use kelpie_env::{Env, Open};
use kelpie_storage::Stats;
use parking_lot::Mutex;

use history::{History, Violation};
use workload::{DIR, Judged, Load, Shared, live};

const LOAD: Load = Load { writers: 3, commits: 14, close: true };
const LITTLE: Load = Load { writers: 2, commits: 3, close: false };

/// How the first life of a store ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The power is cut at that operation of the disk.
    PowerCut { at: u64 },
    /// It runs to its end, then the power is cut.
    Whole,
    /// An fsync fails after so many operations; the power is cut later.
    SyncFails { at: u64 },
    /// An fsync fails; the process is started anew, shows what it finds, and then the power
    /// is cut.
    SyncFailsAndRestart { at: u64 },
}

/// What a run met.
#[derive(Debug, Default)]
struct Report {
    operations: u64,
    acknowledged: usize,
    unknown: usize,
    stats: Stats,
    survived: Survived,
}

struct Run {
    sim: Sim,
    node: Node,
    history: Shared,
}

impl Run {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let node = sim.node("store");
        Self { sim, node, history: Arc::new(Mutex::new(History::default())) }
    }

    /// One life, as long as the power lasts.
    fn live(&self, env: Env, load: Load) -> Result<(), Violation> {
        self.look_at_records(&env)?;
        let life = live(env, self.history.clone(), load);
        match self.sim.block_on(self.node.while_alive(life)) {
            None | Some(Ok(Judged(Ok(())))) => Ok(()),
            Some(Ok(Judged(Err(violation)))) => Err(violation),
            Some(Err(error)) => Err(Violation::Refused(error.to_string())),
        }
    }

    fn kill(&self) {
        self.node.disk().clear_crash();
        self.node.kill();
    }

    fn report(&self) -> Report {
        let history = self.history.lock();
        Report {
            operations: self.node.disk().operations(),
            acknowledged: history.acknowledged(),
            unknown: history.unknown,
            stats: history.stats,
            survived: self.node.disk().survived(),
        }
    }

    /// Every record on the disk, in whatever segment, whole or cut off: none may bear a
    /// number that another one bore.
    fn look_at_records(&self, env: &Env) -> Result<(), Violation> {
        // What is on the disk must not be told by the bug that is looked for.
        #[cfg(feature = "mutants")]
        let _truth = kelpie_core::mutant::arm("none");
        let disk = env.disk();
        if !disk.exists(Path::new(DIR)).unwrap() {
            return Ok(());
        }
        for path in disk.list(Path::new(DIR)).unwrap() {
            if !path.to_string_lossy().contains("/wal-") {
                continue;
            }
            let file = disk.open(&path, Open::Existing).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            let Ok(header) = Header::decode(&bytes) else { continue };
            for at in (RECORDS_BEGIN..bytes.len()).step_by(frame::ALIGNMENT) {
                if let Some(record) = frame::decode(&bytes, at, header.generation, 0) {
                    self.history.lock().record(record.lsn, crc(record.body))?;
                }
            }
        }
        Ok(())
    }
}

/// A checksum of our own: whoever compares must not ask what is compared.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A first life that ends as told, a restart in which the power fails again, and two that
/// go well: after each, what is there must be right.
fn explore(seed: u64, end: End) -> Result<Report, Violation> {
    let run = Run::new(seed);
    let disk = run.node.disk();
    match end {
        End::PowerCut { at } => disk.crash_at(at),
        End::SyncFails { at } | End::SyncFailsAndRestart { at } => run.fail_sync_at(at),
        End::Whole => {}
    }
    run.live(run.node.env(), LOAD)?;
    let mut first = run.report();
    if let End::SyncFailsAndRestart { .. } = end {
        run.node.kill_process();
        // Without writers it does not get as far as a checkpoint, which would make all durable.
        let writers = if seed.is_multiple_of(2) { 0 } else { LITTLE.writers };
        run.live(run.node.restart(), Load { writers, ..LITTLE })?;
    }
    run.kill();
    first.survived = run.node.disk().survived();
    // The power goes again, somewhere in the recovery or soon after.
    let again = disk.operations() + 1 + seed.wrapping_mul(7) % 60;
    let env = run.node.restart();
    disk.crash_at(again);
    run.live(env, LITTLE)?;
    run.kill();
    for close in [false, true] {
        run.live(run.node.restart(), Load { close, ..LITTLE })?;
        run.kill();
    }
    run.live(run.node.restart(), Load { writers: 0, ..LITTLE })?;
    Ok(first)
}

impl Run {
    /// A task that watches the operations go by.
    fn fail_sync_at(&self, at: u64) {
        let (disk, env) = (self.node.disk(), self.node.env());
        env.clone().spawn("saboteur", async move {
            while disk.operations() < at {
                env.sleep(Duration::from_micros(20)).await;
            }
            disk.fail_next_sync();
        });
    }
}

fn full() -> bool {
    std::env::var_os("KELPIE_TEST_FULL").is_some_and(|value| value != "0")
}

/// The first violation among many runs, with how to repeat it.
fn search(runs: impl IntoIterator<Item = (u64, End)>) -> Result<Vec<Report>, (u64, End, Violation)> {
    runs.into_iter().map(|(seed, end)| explore(seed, end).map_err(|found| (seed, end, found))).collect()
}

/// Every operation of a whole run as a crash point, for each of the seeds.
fn every_operation(seeds: std::ops::Range<u64>, step: usize) -> impl Iterator<Item = (u64, End)> {
    seeds.flat_map(move |seed| {
        let whole = explore(seed, End::Whole).expect("a run without a fault");
        (1..=whole.operations).step_by(step).map(move |at| (seed, End::PowerCut { at }))
    })
}

#[test]
fn sim_a_run_without_faults_meets_what_the_crash_points_need() {
    for seed in 0..4 {
        let Report { stats, operations, acknowledged, .. } = explore(seed, End::Whole).expect("no violation");
        println!("seed {seed}: {operations} operations, {acknowledged} acknowledged, {stats:?}");
        assert!(stats.checkpoints >= 2, "{stats:?}");
        assert!(stats.batches < stats.commits, "no batch of several commits: {stats:?}");
    }
}

#[test]
fn sim_power_cut_at_every_operation() {
    let seeds = if full() { 0..60 } else { 0..1 };
    let reports = search(every_operation(seeds.clone(), 1)).expect("no violation");
    let acknowledged: usize = reports.iter().map(|report| report.acknowledged).sum();
    let torn: u64 = reports.iter().map(|report| report.survived.torn).sum();
    let reordered: u64 = reports.iter().map(|report| report.survived.reordered).sum();
    println!(
        "{} crash points over seeds {seeds:?}: {acknowledged} acknowledged commits, {torn} torn writes, \
         {reordered} reordered",
        reports.len()
    );
    assert!(reports.len() > 200 && acknowledged > 1000 && torn > 100 && reordered > 5);
}

#[test]
fn sim_failed_fsync_at_every_operation() {
    let seeds = if full() { 0..40 } else { 0..3 };
    let whole = explore(0, End::Whole).expect("a run without a fault").operations;
    let runs = seeds.flat_map(|seed| (1..whole).step_by(7).map(move |at| (seed, End::SyncFails { at })));
    let reports = search(runs).expect("no violation");
    let unknown = reports.iter().filter(|report| report.unknown > 0).count();
    println!("{} runs, {unknown} with unknown outcomes", reports.len());
    assert!(unknown > reports.len() / 4, "poisoned in {unknown} of {} runs", reports.len());
}

#[test]
fn sim_failed_fsync_then_another_process_then_power_cut() {
    let seeds = if full() { 0..40 } else { 0..3 };
    let whole = explore(0, End::Whole).expect("a run without a fault").operations;
    let ends = seeds.flat_map(|seed| (1..whole).step_by(7).map(move |at| (seed, at)));
    let reports =
        search(ends.map(|(seed, at)| (seed, End::SyncFailsAndRestart { at }))).expect("no violation");
    println!("{} runs", reports.len());
}
