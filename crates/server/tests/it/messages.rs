use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, said};

fn user(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn a_message_is_answered_and_stands_in_the_history() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/messages");
    let answer = world.post(&path, user("My name is Ann.")).await.ok();
    assert!(said(&answer).contains("Ann"), "{answer}");
    assert_eq!(answer["stop_reason"], json!({"message_type": "stop_reason", "stop_reason": "end_turn"}));
    assert_eq!(answer["usage"]["message_type"], "usage_statistics");
    assert!(answer["usage"]["step_count"].as_u64().unwrap() >= 1);
    let run_id = answer["messages"][0]["run_id"].as_str().unwrap();
    assert_eq!(answer["usage"]["run_ids"], json!([run_id]));
    for message in answer["messages"].as_array().unwrap() {
        assert!(message["id"].is_string() && message["date"].is_string(), "{message}");
        assert_eq!(message["run_id"], run_id);
    }

    let history = world.get(&format!("{path}?order=asc")).await.ok();
    assert_eq!(history[0]["message_type"], "user_message");
    assert_eq!(history[0]["content"], "My name is Ann.");
    assert_eq!(history.as_array().unwrap()[1..], answer["messages"].as_array().unwrap()[..]);
    let human = world.get(&format!("/v1/agents/{id}/core-memory/blocks/human")).await.ok();
    assert!(human["value"].as_str().unwrap().contains("Ann"), "{human}");

    let run = world.get(&format!("/v1/runs/{run_id}")).await.ok();
    assert_eq!((&run["id"], &run["agent_id"]), (&json!(run_id), &json!(id)));
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("completed"), &json!("end_turn")));
    assert_eq!(world.get(&format!("/v1/runs/{run_id}?agent_id={id}")).await.ok(), run);
}

#[tokio::test]
async fn a_run_is_found_by_its_id_alone_until_its_agent_is_deleted() {
    let world = World::new().await;
    let (mut ids, mut runs) = (Vec::new(), Vec::new());
    for name in ["Kel", "Kai"] {
        let id = world.agent(name).await;
        let answer = world.post(&format!("/v1/agents/{id}/messages"), json!({"input": "hello"})).await.ok();
        runs.push(answer["messages"][0]["run_id"].as_str().unwrap().to_owned());
        ids.push(id);
    }
    // Renaming writes the agent's index entries anew.
    world.patch(&format!("/v1/agents/{}", ids[1]), json!({"name": "Kay"})).await.ok();
    world.delete(&format!("/v1/agents/{}", ids[0])).await.ok();
    assert_eq!(world.get(&format!("/v1/runs/{}", runs[1])).await.ok()["agent_id"], ids[1]);
    let never = runs[1].replace("-000000000000", "-00000000ff00");
    for gone in [&*runs[0], &never, "run-none", "run-12345678-1234-1234-1234-123456789012"] {
        assert_eq!(
            world.get(&format!("/v1/runs/{gone}")).await.refused(StatusCode::NOT_FOUND),
            "Run not found"
        );
        let stream = world.post(&format!("/v1/runs/{gone}/stream"), json!({})).await;
        stream.refused(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn input_parts_and_filters_are_understood() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/messages");
    world.post(&path, json!({"input": "hello"})).await.ok();
    let parts = json!([{"type": "text", "text": "remember that"}, {"type": "text", "text": "Ann likes tea"}]);
    let only = json!({"input": parts, "include_return_message_types": ["assistant_message"], "max_steps": 9});
    let answer = world.post(&path, only).await.ok();
    let kinds: Vec<_> =
        answer["messages"].as_array().unwrap().iter().map(|m| m["message_type"].clone()).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| kind == "assistant_message"), "{answer}");

    let said = world.get(&format!("{path}?include_return_message_types=user_message&order=asc")).await.ok();
    let said: Vec<_> = said.as_array().unwrap().iter().map(|message| message["content"].clone()).collect();
    assert_eq!(said, ["hello", "remember that\nAnn likes tea"]);

    let verbatim = json!({"input": "hello again", "use_assistant_message": false});
    let answer = world.post(&path, verbatim).await.ok();
    let calls: Vec<&Value> = answer["messages"].as_array().unwrap().iter().collect();
    let call = calls.iter().find(|message| message["message_type"] == "tool_call_message").unwrap();
    assert_eq!(call["tool_call"]["name"], "send_message", "{answer}");
    assert_eq!(call["tool_calls"][0], call["tool_call"]);
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_are_paged_both_ways_around() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/messages");
    for text in ["one", "two", "three"] {
        world.post(&path, user(text)).await.ok();
    }
    let all = ids(&world.get(&format!("{path}?order=asc")).await.ok());
    assert!(all.len() >= 6, "{all:?}");
    let newest: Vec<String> = all.iter().rev().cloned().collect();
    assert_eq!(ids(&world.get(&path).await.ok()), newest);
    for (order, expected) in [("asc", &all), ("desc", &newest)] {
        let list = async |rest: String| ids(&world.get(&format!("{path}?order={order}{rest}")).await.ok());
        assert_eq!(list("&limit=2".to_owned()).await, expected[..2], "{order}");
        assert_eq!(list(format!("&limit=2&after={}", expected[1])).await, expected[2..4], "{order}");
        assert_eq!(list(format!("&limit=2&before={}", expected[3])).await, expected[1..3], "{order}");
        assert_eq!(
            list(format!("&after={}", expected[all.len() - 1])).await,
            Vec::<String>::new(),
            "{order}"
        );
        let mut walked = Vec::new();
        loop {
            let after = walked.last().map(|last| format!("&after={last}")).unwrap_or_default();
            let page = list(format!("&limit=1{after}")).await;
            if page.is_empty() {
                break;
            }
            walked.extend(page);
        }
        assert_eq!(&walked, expected, "{order}");
    }
    // A filter fills its page from beyond the first few messages.
    let filter = "include_return_message_types=user_message";
    let users = ids(&world.get(&format!("{path}?order=asc&{filter}")).await.ok());
    assert_eq!(users.len(), 3);
    let two = ids(&world.get(&format!("{path}?order=asc&{filter}&limit=2")).await.ok());
    assert_eq!(two, users[..2]);
    let before =
        ids(&world.get(&format!("{path}?order=asc&{filter}&limit=1&before={}", users[2])).await.ok());
    assert_eq!(before, users[1..2]);
    let missing = world.get(&format!("{path}?after=message-none")).await.refused(StatusCode::NOT_FOUND);
    assert_eq!(missing, "Message not found");
}

#[tokio::test]
async fn a_run_that_fails_says_so_and_is_not_repeated_by_clients() {
    let world = World::new().await;
    let id = world.agent_with("moody/refuses").await;
    let reply = world.post(&format!("/v1/agents/{id}/messages"), user("hello")).await;
    let detail = reply.refused(StatusCode::BAD_GATEWAY);
    assert!(detail.as_str().unwrap().contains("model.refused"), "{detail}");
    assert_eq!(reply.json()["advice"], "app");
    assert!(reply.json()["run_id"].is_string());
    assert_eq!(reply.headers["x-should-retry"], "false");
}

#[tokio::test]
async fn a_run_is_cancelled_once() {
    let world = World::new().await;
    let id = world.agent_with("moody/waits").await;
    let path = format!("/v1/agents/{id}/messages");
    let send = world.post(&path, user("hello"));
    let cancel = async {
        world
            .until("a run goes on", async || !world.get(&path).await.ok().as_array().unwrap().is_empty())
            .await;
        let first = world.post(&format!("{path}/cancel"), json!({})).await.ok();
        let run_id = first.as_object().unwrap().keys().next().unwrap().clone();
        let again = world.post(&format!("{path}/cancel"), json!({"run_ids": [run_id]})).await.ok();
        assert_eq!(first, again);
        assert_eq!(first[run_id], "cancelled");
        assert_eq!(world.post(&format!("{path}/cancel"), Value::Null).await.ok(), json!({}));
    };
    let (answer, ()) = futures::join!(send, cancel);
    assert_eq!(answer.ok()["stop_reason"]["stop_reason"], "cancelled");
}
