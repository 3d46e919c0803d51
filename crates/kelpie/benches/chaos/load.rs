//! Clients that insist on an answer, each call under one key, and write down what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kelpie_dst::check::Recorder;
use kelpie_dst::check::spec::{CounterInput, RegisterInput, RegisterOutput};
use kelpie_env::Env;
use parking_lot::Mutex;
use serde_json::{Value, json};

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

/// What the clients of a round were told, counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Calls that were answered.
    pub(crate) answered: u64,
    /// Additions that were answered, by counter.
    pub(crate) added: BTreeMap<String, i64>,
    /// Additions whose outcome is unknown, by counter.
    pub(crate) unknown: BTreeMap<String, i64>,
    /// Calls that were never answered, or answered with an error that is no reason to ask again.
    pub(crate) failed: u64,
    /// How often a call was asked again.
    pub(crate) again: u64,
    /// Errors that nodes answered with which were not about to leave, by their codes.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// The longest call.
    pub(crate) longest: Duration,
}

/// What one node said.
enum Told {
    Answer(Value),
    /// Ask again, maybe elsewhere.
    Again(Option<String>),
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
                6..8 => self.write(client, &key).await,
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

    async fn write(&self, client: u64, key: &str) {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let invocation = self.registers.invoke(client, (key.to_owned(), RegisterInput::Write(value)));
        if self.call("register", key, "write", &json!({ "value": value }), None).await.is_some() {
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
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(_) => return Told::Again(None),
        };
        let status = answer.status();
        let Ok(body) = answer.json::<Value>().await else { return Told::Again(None) };
        if status.is_success() {
            return Told::Answer(body);
        }
        let refusal = format!("{} {}", status.as_u16(), body["code"].as_str().unwrap_or("?"));
        match body["advice"].as_str() {
            Some("not_run" | "unknown") => {
                Told::Again(Some(refusal).filter(|_| !door.leaving.load(Ordering::Relaxed)))
            }
            _ => Told::Never(refusal),
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.env.random_u64() % below
    }
}
