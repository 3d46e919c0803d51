//! Clients that send numbered messages and insist on an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kelpie_env::Env;
use serde_json::Value;

use crate::process::{client, get, post, says, text};

/// One in so many messages is given up after its first failure: it may have happened.
const GIVES_UP: u64 = 8;
/// One in so many messages is a retry of an old one instead.
const LOOKS_BACK: u64 = 6;
/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(15);

/// One message and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) n: u64,
    pub(super) agent: String,
    /// The first reply; none when the client gave up.
    pub(super) reply: Option<Vec<u8>>,
    /// How often it was sent until then.
    pub(super) attempts: u64,
    /// Replies to the same key later that were not the same bytes.
    pub(super) other_replies: Vec<String>,
    /// How often an old key was asked again.
    pub(super) asked_again: u64,
}

/// What all clients share.
pub(super) struct Load {
    url: String,
    env: Env,
    http: reqwest::Client,
    next: AtomicU64,
    stopped: AtomicBool,
}

impl Load {
    pub(super) fn new(url: String, env: Env) -> Self {
        Self { url, env, http: client(), next: AtomicU64::new(1), stopped: AtomicBool::new(false) }
    }

    /// Lets each client finish the message that it is at.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Sends messages to one agent, one after the other.
    pub(super) async fn run(self: Arc<Self>, agent: String) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        while !self.stopped.load(Ordering::Relaxed) {
            if self.one_in(LOOKS_BACK) && !sent.is_empty() {
                let at = usize::try_from(self.env.random_u64()).expect("64 bits") % sent.len();
                self.repeat(&mut sent[at]).await;
            } else {
                sent.push(self.send(&agent).await);
            }
        }
        sent
    }

    async fn send(&self, agent: &str) -> Sent {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut sent = Sent {
            n,
            agent: agent.to_owned(),
            reply: None,
            attempts: 0,
            other_replies: Vec::new(),
            asked_again: 0,
        };
        let gives_up = self.one_in(GIVES_UP);
        while sent.reply.is_none() && !(gives_up && sent.attempts > 0) {
            if sent.attempts > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            sent.attempts += 1;
            sent.reply = self.attempt(&sent).await;
        }
        sent
    }

    /// Sends an acknowledged message once more: an answer, if there is one, is the first one.
    async fn repeat(&self, sent: &mut Sent) {
        let Some(first) = &sent.reply else { return };
        if let Some(again) = self.attempt(sent).await {
            sent.asked_again += 1;
            if again != *first {
                sent.other_replies.push(text(&again));
            }
        }
    }

    /// Asks every old key once more, with the server up.
    pub(super) async fn ask_again(&self, sent: &mut [Sent]) {
        for sent in sent {
            self.repeat(sent).await;
        }
    }

    /// The reply, or nothing when the server was away or asked to come again.
    async fn attempt(&self, sent: &Sent) -> Option<Vec<u8>> {
        let url = format!("{}/v1/agents/{}/messages", self.url, sent.agent);
        let body = says(&question(sent.n));
        let (status, bytes) = post(&self.http, &url, &format!("message-{}", sent.n), &body).await.ok()?;
        match status {
            200 => Some(bytes),
            409 | 429 | 503 => None,
            _ => panic!("message {}: {status} {}", sent.n, text(&bytes)),
        }
    }

    /// An agent's whole history, oldest first, page by page.
    pub(super) async fn history(&self, agent: &str) -> Vec<Value> {
        let mut history: Vec<Value> = Vec::new();
        loop {
            let after = history.last().map(|last| format!("&after={}", last["id"].as_str().expect("an id")));
            let url = format!("{}/v1/agents/{agent}/messages?order=asc&limit=100", self.url);
            let page = get(&self.http, &format!("{url}{}", after.unwrap_or_default())).await;
            let page = page.as_array().expect("a list").clone();
            if page.is_empty() {
                return history;
            }
            history.extend(page);
        }
    }

    fn one_in(&self, times: u64) -> bool {
        self.env.random_u64().is_multiple_of(times)
    }
}

/// The text of a message: the scripted model does as it is told.
pub(super) fn question(n: u64) -> String {
    format!("Call the tool count with {{\"n\": {n}}}")
}
