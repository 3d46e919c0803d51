//! Clients that insist on an answer, each call under one key, and write down what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kelpie_dst::check::Recorder;
use kelpie_dst::check::spec::{CounterInput, RegisterInput, RegisterOutput};
use kelpie_env::Env;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::round::Seen;

/// Clients that call side by side.
const CLIENTS: u64 = 8;
/// Counters, and as many registers.
pub(crate) const KEYS: u64 = 6;
/// What one node gets to answer before another one is asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(6);
/// After that the outcome of a call stays unknown. Longer than any fault.
const CALL_MAX: Duration = Duration::from_secs(60);
/// Before the next node is asked.
const AGAIN: Duration = Duration::from_millis(20);
/// The longest pause between two calls of a client.
const THINK_MS: u64 = 20;

/// One node, as clients see it.
pub(crate) struct Door {
    pub(crate) url: String,
    /// It was told to end: that it turns clients away is no failure.
    pub(crate) leaving: AtomicBool,
}

/// The calls of one round, on actors of its own.
pub(crate) struct Load {
    env: Env,
    http: reqwest::Client,
    secret: String,
    doors: Arc<Vec<Door>>,
    round: String,
    stopped: AtomicBool,
    next: AtomicU64,
    pub(crate) counters: Recorder<(String, CounterInput), i64>,
    pub(crate) registers: Recorder<(String, RegisterInput<u64>), RegisterOutput<u64>>,
    pub(crate) seen: Mutex<Seen>,
}

/// What one node said.
enum Told {
    Answer(Value),
    /// Ask again, maybe elsewhere: it took no connection, or has certainly not begun. Why, of a
    /// node that stays.
    Again(Option<String>),
    /// It took the connection, and nobody knows what came of the call: ask again.
    Unknown(String),
    /// Asking again would not help.
    Never(String),
}

impl Load {
    pub(crate) fn new(
        env: Env,
        http: reqwest::Client,
        secret: &str,
        doors: Arc<Vec<Door>>,
        round: String,
    ) -> Arc<Self> {
        Arc::new(Self {
            env,
            http,
            secret: secret.to_owned(),
            doors,
            round,
            stopped: AtomicBool::new(false),
            next: AtomicU64::new(1),
            counters: Recorder::new(),
            registers: Recorder::new(),
            seen: Mutex::default(),
        })
    }

    /// The name of a key of this round.
    pub(crate) fn key(&self, n: u64) -> String {
        format!("{}-{n}", self.round)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        (0..KEYS).map(|n| self.key(n)).collect()
    }

    /// Sends the clients off.
    pub(crate) fn start(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<()>> {
        (0..CLIENTS).map(|client| tokio::spawn(self.clone().client(client))).collect()
    }

    /// Lets each client finish the call that it is at.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    async fn client(self: Arc<Self>, client: u64) {
        while !self.stopped.load(Ordering::Relaxed) {
            let key = self.key(self.draw(KEYS));
            match self.draw(10) {
                0..4 => drop(self.add(client, &key, None).await),
                4..6 => drop(self.get(client, &key).await),
                6..8 => self.write(client, &key, None).await,
                _ => self.read(client, &key).await,
            }
            tokio::time::sleep(Duration::from_millis(self.draw(THINK_MS))).await;
        }
    }

    /// Adds one to a counter; the total, if it was told. `past`: a node that is not asked.
    pub(crate) async fn add(&self, client: u64, key: &str, past: Option<usize>) -> Option<i64> {
        let invocation = self.counters.invoke(client, (key.to_owned(), CounterInput::Add(1)));
        let total = self.call("counter", key, "add", &json!({ "n": 1 }), past).await;
        let total = total.and_then(|total| total.as_i64());
        let mut seen = self.seen.lock();
        let added = if total.is_some() { &mut seen.added } else { &mut seen.unknown };
        *added.entry(key.to_owned()).or_default() += 1;
        drop(seen);
        if let Some(total) = total {
            invocation.answered(total);
        }
        total
    }

    /// The total of a counter, if it was told.
    pub(crate) async fn get(&self, client: u64, key: &str) -> Option<i64> {
        let invocation = self.counters.invoke(client, (key.to_owned(), CounterInput::Get));
        let total = self.call("counter", key, "get", &json!([]), None).await?.as_i64()?;
        invocation.answered(total);
        Some(total)
    }

    /// Replaces the value of a register. `past`: a node that is not asked.
    pub(crate) async fn write(&self, client: u64, key: &str, past: Option<usize>) {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let invocation = self.registers.invoke(client, (key.to_owned(), RegisterInput::Write(value)));
        if self.call("register", key, "write", &json!({ "value": value }), past).await.is_some() {
            invocation.answered(RegisterOutput::Written);
        }
    }

    async fn read(&self, client: u64, key: &str) {
        let invocation = self.registers.invoke(client, (key.to_owned(), RegisterInput::Read));
        if let Some(value) = self.call("register", key, "read", &json!([]), None).await {
            invocation.answered(RegisterOutput::Value(value.as_u64()));
        }
    }

    /// Asks one node after the other, always with the same key, until one has answered.
    async fn call(
        &self,
        actor_type: &str,
        key: &str,
        handler: &str,
        arguments: &Value,
        past: Option<usize>,
    ) -> Option<Value> {
        let path = format!("/v1/actors/{actor_type}/{key}/{handler}");
        let name = format!("{:032x}", self.env.random_u128());
        let begun = Instant::now();
        let mut at = usize::try_from(self.draw(self.doors.len() as u64)).unwrap_or(0);
        while begun.elapsed() < CALL_MAX {
            at = (at + 1) % self.doors.len();
            if Some(at) == past {
                continue;
            }
            match self.ask(&self.doors[at], &path, &name, arguments).await {
                Told::Answer(value) => {
                    let mut seen = self.seen.lock();
                    seen.answered += 1;
                    seen.longest = seen.longest.max(begun.elapsed());
                    return Some(value);
                }
                Told::Again(refusal) => {
                    let mut seen = self.seen.lock();
                    seen.again += 1;
                    if let Some(refusal) = refusal {
                        *seen.refusals.entry(refusal).or_default() += 1;
                    }
                }
                Told::Unknown(how) => {
                    let mut seen = self.seen.lock();
                    seen.again += 1;
                    *seen.unanswered.entry(how).or_default() += 1;
                }
                Told::Never(refusal) => {
                    *self.seen.lock().refusals.entry(refusal).or_default() += 1;
                    break;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.seen.lock().failed += 1;
        None
    }

    async fn ask(&self, door: &Door, path: &str, name: &str, arguments: &Value) -> Told {
        let request = self.http.post(format!("{}{path}", door.url)).bearer_auth(&self.secret);
        let request = request
            .header("Idempotency-Key", name)
            .header("Kelpie-Deadline-Ms", ATTEMPT_MAX.as_millis().to_string())
            .json(arguments)
            // The node answers before, if it can.
            .timeout(ATTEMPT_MAX + Duration::from_millis(500));
        let left_before = door.leaving.load(Ordering::Relaxed);
        let answer = match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                answer.json::<Value>().await.map(|body| (status, body))
            }
            Err(error) => Err(error),
        };
        // It may have come back since, or have been told to leave.
        let leaves = left_before || door.leaving.load(Ordering::Relaxed);
        let who = if leaves { "a node that leaves" } else { "a node that stays" };
        let (status, body) = match answer {
            Ok(answer) => answer,
            // Nothing was sent: a node that is not there is no failure of one that leaves.
            Err(error) if error.is_connect() => {
                return Told::Again(Some(cause(&error)).filter(|_| !leaves));
            }
            Err(error) => return Told::Unknown(format!("{who}: {}", cause(&error))),
        };
        if status.is_success() {
            return Told::Answer(body);
        }
        let refusal = format!("{} {}", status.as_u16(), body["code"].as_str().unwrap_or("?"));
        match body["advice"].as_str() {
            Some("not_run") => Told::Again(Some(refusal).filter(|_| !leaves)),
            Some("unknown") => Told::Unknown(format!("{who}: {refusal}")),
            _ => Told::Never(refusal),
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.env.random_u64() % below
    }
}

/// What is at the bottom of an error of a request.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
