//! Transactions that read every key and write one, beside checkpoints, for `KelpieTransaction` and
//! `KelpieCheckpoint`.
//!
//! A version is told as its place among the commits that were not refused or lost. In each life
//! the process is killed, or a write of the log fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};
use kelpie_storage::{CommitError, Embedded, EmbeddedOptions, LogStep, LogSteps, Store};
use parking_lot::Mutex;

use crate::Traces;

/// Small, so that checkpoints happen beside the transactions.
const OPTIONS: EmbeddedOptions =
    EmbeddedOptions { segment_bytes: 16_384, checkpoint_bytes: 6_000, cache_bytes: 1 << 20 };
const VALUE_BYTES: usize = 600;
const KEYS: u64 = 3;
const WRITERS: u64 = 3;
const COMMITS: u64 = 4;
const LIVES: u64 = 3;

/// A store as it is told.
struct Told {
    events: Vec<String>,
    /// The numbers of the commits that are in the log, oldest first, and how many are durable.
    log: Vec<u64>,
    synced: usize,
    /// Where in the log each transaction is.
    place: BTreeMap<u64, usize>,
    begun: u64,
    /// Which transaction is being committed.
    current: u64,
    /// Steps until the fault, and whether it kills.
    until: Option<u64>,
    kills: bool,
    is_over: bool,
    lives: u64,
    node: Arc<Node>,
}

impl Told {
    fn say(&mut self, event: impl Into<String>) -> usize {
        if !self.is_over {
            self.events.push(event.into());
        }
        self.events.len() - 1
    }

    fn hear(&mut self, step: LogStep) {
        if self.is_over {
            return;
        }
        if let LogStep::Started { last, .. } = step {
            self.log.retain(|lsn| *lsn <= last);
            self.synced = self.log.len();
            if self.lives > 0 {
                self.say(format!("[action |-> \"Crashed\", left |-> {}]", self.log.len()));
            }
        } else if let LogStep::Appended { lsn } = step {
            self.log.push(lsn);
            let (current, place) = (self.current, self.log.len());
            self.place.insert(current, place);
            let key = current % KEYS;
            self.say(format!(
                "[action |-> \"Resolved\", tx |-> {current}, key |-> {key}, place |-> {place}]"
            ));
        } else if let LogStep::BatchTaken { .. } = step {
            self.say(format!("[action |-> \"BatchTaken\", through |-> {}]", self.log.len()));
        } else if let LogStep::BatchLanded { through } = step {
            self.synced = self.log.iter().filter(|lsn| **lsn <= through).count();
            self.say(format!("[action |-> \"Landed\", through |-> {}]", self.synced));
        } else if let LogStep::Folded { position } = step {
            let place = self.log.iter().filter(|lsn| **lsn <= position).count();
            self.say(format!("[action |-> \"Folded\", place |-> {place}]"));
        } else if let LogStep::Neutralised = step {
            self.log.truncate(self.synced);
            self.say("[action |-> \"BatchRefused\"]");
        }
        let is_due = self.until.is_some_and(|steps| steps == 0);
        self.until = self.until.map(|steps| steps.saturating_sub(1));
        if !is_due {
            return;
        }
        let is_step =
            matches!(step, LogStep::Appended { .. } | LogStep::BatchWritten | LogStep::BatchLanded { .. });
        if self.kills && is_step {
            self.until = None;
            self.is_over = true;
            self.node.kill_process();
        } else if let (false, LogStep::Noted { .. } | LogStep::BatchLanded { .. }) = (self.kills, step) {
            // A mark, which may fail, and then a batch, unless it needs a segment.
            self.until = None;
            self.node.disk().fail_next_write();
        }
    }
}

async fn work(store: Store, env: Env, told: Arc<Mutex<Told>>) {
    for _ in 0..COMMITS {
        let mut tx = store.begin();
        let (number, slot) = {
            let mut told = told.lock();
            told.begun += 1;
            let number = told.begun;
            (number, told.say(format!("[action |-> \"Began\", tx |-> {number}, seen |-> <<>>]")))
        };
        // The snapshot is of this moment: nothing else has run since it was told.
        let mut seen = Vec::new();
        if tx.fix_version().await.is_err() {
            return;
        }
        for key in 0..KEYS {
            let Ok(value) = tx.get(key.to_string().as_bytes()).await else { return };
            let writer = value.map_or(0, |value| {
                let digits: String = value.iter().map(|byte| char::from(*byte)).take(8).collect();
                digits.parse().expect("eight digits")
            });
            let mut told = told.lock();
            let place = told.place.get(&writer).copied().unwrap_or(0);
            told.say(format!("[action |-> \"Read\", tx |-> {number}, key |-> {key}, place |-> {place}]"));
            seen.push(place.to_string());
        }
        {
            let mut told = told.lock();
            if !told.is_over {
                let seen = seen.join(", ");
                told.events[slot] = format!("[action |-> \"Began\", tx |-> {number}, seen |-> <<{seen}>>]");
            }
        }
        if env.random_u64().is_multiple_of(2) {
            env.sleep(Duration::from_micros(env.random_u64() % 3_000)).await;
        }
        tx.set((number % KEYS).to_string(), format!("{number:08}{}", "x".repeat(VALUE_BYTES)));
        let committing = tx.commit();
        told.lock().current = number;
        match committing.await {
            Ok(_) => drop(told.lock().say(format!("[action |-> \"Committed\", tx |-> {number}]"))),
            Err(CommitError::Conflict) => {
                told.lock().say(format!("[action |-> \"Conflicted\", tx |-> {number}, old |-> FALSE]"));
            }
            Err(CommitError::TooOld) => {
                told.lock().say(format!("[action |-> \"Conflicted\", tx |-> {number}, old |-> TRUE]"));
            }
            Err(_) => {}
        }
        told.lock().say(format!("[action |-> \"Closed\", tx |-> {number}]"));
        if env.random_u64().is_multiple_of(4) {
            env.sleep(Duration::from_micros(env.random_u64() % 700_000)).await;
        }
    }
}

/// The events of one store, and how many transactions were begun.
fn trace(seed: u64) -> (Vec<String>, u64) {
    let sim = Sim::new(seed);
    let node = Arc::new(sim.node("store"));
    let mut env = node.env();
    let told = Arc::new(Mutex::new(Told {
        events: Vec::new(),
        log: Vec::new(),
        synced: 0,
        place: BTreeMap::new(),
        begun: 0,
        current: 0,
        until: None,
        kills: false,
        is_over: false,
        lives: 0,
        node: node.clone(),
    }));
    for life in 0..LIVES {
        {
            let mut told = told.lock();
            told.until = Some(env.random_u64() % 40);
            told.kills = !(seed + life).is_multiple_of(3);
            (told.is_over, told.lives) = (false, life);
        }
        let listener = told.clone();
        let steps = LogSteps::new(move |step| listener.lock().hear(step));
        let all = async {
            let opened = Embedded::open_told(&env, Path::new("data").to_owned(), OPTIONS, steps).await;
            let Ok(backend) = opened else { return };
            let store = Store::from_backend(Arc::new(backend), env.clone());
            let works = (0..WRITERS).map(|_| work(store.clone(), env.clone(), told.clone()));
            futures::future::join_all(works).await;
        };
        sim.block_on(node.while_alive(all));
        told.lock().is_over = true;
        node.kill_process();
        env = node.restart();
    }
    let told = told.lock();
    (told.events.clone(), told.begun)
}

/// The traces of these seeds.
pub(crate) fn traces(seeds: Range<u64>) -> Traces {
    let (events, begun): (Vec<_>, Vec<u64>) = seeds.map(trace).unzip();
    let most = begun.into_iter().max().unwrap_or(0);
    let definitions = format!(
        "TraceTxs == 1..{most}\nTraceVersions == {most}\nTraceKeys == 0..{}\nTraceWrites == [t \\in TraceTxs |-> t % {KEYS}]\n",
        KEYS - 1
    );
    Traces { definitions, events }
}
