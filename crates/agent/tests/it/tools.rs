//! HTTP tools against a TCP server that plays one answer.

use std::time::Duration;

use kelpie_agent::tool::file;
use kelpie_agent::tool::http::HttpTools;
use kelpie_agent::tool::runner::{Invocation, ToolOutcome, ToolRunner};
use kelpie_env::real;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// Calls a tool whose server answers with `answer` (or never, when it is empty); what came out
/// and what the server was asked.
async fn call(answer: &'static str) -> (ToolOutcome, String) {
    let env = real::env();
    let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/book", listener.local_addr().unwrap());
    let (tx, asked) = oneshot::channel();
    let inside = env.clone();
    env.spawn("tool", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).await.unwrap();
            request.extend_from_slice(&part[..read]);
        }
        drop(tx.send(String::from_utf8(request).unwrap()));
        if answer.is_empty() {
            inside.sleep(Duration::from_secs(30)).await;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let text = serde_json::json!([{ "name": "book", "description": "d", "url": url, "timeout_seconds": 1 }]);
    let tools = HttpTools::new(env, file::parse(&text.to_string()).unwrap()).unwrap();
    let outcome = tools.run(invocation()).await;
    (outcome, asked.await.unwrap())
}

fn invocation() -> Invocation {
    Invocation {
        tool: "book".into(),
        arguments: "{\"room\":1}".into(),
        agent_id: "agent-1".into(),
        run_id: "run-1".into(),
        call_id: "call-1".into(),
        idempotency_key: "agent-1/run-1/1/0".into(),
    }
}

#[tokio::test]
async fn a_call_is_one_post_with_its_key_and_the_body_is_the_result() {
    let (outcome, asked) = call("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbooked").await;
    assert_eq!(outcome, ToolOutcome::ok("booked"));
    assert!(asked.starts_with("POST /book HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nidempotency-key: agent-1/run-1/1/0\r\n"), "{asked}");
    let body: serde_json::Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected = serde_json::json!({
        "tool": "book", "arguments": { "room": 1 }, "agent_id": "agent-1", "run_id": "run-1", "call_id": "call-1"
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_is_no_success_is_a_failure_that_says_what_is_known() {
    let refused = call("HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\n\r\ntaken").await.0;
    assert_eq!(refused, ToolOutcome::failed("the tool answered HTTP 409: taken"));
    let moved = call("HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n").await.0;
    assert_eq!(moved, ToolOutcome::failed("the tool answered HTTP 307: "));
    let cut = call("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nboo").await.0;
    assert!(!cut.ok && cut.text.contains("its effect is likely done"), "{cut:?}");
    let silent = call("").await.0;
    assert!(!silent.ok && silent.text.contains("may or may not have had its effect"), "{silent:?}");
}
