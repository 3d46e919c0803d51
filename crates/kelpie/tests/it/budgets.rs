//! Budgets as an operator sets them, as the guide shows them.

use serde_json::{Value, json};

use crate::guide::{blocks, words};
use crate::process::{Plan, client, create_agent, create_agent_with, get, post, says, text};

const SECTION: &str = "What an agent may use up";

#[tokio::test]
async fn the_guide_s_prices_and_tenant_budget_limit_what_agents_cost() {
    let dir = tempfile::tempdir().expect("a directory");
    let prices = dir.path().join("prices.json");
    std::fs::write(&prices, &blocks(SECTION, "json")[0]).expect("written");
    let command = words(blocks(SECTION, "sh")[0].trim());
    let mut plan = Plan::new(dir.path()).await;
    for pair in command[1..].chunks(2) {
        let value = if pair[0] == "--prices" { prices.display().to_string() } else { pair[1].clone() };
        plan = plan.arg(&pair[0], value);
    }
    let (server, url, http) = (plan.start().await, plan.url(), client());
    let ada = create_agent(&http, &url, "ada", &[]).await;
    let send = async |agent: &str, key: &str| {
        let messages = format!("{url}/v1/agents/{agent}/messages");
        let (status, body) =
            post(&http, &messages, key, &says("What can you do?")).await.expect("the server answers");
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_else(|_| panic!("{}", text(&body))))
    };
    let (status, answer) = send(&ada, "1").await;
    assert_eq!(status, 200, "{answer}");
    let usage = &answer["usage"];
    let (read, wrote) = (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64());
    let (read, wrote) = (read.expect("a number"), wrote.expect("a number"));
    assert_eq!(usage["cost_microdollars"], read + 5 * wrote, "{usage}");
    let run = usage["run_ids"][0].as_str().expect("an id");
    let of_run = get(&http, &format!("{url}/v1/runs/{run}/usage")).await;
    assert_eq!(of_run["cost_microdollars"], usage["cost_microdollars"], "{of_run}");

    // An agent with less than one answer left, and the whole tenant beside it.
    let more = json!({ "budget": { "microdollars_per_day": 1 } });
    let poor = create_agent_with(&http, &url, "poor", &[], &more).await;
    assert_eq!(send(&poor, "2").await.0, 200, "the first answer of the day");
    let (status, refused) = send(&poor, "3").await;
    let why = refused["detail"].as_str().expect("a text");
    assert!(
        status == 429 && why.contains("micro-dollars today (UTC) (budget_exceeded)"),
        "{status} {refused}"
    );
    let spending = get(&http, &format!("{url}/v1/spending")).await;
    assert_eq!(
        (spending["steps"].as_u64(), spending["budget"]["tokens_per_day"].as_u64()),
        (Some(2), Some(5_000_000))
    );
    let of_ada = get(&http, &format!("{url}/v1/spending?agent_id={ada}")).await;
    assert_eq!(of_ada["cost_microdollars"], usage["cost_microdollars"], "{of_ada}");
    server.kill().await;

    // The same store with a budget that is used up: nobody has forgotten.
    let plan = Plan::new(dir.path()).await.arg("--tenant-steps-per-day", 2);
    let (server, url) = (plan.start().await, plan.url());
    let messages = format!("{url}/v1/agents/{ada}/messages");
    let (status, body) = post(&http, &messages, "4", &says("And now?")).await.expect("the server answers");
    assert_eq!(status, 429, "{}", text(&body));
    assert!(text(&body).contains("the tenant has used 2 of 2 model calls"), "{}", text(&body));
    let budget = json!({ "budget": { "microdollars_per_day": 5 } });
    let answer = http.patch(format!("{url}/v1/agents/{ada}")).json(&budget).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 422);
    let why = answer.text().await.expect("a body");
    assert!(why.contains("offline/scripted") && why.contains("--prices FILE"), "{why}");
    server.kill().await;
}
