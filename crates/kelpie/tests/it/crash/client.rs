//! Clients that send numbered messages and insist on an answer.
//!
//! ```text
//!   n % 3 == 0   a call that somebody has to approve: asked for, decided, answered
//!   any other    a call that is made at once
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kelpie_env::Env;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::process::{client, get, post, says, text};
use crate::tool::{CAREFUL, NAME};

/// One in so many messages is given up after its first failure: it may have happened.
const GIVES_UP: u64 = 8;
/// One in so many messages is a retry of an old one instead.
const LOOKS_BACK: u64 = 6;
/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(15);
/// Within this, with the server up, everything is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Where a client sends its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    /// The agent.
    pub(super) agent: String,
    /// The conversation, if it is not the one that every agent has.
    pub(super) conversation: Option<String>,
}

impl Seat {
    fn path(&self) -> String {
        match &self.conversation {
            Some(id) => format!("/v1/conversations/{id}/messages"),
            None => format!("/v1/agents/{}/messages", self.agent),
        }
    }
}

/// One message and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) n: u64,
    pub(super) seat: Seat,
    /// The first reply; none when the client gave up.
    pub(super) reply: Option<Vec<u8>>,
    /// Whether the call was approved, and the first reply to the decision, where one was needed.
    pub(super) decided: Option<(bool, Vec<u8>)>,
    /// It was not answered for [`ANSWERED_WITHIN`], with the server up.
    pub(super) stuck: bool,
    /// How often it was sent until then.
    pub(super) attempts: u64,
    /// Replies to the same key later that were not the same bytes.
    pub(super) other_replies: Vec<String>,
    /// How often an old key was asked again.
    pub(super) asked_again: u64,
}

impl Sent {
    /// Whether somebody has to approve its call.
    pub(super) fn is_careful(&self) -> bool {
        is_careful(self.n)
    }

    /// The reply that tells of the call's result.
    pub(super) fn last_reply(&self) -> &[u8] {
        match (&self.decided, &self.reply) {
            (Some((_, reply)), _) | (None, Some(reply)) => reply,
            (None, None) => &[],
        }
    }
}

fn is_careful(n: u64) -> bool {
    n.is_multiple_of(3)
}

/// What all clients share.
pub(super) struct Load {
    url: String,
    env: Env,
    http: reqwest::Client,
    next: AtomicU64,
    stopped: AtomicBool,
    /// When, on the clock of the world.
    stopped_at: OnceLock<Duration>,
    /// Answers that nothing here asks for.
    pub(super) refused: Mutex<Vec<String>>,
}

impl Load {
    pub(super) fn new(url: String, env: Env) -> Self {
        let (next, stopped) = (AtomicU64::new(1), AtomicBool::new(false));
        Self {
            url,
            env,
            http: client(),
            next,
            stopped,
            stopped_at: OnceLock::new(),
            refused: Mutex::default(),
        }
    }

    /// Whether whoever still waits has waited in vain.
    fn is_over(&self) -> bool {
        let began = self.stopped_at.get();
        began.is_some_and(|began| self.env.now().saturating_sub(*began) > ANSWERED_WITHIN)
    }

    /// Lets each client finish the message that it is at. The server is up, and stays so.
    pub(super) fn stop(&self) {
        self.stopped_at.get_or_init(|| self.env.now());
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Sends messages to one seat, one after the other.
    pub(super) async fn run(self: Arc<Self>, seat: Seat) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        while !self.stopped.load(Ordering::Relaxed) {
            if self.one_in(LOOKS_BACK) && !sent.is_empty() {
                let at = usize::try_from(self.env.random_u64()).expect("64 bits") % sent.len();
                self.repeat(&mut sent[at]).await;
            } else {
                sent.push(self.send(&seat).await);
            }
        }
        // One more that has to be answered: nobody is stuck.
        sent.push(self.send(&seat).await);
        sent
    }

    async fn send(&self, seat: &Seat) -> Sent {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut sent = Sent {
            n,
            seat: seat.clone(),
            reply: None,
            decided: None,
            stuck: false,
            attempts: 0,
            other_replies: Vec::new(),
            asked_again: 0,
        };
        // A call that waits for its approval keeps the conversation: nobody leaves one behind.
        let gives_up = !is_careful(n) && !self.stopped.load(Ordering::Relaxed) && self.one_in(GIVES_UP);
        while sent.reply.is_none() && !(gives_up && sent.attempts > 0) {
            if self.is_over() {
                sent.stuck = true;
                return sent;
            }
            if sent.attempts > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            sent.attempts += 1;
            sent.reply = self.attempt(&sent, &message_key(n), &question(n)).await;
        }
        if let Some(request) = sent.reply.as_deref().and_then(asked) {
            let approve = !self.one_in(4);
            let decision = decision(&request, approve);
            while sent.decided.is_none() {
                if self.is_over() {
                    sent.stuck = true;
                    return sent;
                }
                sent.attempts += 1;
                match self.attempt(&sent, &decision_key(n), &decision).await {
                    Some(reply) => sent.decided = Some((approve, reply)),
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        }
        sent
    }

    /// Sends an acknowledged message once more: an answer, if there is one, is the first one.
    async fn repeat(&self, sent: &mut Sent) {
        let Some(first) = sent.reply.clone() else { return };
        self.repeat_one(sent, &message_key(sent.n), &question(sent.n), &first).await;
        let Some((approve, first)) = sent.decided.clone() else { return };
        let Some(request) = sent.reply.as_deref().and_then(asked) else { return };
        self.repeat_one(sent, &decision_key(sent.n), &decision(&request, approve), &first).await;
    }

    async fn repeat_one(&self, sent: &mut Sent, key: &str, body: &Value, first: &[u8]) {
        if let Some(again) = self.attempt(sent, key, body).await {
            sent.asked_again += 1;
            if again != first {
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
    async fn attempt(&self, sent: &Sent, key: &str, body: &Value) -> Option<Vec<u8>> {
        let url = format!("{}{}", self.url, sent.seat.path());
        let (status, bytes) = post(&self.http, &url, key, body).await.ok()?;
        match status {
            200 => Some(bytes),
            409 | 429 | 503 => None,
            _ => {
                self.refused.lock().push(format!("message {}: {status} {}", sent.n, text(&bytes)));
                Some(bytes)
            }
        }
    }

    /// The whole history of a seat, oldest first, page by page.
    pub(super) async fn history(&self, seat: &Seat) -> Vec<Value> {
        let mut history: Vec<Value> = Vec::new();
        loop {
            let after = history.last().map(|last| format!("&after={}", last["id"].as_str().expect("an id")));
            let url = format!("{}{}?order=asc&limit=100", self.url, seat.path());
            let page = get(&self.http, &format!("{url}{}", after.unwrap_or_default())).await;
            let page = page.as_array().expect("a list").clone();
            if page.is_empty() {
                return history;
            }
            history.extend(page);
        }
    }

    /// All runs of an agent.
    pub(super) async fn runs(&self, agent: &str) -> Vec<Value> {
        let runs = get(&self.http, &format!("{}/v1/runs/?agent_id={agent}&limit=1000", self.url)).await;
        runs.as_array().expect("a list").clone()
    }

    fn one_in(&self, times: u64) -> bool {
        self.env.random_u64().is_multiple_of(times)
    }
}

fn message_key(n: u64) -> String {
    format!("message-{n}")
}

fn decision_key(n: u64) -> String {
    format!("decision-{n}")
}

/// The text of a message: the scripted model does as it is told.
pub(super) fn wish(n: u64) -> String {
    let tool = if is_careful(n) { CAREFUL } else { NAME };
    format!("Call the tool {tool} with {{\"n\": {n}}}")
}

fn question(n: u64) -> Value {
    let mut body = says(&wish(n));
    body["streaming"] = json!(false);
    body
}

/// The id of the call that a reply asks to be approved.
fn asked(reply: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(reply).expect("JSON");
    let request = reply["messages"].as_array()?.last()?;
    let asks = request["message_type"] == "approval_request_message";
    asks.then(|| request["tool_call"]["tool_call_id"].as_str().expect("an id").to_owned())
}

fn decision(call: &str, approve: bool) -> Value {
    let approval =
        json!({ "type": "approval", "tool_call_id": call, "approve": approve, "reason": "not today" });
    json!({ "messages": [{ "type": "approval", "approvals": [approval] }], "streaming": false })
}
