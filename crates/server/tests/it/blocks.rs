use axum::http::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn blocks_are_listed_shown_and_changed() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/core-memory/blocks");
    let blocks = world.get(&format!("{path}?order=asc")).await.ok();
    let labels: Vec<_> = blocks.as_array().unwrap().iter().map(|block| block["label"].clone()).collect();
    assert_eq!(labels, ["human", "persona"]);
    let first = blocks[0]["id"].as_str().unwrap();
    let rest = world.get(&format!("{path}/?order=asc&after={first}")).await.ok();
    assert_eq!(rest, json!([blocks[1]]));
    assert_eq!(world.get(&format!("{path}?limit=1")).await.ok(), json!([blocks[1]]));

    let human = format!("{path}/human");
    let changed = world.patch(&human, json!({"value": "Ann", "limit": 50})).await.ok();
    assert_eq!((&changed["value"], &changed["limit"]), (&json!("Ann"), &json!(50)));
    assert_eq!(world.get(&format!("{human}/")).await.ok(), changed);
    assert_eq!(world.get(&format!("/v1/agents/{id}")).await.ok()["blocks"][0], changed);
}

#[tokio::test]
async fn changes_are_taken_back_by_label_and_by_id() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/core-memory/blocks/human");
    let block = world.get(&path).await.ok()["id"].as_str().unwrap().to_owned();
    for value in ["Ann", "Bob"] {
        world.patch(&format!("/v1/blocks/{block}"), json!({"value": value})).await.ok();
    }
    let past = world.get(&format!("/v1/blocks/{block}/past")).await.ok();
    assert_eq!((past.as_array().unwrap().len(), &past[0]["value"]), (2, &json!("Ann")));
    assert_eq!(world.get(&format!("{path}/past")).await.ok(), past);
    assert_eq!(world.post(&format!("/v1/blocks/{block}/undo"), json!({})).await.ok()["value"], "Ann");
    world.post(&format!("{path}/undo"), json!({})).await.ok();
    let refused = world.post(&format!("/v1/blocks/{block}/undo"), json!({})).await;
    refused.refused(StatusCode::UNPROCESSABLE_ENTITY);
    for (method, path) in [("past", "block-none/past"), ("undo", "block-none/undo")] {
        let path = format!("/v1/blocks/{path}");
        let reply =
            if method == "past" { world.get(&path).await } else { world.post(&path, json!({})).await };
        assert_eq!(reply.refused(StatusCode::NOT_FOUND), "Block not found");
    }
}

#[tokio::test]
async fn a_block_that_is_missing_or_too_long_is_refused_and_nothing_changes() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/core-memory/blocks");
    assert_eq!(world.get(&format!("{path}/none")).await.refused(StatusCode::NOT_FOUND), "Block not found");
    let other = "/v1/agents/agent-none/core-memory/blocks";
    assert_eq!(world.get(other).await.refused(StatusCode::NOT_FOUND), "Agent not found");

    let human = format!("{path}/human");
    let before = world.get(&human).await.ok();
    for body in [
        json!({"value": "long", "limit": 3}),
        json!({"limit": 0}),
        json!({"limit": -1}),
        json!({"value": 1}),
        json!({"label": "renamed"}),
    ] {
        world.patch(&human, body).await.refused(StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(world.get(&human).await.ok(), before);
}
