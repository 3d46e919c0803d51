//! How a server ends: what it was doing is finished, or waits for the next start.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Plan, Server, client, create_agent, post, says, text};
use crate::tool::{NAME, Tool};

type Answer = tokio::task::JoinHandle<Result<(u16, Vec<u8>), reqwest::Error>>;

/// A server whose agent is in the middle of a slow call.
struct Busy {
    plan: Plan,
    server: Server,
    http: reqwest::Client,
    messages: String,
    answer: Answer,
}

async fn busy(dir: &Path, tool_ms: u64, drain_seconds: u64) -> Busy {
    let tool = Tool::start(dir, tool_ms..tool_ms + 1).await;
    let file = tool.file(dir);
    let plan = Plan::new(dir).await.arg("--tools", file.display()).arg("--drain-seconds", drain_seconds);
    let server = plan.start().await;
    let http = client();
    let agent = create_agent(&http, &plan.url(), "slow", &[NAME]).await;
    let messages = format!("{}/v1/agents/{agent}/messages", plan.url());
    let (client, url) = (http.clone(), messages.clone());
    let answer = tokio::spawn(async move { post(&client, &url, "key-1", &message()).await });
    tool.called(1).await;
    Busy { plan, server, http, messages, answer }
}

fn message() -> serde_json::Value {
    says("Call the tool count with {\"n\": 1}")
}

#[tokio::test]
async fn sigterm_lets_a_message_in_flight_finish() {
    let dir = tempfile::tempdir().expect("a directory");
    let Busy { plan, server, http, messages, answer } = busy(dir.path(), 1_500, 30).await;
    server.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = post(&http, &messages, "key-2", &says("Too late?")).await;
    assert!(!matches!(late, Ok((200, _))), "a message was taken during the drain");
    let (status, first) = answer.await.expect("no panic").expect("an answer");
    assert_eq!(status, 200, "{}", text(&first));
    assert_eq!(server.code().await, Some(0));

    let server = plan.start().await;
    let (_, again) = post(&http, &messages, "key-1", &message()).await.expect("an answer");
    assert_eq!(text(&again), text(&first));
    server.kill().await;
}

#[tokio::test]
async fn a_drain_that_ends_at_its_limit_says_so_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let Busy { plan, server, http, messages, answer } = busy(dir.path(), 6_000, 1).await;
    server.signal(Signal::TERM);
    assert_eq!(server.code().await, Some(7));
    assert!(!matches!(answer.await.expect("no panic"), Ok((200, _))), "answered before its tool was");

    let server = plan.start().await;
    let (status, bytes) = post(&http, &messages, "key-1", &message()).await.expect("an answer");
    assert_eq!(status, 200, "{}", text(&bytes));
    assert!(text(&bytes).contains("counted"), "{}", text(&bytes));
    server.kill().await;
}

#[tokio::test]
async fn a_second_interrupt_ends_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let Busy { server, .. } = busy(dir.path(), 20_000, 60).await;
    server.signal(Signal::INT);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal(Signal::INT);
    assert_eq!(server.code().await, Some(130));
}
