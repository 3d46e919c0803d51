//! What Kelpie costs between a client and a model, and many agents: prints its section of
//! `docs/performance.md`.
//!
//! `cargo bench -p kelpie --bench agents` prints it, with `-- --write` it replaces the parts that it has
//! measured. Names (`steps`, `tokens`, `many`) choose parts. The model is a server in this process that
//! answers at once; the peer asks it directly, with the same HTTP client. Kelpie is the binary, a process of
//! its own.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod many;
mod model;
#[path = "../performance/server.rs"]
mod server;
mod steps;
mod tokens;

use std::time::Duration;

use futures::future::LocalBoxFuture;
use kelpie_env::Env;
use kelpie_machine::section::Section;
use reqwest::Client;
use serde_json::{Value, json};

use crate::server::Server;

const SECTION: Section = Section {
    title: "## Agents",
    introduction: "Made by `cargo bench -p kelpie --bench agents -- --write`, part by part. The model is a server in the bench's \
process that\nanswers at once over HTTP; the peer asks it directly, with the same client. Kelpie is the binary with an embedded \
store, fsync\non. All of them share this machine's processors. Contestants take turns; figures are medians of the rounds.",
};

/// Measures one part and says what came of it.
type Measure = fn(Bench) -> LocalBoxFuture<'static, String>;

/// What every part needs.
pub(crate) struct Bench {
    pub(crate) env: Env,
    pub(crate) client: Client,
    /// The model, up to `/v1`.
    pub(crate) model: String,
    pub(crate) server: Server,
    /// Where the server has its store.
    pub(crate) dir: tempfile::TempDir,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let parts: [(&str, &str, Measure); 3] = [
        ("steps", "A step of a run", |bench| Box::pin(steps::measure(bench))),
        ("tokens", "Tokens streamed through", |bench| Box::pin(tokens::measure(bench))),
        ("many", "Many agents", |bench| Box::pin(many::measure(bench))),
    ];
    let env = kelpie_env::real::env_on(runtime.handle());
    for (_, heading, measure) in
        parts.into_iter().filter(|(name, _, _)| chosen.is_empty() || chosen.contains(name))
    {
        let before = kelpie_machine::load();
        let said = runtime.block_on(async { measure(bench(&env).await).await });
        let part = Section::part(heading, &before, &said);
        println!("{part}");
        if arguments.iter().any(|argument| argument == "--write") {
            SECTION.write(&env, concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"), &part);
        }
    }
}

async fn bench(env: &Env) -> Bench {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let model = model::serve(env).await;
    let server = Server::start(&dir.path().join("data"), &[("OPENAI_BASE_URL", &model)]);
    let client = kelpie_agent::http_client::for_server(&server.base.parse().unwrap()).build().unwrap();
    Bench { env: env.clone(), client, model, server, dir }
}

impl Bench {
    /// Makes an agent with a block and the tools that write it; its id.
    pub(crate) async fn create(&self, name: &str) -> String {
        let agent = json!({
            "name": name, "agent_type": "letta_v1_agent", "model": "openai/zero",
            "memory_blocks": [{ "label": "human", "value": "Ada" }],
            "include_base_tools": false, "tools": ["core_memory_replace"],
        });
        let made = self.post("/v1/agents/", &agent).await;
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.server.base)).json(body);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.server.base));
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// How long a request takes, to the end of its answer.
    pub(crate) async fn timed<T>(&self, request: impl Future<Output = T>) -> (Duration, T) {
        let began = self.env.now();
        let answer = request.await;
        (self.env.now().saturating_sub(began), answer)
    }
}

pub(crate) fn says(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}
