//! The `kelpie` binary as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long a server may take to start or to end, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The binary, with nothing of the surroundings' configuration.
pub(crate) fn kelpie(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie"));
    for name in [
        "KELPIE_LISTEN",
        "KELPIE_STORE_URL",
        "KELPIE_TOOLS",
        "KELPIE_EMBEDDINGS",
        "KELPIE_PRICES",
        "KELPIE_TENANT_TOKENS_PER_DAY",
        "KELPIE_TENANT_STEPS_PER_DAY",
        "KELPIE_TENANT_MICRODOLLARS_PER_DAY",
        "KELPIE_TOKEN",
        "KELPIE_SERVER",
        "KELPIE_MUTANT",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_TOOL_MODE",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(args: &[&str]) -> Output {
    output(kelpie(args), LIMIT).await
}

/// Runs a command to its end, within a limit.
pub(crate) async fn output(mut command: Command, limit: Duration) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::time::timeout(limit, output).await.expect("the command ends").expect("the binary starts")
}

/// What a command printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A loopback address whose port was free a moment ago.
pub(crate) async fn free_address() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

/// How a server is started, the same each time.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) listen: SocketAddr,
    dir: PathBuf,
    store: String,
    args: Vec<String>,
    vars: Vec<(String, String)>,
}

impl Plan {
    /// A server with its data in `dir`, on a free port.
    pub(crate) async fn new(dir: &Path) -> Self {
        let store = format!("embedded:{}", dir.join("data").display());
        let listen = free_address().await;
        Self { listen, dir: dir.to_path_buf(), store, args: Vec::new(), vars: Vec::new() }
    }

    /// A server by a command line as people type it, `kelpie serve …`, with its log in `dir`.
    pub(crate) fn typed(dir: &Path, line: &str) -> Self {
        let mut words = line.strip_prefix("kelpie serve ").expect("a server").split_whitespace();
        let (mut listen, mut store, mut args) = (None, None, Vec::new());
        while let Some(name) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{name} has no value: {line}"));
            match name {
                "--listen" => listen = Some(value.parse().expect("an address")),
                "--store" => store = Some(value.to_owned()),
                _ => args.extend([name.to_owned(), value.to_owned()]),
            }
        }
        let (listen, store) = (listen.expect("--listen"), store.expect("--store"));
        Self { listen, dir: dir.to_path_buf(), store, args, vars: Vec::new() }
    }

    /// The same with its data in another store.
    pub(crate) fn on(mut self, store: &str) -> Self {
        store.clone_into(&mut self.store);
        self
    }

    /// Adds an argument and its value.
    pub(crate) fn arg(mut self, name: &str, value: impl ToString) -> Self {
        self.args.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub(crate) fn store(&self) -> String {
        self.store.clone()
    }

    /// Where the server's log lines go.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log file");
        let (listen, store) = (self.listen.to_string(), self.store());
        let mut command = kelpie(&["serve", "--listen", &listen, "--store", &store]);
        command
            .args(&self.args)
            .envs(self.vars.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        let mut server = Server { child: command.spawn().expect("the binary starts") };
        let ready = tokio::time::timeout(LIMIT, self.ready(&mut server)).await;
        assert!(ready.is_ok(), "not ready within {LIMIT:?}: {}", self.logged());
        server
    }

    async fn ready(&self, server: &mut Server) {
        let url = format!("{}/ready", self.url());
        let http = client();
        loop {
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = server.child.try_wait().expect("a child of this process");
            assert!(ended.is_none(), "the server ended as it started, {ended:?}: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("a child of this process");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child of this process");
    }

    /// The exit code, once it has ended.
    pub(crate) async fn code(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await.expect("the server ends");
        ended.expect("a child of this process").code()
    }
}

/// An HTTP client.
pub(crate) fn client() -> reqwest::Client {
    let base = "http://127.0.0.1".parse().expect("a URL");
    kelpie_agent::http_client::for_server(&base).timeout(LIMIT).build().expect("a client")
}

/// POSTs JSON under a key and gives status and body bytes; an error when nobody answers.
pub(crate) async fn post(
    http: &reqwest::Client,
    url: &str,
    key: &str,
    body: &Value,
) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let answer = http.post(url).header("Idempotency-Key", key).json(body).send().await?;
    Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
}

/// GETs JSON.
pub(crate) async fn get(http: &reqwest::Client, url: &str) -> Value {
    let answer = http.get(url).send().await.expect("the server answers");
    let (status, bytes) = (answer.status(), answer.bytes().await.expect("a whole answer"));
    assert!(status.is_success(), "{url}: {status} {}", text(&bytes));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Creates an agent of the scripted model; gives its id.
pub(crate) async fn create_agent(http: &reqwest::Client, url: &str, name: &str, tools: &[&str]) -> String {
    create_agent_with(http, url, name, tools, &serde_json::json!({})).await
}

/// The same with further settings.
pub(crate) async fn create_agent_with(
    http: &reqwest::Client,
    url: &str,
    name: &str,
    tools: &[&str],
    more: &Value,
) -> String {
    let mut body = serde_json::json!({ "name": name, "model": "offline/scripted", "tools": tools,
        "memory_blocks": [{ "label": "human", "value": "" }] });
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    created(http, &format!("{url}/v1/agents/"), name, &body).await
}

/// Makes something under a key; gives its id.
pub(crate) async fn created(http: &reqwest::Client, url: &str, key: &str, body: &Value) -> String {
    let (status, bytes) = post(http, url, key, body).await.expect("the server answers");
    assert_eq!(status, 200, "{}", text(&bytes));
    let made: Value = serde_json::from_slice(&bytes).expect("JSON");
    made["id"].as_str().expect("an id").to_owned()
}

/// The body of a message to an agent.
pub(crate) fn says(content: &str) -> Value {
    serde_json::json!({ "messages": [{ "role": "user", "content": content }] })
}
