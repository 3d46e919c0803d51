//! Three servers on one database.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::fresh;
use crate::process::{Plan, Server, client, create_agent, get, post, run, says, text};

/// Servers `n1`, `n2`, … that meet in `store`.
pub(super) async fn plans(dir: &Path, store: &str, count: usize) -> Vec<Plan> {
    let mut plans = Vec::new();
    for n in 1..=count {
        let dir = dir.join(format!("n{n}"));
        std::fs::create_dir(&dir).expect("a directory");
        let plan = Plan::new(&dir).await.on(store);
        let plan = plan.arg("--node", format!("n{n}"));
        // One of them is reached by a name.
        plans.push(match n {
            3 => plan.arg("--advertise", "localhost:0").arg("--peer-listen", "127.0.0.1:0"),
            _ => plan.arg("--advertise", "127.0.0.1:0"),
        });
    }
    plans
}

/// Sends a message through a server until it has an answer, with the same key each time.
pub(super) async fn say(plan: &Plan, agent: &str, key: &str) -> String {
    let url = format!("{}/v1/agents/{agent}/messages", plan.url());
    let http = client();
    loop {
        match post(&http, &url, key, &says(&format!("Say {key}"))).await {
            Ok((200, body)) => return text(&body),
            Ok((503 | 504, _)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok((status, body)) => panic!("{status}: {}", text(&body)),
            Err(error) => panic!("{} does not answer: {error}", plan.url()),
        }
    }
}

/// Which server an agent is on.
pub(super) async fn owner(plan: &Plan, agent: &str) -> usize {
    let page = get(&client(), &format!("{}/v1/actors/agent", plan.url())).await;
    let listed = page["actors"].as_array().expect("a list").iter().find(|actor| actor["key"] == agent);
    let owner = listed.expect("the agent is listed")["owner"].as_str().expect("a name").to_owned();
    owner[1..].parse::<usize>().expect("n1, n2 or n3") - 1
}

pub(super) async fn states(plan: &Plan) -> Vec<String> {
    let list: Value = get(&client(), &format!("{}/v1/cluster/nodes", plan.url())).await;
    let nodes = list["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| node["state"].as_str().expect("a state").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_answers_through_any_server_also_when_its_own_is_drained_or_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let plans = plans(dir.path(), &fresh(), 3).await;
    let mut servers: Vec<Option<Server>> = Vec::new();
    for plan in &plans {
        servers.push(Some(plan.start().await));
    }
    assert_eq!(states(&plans[2]).await, ["active", "active", "active"]);
    let agent = create_agent(&client(), &plans[0].url(), "wanderer", &[]).await;
    let mut first = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        first.push(say(plan, &agent, &format!("key-{n}")).await);
    }
    // The same key through another server has the same reply.
    assert_eq!(say(&plans[0], &agent, "key-2").await, first[2]);

    // Any server says why it is where it is, and moves it.
    let at = owner(&plans[0], &agent).await;
    let (asked, to) = (plans[(at + 1) % 3].url(), format!("n{}", (at + 2) % 3 + 1));
    let why = get(&client(), &format!("{asked}/v1/actors/agent/{agent}/why")).await;
    assert_eq!(why["placement"]["reason"], "least_loaded", "{why}");
    assert!(why["turns"].is_array(), "its owner was asked: {why}");
    let moved = run(&["actor", "migrate", "agent", &agent, "--to", &to, "--server", &asked]).await;
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    let told = run(&["actor", "why", "agent", &agent, "--server", &asked]).await;
    let told = text(&told.stdout);
    assert!(told.contains(&format!("n{} gave it away: its operator said so", at + 1)), "{told}");
    for (to, code, says) in [("n9", 4, "no node named `n9`"), (to.as_str(), 0, "already")] {
        let again = run(&["actor", "migrate", "agent", &agent, "--to", to, "--server", &asked]).await;
        let said = text(&again.stdout) + &text(&again.stderr);
        assert!(again.status.code() == Some(code) && said.contains(says), "{said}");
    }

    // Told to drain through another server, its own hands it over while it is called.
    let drained = owner(&plans[0], &agent).await;
    let other = (drained + 1) % 3;
    let name = format!("n{}", drained + 1);
    let told = run(&["node", "drain", &name, "--server", &plans[other].url()]).await;
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let ending = tokio::spawn(servers[drained].take().expect("it runs").code());
    // What is called while it drains is handed over; what nobody calls is free when it has left.
    let mut said_meanwhile = 0;
    while said_meanwhile < 20 || !ending.is_finished() {
        say(&plans[other], &agent, &format!("drained-{said_meanwhile}")).await;
        said_meanwhile += 1;
    }
    let code = ending.await.expect("no panic");
    assert_eq!(code, Some(0), "{}", std::fs::read_to_string(plans[drained].log()).unwrap_or_default());
    let killed = owner(&plans[other], &agent).await;
    assert_ne!(killed, drained, "it was handed over");
    assert_eq!(states(&plans[other]).await[drained], "left");

    servers[killed].take().expect("it runs").kill().await;
    let last = (0..3).find(|n| *n != drained && *n != killed).expect("three of them");
    say(&plans[last], &agent, "killed").await;
    assert_eq!(owner(&plans[last], &agent).await, last);
    // It may have been claimed over as out of reach before it was known to be dead.
    let dead = async {
        while states(&plans[last]).await[killed] != "dead" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dead).await.expect("it is declared dead");

    // Each message is there once, in its order, whoever took it.
    let url = format!("{}/v1/agents/{agent}/messages?order=asc&limit=1000", plans[last].url());
    let messages = get(&client(), &url).await;
    let said: Vec<String> = messages
        .as_array()
        .expect("a list")
        .iter()
        .filter(|message| message["message_type"] == "user_message")
        .map(|message| message["content"].to_string())
        .collect();
    let mut expected: Vec<String> = (0..3).map(|n| format!("key-{n}")).collect();
    expected.extend((0..said_meanwhile).map(|n| format!("drained-{n}")));
    expected.push("killed".to_owned());
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    assert!(said.iter().zip(&expected).all(|(said, key)| said.contains(key.as_str())), "{said:#?}");
}

#[tokio::test]
async fn what_cannot_be_a_node_among_others_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let embedded = format!("embedded:{}", dir.path().join("data").display());
    let store = fresh();
    let cases: [(&str, &[&str], &str); 7] = [
        (&store, &["--advertise", "n1"], "n1.example.org:7001"),
        (&store, &["--advertise", "nobody.invalid:7001", "--peer-listen", "127.0.0.1:0"], "is not known"),
        (&store, &["--advertise", "127.0.0.1:0", "--placement", "nearest"], "round_robin"),
        (&embedded, &["--advertise", "127.0.0.1:0"], "postgres://"),
        (&store, &["--advertise", "10.1.2.3:7000"], "--peer-secret"),
        (&store, &["--advertise", "127.0.0.1:0", "--peer-secret", "short"], "16"),
        (&store, &["--peer-secret", "0123456789abcdef"], "--advertise"),
    ];
    for (store, args, says) in cases {
        let mut words = vec!["serve", "--listen", "127.0.0.1:0", "--store", store];
        words.extend(args);
        let ended = run(&words).await;
        let said = text(&ended.stderr);
        assert!(ended.status.code() == Some(2) && said.contains(says), "{args:?}: {:?} {said}", ended.status);
    }
}
