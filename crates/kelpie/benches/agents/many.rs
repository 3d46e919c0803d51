//! Ten thousand agents, each of which has been talked to.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use kelpie_env::Open;
use kelpie_machine::section::{median, quantile, show};
use serde_json::{Value, json};

use crate::{Bench, says};

const AGENTS: usize = 10_000;
/// Requests of each agent, of so many messages; each gets an answer.
const REQUESTS: usize = 2;
const MESSAGES: usize = 49;
const CLIENTS: usize = 32;
/// Lists and messages that are timed, one after the other.
const TIMED: usize = 500;
const PAGE: usize = 100;
/// Longer than agents stay in memory that nobody calls.
const IDLE: Duration = Duration::from_secs(90);

pub(crate) async fn measure(bench: Bench) -> String {
    let empty = kelpie_machine::resident_bytes(bench.server.child.id());
    let (created_in, agents) = bench
        .timed(async {
            let agents = stream::iter(0..AGENTS).map(|number| {
                let bench = &bench;
                async move { bench.create(&format!("agent {number:05}")).await }
            });
            agents.buffer_unordered(CLIENTS).collect::<Vec<String>>().await
        })
        .await;
    let created = kelpie_machine::resident_bytes(bench.server.child.id());
    let message =
        json!({ "role": "user", "content": "What a day it was: rain at first, and then some sun." });
    let request = json!({ "messages": vec![message; MESSAGES] });
    let (talked_in, ()) = bench
        .timed(async {
            let requests = stream::iter(agents.iter().cycle().take(REQUESTS * AGENTS));
            let (bench, request) = (&bench, &request);
            let answers = requests.map(|agent| talk(bench, agent, request));
            answers.buffer_unordered(CLIENTS).for_each(async |answer| assert!(answer.is_object())).await;
        })
        .await;
    let talked = kelpie_machine::resident_bytes(bench.server.child.id());
    let (mut pages, mut turns, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..TIMED {
        let agent = &agents[number * 7_919 % AGENTS];
        let (took, page) = bench.timed(bench.get(&format!("/v1/agents/?limit={PAGE}&after={agent}"))).await;
        assert!(page.as_array().unwrap().len() <= PAGE);
        pages.push(took);
        turns.push(bench.timed(talk(&bench, agent, &says("hello"))).await.0);
    }
    bench.env.sleep(IDLE).await;
    let idle = kelpie_machine::resident_bytes(bench.server.child.id());
    for number in 0..TIMED {
        let agent = &agents[number * 6_007 % AGENTS];
        cold.push(bench.timed(talk(&bench, agent, &says("hello"))).await.0);
    }
    let each = |bytes: u64| bytes.saturating_sub(empty) / AGENTS as u64;
    let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
    let rows = [
        ("a list of 100 agents", pages),
        ("a message, right after that", turns),
        ("a message, after the pause", cold),
    ];
    let figures = rows.map(|(what, times)| {
        format!("| {what} | {} | {} |", show(median(&times)), show(quantile(&times, 99)))
    });
    format!(
        "{AGENTS} agents with a block each, made by {CLIENTS} clients: {:.0} agents/s. Each gets {REQUESTS} requests of {MESSAGES} messages and answers them:\n\
         {:.0} requests/s, {:.0} messages/s. The server holds {} MiB before, {} MiB with the agents made ({} B each), {} MiB when all have\n\
         talked ({} B each), {} MiB after {} s without a call: agents leave memory after 60 s, and what the store\n\
         keeps in memory is in all of these figures. {} MiB are on disk.\n\n\
         | one client, {TIMED} times | p50 | p99 |\n|---|---|---|\n{}\n",
        rate(AGENTS, created_in),
        rate(REQUESTS * AGENTS, talked_in),
        rate(REQUESTS * AGENTS * (MESSAGES + 1), talked_in),
        empty >> 20,
        created >> 20,
        each(created),
        talked >> 20,
        each(talked),
        idle >> 20,
        IDLE.as_secs(),
        on_disk(&bench) >> 20,
        figures.join("\n"),
    )
}

async fn talk(bench: &Bench, agent: &str, request: &Value) -> Value {
    bench.post(&format!("/v1/agents/{agent}/messages"), request).await
}

/// Bytes of the store's files.
fn on_disk(bench: &Bench) -> u64 {
    let data = bench.dir.path().join("data");
    let files = bench.env.disk().list(&data).unwrap();
    let bytes = |file| bench.env.disk().open(&data.join(file), Open::Existing).unwrap().len().unwrap();
    files.into_iter().map(bytes).sum()
}
