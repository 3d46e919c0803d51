use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn an_agent_is_created_shown_changed_and_deleted() {
    let world = World::new().await;
    let body = json!({
        "name": "Kel", "description": "a dog", "tags": ["dog", "water"], "metadata": {"legs": 4},
        "memory_blocks": [{"label": "human", "value": "Ann", "limit": 100}],
        "model": "offline/scripted", "timezone": "Europe/Berlin", "hidden": true,
        "model_settings": {"provider_type": "openai", "temperature": 0.3, "max_output_tokens": 99},
        "include_base_tools": true, "enable_sleeptime": false, "project_id": null, "some_new_field": [1],
    });
    let agent = world.post("/v1/agents/", body).await.ok();
    let path = format!("/v1/agents/{}", agent["id"].as_str().unwrap());
    assert_eq!(agent["name"], "Kel");
    assert_eq!(agent["agent_type"], "memgpt_agent");
    assert_eq!(agent["metadata"], json!({"legs": 4}));
    assert_eq!(agent["tags"], json!(["dog", "water"]));
    assert_eq!(agent["blocks"][0]["value"], "Ann");
    assert_eq!(agent["memory"]["blocks"], agent["blocks"]);
    assert_eq!(agent["llm_config"]["handle"], "offline/scripted");
    assert_eq!(agent["llm_config"]["model"], "scripted");
    assert_eq!(agent["sources"], json!([]));
    assert_eq!(agent["hidden"], true);
    assert_eq!(agent["model_settings"]["temperature"], 0.3);
    assert!(agent["tools"].as_array().unwrap().len() >= 6);
    assert!(agent.get("some_new_field").is_none());
    assert_eq!(world.get(&path).await.ok(), agent);

    let changed =
        world.patch(&path, json!({"name": "Kelp", "tags": ["sea"], "description": null})).await.ok();
    assert_eq!((&changed["name"], &changed["tags"]), (&json!("Kelp"), &json!(["sea"])));
    assert_eq!(changed["description"], "a dog");
    assert_eq!(changed["system"], agent["system"]);
    assert_eq!(world.get(&path).await.ok(), changed);

    let id = agent["tools"][0]["id"].clone();
    let fewer = world.patch(&path, json!({"tool_ids": [id]})).await.ok();
    assert_eq!(fewer["tools"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(&format!("{path}/tools")).await.ok(), fewer["tools"]);

    assert!(world.delete(&path).await.ok()["message"].is_string());
    assert_eq!(world.get(&path).await.refused(StatusCode::NOT_FOUND), "Agent not found");
    assert_eq!(world.delete(&path).await.refused(StatusCode::NOT_FOUND), "Agent not found");
    assert_eq!(
        world.patch(&path, json!({"name": "x"})).await.refused(StatusCode::NOT_FOUND),
        "Agent not found"
    );
}

#[tokio::test]
async fn an_empty_body_makes_an_agent_with_defaults() {
    let world = World::new().await;
    let agent = world.post("/v1/agents", Value::Null).await.ok();
    assert!(!agent["name"].as_str().unwrap().is_empty());
    assert_eq!(agent["model"], "offline/scripted");
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn agents_are_paged_both_ways_around() {
    let world = World::new().await;
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        all.push(world.agent(name).await);
        world.front.env().sleep(std::time::Duration::from_millis(2)).await;
    }
    let newest: Vec<String> = all.iter().rev().cloned().collect();
    assert_eq!(ids(&world.get("/v1/agents/").await.ok()), newest);
    assert_eq!(ids(&world.get("/v1/agents/?order=asc").await.ok()), all);
    for (order, expected) in [("asc", &all), ("desc", &newest)] {
        let list =
            async |rest: String| ids(&world.get(&format!("/v1/agents/?order={order}{rest}")).await.ok());
        assert_eq!(list("&limit=2".to_owned()).await, expected[..2], "{order}");
        assert_eq!(list(format!("&limit=2&after={}", expected[1])).await, expected[2..4], "{order}");
        assert_eq!(list(format!("&after={}", expected[4])).await, Vec::<String>::new(), "{order}");
        assert_eq!(list(format!("&limit=2&before={}", expected[3])).await, expected[1..3], "{order}");
        assert_eq!(list(format!("&before={}", expected[0])).await, Vec::<String>::new(), "{order}");
        let between = format!("&after={}&before={}", expected[0], expected[3]);
        assert_eq!(list(between).await, expected[1..3], "{order}");
    }
    assert_eq!(world.get("/v1/agents/count").await.ok(), 5);
    let missing = world.get("/v1/agents/?after=agent-none").await.refused(StatusCode::NOT_FOUND);
    assert_eq!(missing, "Agent not found");
}

#[tokio::test]
async fn agents_are_found_by_name_text_and_tags() {
    let world = World::new().await;
    for (name, tags) in [("Ann", json!(["x"])), ("Bob", json!(["x", "y"])), ("Bobby", json!([]))] {
        world.post("/v1/agents/", json!({"name": name, "tags": tags})).await.ok();
    }
    for (query, count) in [
        ("name=Bob", 1),
        ("query_text=bob", 2),
        ("tags=x", 2),
        ("tags=x&tags=y", 2),
        ("tags=x&tags=y&match_all_tags=true", 1),
        ("tags=z", 0),
        ("include=agent.tools&include=agent.tags&limit=1", 1),
    ] {
        let found = world.get(&format!("/v1/agents/?{query}")).await.ok();
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(world.get("/v1/agents/count?tags=x").await.ok(), 2);
}
