//! Three servers on one database while one of them stands still, cannot be reached, and all lose
//! the database; and what their clients were told meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kelpie_dst::check::spec::{Register, RegisterInput, RegisterOutput};
use kelpie_dst::check::{Linearizability, Recorder, by_object};
use kelpie_env::Env;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::fresh;
use crate::process::{Plan, Server, client, create_agent, free_address, get, says};
use crate::proxy::{Door, Proxy};

/// The lease term that servers have.
const TERM: Duration = Duration::from_secs(3);
/// After that a client gives a call up. No fault takes as long on any machine.
const CALL_MAX: Duration = Duration::from_secs(120);
const AGENTS: u64 = 3;
const CLIENTS: u64 = 4;

/// Servers behind doors, on a database behind one.
struct World {
    plans: Vec<Plan>,
    servers: Vec<Server>,
    doors: Vec<Proxy>,
    database: Proxy,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = fresh();
        let address: SocketAddr = store
            .split_once('@')
            .and_then(|(_, rest)| rest.split_once('/'))
            .and_then(|(address, _)| address.parse().ok())
            .expect("the database of the tests has an address");
        let database = Proxy::before(address).await.expect("a door");
        let store = store.replace(&address.to_string(), &database.address().to_string());
        let (mut plans, mut servers, mut doors) = (Vec::new(), Vec::new(), Vec::new());
        for n in 1..=3 {
            let home = dir.path().join(format!("n{n}"));
            std::fs::create_dir(&home).expect("a directory");
            let peers = free_address().await;
            let door = Proxy::before(peers).await.expect("a door");
            let plan = Plan::new(&home).await.on(&store).arg("--node", format!("n{n}"));
            let plan = plan.arg("--advertise", door.address()).arg("--peer-listen", peers);
            servers.push(plan.start().await);
            plans.push(plan);
            doors.push(door);
        }
        Self { plans, servers, doors, database, _dir: dir }
    }

    /// The server that owns the most agents.
    async fn busiest(&self) -> usize {
        let page = get(&client(), &format!("{}/v1/actors/agent", self.plans[0].url())).await;
        let mut owned = [0; 3];
        for actor in page["actors"].as_array().expect("a list") {
            let owner = actor["owner"].as_str().expect("a name");
            owned[owner[1..].parse::<usize>().expect("n1, n2 or n3") - 1] += 1;
        }
        (0..3).max_by_key(|at| owned[*at]).expect("three servers")
    }

    /// Name, state and life of each server, once all are active.
    async fn lives(&self) -> Vec<(String, u64)> {
        let http = client();
        let url = format!("{}/v1/cluster/nodes", self.plans[0].url());
        let active = async {
            loop {
                if let Ok(answer) = http.get(&url).send().await
                    && answer.status().is_success()
                    && let Ok(list) = answer.json::<Value>().await
                {
                    let nodes = list["nodes"].as_array().expect("a list");
                    if nodes.iter().all(|node| node["state"] == "active") {
                        let life = |node: &Value| {
                            (node["node"].to_string(), node["incarnation"].as_u64().expect("a number"))
                        };
                        return nodes.iter().map(life).collect();
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(CALL_MAX, active).await.expect("all servers are active again")
    }
}

/// Clients that insist, and what they were told.
struct Load {
    env: Env,
    http: reqwest::Client,
    urls: Vec<String>,
    agents: Vec<String>,
    stopped: AtomicBool,
    next: AtomicU64,
    /// Messages by number: to which agent, and whether it was answered.
    sent: Mutex<BTreeMap<u64, (String, bool)>>,
    blocks: Recorder<(String, RegisterInput<String>), RegisterOutput<String>>,
}

impl Load {
    async fn run(self: Arc<Self>, id: u64) {
        while !self.stopped.load(Ordering::Relaxed) {
            let agent = &self.agents[self.draw(AGENTS)];
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let block = format!("/v1/agents/{agent}/core-memory/blocks/human");
            match self.draw(3) {
                0 => {
                    self.sent.lock().insert(n, (agent.clone(), false));
                    let message = says(&format!("Say m{n}."));
                    let messages = format!("/v1/agents/{agent}/messages");
                    let answer = self.insist(|url| self.http.post(url + &messages).json(&message), n).await;
                    self.sent.lock().insert(n, (agent.clone(), answer.is_some()));
                }
                1 => {
                    let value = format!("v{n}");
                    let write = RegisterInput::Write(value.clone());
                    let invocation = self.blocks.invoke(id, (agent.clone(), write));
                    let body = json!({ "value": value });
                    if self.insist(|url| self.http.patch(url + &block).json(&body), n).await.is_some() {
                        invocation.answered(RegisterOutput::Written);
                    }
                }
                _ => {
                    let invocation = self.blocks.invoke(id, (agent.clone(), RegisterInput::Read));
                    if let Some(read) = self.insist(|url| self.http.get(url + &block), n).await {
                        let value = read["value"].as_str().expect("a block has a value").to_owned();
                        invocation.answered(RegisterOutput::Value(Some(value)));
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks one server after the other under one key, until one has answered.
    async fn insist(&self, request: impl Fn(String) -> reqwest::RequestBuilder, n: u64) -> Option<Value> {
        let asked = async {
            let mut at = self.draw(3);
            loop {
                let request = request(self.urls[at].clone()).header("Idempotency-Key", format!("key-{n}"));
                if let Ok(answer) = request.timeout(2 * TERM).send().await {
                    let status = answer.status();
                    assert!(
                        status.is_success() || matches!(status.as_u16(), 429 | 503 | 504),
                        "{status}: {}",
                        answer.text().await.unwrap_or_default()
                    );
                    if let (true, Ok(answer)) = (status.is_success(), answer.json().await) {
                        return answer;
                    }
                }
                at = (at + 1) % 3;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(CALL_MAX, asked).await.ok()
    }

    fn draw(&self, below: u64) -> usize {
        usize::try_from(self.env.random_u64() % below).expect("it is small")
    }

    /// Each message that was answered is there once, the others at most once, and no block was
    /// read as it could not have been.
    async fn judge(&self) {
        let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for agent in &self.agents {
            let url = format!("{}/v1/agents/{agent}/messages?order=asc&limit=1000", self.urls[0]);
            let messages = get(&self.http, &url).await;
            for message in messages.as_array().expect("a list") {
                let content = message["content"].to_string();
                let said = content.split_once("Say m").and_then(|(_, rest)| rest.split_once('.'));
                if let (true, Some((n, _))) = (message["message_type"] == "user_message", said) {
                    found.entry(n.parse().expect("a number")).or_default().push(agent.clone());
                }
            }
        }
        let sent = self.sent.lock();
        let answered = sent.values().filter(|(_, answered)| *answered).count();
        assert!(answered > 20, "only {answered} messages were answered");
        for (n, (agent, answered)) in &*sent {
            let times = found.remove(n).unwrap_or_default();
            assert!(times.iter().all(|found| found == agent), "message {n} is with {times:?}");
            assert!(times.len() == 1 || (times.is_empty() && !answered), "message {n} is there {times:?}");
        }
        assert!(found.is_empty(), "nobody has sent {found:?}");
        for (agent, operations) in by_object(self.blocks.operations(), |(agent, input)| (agent, input)) {
            let checked = Linearizability::new(Register::holding(String::new())).check(&operations);
            checked.unwrap_or_else(|error| panic!("the block of {agent}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_a_server_stands_still_or_is_cut_off_or_the_database_is_away() {
    let world = World::start().await;
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        let url = world.plans[usize::try_from(n).expect("it is small")].url();
        agents.push(create_agent(&client(), &url, &format!("agent-{n}"), &[]).await);
    }
    let load = Arc::new(Load {
        env: kelpie_env::real::env(),
        http: client(),
        urls: world.plans.iter().map(Plan::url).collect(),
        agents,
        stopped: AtomicBool::new(false),
        next: AtomicU64::new(0),
        sent: Mutex::default(),
        blocks: Recorder::new(),
    });
    let clients: Vec<_> = (0..CLIENTS).map(|id| tokio::spawn(load.clone().run(id))).collect();
    let calm = || tokio::time::sleep(Duration::from_secs(1));
    calm().await;

    // It was declared dead meanwhile, and what it was about cannot be committed any more.
    let zombie = world.busiest().await;
    world.servers[zombie].signal(Signal::STOP);
    tokio::time::sleep(3 * TERM).await;
    world.servers[zombie].signal(Signal::CONT);
    world.lives().await;
    calm().await;

    // It reaches the others, and nobody reaches it: its agents are claimed over.
    let deaf = world.busiest().await;
    world.doors[deaf].set(Door::HeldInward);
    tokio::time::sleep(2 * TERM).await;
    world.doors[deaf].set(Door::Open);
    let before = world.lives().await;
    calm().await;

    // First it answers nobody, then it is gone.
    world.database.set(Door::Held);
    tokio::time::sleep(TERM).await;
    world.database.set(Door::Gone);
    tokio::time::sleep(2 * TERM).await;
    world.database.set(Door::Open);
    // Long enough to declare somebody dead, if anybody is about to.
    tokio::time::sleep(2 * TERM).await;
    assert_eq!(world.lives().await, before, "somebody was declared dead by an outage of the database");

    load.stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no panic in a client");
    }
    load.judge().await;
}
