//! The real clients: `letta-client` for Python and TypeScript, and the README letter for
//! letter.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::process::{Plan, text};

/// Installing nothing, only running: a loaded machine may take its time.
const LIMIT: Duration = Duration::from_secs(120);
/// Where the README's server is; the one difference to the test's.
const README_SERVER: &str = "http://127.0.0.1:8283";

fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: run `cargo xtask test`, which installs the clients"),
    }
}

/// The fenced block of a language under the README's heading for programs.
fn snippet(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let (_, rest) = readme.split_once("## Use it from your program").expect("the heading");
    let (_, rest) = rest.split_once(&format!("```{language}\n")).expect("a block of the language");
    rest.split_once("```").expect("the block's end").0.to_owned()
}

async fn succeeds(mut command: Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(LIMIT, command.output()).await.expect("the client ends").expect("it starts");
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

/// Runs a program's text with the Python that has the client.
async fn python(program: &Path, args: &[&str]) -> String {
    let mut command = Command::new(tool("KELPIE_TEST_PYTHON"));
    command.arg(program).args(args).env_remove("LETTA_API_KEY");
    // The sources stay as they are.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    succeeds(command).await
}

/// Runs one of the programs beside this test against a server of its own.
async fn python_against_a_server(name: &str) {
    python_against_a_server_with(name, &[]).await;
}

async fn python_against_a_server_with(name: &str, args: &[(&str, &Path)]) {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let plan = args.iter().fold(plan, |plan, (name, value)| plan.arg(name, value.display()));
    let server = plan.start().await;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name);
    let said = python(&program, &[&plan.url()]).await;
    assert!(said.contains("all of it"), "{said}");
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_does_what_its_users_do() {
    python_against_a_server("letta_sdk.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_memory_tools_and_messages() {
    python_against_a_server("letta_memory.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_archival_memory_by_meaning_and_facts_that_change() {
    let embeddings = tool("KELPIE_TEST_EMBEDDINGS");
    python_against_a_server_with("letta_archival.py", &[("--embeddings", &embeddings)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_the_guide_s_archival_memory() {
    let embeddings = tool("KELPIE_TEST_EMBEDDINGS");
    let expected = ["Kai drinks green tea in the morning", "Kai lives in Rome / Kai lives in Berlin"];
    the_guide_prints("Archival memory", &[("--embeddings", &embeddings)], &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_the_guide_s_working_memory() {
    the_guide_prints("Working memory", &[], &["['4711']", "[]"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_messages_that_come_later() {
    python_against_a_server("letta_schedule.py").await;
    the_guide_prints("Messages that come later", &[], &["The kettle is off."]).await;
}

/// Runs the program of a section of the guide, which says what it prints.
async fn the_guide_prints(heading: &str, args: &[(&str, &Path)], expected: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let plan = args.iter().fold(plan, |plan, (name, value)| plan.arg(name, value.display()));
    let server = plan.start().await;
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/agents.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let (_, section) = guide.split_once(&format!("\n## {heading}\n")).expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let source = crate::guide::blocks(heading, "python").concat();
    let program = dir.path().join("guide.py");
    std::fs::write(&program, source.replace(README_SERVER, &plan.url())).expect("a file");
    let said = python(&program, &[]).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, expected);
    assert!(lines.iter().all(|line| section.contains(line)), "the guide says what it prints");
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_an_agent_that_rests() {
    python_against_a_server("letta_pauses.py").await;
    let said = the_guide_says("An agent that rests", (CLIENT, ""), &[]).await;
    assert_eq!(said, "pause_heartbeats\n");
}

/// What sections of the guide begin with that go on from another one.
const CLIENT: &str = "from letta_client import Letta\nclient = Letta(base_url=\"http://127.0.0.1:8283\")\n";
const AGENT: &str = "agent = client.agents.create(name=\"booker\", memory_blocks=[])\n";

/// Runs the program of a section of the guide between two others. Gives what they print.
async fn the_guide_says(heading: &str, (before, after): (&str, &str), args: &[(&str, &Path)]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let plan = args.iter().fold(plan, |plan, (name, value)| plan.arg(name, value.display()));
    let server = plan.start().await;
    let source = [before, &crate::guide::blocks(heading, "python").concat(), after].concat();
    let program = dir.path().join("guide.py");
    std::fs::write(&program, source.replace(README_SERVER, &plan.url())).expect("a file");
    let said = python(&program, &[]).await;
    server.kill().await;
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_the_guide_s_ten_minutes_and_a_kill_in_their_midst() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let mut server = plan.start().await;
    let blocks = crate::guide::blocks("From nothing, in ten minutes", "python");
    let [memory, asks, decides, later] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let waits = "print(\"killed\", flush=True)\ninput()\n";
    let source = [memory, asks, waits, decides, later].map(|part| part.replace(README_SERVER, &plan.url()));
    let program = dir.path().join("guide.py");
    std::fs::write(&program, source.concat()).expect("a file");
    let mut command = Command::new(tool("KELPIE_TEST_PYTHON"));
    command.arg(&program).env_remove("LETTA_API_KEY").kill_on_drop(true);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
    let mut said = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut lines = Vec::new();
    while let Some(line) = tokio::time::timeout(LIMIT, said.next_line()).await.expect("a line").expect("text")
    {
        if line != "killed" {
            lines.push(line);
            continue;
        }
        server.kill().await;
        server = plan.start().await;
        client.stdin.as_mut().expect("piped").write_all(b"\n").await.expect("it waits");
    }
    let ended = client.wait().await.expect("it ends");
    server.kill().await;
    assert!(ended.success(), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    let guide = include_str!("../../../../docs/guide/agents.md");
    for line in lines {
        assert!(guide.contains(&format!("That prints `{line}`")), "the guide does not say {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_the_guide_s_conversations_rules_and_approvals() {
    let before = CLIENT.to_owned() + AGENT;
    let said = the_guide_says("Conversations", (&before, ""), &[]).await;
    assert!(said.contains("assistant_message\n") && said.ends_with("True\n"), "{said}");
    let rules = "print(*[rule.type for rule in client.agents.retrieve(agent.id).tool_rules])\n";
    let said = the_guide_says("Rules about tools", (&before, rules), &[]).await;
    assert_eq!(said, "run_first max_count_per_step\n");
    // The tool of the section about tools of one's own, which a service in this test offers.
    let booked = Arc::new(AtomicU32::new(0));
    let count = booked.clone();
    let book = axum::routing::post(move || async move {
        count.fetch_add(1, Ordering::Relaxed);
        "booked"
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/book", book)).await });
    let dir = tempfile::tempdir().expect("a directory");
    let tools = dir.path().join("tools.json");
    let offered = crate::guide::blocks("Tools of your own", "json").concat();
    std::fs::write(&tools, offered.replace("127.0.0.1:9000", &address)).expect("a file");
    let before = before.replace("memory_blocks=[]", "memory_blocks=[], tools=[\"book_room\"]");
    the_guide_says("Calls that somebody has to approve", (&before, ""), &[("--tools", &tools)]).await;
    assert_eq!(booked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_blocks_of_their_own_and_shared_ones() {
    python_against_a_server("letta_blocks.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_conversations() {
    python_against_a_server("letta_conversations.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_approvals_and_client_tools() {
    python_against_a_server("letta_approvals.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_tools_of_source_code_archives_and_the_context() {
    python_against_a_server("letta_tools.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sdk_rules_types_overrides_and_budgets() {
    python_against_a_server("letta_rules.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_python_sdk_snippet_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let program = dir.path().join("snippet.py");
    let source = snippet("python");
    assert_eq!(source.lines().count(), 6, "the README promises six lines");
    std::fs::write(&program, source.replace(README_SERVER, &plan.url())).expect("a file");
    let said = python(&program, &[]).await;
    assert!(said.contains("I like tea"), "{said}");
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_typescript_sdk_snippet_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let modules = tool("KELPIE_TEST_NODE_MODULES");
    std::os::unix::fs::symlink(&modules, dir.path().join("node_modules")).expect("a link");
    let program = dir.path().join("snippet.mts");
    let source = snippet("typescript");
    assert_eq!(source.lines().count(), 6, "the README promises six lines");
    std::fs::write(&program, source.replace(README_SERVER, &plan.url())).expect("a file");
    let mut command = Command::new(modules.join(".bin/tsx"));
    command.arg(&program).env_remove("LETTA_API_KEY");
    let said = succeeds(command).await;
    assert!(said.contains("I like tea"), "{said}");
    server.kill().await;
}
