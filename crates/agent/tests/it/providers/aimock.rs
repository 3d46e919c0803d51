//! Both wires against an independent double of the services (npm `@copilotkit/aimock`).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use kelpie_agent::provider::{Awaited, Delta, ModelError, Patience, PromptMessage, Stop};
use kelpie_env::{Env, real};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{WIRES, Wire, ask, hasty, text_of};

/// The variable that says where the double's program is.
const PROGRAM: &str = "KELPIE_TEST_AIMOCK";

/// A running double; ends with the value.
struct Aimock {
    url: String,
    child: Child,
    _stdout: BufReader<ChildStdout>,
    _files: [NamedTempFile; 2],
}

impl Aimock {
    /// Starts it on a free loopback port with these fixtures.
    fn start(fixtures: &Value) -> Self {
        let Ok(program) = std::env::var(PROGRAM) else {
            panic!("{PROGRAM} is not set: run `cargo xtask test`, which installs the double and sets it");
        };
        let fixtures = json_file(&json!({ "fixtures": fixtures }));
        let config = json_file(&json!({
            "llm": { "fixtures": fixtures.path(), "logLevel": "silent" }, "port": 0, "host": "127.0.0.1"
        }));
        let mut child = Command::new(&program)
            .arg("--config")
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}={program} does not start: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Self { url, child, _stdout: stdout, _files: [fixtures, config] }
    }

    /// The questions that it got, oldest first.
    async fn questions(&self) -> Vec<Value> {
        let url = format!("{}/__aimock/journal?limit=1000", self.url);
        let client = kelpie_agent::http_client::for_server(&url.parse().unwrap()).build().unwrap();
        let entries: Vec<Value> = client.get(url).send().await.unwrap().json().await.unwrap();
        entries.into_iter().filter(|entry| entry["method"] == "POST").collect()
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn json_file(value: &Value) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    file.write_all(value.to_string().as_bytes()).unwrap();
    file
}

/// Runs a test once for each wire, each time with a double of its own.
async fn on_each_wire(fixtures: Value, test: impl AsyncFn(Wire, &Env, &Aimock)) {
    let env = real::env();
    for wire in WIRES {
        let aimock = Aimock::start(&fixtures);
        test(wire, &env, &aimock).await;
    }
}

#[tokio::test]
async fn streams_text_and_thoughts() {
    let fixtures = json!([{
        "match": { "userMessage": "hello" },
        "response": { "content": "Hi there, how are you?", "reasoning": "be polite" },
        "chunkSize": 5
    }]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let (deltas, answer) = ask(&wire.at(env, &aimock.url), &wire.request("hello")).await;
        let answer = answer.unwrap();
        assert_eq!(answer.text.as_deref(), Some("Hi there, how are you?"));
        assert_eq!(answer.reasoning.as_deref(), Some("be polite"));
        assert_eq!((answer.stop, answer.tool_calls.len()), (Stop::EndTurn, 0));
        assert_eq!(text_of(&deltas), "Hi there, how are you?");
        assert!(deltas.len() >= 7, "{deltas:?}");
    })
    .await;
}

#[tokio::test]
async fn calls_tools_and_takes_their_results() {
    let arguments = r#"{"text": "ho"}"#;
    let call = json!({ "name": "say", "arguments": arguments, "id": "call_1" });
    let fixtures = json!([
        { "match": { "userMessage": "say", "hasToolResult": true }, "response": { "content": "Said." } },
        { "match": { "userMessage": "say" }, "response": { "toolCalls": [call, call] } }
    ]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let models = wire.at(env, &aimock.url);
        let mut request = wire.request("say it twice");
        let (deltas, answer) = ask(&models, &request).await;
        let answer = answer.unwrap();
        assert_eq!(answer.stop, Stop::ToolUse);
        let ids: Vec<_> = answer.tool_calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["call_1", "call_1_1_1"], "one id for two calls is made unique");
        for call in &answer.tool_calls {
            let given: Value = serde_json::from_str(&call.arguments).unwrap();
            assert_eq!((call.name.as_str(), given), ("say", json!({ "text": "ho" })));
        }
        let started =
            deltas.iter().filter(|delta| matches!(delta, Delta::ToolCall { name, .. } if name == "say"));
        assert_eq!(started.count(), 2);

        request.messages.push(answer.to_message());
        for call in &answer.tool_calls {
            request.messages.push(PromptMessage::tool_result(&call.id, "done"));
        }
        let (_, answer) = ask(&models, &request).await;
        assert_eq!(answer.unwrap().text.as_deref(), Some("Said."));
        let body = aimock.questions().await.pop().unwrap().to_string();
        assert!(ids.iter().all(|id| body.matches(&format!("\"{id}\"")).count() >= 2), "{body}");
    })
    .await;
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let refusal = json!({
        "error": { "message": "slow down", "type": "rate_limit_error" }, "status": 429, "retryAfter": 1
    });
    let fixtures = json!([
        { "match": { "userMessage": "hello", "sequenceIndex": 0 }, "response": refusal },
        { "match": { "userMessage": "hello" }, "response": { "content": "fine now" } }
    ]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let began = env.now();
        let (deltas, answer) = ask(&wire.at(env, &aimock.url), &wire.request("hello")).await;
        assert_eq!(answer.unwrap().text.as_deref(), Some("fine now"));
        assert!(!deltas.contains(&Delta::Restart), "nothing was streamed before");
        assert!(env.now() - began >= Duration::from_secs(1), "it said when to come again");
        assert_eq!(aimock.questions().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn failures_of_the_service_are_repeated_with_a_bound() {
    let refusal = json!({ "error": { "message": "down", "type": "api_error" }, "status": 503 });
    let fixtures = json!([{ "match": { "userMessage": "hello" }, "response": refusal }]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let (_, answer) = ask(&wire.at(env, &aimock.url), &wire.request("hello")).await;
        let error = answer.unwrap_err();
        assert!(matches!(error, ModelError::Exhausted { attempts: 3, .. }), "{error:?}");
        assert!(matches!(error.cause(), ModelError::Unavailable { status: Some(503), .. }), "{error:?}");
        assert_eq!(aimock.questions().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_is_not_repeated() {
    let refusal =
        json!({ "error": { "message": "bad schema", "type": "invalid_request_error" }, "status": 400 });
    let fixtures = json!([{ "match": { "userMessage": "hello" }, "response": refusal }]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let (_, answer) = ask(&wire.at(env, &aimock.url), &wire.request("hello")).await;
        let expected = ModelError::Refused { status: 400, message: "bad schema".to_owned() };
        assert_eq!(answer.unwrap_err(), expected);
        assert_eq!(aimock.questions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_cut_is_asked_for_again() {
    let whole = "a long text that is cut somewhere";
    let fixtures = json!([
        {
            "match": { "userMessage": "hello", "sequenceIndex": 0 }, "response": { "content": whole },
            "chunkSize": 4, "latency": 30, "truncateAfterChunks": 5
        },
        { "match": { "userMessage": "hello" }, "response": { "content": whole }, "chunkSize": 4 }
    ]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let (deltas, answer) = ask(&wire.at(env, &aimock.url), &wire.request("hello")).await;
        assert_eq!(answer.unwrap().text.as_deref(), Some(whole));
        let restarts: Vec<_> = deltas.iter().filter(|delta| **delta == Delta::Restart).collect();
        assert_eq!((restarts.len(), text_of(&deltas).as_str()), (1, whole), "{deltas:?}");
        assert_ne!(deltas.first(), Some(&Delta::Restart), "the first attempt had streamed something");
    })
    .await;
}

#[tokio::test]
async fn a_dropped_connection_and_garbage_are_typed() {
    let chaos = |kind: &str| {
        json!({
            "match": { "userMessage": kind }, "response": { "content": "never seen" }, "chaos": { (kind): 1 }
        })
    };
    let fixtures = json!([chaos("disconnectRate"), chaos("malformedRate"), chaos("dropRate")]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        let models = wire.at(env, &aimock.url);
        let error = async |kind| ask(&models, &wire.request(kind)).await.1.unwrap_err();
        let disconnected = error("disconnectRate").await;
        assert!(
            matches!(disconnected.cause(), ModelError::Unavailable { status: None, .. }),
            "{disconnected:?}"
        );
        let garbage = error("malformedRate").await;
        assert!(matches!(garbage.cause(), ModelError::Malformed { .. }), "{garbage:?}");
        let dropped = error("dropRate").await;
        assert!(matches!(dropped.cause(), ModelError::Unavailable { status: Some(500), .. }), "{dropped:?}");
    })
    .await;
}

#[tokio::test]
async fn a_silent_service_runs_out_of_time() {
    let fixtures = json!([
        { "match": { "userMessage": "start" }, "response": { "content": "late" }, "chaos": { "latencyMs": 5000 } },
        { "match": { "userMessage": "go on" }, "response": { "content": "late" }, "latency": 500 }
    ]);
    on_each_wire(fixtures, async |wire, env, aimock| {
        // One of the wires sends its head with the first event, half a second late.
        let (start, idle) = (Duration::from_secs(2), Duration::from_millis(100));
        let patience = Patience { start, idle, attempts_max: 1, ..hasty() };
        let models = wire.with_patience(env, &aimock.url, patience);
        for (text, what, limit) in [("start", Awaited::Start, start), ("go on", Awaited::Continue, idle)] {
            let error = ask(&models, &wire.request(text)).await.1.unwrap_err();
            assert_eq!(*error.cause(), ModelError::TimedOut { what, limit }, "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn models_are_listed_and_one_is_chosen() {
    on_each_wire(json!([{ "match": {}, "response": { "content": "x" } }]), async |wire, env, aimock| {
        let models = wire.at(env, &aimock.url);
        let listings = models.listings().await;
        let listed = listings[0].models.as_ref().unwrap();
        let provider = wire.model.split_once('/').unwrap().0;
        assert!(!listed.is_empty());
        assert!(listed.iter().all(|info| info.handle.starts_with(&format!("{provider}/"))), "{listed:?}");
        let chosen = models.default_model().await.unwrap();
        assert!(chosen.starts_with(provider), "{chosen}");
    })
    .await;
}
