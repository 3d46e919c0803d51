//! The letta-code command line, headless, against the binary: it brings its own tools and carries
//! them out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::process::{Plan, client, get, text};

/// Starting, asking, working, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(180);

fn payload() -> PathBuf {
    match std::env::var_os("KELPIE_TEST_LETTA_CODE") {
        Some(folder) => Path::new(&folder).join("letta_code/_payload"),
        None => panic!("KELPIE_TEST_LETTA_CODE is not set: run `cargo xtask test`, which provides it"),
    }
}

/// `letta -p SAID` in a folder of its own; what it says.
async fn letta(dir: &Path, url: &str, said: &str) -> String {
    let (home, work) = (dir.join("home"), dir.join("work"));
    for folder in [&home, &work] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    let payload = payload();
    let mut command = Command::new(payload.join("bin/node"));
    command
        .arg(payload.join("app/letta.js"))
        .args(["-p", said])
        .current_dir(&work)
        .env("HOME", &home)
        .env("LETTA_BASE_URL", url)
        .env("LETTA_API_KEY", "any")
        .env("DISABLE_AUTOUPDATER", "1")
        .env("LETTA_CODE_TELEM", "0")
        .env("DO_NOT_TRACK", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it ends").expect("it starts");
    let (answer, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{answer}\n{complained}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letta_code_answers_twice_and_runs_a_tool_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let hello = letta(dir.path(), &plan.url(), "Good morning").await;
    assert!(hello.contains("offline/scripted"), "{hello}");
    let call = r#"call the tool exec_command with {"cmd": "echo forty-two > here.txt; cat here.txt", "description": "Writes a file"}"#;
    let worked = letta(dir.path(), &plan.url(), call).await;
    assert!(worked.contains("forty-two"), "it reads the tool's result: {worked}");
    let written = std::fs::read_to_string(dir.path().join("work/here.txt")).expect("the tool has run");
    assert_eq!(written, "forty-two\n");

    let http = client();
    let agents = get(&http, &format!("{}/v1/agents/", plan.url())).await;
    let agents: Vec<&Value> = agents.as_array().expect("a list").iter().collect();
    assert_eq!(agents.len(), 1, "both times the same agent: {agents:#?}");
    let id = agents[0]["id"].as_str().expect("an id");
    let runs = get(&http, &format!("{}/v1/runs/?agent_id={id}&order=asc", plan.url())).await;
    let ended: Vec<&str> =
        runs.as_array().expect("a list").iter().filter_map(|run| run["stop_reason"].as_str()).collect();
    assert_eq!(ended, ["end_turn", "requires_approval", "end_turn"], "{runs}");
    server.kill().await;
}
