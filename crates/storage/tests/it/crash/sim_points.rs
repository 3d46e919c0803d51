//! Power cuts between any two operations of long runs: each run is carried out once, with an
//! image of its disk before every operation, and recovered from each of them.

use std::collections::BTreeSet;

use kelpie_env::sim::{DiskImage, Survived};

use super::*;

const LONG: Load = Load { writers: 6, commits: 45, close: true };
/// Later crashes, while the store recovers or soon after.
const AGAIN: Load = Load { writers: 2, commits: 2, close: false };

/// What else happens during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    None,
    SlowDisk,
    FullDisk,
    FailedSync,
    FailedWrite,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::None, Trouble::FullDisk, Trouble::SlowDisk, Trouble::FailedSync, Trouble::FailedWrite];

/// One run, and its disk before each operation.
pub(super) struct Recording {
    seed: u64,
    trouble: Trouble,
    images: Vec<DiskImage>,
    history: Shared,
}

/// What crashes of a recording met.
#[derive(Debug, Default)]
pub(super) struct Met {
    points: usize,
    recoveries: usize,
    acknowledged: usize,
    troubles: BTreeSet<Trouble>,
    survived: Survived,
    /// Points in the middle of a fold.
    folds: usize,
    unknown: usize,
}

impl Trouble {
    /// Comes over a run, more than once.
    fn befall(self, run: &Run) {
        let (disk, env) = (run.node.disk(), run.node.env());
        if self == Self::SlowDisk {
            disk.set_latency(Duration::from_millis(8));
        }
        env.clone().spawn("trouble", async move {
            let mut next = 60 + env.random_u64() % 200;
            loop {
                while disk.operations() < next {
                    env.sleep(Duration::from_micros(20)).await;
                }
                match self {
                    Self::None | Self::SlowDisk => return,
                    Self::FullDisk => {
                        disk.set_free_space(Some(env.random_u64() % 20_000));
                        env.sleep(Duration::from_millis(30)).await;
                        disk.set_free_space(None);
                    }
                    Self::FailedSync => return disk.fail_next_sync(),
                    Self::FailedWrite => disk.fail_next_write(),
                }
                next = disk.operations() + 50 + env.random_u64() % 300;
            }
        });
    }
}

impl Recording {
    pub(super) fn make(seed: u64, trouble: Trouble) -> Result<Self, Violation> {
        let mut run = Run::new(seed);
        let mut history = History::timed_by(run.node.disk());
        history.gaps = matches!(trouble, Trouble::FullDisk | Trouble::FailedWrite);
        run.history = Arc::new(Mutex::new(history));
        run.node.disk().take_images();
        trouble.befall(&run);
        run.live(run.node.env(), LONG)?;
        let images = run.node.disk().images();
        Ok(Self { seed, trouble, images, history: run.history })
    }

    pub(super) fn points(&self) -> usize {
        self.images.len()
    }

    /// The run as it was before operation number `point`, its disk on a machine of its own.
    fn at(&self, point: usize) -> Run {
        let image = &self.images[point];
        let sim = Sim::new(self.seed << 32 | point as u64);
        let node = sim.node_with_disk("store", image);
        let history = self.history.lock().until(image.operations());
        Run { sim, node, history: Arc::new(Mutex::new(history)) }
    }

    /// Crashes before operation number `point`, and sometimes again and again.
    pub(super) fn crash(&self, point: usize, met: &mut Met) -> Result<(), Violation> {
        let run = self.at(point);
        met.points += 1;
        met.acknowledged += run.history.lock().acknowledged();
        met.folds += usize::from(self.images[point].files().contains(&Path::new(DIR).join("base.folding")));
        // A killed process leaves all that it wrote; then the power fails while its successor
        // starts, or later.
        if point % 7 == 3 {
            run.node.kill_process();
        } else {
            run.node.kill();
        }
        if point.is_multiple_of(4) {
            for load in [AGAIN, Load { writers: 0, ..AGAIN }] {
                let env = run.node.restart();
                let operations = run.node.disk().operations();
                run.node.disk().crash_at(operations + 1 + env.random_u64() % 50);
                run.live(env, load)?;
                run.kill();
                met.recoveries += 1;
            }
        }
        let env = run.node.restart();
        if !point.is_multiple_of(4) {
            // Nothing is left to the readers: what was not replayed yet could not be.
            return run.recover_then_lose_the_log(env, met);
        }
        met.recoveries += 1;
        run.live(env, Load { writers: 0, ..AGAIN })?;
        met.survived = sum(met.survived, run.node.disk().survived());
        Ok(())
    }
}

impl Run {
    /// Recovery ends before the first read: with the log unreadable the store still serves all.
    fn recover_then_lose_the_log(&self, env: Env, met: &mut Met) -> Result<(), Violation> {
        met.recoveries += 1;
        let disk = self.node.disk();
        let work = async {
            let store = kelpie_storage::Store::open(&workload::config(), &env).await;
            let store = store.map_err(|error| Violation::Refused(error.to_string()))?;
            for path in env.disk().list(Path::new(DIR)).unwrap() {
                disk.set_unreadable(&path, path.to_string_lossy().contains("wal-"));
            }
            let rows = workload::all_rows(&mut store.begin()).await;
            let rows = rows.map_err(|error| Violation::Refused(error.to_string()))?;
            self.history.lock().recovered(&rows)
        };
        let judged = self.sim.block_on(work);
        met.survived = sum(met.survived, self.node.disk().survived());
        judged
    }
}

fn sum(a: Survived, b: Survived) -> Survived {
    Survived {
        cuts: a.cuts + b.cuts,
        kept: a.kept + b.kept,
        lost: a.lost + b.lost,
        torn: a.torn + b.torn,
        reordered: a.reordered + b.reordered,
        names_kept: a.names_kept + b.names_kept,
        names_lost: a.names_lost + b.names_lost,
    }
}

/// Crashes at every `step`th point of recordings of `seeds`.
pub(super) fn crash_everywhere(seeds: std::ops::Range<u64>, step: usize) -> Result<Met, String> {
    let mut met = Met::default();
    for seed in seeds {
        let trouble = TROUBLES[usize::try_from(seed).unwrap() % TROUBLES.len()];
        let found = |violation| format!("seed {seed}, {trouble:?}: {violation:?}");
        let recording = Recording::make(seed, trouble).map_err(found)?;
        met.unknown += recording.history.lock().unknown;
        met.troubles.insert(recording.trouble);
        for point in (0..recording.points()).step_by(step) {
            recording.crash(point, &mut met).map_err(|violation| {
                format!("seed {seed}, {trouble:?}, before operation {point}: {violation:?}")
            })?;
        }
    }
    Ok(met)
}

#[test]
fn test_wal_recovery_completeness() {
    let seeds = if full() { 0..100 } else { 0..11 };
    let met = crash_everywhere(seeds, 1).unwrap_or_else(|found| panic!("{found}"));
    println!("{met:?}");
    assert!(met.points >= 10_000, "{} crash points", met.points);
    assert!(met.acknowledged > 100_000 && met.folds > 1000 && met.unknown > 0);
    assert_eq!(met.troubles.len(), TROUBLES.len());
    let Survived { torn, reordered, lost, names_lost, .. } = met.survived;
    assert!(torn > 1000 && reordered > 1000 && lost > 1000 && names_lost > 100, "{:?}", met.survived);
}

/// The log is replayed over and over, from everywhere, with checkpoints of it half made and
/// made, and always says the same.
#[test]
fn test_wal_idempotency() {
    let mut replays = 0;
    for seed in 100..104 {
        let recording = Recording::make(seed, Trouble::None).expect("no violation");
        for point in (0..recording.points()).step_by(47) {
            let run = recording.at(point);
            let mut before: Option<history::Rows> = None;
            for life in 0..6 {
                // A whole recovery, then one that is cut.
                if life % 2 == 0 {
                    run.node.kill_process()
                } else {
                    run.node.kill()
                }
                let env = run.node.restart();
                let rows = run.rows(&env).unwrap_or_else(|found| panic!("seed {seed}, {point}: {found:?}"));
                assert!(before.is_none_or(|before| before == rows), "seed {seed}, operation {point}");
                before = Some(rows);
                run.node.kill();
                let env = run.node.restart();
                run.node.disk().crash_at(run.node.disk().operations() + 1 + env.random_u64() % 30);
                run.live(env, Load { writers: 0, ..AGAIN }).expect("no violation");
                run.node.disk().clear_crash();
                replays += 2;
            }
        }
    }
    println!("{replays} replays");
    assert!(replays > 1000);
}

/// Commits of several keys are there whole or not at all; and whoever compares would see one
/// that is not.
#[test]
fn test_partial_commit_detected() {
    let recording = Recording::make(7, Trouble::None).expect("no violation");
    let mut partial = 0;
    for point in (0..recording.points()).step_by(41) {
        let run = recording.at(point);
        run.node.kill();
        let rows = run.rows(&run.node.restart()).expect("whole commits alone");
        for key in rows.keys().filter(|key| !key.starts_with(history::ORDER)) {
            let mut without = rows.clone();
            without.remove(key);
            let found = run.history.lock().recovered(&without);
            assert!(matches!(found, Err(Violation::WrongState(_))), "without {key:?}: {found:?}");
            partial += 1;
        }
    }
    assert!(partial > 200, "{partial} states with a part of a commit");
}

impl Run {
    /// What a store that has just been opened holds, judged.
    fn rows(&self, env: &Env) -> Result<history::Rows, Violation> {
        let work = async {
            let store = kelpie_storage::Store::open(&workload::config(), env).await;
            let store = store.map_err(|error| Violation::Refused(error.to_string()))?;
            let rows = workload::all_rows(&mut store.begin()).await;
            rows.map_err(|error| Violation::Refused(error.to_string()))
        };
        let rows = self.sim.block_on(work)?;
        self.history.lock().recovered(&rows)?;
        Ok(rows)
    }
}

/// However often it is started and dies, the log does not grow for ever.
#[test]
fn the_log_stays_bounded_over_many_restarts() {
    let run = Run::new(5);
    let mut largest = 0;
    for life in 0..900u64 {
        let env = if life == 0 { run.node.env() } else { run.node.restart() };
        // Most die before they have logged enough for a checkpoint, many before any commit.
        let load = Load { writers: u8::from(life % 5 == 0), commits: 1, close: false };
        run.live(env, load).expect("no violation");
        if life % 3 == 0 {
            run.node.kill()
        } else {
            run.node.kill_process()
        }
        largest = largest.max(run.log_bytes());
    }
    println!("at most {largest} bytes of log");
    // Segments of the usual size, and of the largest values two at a time.
    assert!(largest <= 8 * 8192 + 2 * 108_000, "{largest} bytes of log");
}

impl Run {
    fn log_bytes(&self) -> usize {
        let image = self.node.disk().image();
        let logs = image.files().into_iter().filter(|path| path.to_string_lossy().ends_with(".log"));
        logs.map(|path| image.read(&path).map_or(0, |bytes| bytes.len())).sum()
    }
}
