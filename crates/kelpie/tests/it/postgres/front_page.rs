//! The two commands of the README.

use std::path::Path;

use super::fresh;
use super::nodes::{owner, say, states};
use crate::process::{Plan, client, create_agent, free_address};

/// The database that the commands name.
const STORE: &str = "postgres://kelpie@127.0.0.1/kelpie";

/// The command lines under the heading about many nodes.
fn commands() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let (_, section) = readme.split_once("\n## Many nodes\n").expect("the heading");
    let (_, block) = section.split_once("```sh\n").expect("a block");
    let block = block.split("```").next().expect("the block");
    block.lines().map(str::to_owned).collect()
}

/// The line with something of it replaced that is there once.
fn with(line: &str, old: &str, new: &str) -> String {
    assert_eq!(line.matches(old).count(), 1, "`{old}` in {line}");
    line.replace(old, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_two_commands_make_two_nodes_that_answer_for_each_other() {
    let (dir, store) = (tempfile::tempdir().expect("a directory"), fresh());
    let commands = commands();
    assert_eq!(commands.len(), 2, "two terminals, two commands: {commands:#?}");
    let mut plans = Vec::new();
    for (line, [client_port, peer_port]) in commands.iter().zip([[8283, 7001], [8284, 7002]]) {
        let line = with(line, STORE, &store);
        let line = with(&line, &format!("127.0.0.1:{client_port}"), &free_address().await.to_string());
        let line = with(&line, &format!("127.0.0.1:{peer_port}"), &free_address().await.to_string());
        let log = dir.path().join(plans.len().to_string());
        std::fs::create_dir(&log).expect("a directory");
        plans.push(Plan::typed(&log, &line));
    }
    let servers = [plans[0].start().await, plans[1].start().await];
    assert_eq!(states(&plans[0]).await, ["active", "active"]);

    let agent = create_agent(&client(), &plans[0].url(), "ada", &[]).await;
    let at = owner(&plans[0], &agent).await;
    let through = 1 - at;
    let reply = say(&plans[through], &agent, "key").await;
    assert_eq!(owner(&plans[through], &agent).await, at, "it was called where it is");
    assert_eq!(say(&plans[at], &agent, "key").await, reply, "both nodes know of the one message");
    for server in servers {
        server.kill().await;
    }
}
