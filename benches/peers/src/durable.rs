//! Durable counter turns: over HTTP beside Restate, and one after the other beside one
//! `fdatasync`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use kelpie_env::{Env, Open};
use kelpie_machine::section::{median, quantile, show};
use kelpie_storage::StoreConfig;

use crate::engines::{self, Engine};
use crate::{counter, load};

const ROUNDS: usize = 3;
const WARM: Duration = Duration::from_secs(2);
const LASTS: Duration = Duration::from_secs(5);
const CALLERS: [usize; 3] = [1, 32, 128];

const SYNC_ROUNDS: usize = 9;
const SYNCS: u32 = 1_000;
/// Bytes that a turn appends to the log, about.
const LOGGED: usize = 512;

pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = kelpie_env::real::env();
        over_http(&env).await + &beside_a_sync(&env).await
    })
}

/// One contestant with so many callers.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    p50: Vec<Duration>,
    p99: Vec<Duration>,
    server: Vec<Duration>,
    beside: Vec<Duration>,
}

async fn over_http(env: &Env) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut engines = vec![("Kelpie", engines::kelpie(&dir.path().join("kelpie")))];
    if let Some(home) = engines::restate_home() {
        engines.push(("Restate", engines::restate(env, &home, &dir.path().join("restate")).await));
    }
    let mut page = format!(
        "Durable counter turns over HTTP, every caller with a counter and a connection of its own, {} s a round, {ROUNDS} rounds;\n\
         the load generator is on the same machine. Kelpie stands behind one axum route around its typed client; Restate's\n\
         server has its defaults (each commit synced) and its counter is the one of its TypeScript SDK, whose process stands\n\
         apart.\n\n\
         | callers | | turns/s | p50 | p99 | server CPU a turn | SDK CPU a turn |\n|---|---|---|---|---|---|---|\n",
        LASTS.as_secs(),
    );
    let mut notes = String::new();
    for callers in CALLERS {
        let mut figures: Vec<Figures> = engines.iter().map(|_| Figures::default()).collect();
        for (_, engine) in &engines {
            load::run(env, &engine.address, callers, WARM).await;
        }
        for _ in 0..ROUNDS {
            for ((_, engine), figures) in engines.iter().zip(&mut figures) {
                figures.add(env, engine, callers).await;
            }
        }
        for ((name, _), figures) in engines.iter().zip(&figures) {
            let Figures { rate, p50, p99, server, beside } = figures;
            let [p50, p99, server] = [p50, p99, server].map(|times| show(median(times)));
            let beside = if *name == "Kelpie" { "–".to_owned() } else { show(median(beside)) };
            writeln!(
                page,
                "| {callers} | {name} | {:.0} | {p50} | {p99} | {server} | {beside} |",
                median(rate)
            )
            .unwrap();
        }
        if let [kelpie, restate] = &figures[..] {
            let ratios: Vec<f64> =
                kelpie.rate.iter().zip(&restate.rate).map(|(own, other)| own / other).collect();
            writeln!(notes, "With {callers} callers Kelpie's rate is {:.1} × Restate's.", median(&ratios))
                .unwrap();
        }
    }
    if engines.len() == 1 {
        notes.push_str("Restate was not installed: NOT RUN.\n");
    }
    format!("{page}\n{notes}\n")
}

impl Figures {
    async fn add(&mut self, env: &Env, engine: &Engine, callers: usize) {
        let (before, began) = (engine.cpu(), env.now());
        let times = load::run(env, &engine.address, callers, LASTS).await;
        let (after, took) = (engine.cpu(), env.now().saturating_sub(began));
        let turns = u32::try_from(times.len()).unwrap();
        self.rate.push(f64::from(turns) / took.as_secs_f64());
        self.p50.push(quantile(&times, 50));
        self.p99.push(quantile(&times, 99));
        self.server.push(after.0.saturating_sub(before.0) / turns);
        self.beside.push(after.1.saturating_sub(before.1) / turns);
    }
}

/// One caller in the same process, beside a bare write and sync of the same size.
async fn beside_a_sync(env: &Env) -> String {
    let dir = tempfile::tempdir().unwrap();
    let node = counter::node(env, &StoreConfig::embedded(dir.path().join("data")), counter::options()).await;
    let (mut turns, mut syncs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=SYNC_ROUNDS {
        let turn = turns_in_a_row(env, &node).await;
        let sync = syncs_in_a_row(env, &dir.path().join(format!("bare {number}")));
        // The first is to warm up.
        if number > 0 {
            turns.push(turn.0);
            cpu.push(turn.1);
            syncs.push(sync);
        }
    }
    node.drain(Duration::from_secs(5)).await;
    node.store().close().await.unwrap();
    let ratios: Vec<f64> =
        turns.iter().zip(&syncs).map(|(turn, sync)| turn.as_secs_f64() / sync.as_secs_f64()).collect();
    format!(
        "One caller in the node's own process: a typed durable turn takes p50 {}, a write of {LOGGED} B and its `fdatasync`\n\
         {}: {:.2} ×. The process computes {} a turn.\n\n",
        show(median(&turns)),
        show(median(&syncs)),
        median(&ratios),
        show(median(&cpu)),
    )
}

/// p50 of a turn, and what the process computes for one.
async fn turns_in_a_row(env: &Env, node: &kelpie_runtime::Runtime) -> (Duration, Duration) {
    let (done, ended) = tokio::sync::oneshot::channel();
    let (clock, client) = (env.clone(), counter::client(node, "alone"));
    let before = kelpie_machine::cpu(std::process::id());
    env.spawn("caller", async move {
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let began = clock.now();
            client.add(1).await.unwrap();
            times.push(clock.now().saturating_sub(began));
        }
        done.send(times).unwrap();
    });
    let times = ended.await.unwrap();
    (median(&times), kelpie_machine::cpu(std::process::id()).saturating_sub(before) / SYNCS)
}

fn syncs_in_a_row(env: &Env, path: &Path) -> Duration {
    let file = env.disk().open(path, Open::New).unwrap();
    let bytes = vec![7; LOGGED];
    file.write_all_at(&vec![0; LOGGED * SYNCS as usize], 0).unwrap();
    file.sync().unwrap();
    let mut times = Vec::new();
    for number in 0..u64::from(SYNCS) {
        let began = env.now();
        file.write_all_at(&bytes, number * LOGGED as u64).unwrap();
        file.sync().unwrap();
        times.push(env.now().saturating_sub(began));
    }
    env.disk().remove(path).unwrap();
    median(&times)
}
