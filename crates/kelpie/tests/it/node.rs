//! `kelpie node` against a server on its own directory.

use std::time::Duration;

use serde_json::Value;

use crate::process::{Plan, client, create_agent, run, text};

/// Runs `kelpie node …`; gives its exit code and what it said.
async fn asked(server: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut words = vec!["node", "--server", server];
    words.extend(args);
    let output = run(&words).await;
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

async fn listed(server: &str) -> Value {
    let (code, said) = asked(server, &["list", "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The process's exit code, which comes by itself.
async fn ended(server: crate::process::Server) -> Option<i32> {
    tokio::time::timeout(Duration::from_secs(30), server.code()).await.expect("it ends by itself")
}

#[tokio::test]
async fn a_node_is_listed_drained_and_evicted() {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::new(place.path()).await.arg("--node", "n1");
    let server = plan.start().await;
    let url = plan.url();
    create_agent(&client(), &url, "ada", &[]).await;
    let nodes = listed(&url).await;
    let node = &nodes["nodes"][0];
    assert_eq!(
        (&node["node"], &node["state"], &node["incarnation"]),
        (&"n1".into(), &"active".into(), &1.into())
    );
    assert_eq!((&node["answers"], nodes["nodes"].as_array().map(Vec::len)), (&true.into(), Some(1)));
    let (code, said) = asked(&url, &["list"]).await;
    assert!(code == Some(0) && said.contains("n1") && said.contains("(this one)"), "{said}");

    // In pages of one, as a script would ask.
    let agents = asked(&url, &["actors", "n1", "--json"]).await.1;
    let agents: Value = serde_json::from_str(&agents).unwrap();
    let agent = &agents["actors"][0];
    assert!(agent["actor"].as_str().unwrap().starts_with("default/agent/agent-"), "{agents}");
    assert_eq!((&agent["owner_lives"], &agent["placement"]["reason"]), (&true.into(), &"called".into()));
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let page = format!("{url}/v1/cluster/nodes/n1/actors?limit=1&after={after}");
        let page = crate::process::get(&client(), &page).await;
        found.extend(page["actors"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(Value::from(found), agents["actors"]);
    let (code, said) = asked(&url, &["actors", "n2"]).await;
    assert!(code == Some(4) && said.contains("No node named `n2` ever joined"), "{code:?} {said}");
    let wrong = client().get(format!("{url}/v1/cluster/nodes/n1/actors?after=rubbish")).send().await.unwrap();
    assert_eq!(wrong.status().as_u16(), 422);

    // What names no node changes nothing.
    let (code, said) = asked(&url, &["drain", "n2"]).await;
    assert!(code == Some(4) && said.contains("No node named `n2` ever joined"), "{code:?} {said}");
    let (code, said) = asked(&url, &["evict", "n/1"]).await;
    assert!(code == Some(4) && said.contains("No node named `n/1`"), "{code:?} {said}");
    let (code, said) = asked(&url, &["evict", ""]).await;
    assert!(code == Some(2), "{code:?} {said}");
    assert_eq!(listed(&url).await["nodes"][0]["state"], "active");

    let (code, said) = asked(&url, &["drain", "n1"]).await;
    assert!(code == Some(0) && said.contains("n1 drains"), "{code:?} {said}");
    assert_eq!(ended(server).await, Some(0), "a drained server has ended well");

    let server = plan.start().await;
    assert_eq!(listed(&url).await["nodes"][0]["incarnation"], 2);
    let (code, said) = asked(&url, &["evict", "n1"]).await;
    assert!(code == Some(0) && said.contains("n1 is evicted"), "{code:?} {said}");
    assert_eq!(ended(server).await, Some(1), "it did not want to end");
    assert!(std::fs::read_to_string(plan.log()).unwrap().contains("evicted"));

    // Its name is free at once, and nothing is lost: its actors wait for who calls them.
    let server = plan.start().await;
    let (code, said) = asked(&url, &["actors", "n1", "--limit", "1"]).await;
    assert!(code == Some(0) && said.contains("(that life has ended: free)"), "{code:?} {said}");
    let agents = crate::process::get(&client(), &format!("{url}/v1/agents")).await;
    assert_eq!(agents[0]["name"], "ada");
    server.kill().await;
}
