//! A tool outside of the server: it counts, slowly, and keeps its own books.
//!
//! Like every service worth its name it tells a repetition by the key: the same key again
//! gets the first result. What a double effect of the server would look like here is a
//! second key for the same message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use kelpie_env::Env;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The tool's name.
pub(crate) const NAME: &str = "count";
/// Its name where somebody has to approve each call.
pub(crate) const CAREFUL: &str = "count_carefully";

/// A running tool.
#[derive(Clone)]
pub(crate) struct Tool {
    books: Arc<Books>,
    address: SocketAddr,
}

struct Books {
    env: Env,
    dir: PathBuf,
    takes_ms: std::ops::Range<u64>,
    requests: Mutex<Vec<String>>,
    results: Mutex<BTreeMap<String, Arc<OnceCell<Value>>>>,
    running: Mutex<usize>,
}

impl Tool {
    /// Starts a tool whose counters are files in `dir` and whose calls take so long.
    pub(crate) async fn start(dir: &Path, takes_ms: std::ops::Range<u64>) -> Self {
        let dir = dir.join("counters");
        std::fs::create_dir_all(&dir).expect("a directory");
        let env = kelpie_env::real::env();
        let books = Books {
            env,
            dir,
            takes_ms,
            requests: Mutex::default(),
            results: Mutex::default(),
            running: Mutex::default(),
        };
        let books = Arc::new(books);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/count", post(count)).with_state(books.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { books, address }
    }

    /// The tools file that offers it under both names, written into `dir`.
    pub(crate) fn file(&self, dir: &Path) -> PathBuf {
        let parameters =
            json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let tool = |name: &str| {
            json!({ "name": name, "description": "Counts.", "parameters": parameters,
                "url": format!("http://{}/count", self.address), "idempotent": true })
        };
        let tools = json!([tool(NAME), tool(CAREFUL)]);
        let path = dir.join("tools.json");
        std::fs::write(&path, tools.to_string()).expect("written");
        path
    }

    /// How often it was called, repetitions included.
    pub(crate) fn requests(&self) -> usize {
        self.books.requests.lock().expect("no panic").len()
    }

    /// How many calls run right now.
    pub(crate) fn running(&self) -> usize {
        *self.books.running.lock().expect("no panic")
    }

    /// Waits until it was called that often.
    pub(crate) async fn called(&self, times: usize) {
        let called = async {
            while self.requests() < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), called).await.expect("the tool is called");
    }

    /// The effects by message number: each entry is one key and how often it took effect.
    pub(crate) fn effects(&self) -> BTreeMap<u64, Vec<usize>> {
        let mut effects: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for entry in std::fs::read_dir(&self.books.dir).expect("readable") {
            let name = entry.expect("readable").path();
            let text = std::fs::read_to_string(&name).expect("readable");
            let numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
            effects.entry(numbers[0]).or_default().push(numbers.len());
        }
        effects
    }
}

impl Books {
    fn wait(&self) -> Duration {
        let span = (self.takes_ms.end - self.takes_ms.start).max(1);
        Duration::from_millis((self.takes_ms.start + self.env.random_u64() % span) / 2)
    }

    /// One effect: a line in the counter file of this key.
    async fn effect(&self, key: &str, n: &Value) -> Value {
        *self.running.lock().expect("no panic") += 1;
        tokio::time::sleep(self.wait()).await;
        let name: String =
            key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join(name));
        let written =
            std::io::Write::write_all(&mut file.expect("a counter file"), format!("{n}\n").as_bytes());
        written.expect("written");
        tokio::time::sleep(self.wait()).await;
        *self.running.lock().expect("no panic") -= 1;
        json!({ "counted": n })
    }
}

async fn count(State(books): State<Arc<Books>>, headers: HeaderMap, Json(call): Json<Value>) -> Json<Value> {
    let key = headers["idempotency-key"].to_str().expect("ASCII").to_owned();
    books.requests.lock().expect("no panic").push(key.clone());
    let cell = books.results.lock().expect("no panic").entry(key.clone()).or_default().clone();
    // A task of its own: the caller may be killed, an effect under way is not.
    let work = async move { cell.get_or_init(|| books.effect(&key, &call["arguments"]["n"])).await.clone() };
    Json(tokio::spawn(work).await.expect("no panic"))
}
