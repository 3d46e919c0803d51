//! `kelpie serve` on a real PostgreSQL, which `cargo xtask test` starts.

mod certified;
mod faults;
mod front_page;
mod nodes;
mod placed;
mod streams;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kelpie_storage::{Store, StoreConfig};
use rustix::process::Signal;
use serde_json::Value;

use crate::crash::{assert_sound, crash};
use crate::process::{Plan, client, create_agent, get, kelpie, output, post, run, says, text};

/// Each start waits until the beat of the killed process has stood still for a term.
const KILLS: usize = 8;

/// A store that no other test uses.
fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("KELPIE_TEST_POSTGRES");
    let server = server.expect("KELPIE_TEST_POSTGRES is not set: run `cargo xtask test`");
    format!("{server}?schema=kelpie_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_happens_twice_in_a_database() {
    let kills = if std::env::var_os("KELPIE_TEST_FULL").is_some() { 5 * KILLS } else { KILLS };
    let dir = tempfile::tempdir().expect("a directory");
    let store = fresh();
    let seen = crash(dir.path(), kills, |plan| plan.on(&store)).await;
    assert_sound(dir.path(), &seen);
    assert!(seen.hits > kills / 4, "only {} of {kills} kills hit a running turn", seen.hits);
}

/// Their commits add to few rows of one tenant, which this store reads to do so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_answer_at_once_are_all_counted_for_their_tenant() {
    const AGENTS: usize = 24;
    const MESSAGES: usize = 4;
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await.on(&fresh()).arg("--tenant-steps-per-day", AGENTS * MESSAGES);
    let (server, url, http) = (plan.start().await, plan.url(), client());
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        agents.push(create_agent(&http, &url, &format!("agent {number}"), &[]).await);
    }
    let talks = agents.iter().map(async |agent| {
        let messages = format!("{url}/v1/agents/{agent}/messages");
        for message in 0..MESSAGES {
            let key = format!("{agent} {message}");
            // What was not run in the crowd is asked again with its key, as the SDKs do.
            loop {
                let (status, body) = post(&http, &messages, &key, &says("Hello")).await.expect("an answer");
                assert!(matches!(status, 200 | 503), "{status} {}", text(&body));
                if status == 200 {
                    break;
                }
            }
        }
    });
    futures::future::join_all(talks).await;
    let spending = get(&http, &format!("{url}/v1/spending")).await;
    assert_eq!(spending["steps"], AGENTS * MESSAGES, "{spending}");
    let mut tokens = 0;
    for agent in &agents {
        let own = get(&http, &format!("{url}/v1/spending?agent_id={agent}")).await;
        tokens += own["tokens"].as_u64().expect("a number");
    }
    assert_eq!(spending["tokens"], tokens, "{spending}");
    let messages = format!("{url}/v1/agents/{}/messages", agents[0]);
    let (status, body) = post(&http, &messages, "one more", &says("Hello")).await.expect("an answer");
    assert_eq!(status, 429, "{}", text(&body));
    server.kill().await;
}

#[tokio::test]
async fn a_name_whose_process_lives_is_not_taken_from_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = fresh().replace("postgres@", "postgres:s3cret@");
    let plan = Plan::new(dir.path()).await.on(&store);
    let server = plan.start().await;
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--store", &store]).await;
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(said.contains("choose another --node"), "{said}");
    assert!(get(&client(), &format!("{}/ready", plan.url())).await.is_object(), "the first one serves on");
    server.kill().await;
    let logged = std::fs::read_to_string(plan.log()).expect("a log");
    assert!(
        logged.contains("serving") && !logged.contains("s3cret") && !said.contains("s3cret"),
        "{logged}{said}"
    );
}

/// Runs `kelpie store …` to a good end; what it says in JSON.
async fn store(args: &[&str]) -> Value {
    let mut command = kelpie(&["store"]);
    command.args(args).arg("--json");
    let ended = output(command, Duration::from_secs(120)).await;
    assert_eq!(ended.status.code(), Some(0), "{args:?}: {}{}", text(&ended.stdout), text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

fn words(path: &Path) -> &str {
    path.to_str().expect("a path of the test")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_move_from_a_directory_into_a_database_and_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let http = client();
    let here = Plan::new(dir.path()).await;
    let server = here.start().await;
    let agent = create_agent(&http, &here.url(), "mover", &[]).await;
    let message = |plan: &Plan| format!("{}/v1/agents/{agent}/messages", plan.url());
    let first = post(&http, &message(&here), "key-1", &says("Say moved")).await.expect("the server answers");
    assert_eq!(first.0, 200, "{}", text(&first.1));
    server.kill().await;

    let (out, database) = (dir.path().join("out"), fresh());
    let written = store(&["backup", words(&out), "--store", &here.store()]).await;
    let restored = store(&["restore", words(&out), "--store", &database]).await;
    assert_eq!(restored["rows_digest"], written["rows_digest"]);
    assert!(written["rows"].as_u64() > Some(5), "{written}");
    let there = dir.path().join("there");
    std::fs::create_dir(&there).expect("a directory");
    let there = Plan::new(&there).await.on(&database);
    let server = there.start().await;
    let again = post(&http, &message(&there), "key-1", &says("Say moved")).await.expect("the server answers");
    assert!(again == first, "another reply under the same key: {}", text(&again.1));
    let next = post(&http, &message(&there), "key-2", &says("Say on")).await.expect("the server answers");
    assert_eq!(next.0, 200, "{}", text(&next.1));
    server.kill().await;

    // Not over what is there; and back, out of the database.
    let full = run(&["store", "restore", words(&out), "--store", &database]).await;
    let said = text(&full.stderr);
    assert!(full.status.code() == Some(6) && said.contains("has not left it"), "{said}");
    let (back, home) = (dir.path().join("back"), format!("embedded:{}", dir.path().join("home").display()));
    let written = store(&["backup", words(&back), "--store", &database]).await;
    let restored = store(&["restore", words(&back), "--store", &home]).await;
    assert_eq!(restored["rows_digest"], written["rows_digest"]);
    let home = here.on(&home);
    let server = home.start().await;
    let again = post(&http, &message(&home), "key-2", &says("Say on")).await.expect("the server answers");
    assert!(again == next, "another reply under the same key: {}", text(&again.1));
    server.kill().await;
}

/// Empties a store past whoever uses it, but for one row.
async fn emptied(url: &str, row: Option<&'static str>) {
    let config: StoreConfig = url.parse().expect("a URL");
    let store = Store::open(&config, &kelpie_env::real::env()).await.expect("it opens");
    let mut tx = store.begin();
    tx.clear_range(&b""[..], vec![0xFF; 10_000]);
    if let Some(row) = row {
        tx.set(row, "");
    }
    tx.commit().await.expect("it is emptied");
    store.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_not_restored_under_a_server_and_one_that_was_emptied_under_it_ends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (http, database) = (client(), fresh());
    let plan = Plan::new(dir.path()).await.on(&database);
    let server = plan.start().await;
    let agent = create_agent(&http, &plan.url(), "ada", &[]).await;
    let file = dir.path().join("backup");
    store(&["backup", words(&file), "--store", &database]).await;

    let refused = run(&["store", "restore", words(&file), "--store", &database]).await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(6), "{said}");
    assert!(said.contains("has not left it: stop every node") && said.contains("DROP SCHEMA"), "{said}");

    // The backup holds this very server's session: only the generation tells the lives apart.
    // All of it happens between two of its beats, or it would miss its session.
    server.signal(Signal::STOP);
    emptied(&database, Some("x")).await;
    let full = run(&["store", "restore", words(&file), "--store", &database]).await;
    assert!(text(&full.stderr).contains("holds rows already"), "{}", text(&full.stderr));
    emptied(&database, None).await;
    store(&["restore", words(&file), "--store", &database]).await;
    server.signal(Signal::CONT);
    let ended = server.code().await;
    let logged = std::fs::read_to_string(plan.log()).expect("a log");
    assert_eq!(ended, Some(1), "{logged}");
    assert!(logged.contains("restored from a backup under this node"), "{logged}");

    let server = plan.start().await;
    let found = get(&http, &format!("{}/v1/agents/{agent}", plan.url())).await;
    assert_eq!(found["name"], "ada", "{found}");
    server.kill().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_says_so() {
    let store = "postgres://nobody:s3cret@127.0.0.1:1/agents";
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--store", store]).await;
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(6), "{said}");
    assert!(said.contains("127.0.0.1:1/agents") && said.contains("Is it running"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
