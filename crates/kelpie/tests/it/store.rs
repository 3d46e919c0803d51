//! `kelpie store …` on real directories, beside real servers, and killed in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kelpie_core::row;
use kelpie_storage::{Store, StoreConfig};
use serde_json::Value;

use crate::process::{Plan, client, create_agent, kelpie, output, post, run, says, text};

const LIMIT: Duration = Duration::from_secs(120);
/// Large enough that a command can be met in the middle of it.
const LARGE_ROWS: u32 = 900;

/// Runs `kelpie store …`; its exit code and everything that it said.
async fn store(args: &[&str]) -> (i32, String, String) {
    let mut command = kelpie(&["store"]);
    command.args(args);
    let ended = output(command, LIMIT).await;
    (ended.status.code().expect("it ended by itself"), text(&ended.stdout), text(&ended.stderr))
}

/// The JSON of a command that succeeds.
async fn answer(args: &[&str]) -> Value {
    let (code, out, err) = store(&[args, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn url(dir: &Path) -> String {
    format!("embedded:{}", dir.display())
}

fn words(path: &Path) -> &str {
    path.to_str().expect("a path of the test")
}

/// A store with rows, closed.
async fn filled(dir: &Path, rows: u32) {
    let store =
        Store::open(&StoreConfig::embedded(dir), &kelpie_env::real::env()).await.expect("a new store");
    for n in 0..rows {
        let mut tx = store.begin();
        tx.set(format!("row/{n:06}"), vec![n.to_be_bytes()[3]; 90_000]);
        tx.commit().await.expect("room");
    }
    store.close().await.expect("closed");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).expect("writable");
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_running_server_is_backed_up_and_its_agents_live_on_elsewhere() {
    let place = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(place.path()).await;
    let server = plan.start().await;
    let (http, at) = (client(), plan.url());
    let agent = create_agent(&http, &at, "ada", &[]).await;
    let messages = format!("{at}/v1/agents/{agent}/messages");
    let (status, _) = post(&http, &messages, "m-1", &says("hello")).await.expect("an answer");
    assert_eq!(status, 200);

    let stats = answer(&["stats", "--server", &at]).await;
    assert_eq!(stats["backend"], "embedded");
    assert!(stats["commits"].as_u64() > Some(0) && stats["generation"].is_string(), "{stats}");
    let generation = stats["generation"].clone();
    let file = place.path().join("backup");
    let made = answer(&["backup", words(&file), "--server", &at]).await;
    assert!(
        made["rows"].as_u64() > Some(3)
            && made["version"].as_u64() <= stats["version"].as_u64().map(|v| v + 99)
    );
    let folded = answer(&["checkpoint", "--server", &at]).await;
    assert!(folded["checkpoint"].as_u64() >= made["version"].as_u64(), "{folded}");
    let (code, dump, err) = store(&["dump", "--server", &at, "--prefix", "own/default/agent/"]).await;
    assert!(code == 0 && dump.starts_with(&format!("own/default/agent/{agent}  ")), "{dump}{err}");

    for command in
        [&["check"][..], &["stats"], &["dump"], &["backup", "x"], &["compact"], &["restore", words(&file)]]
    {
        let (code, out, err) = store(&[command, &["--store", &plan.store()]].concat()).await;
        assert_eq!(code, 6, "{command:?}: {out}{err}");
        assert!(err.contains(&format!("kelpie (pid {})", server.pid())) && err.contains("--server"), "{err}");
    }
    server.kill().await;

    let elsewhere = tempfile::tempdir().expect("a directory");
    let other = Plan::new(elsewhere.path()).await;
    let restored = answer(&["restore", words(&file), "--store", &other.store()]).await;
    assert_eq!(restored["rows_digest"], made["rows_digest"]);
    let checked = answer(&["check", "--store", &other.store()]).await;
    assert_eq!(checked["rows_digest"], made["rows_digest"]);
    let stats = answer(&["stats", "--store", &other.store()]).await;
    assert_eq!(stats["generation"], restored["generation"]);
    assert_ne!(stats["generation"], generation, "another life of the store");
    let server = other.start().await;
    let history = crate::process::get(&http, &format!("{}/v1/agents/{agent}/messages", other.url())).await;
    assert!(history.to_string().contains("hello"), "{history}");
    server.kill().await;
}

#[tokio::test]
async fn a_killed_backup_leaves_no_backup() {
    let place = tempfile::tempdir().expect("a directory");
    let (dir, file) = (place.path().join("data"), place.path().join("backup"));
    filled(&dir, LARGE_ROWS).await;
    let mut child =
        kelpie(&["store", "backup", words(&file), "--store", &url(&dir)]).spawn().expect("it starts");
    let partial = loop {
        let found =
            listed(place.path()).into_iter().find(|path| path.extension().is_some_and(|e| e == "partial"));
        let begun = found.filter(|path| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 1 << 20));
        if let Some(partial) = begun {
            break partial;
        }
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it could be killed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    child.kill().await.expect("a child");
    assert!(!file.exists(), "half a backup has its name");
    let target = place.path().join("target");
    let (code, _, err) = store(&["restore", words(&partial), "--store", &url(&target)]).await;
    assert!(code == 8 && err.contains("cut off"), "{code} {err}");
    assert!(!target.exists());
    let made = answer(&["backup", words(&file), "--store", &url(&dir)]).await;
    assert_eq!(made["rows"], LARGE_ROWS);
    assert!(!partial.exists(), "what the killed one left has gone");
    let (code, _, err) = store(&["backup", words(&file), "--store", &url(&dir)]).await;
    assert!(code == 2 && err.contains("exists"), "{code} {err}");
}

#[tokio::test]
async fn a_killed_restore_leaves_no_store() {
    let place = tempfile::tempdir().expect("a directory");
    let (dir, file) = (place.path().join("data"), place.path().join("backup"));
    let (target, half) = (place.path().join("target"), place.path().join("target.restoring"));
    filled(&dir, LARGE_ROWS).await;
    let made = answer(&["backup", words(&file), "--store", &url(&dir)]).await;
    for bytes in [0, 20 << 20, 60 << 20] {
        let mut child =
            kelpie(&["store", "restore", words(&file), "--store", &url(&target)]).spawn().expect("it starts");
        loop {
            if std::fs::metadata(half.join("base.new")).is_ok_and(|meta| meta.len() >= bytes) {
                break;
            }
            assert!(child.try_wait().expect("a child").is_none(), "it ended before it could be killed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.kill().await.expect("a child");
        assert!(!target.exists(), "half a store has its name");
        let (code, _, err) = store(&["check", "--store", &url(&half)]).await;
        assert!(code == 6 && err.contains("format"), "{code} {err}");
        let serve = run(&["serve", "--listen", "127.0.0.1:0", "--store", &url(&half)]).await;
        assert_eq!(serve.status.code(), Some(6), "{}", text(&serve.stderr));
    }
    let restored = answer(&["restore", words(&file), "--store", &url(&target)]).await;
    assert_eq!(restored["rows_digest"], made["rows_digest"]);
    assert_eq!(answer(&["check", "--store", &url(&target)]).await["rows_digest"], made["rows_digest"]);
    assert!(!half.exists());
}

#[tokio::test]
async fn damage_is_told_and_never_spread() {
    let place = tempfile::tempdir().expect("a directory");
    let (dir, file) = (place.path().join("data"), place.path().join("backup"));
    filled(&dir, 60).await;
    let sound = answer(&["check", "--store", &url(&dir)]).await;
    assert!(sound["ok"] == true && sound["rows"] == 60, "{sound}");
    answer(&["backup", words(&file), "--store", &url(&dir)]).await;

    flip(&file, 3_000_000);
    let target = place.path().join("target");
    for args in [&["restore"][..], &["restore", "--verify"]] {
        let (code, _, err) = store(&[args, &[words(&file), "--store", &url(&target)]].concat()).await;
        assert!(code == 8 && err.contains("damaged at byte"), "{code} {err}");
    }
    flip(&file, 3_000_000);
    flip(&file, 8);
    let (code, _, err) = store(&["restore", words(&file), "--store", &url(&target)]).await;
    assert!(code == 8 && err.contains("use the Kelpie version that wrote it"), "{code} {err}");
    assert!(!target.exists());

    // Somewhere in the values.
    let base = dir.join("base.redb");
    let bytes = std::fs::read(&base).expect("readable");
    let value = bytes.windows(64).position(|window| window == [7; 64]).expect("row 7");
    flip(&base, value);
    let (code, out, _) = store(&["check", "--store", &url(&dir), "--json"]).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == 6 && report["ok"] == false, "{report}");
    assert_eq!(report["findings"][0]["file"], words(&base));
    assert!(report["findings"][0]["offset"].is_u64(), "{report}");
    let other = place.path().join("other");
    let (code, _, err) = store(&["backup", words(&other), "--store", &url(&dir)]).await;
    assert!(code == 6 && err.contains("is damaged at byte"), "{code} {err}");
    assert!(!other.exists() && listed(place.path()).len() == 2, "{:?}", listed(place.path()));
}

#[tokio::test]
async fn rows_are_dumped_for_people_and_for_scripts() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("data");
    filled(&dir, 3).await;
    let (code, out, _) = store(&["dump", "--store", &url(&dir), "--limit", "2"]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert!(code == 0 && lines.len() == 2, "{out}");
    assert_eq!(lines[1], format!("row/000001  90000 B  {}…", "01".repeat(32)));
    let (_, out, _) =
        store(&["dump", "--store", &url(&dir), "--prefix", "row/000002", "--json", "--full"]).await;
    let row: Value = serde_json::from_str(&out).expect("one line of JSON");
    assert_eq!(row["value_hex"], "02".repeat(90_000));
    assert!(row["cut"] == false && row["key"] == "row/000002", "{}", row["key"]);
    let (_, out, _) = store(&["dump", "--store", &url(&dir), "--prefix", "own/"]).await;
    assert_eq!(out, "");
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let place = tempfile::tempdir().expect("a directory");
    let (dir, nowhere) = (place.path().join("data"), url(&place.path().join("nowhere")));
    filled(&dir, 1).await;
    let file = place.path().join("backup");
    answer(&["backup", words(&file), "--store", &url(&dir)]).await;
    let other = place.path().join("other");
    std::fs::write(&other, "not a backup at all").expect("writable");
    let missing = place.path().join("missing");
    for (args, code, said) in [
        (&["check", "--store", &nowhere][..], 6, "there is no store at"),
        (&["stats", "--store", &nowhere], 6, "there is no store at"),
        (&["compact", "--store", &nowhere], 6, "there is no store at"),
        (&["stats", "--store", "memory:"], 2, "--server URL"),
        (&["check", "--store", "memory:"], 2, "no files to check"),
        (&["compact", "--store", "memory:"], 2, "no files to compact"),
        (&["compact", "--server", "http://127.0.0.1:1"], 2, "kelpie store checkpoint --server"),
        (&["checkpoint", "--server", "http://127.0.0.1:1"], 3, "no answer"),
        (&["stats", "--store", "redis://x"], 2, "is not a store"),
        (&["stats", "--server", "http://127.0.0.1:1"], 3, "no answer"),
        (&["restore", words(&file), "--store", "memory:"], 2, "embedded:<directory>"),
        (&["restore", words(&file), "--store", &url(&dir)], 6, "does not exist yet"),
        (&["restore", words(&other), "--store", &nowhere], 8, "no backup of a Kelpie store"),
        (&["restore", words(&missing), "--store", &nowhere], 1, "missing"),
    ] {
        let (exit, out, err) = store(args).await;
        assert!(exit == code && err.contains(said), "{args:?}: {exit} {out}{err}");
    }
    assert_eq!(listed(place.path()), [file, dir, other], "something was made");
}

#[tokio::test]
async fn compacting_says_what_it_gained() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("data");
    filled(&dir, 200).await;
    let store = Store::open(&StoreConfig::embedded(&dir), &kelpie_env::real::env()).await.expect("opens");
    let mut tx = store.begin();
    tx.clear_range("row/000010", row::after(b"row/"));
    tx.commit().await.expect("room");
    store.close().await.expect("closed");
    let gained = answer(&["compact", "--store", &url(&dir)]).await;
    let (before, after) = (gained["bytes_before"].as_u64(), gained["bytes_after"].as_u64());
    assert!(after < before, "{gained}");
    assert_eq!(answer(&["check", "--store", &url(&dir)]).await["rows"], 10);
}
