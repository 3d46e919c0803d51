//! `kill -9`, again and again, under load.
//!
//! ```text
//!   clients ──numbered messages, each under its key──▶ server ◀──SIGKILL at random moments
//!     in two conversations of each agent,                 └──▶ tool: counter files by key
//!     approving and denying what they are asked about
//!   afterwards: replies, histories and counters are held against each other (audit)
//! ```
//!
//! The machine keeps running, so the page cache survives: this test says nothing about
//! fsync (the simulated disk does), and everything about what the process held in memory.

pub(crate) mod audit;
mod client;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use serde_json::{Value, json};

use self::client::{Load, Seat, Sent};
use crate::process::{Plan, client, create_agent_with, created, run, text};
use crate::tool::{CAREFUL, NAME, Tool};

/// Agents that the messages go to.
const AGENTS: usize = 4;
/// Clients per agent, each in a conversation of its own: they meet in its mailbox.
const CLIENTS_PER_AGENT: usize = 2;
/// Tokens that prompt and answer may have together: so few that conversations are summarized.
const WINDOW_TOKENS: u32 = 700;
/// How long the tool takes, in milliseconds.
const TOOL_MS: std::ops::Range<u64> = 20..200;
/// How long a server lives after it was ready, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 50..400;

/// What a run of the crash test has seen.
pub(crate) struct Seen {
    kills: usize,
    /// Kills that hit a running turn.
    pub(crate) hits: usize,
    sent: Vec<Sent>,
    /// Answers that no client asked for.
    refused: Vec<String>,
    histories: Vec<Vec<serde_json::Value>>,
    runs: Vec<serde_json::Value>,
    tool: Tool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let kills = if std::env::var_os("KELPIE_TEST_FULL").is_some() { 200 } else { 50 };
    let dir = tempfile::tempdir().expect("a directory");
    let seen = crash(dir.path(), kills, |plan| plan).await;
    assert_sound(dir.path(), &seen);
    assert!(seen.hits > kills / 4, "only {} of {kills} kills hit a running turn", seen.hits);
    assert!(audit::summaries(&seen) > 0, "no conversation was summarized");
    assert!(seen.sent.iter().any(|sent| sent.decided.is_some()), "nothing was approved");
}

/// What servers that are killed commit is written down with it: each commit of each actor, in
/// their order. `cargo xtask specs --traces` takes the steps from here and follows them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_commit_is_written_down_as_a_step_of_its_protocol() {
    let dir = tempfile::tempdir().expect("a directory");
    let seen = crash(dir.path(), 12, |plan| plan.var("KELPIE_RECORD_PROTOCOL", "true")).await;
    assert_sound(dir.path(), &seen);
    let store = format!("embedded:{}", dir.path().join("data").display());
    let output = run(&["store", "steps", "--store", &store]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let mut seqs: BTreeMap<String, u64> = BTreeMap::new();
    let mut joins = 0;
    for line in printed.lines() {
        let step: Value = serde_json::from_str(line).expect("a step a line");
        joins += usize::from(step["action"] == "Join");
        if step["action"] == "Commit" || step["action"] == "Recorded" {
            let actor = step["actor"].as_str().expect("whose").to_owned();
            let before = seqs.insert(actor, step["seq"].as_u64().expect("a number")).unwrap_or(0);
            assert_eq!(step["seq"], before + 1, "{line}");
        }
    }
    assert!(joins > seen.kills, "{joins} lives of {} kills", seen.kills);
    assert!(seqs.len() >= AGENTS, "{seqs:?}");
    if let Some(steps) = std::env::var_os("KELPIE_STEPS_DIR") {
        std::fs::write(Path::new(&steps).join("killed-servers.jsonl"), printed).expect("written");
    }
}

/// Fails with everything that should not be, and the end of the server's log.
#[expect(clippy::print_stdout, reason = "what a crash run has seen is worth reading")]
pub(crate) fn assert_sound(dir: &Path, seen: &Seen) {
    println!("{}", audit::counts(seen));
    let violations = audit::violations(seen);
    let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().take(30).collect();
    assert!(violations.is_empty(), "{}\n{}", violations.join("\n"), tail.join("\n"));
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::{audit, crash};

    /// Seeded bugs that a lost process makes visible.
    #[expect(clippy::print_stdout, reason = "what a crash run has seen is worth reading")]
    async fn is_caught(mutant: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        let seen = crash(dir.path(), 40, |plan| plan.var("KELPIE_MUTANT", mutant)).await;
        let violations = audit::violations(&seen);
        println!("{mutant}: {}\n{}", audit::counts(&seen), violations.join("\n"));
        assert!(!violations.is_empty(), "{mutant} went unnoticed");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_key_that_is_not_recorded_is_caught() {
        is_caught("dedup_not_recorded").await;
    }
}

/// Kills a server, planned by `planned`, under load.
pub(crate) async fn crash(dir: &Path, kills_wanted: usize, planned: impl FnOnce(Plan) -> Plan) -> Seen {
    let tool = Tool::start(dir, TOOL_MS).await;
    let plan = planned(Plan::new(dir).await.arg("--tools", tool.file(dir).display()));
    let env = kelpie_env::real::env();
    let http = client();
    let server = plan.start().await;
    let (mut agents, mut seats) = (Vec::new(), Vec::new());
    for at in 0..AGENTS {
        let more = json!({ "context_window_limit": WINDOW_TOKENS, "include_base_tools": false,
            "agent_type": "letta_v1_agent", "system": "Do as you are told.",
            "tool_rules": [{ "type": "requires_approval", "tool_name": CAREFUL }] });
        let name = format!("agent-{at}");
        let agent = create_agent_with(&http, &plan.url(), &name, &[NAME, CAREFUL], &more).await;
        for place in 0..CLIENTS_PER_AGENT {
            let url = format!("{}/v1/conversations/?agent_id={agent}", plan.url());
            let key = format!("{name}-{place}");
            let conversation = match place {
                0 => None,
                _ => Some(created(&http, &url, &key, &json!({})).await),
            };
            seats.push(Seat { agent: agent.clone(), conversation });
        }
        agents.push(agent);
    }
    server.kill().await;

    let load = Arc::new(Load::new(plan.url(), env.clone()));
    let clients: Vec<_> = seats.iter().map(|seat| tokio::spawn(load.clone().run(seat.clone()))).collect();
    let (kills, hits) = kill_again_and_again(&plan, &tool, &env, kills_wanted).await;

    let server = plan.start().await;
    load.stop();
    let mut sent = Vec::new();
    for client in clients {
        sent.extend(client.await.expect("no panic in a client"));
    }
    load.ask_again(&mut sent).await;
    let (mut histories, mut runs) = (Vec::new(), Vec::new());
    for seat in &seats {
        histories.push(load.history(seat).await);
    }
    for agent in &agents {
        runs.extend(load.runs(agent).await);
    }
    server.kill().await;
    let refused = std::mem::take(&mut *load.refused.lock());
    Seen { kills, hits, sent, refused, histories, runs, tool }
}

/// Starts and kills the server, until more than a quarter of `wanted` kills hit a turn whose tool
/// was running, however slow the machine is; at most four times as often. Gives how many kills
/// there were, and how many of them hit.
async fn kill_again_and_again(plan: &Plan, tool: &Tool, env: &Env, wanted: usize) -> (usize, usize) {
    let (mut kills, mut hits) = (0, 0);
    while kills < wanted || (hits <= wanted / 4 && kills < 4 * wanted) {
        kills += 1;
        let server = plan.start().await;
        let life = LIFE_MS.start + env.random_u64() % (LIFE_MS.end - LIFE_MS.start);
        tokio::time::sleep(Duration::from_millis(life)).await;
        hits += usize::from(tool.running() > 0);
        server.kill().await;
    }
    (kills, hits)
}
