//! The embedded store at full load for as long as asked, within bounds, with every row known.
//!
//! ```sh
//! cargo run --release -p kelpie-storage --example soak -- --minutes 30 --dir ./soak-data
//! ```
//!
//! Writers own slots: each knows what its slots hold and changes them by inserts, overwrites,
//! large values and range clears. Readers compare slots with what their writers hold for
//! acknowledged, and scan. Every ten seconds a line of numbers; at the end the store is
//! closed, opened again, and every row compared. It ends with exit code 1 when a row is wrong
//! or lost, or when memory or disk leave their bounds.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
#![expect(clippy::disallowed_methods, reason = "it stands beside the seam, as an operator does")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::{Env, real};
use kelpie_storage::{CommitError, EmbeddedOptions, RangeQuery, RowList, Store, StoreConfig, Transaction};
use parking_lot::Mutex;

/// Each keeps its slots to itself, so that it knows what they hold.
const WRITERS: usize = 64;
const READERS: usize = 4;
/// Slots of one writer: the live set is bounded by them.
const SLOTS: usize = 512;
/// Most values; they mimic rows of an agent.
const VALUE_BYTES: u64 = 400;
/// One change in so many writes a value close to the contract's limit.
const LARGE_EVERY: u64 = 200;
const LARGE_BYTES: u64 = 90_000;
/// One change in so many clears a range of slots.
const CLEAR_EVERY: u64 = 300;
const CLEAR_SLOTS: usize = 32;
/// Between two lines of numbers.
const PERIOD: Duration = Duration::from_secs(10);
/// What a process without a store, its threads and the allocator may take.
const RSS_FIXED: u64 = 256 << 20;

struct Arguments {
    minutes: u64,
    dir: PathBuf,
}

/// What slots hold: the version number of the value, zero for none, and its length.
type Slots = Vec<(u64, u64)>;

struct Soak {
    env: Env,
    store: Store,
    slots: Vec<Mutex<Slots>>,
    stop: AtomicBool,
    commits: AtomicU64,
    reads: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("soak: {problem}\nusage: soak --minutes N --dir DIRECTORY (which must not exist)");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("soak: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let env = real::env_on(runtime.handle());
    match runtime.block_on(run(arguments, env)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("soak: FAILED: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let (mut minutes, mut dir) = (None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--minutes" => {
                minutes = Some(value.parse().map_err(|_| format!("--minutes {value}: no number"))?)
            }
            "--dir" => dir = Some(PathBuf::from(value)),
            _ => return Err(format!("{word} is not known")),
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    if dir.exists() {
        return Err(format!("{} exists", dir.display()));
    }
    Ok(Arguments { minutes: minutes.ok_or("--minutes is missing")?, dir })
}

async fn run(arguments: Arguments, env: Env) -> Result<(), String> {
    let Arguments { minutes, dir } = arguments;
    let options = EmbeddedOptions::default();
    let config = StoreConfig::Embedded { dir: dir.clone(), options };
    let store = Store::open(&config, &env).await.map_err(|error| error.to_string())?;
    let slots = (0..WRITERS).map(|_| Mutex::new(vec![(0, 0); SLOTS])).collect();
    let soak = Arc::new(Soak {
        env: env.clone(),
        store,
        slots,
        stop: AtomicBool::new(false),
        commits: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        wrong: Mutex::default(),
    });
    let writers = (0..WRITERS).map(|writer| tokio::spawn(soak.clone().write(writer)));
    let readers = (0..READERS).map(|reader| tokio::spawn(soak.clone().read(reader)));
    let tasks: Vec<_> = writers.chain(readers).collect();
    let watched = soak.watch(&dir, Duration::from_secs(minutes * 60), Bounds::of(options)).await;
    soak.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.map_err(|error| error.to_string())?;
    }
    watched?;
    soak.verdict()?;
    soak.store.close().await.map_err(|error| error.to_string())?;
    println!("closed; opening again to compare every row");
    let again = Store::open(&config, &env).await.map_err(|error| error.to_string())?;
    soak.compare_all(&again).await?;
    again.close().await.map_err(|error| error.to_string())?;
    println!("passed: {} commits, {} reads", count(&soak.commits), count(&soak.reads));
    Ok(())
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn key(writer: usize, slot: usize) -> Bytes {
    Bytes::from(format!("soak/{writer:04}/{slot:06}"))
}

fn below(draw: u64, bound: usize) -> usize {
    usize::try_from(draw % bound as u64).expect("it is below a usize")
}

/// What a slot holds at a version: the number, repeated.
fn value(number: u64, length: u64) -> Vec<u8> {
    number.to_be_bytes().iter().copied().cycle().take(usize::try_from(length).unwrap_or(8)).collect()
}

impl Soak {
    fn running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn found(&self, what: String) {
        let mut wrong = self.wrong.lock();
        if wrong.len() < 20 {
            wrong.push(what);
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn verdict(&self) -> Result<(), String> {
        let wrong = self.wrong.lock();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Changes the slots of one writer, each time in a transaction that reads one of them.
    async fn write(self: Arc<Self>, writer: usize) {
        let mut number = 0;
        while self.running() {
            number += 1;
            let draw = self.env.random_u64();
            let slot = below(draw, SLOTS);
            let mut tx = self.store.begin();
            match tx.get(&key(writer, slot)).await {
                Ok(found) => self.compare(writer, slot, found.as_deref()),
                Err(error) => {
                    self.found(format!("a read failed: {error}"));
                    return;
                }
            }
            let changes = Self::change(&mut tx, writer, slot, number, draw / SLOTS as u64);
            match tx.commit().await {
                Ok(_) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    let mut slots = self.slots[writer].lock();
                    changes.into_iter().for_each(|(slot, held)| slots[slot] = held);
                }
                // More than the disk takes: what an overloaded store answers.
                Err(CommitError::Unavailable(_)) => self.env.sleep(Duration::from_millis(5)).await,
                Err(error) => self.found(format!("a commit of a writer's own slots failed: {error}")),
            }
        }
    }

    /// Writes into a transaction; says what the slots hold once it is committed.
    fn change(
        tx: &mut Transaction,
        writer: usize,
        slot: usize,
        number: u64,
        draw: u64,
    ) -> Vec<(usize, (u64, u64))> {
        if draw.is_multiple_of(CLEAR_EVERY) {
            let end = (slot + CLEAR_SLOTS).min(SLOTS);
            tx.clear_range(key(writer, slot), key(writer, end));
            return (slot..end).map(|slot| (slot, (0, 0))).collect();
        }
        let length = if draw.is_multiple_of(LARGE_EVERY) { LARGE_BYTES } else { VALUE_BYTES };
        let other = (slot + 1) % SLOTS;
        let mut held = Vec::new();
        for (slot, length) in [(slot, length), (other, VALUE_BYTES / 4)] {
            tx.set(key(writer, slot), value(number, length));
            held.push((slot, (number, length)));
        }
        held
    }

    /// Called by a slot's own writer, so nothing is in flight.
    fn compare(&self, writer: usize, slot: usize, found: Option<&[u8]>) {
        let (number, length) = self.slots[writer].lock()[slot];
        let expected = (number > 0).then(|| value(number, length));
        if found != expected.as_deref() {
            let found =
                found.map(|found| (found.len(), found.first_chunk::<8>().copied().map(u64::from_be_bytes)));
            self.found(format!(
                "slot {writer}/{slot}: expected number {number} of {length} B, found {found:?}"
            ));
        }
    }

    /// Reads slots of all writers: a slot is never older than what was acknowledged before.
    async fn read(self: Arc<Self>, reader: usize) {
        while self.running() {
            // A scan in memory never waits, so nobody else would get this thread.
            tokio::task::yield_now().await;
            let draw = self.env.random_u64();
            let writer = below(draw, WRITERS);
            let slot = below(draw / WRITERS as u64, SLOTS);
            let acknowledged = self.slots[writer].lock()[slot].0;
            let mut tx = self.store.begin();
            let query = RangeQuery::new(key(writer, slot), key(writer, SLOTS)).limit(50 * (reader + 1));
            match tx.get_range(query).await {
                Ok(page) => {
                    self.reads.fetch_add(page.rows.len() as u64, Ordering::Relaxed);
                    self.compare_page(writer, slot, acknowledged, &page.rows);
                }
                Err(error) => self.found(format!("a scan failed: {error}")),
            }
        }
    }

    fn compare_page(&self, writer: usize, slot: usize, acknowledged: u64, rows: &RowList) {
        for (name, held) in rows {
            let number = held.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes);
            if *held != value(number, held.len() as u64) {
                self.found(format!("{}: torn value", String::from_utf8_lossy(name)));
            }
            if *name == key(writer, slot) && number < acknowledged {
                self.found(format!(
                    "slot {writer}/{slot}: {number} although {acknowledged} was acknowledged"
                ));
            }
        }
        if !rows.iter().is_sorted_by(|a, b| a.0 < b.0) {
            self.found(format!("a scan of writer {writer} is out of order"));
        }
    }

    async fn compare_all(&self, store: &Store) -> Result<(), String> {
        let mut rows = 0;
        for writer in 0..WRITERS {
            for slot in 0..SLOTS {
                let found = store.begin().get(&key(writer, slot)).await.map_err(|error| error.to_string())?;
                rows += u64::from(found.is_some());
                self.compare(writer, slot, found.as_deref());
            }
        }
        let mut tx = store.begin();
        let (mut counted, mut query) = (0, Some(RangeQuery::prefix(b"soak/")));
        while let Some(next) = query {
            let page = tx.get_range(next).await.map_err(|error| error.to_string())?;
            counted += page.rows.len() as u64;
            query = page.more;
        }
        if counted != rows {
            self.found(format!("{counted} rows by scanning, {rows} one by one"));
        }
        println!("{rows} rows compared");
        self.verdict()
    }

    /// Prints numbers, and ends early when they leave their bounds.
    async fn watch(&self, dir: &Path, time: Duration, bounds: Bounds) -> Result<(), String> {
        let began = self.env.now();
        let (mut commits, mut reads) = (0, 0);
        let mut peak = Numbers::default();
        println!("bounds: {bounds:?}");
        while self.running() && self.env.now() - began < time {
            self.env.sleep(PERIOD).await;
            let (new_commits, new_reads) = (count(&self.commits), count(&self.reads));
            let numbers = Numbers::now(&self.store, dir).await?;
            peak = peak.max(numbers);
            println!(
                "{:5} s  {:6} commits/s  {:7} rows read/s  rss {:4} MiB  disk {:4} MiB  log {:4} MiB  \
                 memtable {:4} MiB  checkpoints {}",
                (self.env.now() - began).as_secs(),
                (new_commits - commits) / PERIOD.as_secs(),
                (new_reads - reads) / PERIOD.as_secs(),
                numbers.rss >> 20,
                numbers.disk >> 20,
                numbers.log >> 20,
                numbers.memtable >> 20,
                self.store.stats().checkpoints,
            );
            if new_commits == commits {
                return Err(format!("no commit within {PERIOD:?}"));
            }
            (commits, reads) = (new_commits, new_reads);
            bounds.check(numbers)?;
        }
        let Numbers { rss, disk, log, memtable } = peak;
        println!(
            "peaks: rss {} MiB, disk {} MiB, log {} MiB, memtable {} MiB",
            rss >> 20,
            disk >> 20,
            log >> 20,
            memtable >> 20
        );
        Ok(())
    }
}

/// What must not grow without end, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    rss: u64,
    disk: u64,
    log: u64,
    memtable: u64,
}

impl Numbers {
    async fn now(store: &Store, dir: &Path) -> Result<Self, String> {
        let (own, stats) = (dir.to_owned(), store.stats());
        let disk = tokio::task::spawn_blocking(move || directory_bytes(&own));
        let disk = disk.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let rss = rss().map_err(|error| error.to_string())?;
        Ok(Self { rss, disk, log: stats.log_bytes, memtable: stats.memtable_bytes })
    }

    fn max(self, other: Self) -> Self {
        Self {
            rss: self.rss.max(other.rss),
            disk: self.disk.max(other.disk),
            log: self.log.max(other.log),
            memtable: self.memtable.max(other.memtable),
        }
    }
}

/// Where the numbers have to stay, from what the store's options say.
#[derive(Debug, Clone, Copy)]
struct Bounds(Numbers);

impl Bounds {
    fn of(options: EmbeddedOptions) -> Self {
        // Every slot with a large value cannot be; one in a hundred is far more than drawn.
        let slots = (WRITERS * SLOTS) as u64;
        let live = slots * (VALUE_BYTES + 64) + slots / 100 * LARGE_BYTES;
        // Commits go on while a checkpoint is made: it may begin late and end late.
        let log = 4 * options.checkpoint_bytes + 4 * options.segment_bytes;
        let memtable = 2 * log;
        let cache = options.cache_bytes as u64;
        // The base holds the live set, copies of what one fold rewrites, and half-empty pages;
        // redb doubles its file when it grows.
        let disk = log + 2 * options.segment_bytes + 8 * (live + options.checkpoint_bytes);
        Self(Numbers { rss: RSS_FIXED + cache + 2 * memtable, disk, log, memtable })
    }

    fn check(&self, numbers: Numbers) -> Result<(), String> {
        let Self(bound) = self;
        for (what, is, may) in [
            ("resident memory", numbers.rss, bound.rss),
            ("the directory", numbers.disk, bound.disk),
            ("the log", numbers.log, bound.log),
            ("the memtable", numbers.memtable, bound.memtable),
        ] {
            if is > may {
                return Err(format!("{what} has {} MiB, its bound is {} MiB", is >> 20, may >> 20));
            }
        }
        Ok(())
    }
}

/// A file may go between its listing and the look at it.
fn directory_bytes(dir: &Path) -> std::io::Result<u64> {
    let entries = std::fs::read_dir(dir)?;
    Ok(entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|meta| meta.len()).sum())
}

/// Resident memory of this process, as Linux tells it.
fn rss() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| std::io::Error::other("no VmRSS in /proc/self/status"))
}
