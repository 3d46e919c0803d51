//! The embedded store under SIGKILL: a process of its own commits from several threads on a
//! real directory and reports what was acknowledged, until it is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::{Env, real};
use kelpie_storage::{AtomicOp, EmbeddedOptions, RangeQuery, Store, StoreConfig};

const KILLS: u64 = 120;
const TASKS: u32 = 4;
const ORDER: &[u8] = b"v/";
/// Names the directory to the child.
const DIR: &str = "KELPIE_TEST_KILL_DIR";

fn config(dir: &Path) -> StoreConfig {
    let options =
        EmbeddedOptions { segment_bytes: 32 << 10, checkpoint_bytes: 40 << 10, cache_bytes: 1 << 20 };
    StoreConfig::Embedded { dir: dir.to_owned(), options }
}

fn last_of(task: u32) -> Bytes {
    Bytes::from(format!("last/{task}"))
}

/// What commit `number` of a task writes beside its number.
fn value(task: u32, number: u32) -> Vec<u8> {
    let len = match number % 29 {
        0 => 100_000,
        1..4 => 9000,
        _ => number % 700,
    };
    vec![(task * 31 + number).to_le_bytes()[0]; len as usize]
}

async fn number(store: &Store, key: &[u8]) -> u32 {
    let value = store.begin().get(key).await.unwrap();
    value.map_or(0, |value| u32::from_be_bytes(value[..].try_into().unwrap()))
}

/// Not a test by itself: the process that the test below kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committing_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let env = real::env();
    let store = Store::open(&config(Path::new(&dir)), &env).await.unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    for task in 0..TASKS {
        let (store, tx) = (store.clone(), tx.clone());
        env.spawn("committer", async move {
            let mut next = number(&store, &last_of(task)).await + 1;
            loop {
                commit(&store, task, next).await;
                tx.send((task, next)).unwrap();
                next += 1;
            }
        });
    }
    while let Some((task, number)) = rx.recv().await {
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {task} {number}").unwrap();
        out.flush().unwrap();
    }
}

async fn commit(store: &Store, task: u32, number: u32) {
    let mut tx = store.begin();
    tx.set(last_of(task), number.to_be_bytes().to_vec());
    tx.set(format!("value/{task}/{}", number % 3), value(task, number));
    tx.atomic(AtomicOp::Add, "sum", u64::from(number).to_le_bytes().to_vec());
    let order = [task.to_be_bytes(), number.to_be_bytes()].concat();
    tx.set_versionstamped_key([ORDER, &[0; 10]].concat(), ORDER.len(), order);
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let mut promised = BTreeMap::new();
    let (mut acknowledged, mut unacknowledged) = (0, 0);
    for kill in 0..KILLS {
        // Some before the store is open, the others in the middle of its work.
        let after = if kill % 8 == 0 { 0 } else { env.random_u64() % 60 };
        let reported = run_and_kill(dir.path(), after);
        acknowledged += reported.len();
        for (task, number) in reported {
            let last = promised.insert(task, number);
            assert!(last.is_none_or(|last| last < number), "kill {kill}: {number} after {last:?}");
        }
        let store = Store::open(&config(dir.path()), &env).await.unwrap();
        unacknowledged += judge(&store, &promised, kill).await;
        for task in 0..TASKS {
            promised.insert(task, number(&store, &last_of(task)).await);
        }
        if kill % 10 == 9 {
            store.close().await.unwrap();
        }
        drop(store);
        released(&env, dir.path()).await;
    }
    println!("{KILLS} kills, {acknowledged} acknowledged, {unacknowledged} there without");
    assert!(acknowledged as u64 > KILLS * 10 && unacknowledged > 0);
}

/// Waits until the tasks of a dropped store have let go of its directory.
async fn released(env: &Env, dir: &Path) {
    while env.disk().lock_dir(dir).is_err() {
        env.sleep(Duration::from_millis(1)).await;
    }
}

/// What it reported until it was killed, about `after` acknowledgements later.
fn run_and_kill(dir: &Path, after: u64) -> Vec<(u32, u32)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::committing_process", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reported = Vec::new();
    while (reported.len() as u64) < after
        && let Some(line) = lines.next()
    {
        reported.extend(report(&line.unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it wrote before its end is in the pipe.
    reported.extend(lines.filter_map(|line| report(&line.unwrap())));
    assert!(reported.len() as u64 >= after, "it ended by itself after {} commits", reported.len());
    reported
}

fn report(line: &str) -> Option<(u32, u32)> {
    // The test harness begins the first line.
    let (_, said) = line.split_once("acknowledged ")?;
    let (task, number) = said.split_once(' ')?;
    Some((task.parse().ok()?, number.parse().ok()?))
}

/// A prefix of whole commits in the order of versions, with all that was promised; returns how
/// many are there that were not.
async fn judge(store: &Store, promised: &BTreeMap<u32, u32>, kill: u64) -> u32 {
    let (mut last, mut sum, mut versions) = (BTreeMap::new(), 0, Vec::new());
    let mut tx = store.begin();
    let mut next = Some(RangeQuery::prefix(ORDER));
    while let Some(query) = next {
        let page = tx.get_range(query).await.unwrap();
        for (key, value) in page.rows {
            versions.push(u64::from_be_bytes(key[ORDER.len()..ORDER.len() + 8].try_into().unwrap()));
            let task = u32::from_be_bytes(value[..4].try_into().unwrap());
            let number = u32::from_be_bytes(value[4..].try_into().unwrap());
            let before = last.insert(task, number).unwrap_or(0);
            assert_eq!(number, before + 1, "kill {kill}: a commit of task {task} is missing or there twice");
            sum += u64::from(number);
        }
        next = page.more;
    }
    // Numbers jump at a start only.
    let hole = versions.windows(2).find(|pair| pair[0] >> 32 == pair[1] >> 32 && pair[0] + 1 != pair[1]);
    assert_eq!(hole, None, "kill {kill}: not a prefix");
    let found =
        tx.get(b"sum").await.unwrap().map_or(0, |sum| u64::from_le_bytes(sum[..].try_into().unwrap()));
    assert_eq!(found, sum, "kill {kill}: a part of a commit");
    let mut more = 0;
    for task in 0..TASKS {
        let there = last.get(&task).copied().unwrap_or(0);
        let must = promised.get(&task).copied().unwrap_or(0);
        assert!(there >= must, "kill {kill}: task {task} was promised {must}, found {there}");
        more += there - must;
        assert_eq!(number(store, &last_of(task)).await, there);
        for number in there.saturating_sub(2).max(1)..=there {
            let key = format!("value/{task}/{}", number % 3);
            let found = tx.get(key.as_bytes()).await.unwrap();
            assert!(found.is_some_and(|found| found == value(task, number)), "kill {kill}: {key}");
        }
    }
    more
}
