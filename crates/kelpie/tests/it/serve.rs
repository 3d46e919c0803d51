//! A server among others: ports, directories, clients of the command line.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::process::{Plan, kelpie, output, run, text};

#[tokio::test]
async fn a_busy_port_says_who_holds_it_and_what_to_do() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let store = format!("embedded:{}", dir.path().join("data").display());
    let output = run(&["serve", "--listen", &address, "--store", &store]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let pid = format!("pid {}", std::process::id());
    assert!(said.contains(&address) && said.contains(&pid) && said.contains("--listen"), "{said}");
    assert!(!dir.path().join("data").exists(), "the store was touched");
}

#[tokio::test]
async fn a_held_store_directory_names_its_holder() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--store", &plan.store()]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("kelpie (pid {})", server.pid())) && said.contains("--store"), "{said}");
    server.kill().await;
}

#[tokio::test]
async fn a_store_that_does_not_open_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let store = format!("embedded:{}", file.join("data").display());
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--store", &store]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(&store) && said.contains("Not a directory"), "{said}");
}

#[tokio::test]
async fn nobody_else_is_let_in_without_a_token() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = format!("embedded:{}", dir.path().join("data").display());
    let open = run(&["serve", "--listen", "0.0.0.0:0", "--store", &store]).await;
    assert_eq!(open.status.code(), Some(2), "{}", text(&open.stderr));
    assert!(text(&open.stderr).contains("KELPIE_TOKEN"), "{}", text(&open.stderr));

    let plan = Plan::new(dir.path()).await.var("KELPIE_TOKEN", "sesame");
    let server = plan.start().await;
    let list = |token: Option<&str>| {
        let mut command = kelpie(&["agents", "list", "--server", &plan.url()]);
        command.envs(token.map(|token| ("KELPIE_TOKEN", token.to_owned())));
        output(command, std::time::Duration::from_secs(20))
    };
    let refused = list(None).await;
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("--token"), "{}", text(&refused.stderr));
    assert_eq!(list(Some("sesame")).await.status.code(), Some(0));
    server.kill().await;
}

#[tokio::test]
async fn agents_are_made_shown_talked_to_and_deleted_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let url = plan.url();
    let at = |args: &[&str]| {
        let mut command = kelpie(args);
        command.env("KELPIE_SERVER", &url);
        output(command, std::time::Duration::from_secs(60))
    };
    let created =
        at(&["agents", "create", "ada", "--model", "offline/scripted", "--memory", "human=", "--json"]).await;
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let created: Value = serde_json::from_slice(&created.stdout).expect("JSON");
    let id = created["id"].as_str().expect("an id");

    let mut chat = kelpie(&["chat", "ada", "--server", &url]);
    let mut chat =
        chat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = chat.stdin.take().expect("piped");
    stdin
        .write_all(b"Remember that my favourite tea is Assam.\nWhat do you remember?\n")
        .await
        .expect("taken");
    drop(stdin);
    let chatted = chat.wait_with_output().await.expect("ends");
    let said = text(&chatted.stdout);
    assert_eq!(chatted.status.code(), Some(0), "{said}{}", text(&chatted.stderr));
    assert!(said.contains("core_memory_append") && said.contains("Assam"), "{said}");

    let mut chat = kelpie(&["chat", "ada", "--json", "--server", &url]);
    let mut chat = chat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    chat.stdin.take().expect("piped").write_all(b"Remember that I row.\n").await.expect("taken");
    let chatted = text(&chat.wait_with_output().await.expect("ends").stdout);
    let events: Vec<Value> =
        chatted.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert!(of("calls") > 0 && of("returned") == 1 && of("says") > 0, "{chatted}");
    assert_eq!(events.last().expect("something happened")["reason"], "end_turn", "{chatted}");

    let shown = text(&at(&["agents", "show", "ada"]).await.stdout);
    assert!(shown.contains(id) && shown.contains("human") && shown.contains("Assam"), "{shown}");
    let listed = text(&at(&["agents", "list"]).await.stdout);
    assert!(listed.contains(id) && listed.contains("offline/scripted"), "{listed}");

    assert_eq!(at(&["agents", "delete", "ada"]).await.status.code(), Some(0));
    let gone = at(&["agents", "show", "ada"]).await;
    assert_eq!(gone.status.code(), Some(4), "{}", text(&gone.stderr));
    assert!(text(&gone.stderr).contains("kelpie agents create ada"), "{}", text(&gone.stderr));
    server.kill().await;
}
