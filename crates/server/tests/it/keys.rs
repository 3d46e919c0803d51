use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Reply, World};

async fn keyed(world: &World, method: Method, path: &str, body: &Value, key: &str) -> Reply {
    world.call(method, path, body, &[("idempotency-key", key)]).await
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_reply_byte_for_byte() {
    let world = World::new().await;
    let create = json!({"name": "Kel", "memory_blocks": [{"label": "human", "value": ""}]});
    let first = keyed(&world, Method::POST, "/v1/agents/", &create, "create-1").await;
    let id = first.ok()["id"].as_str().unwrap().to_owned();
    let agent = format!("/v1/agents/{id}");
    let block = format!("{agent}/core-memory/blocks/human");
    let messages = format!("{agent}/messages");
    let steps = [
        (Method::PATCH, agent.as_str(), json!({"name": "Kelp"}), "update-1"),
        (Method::PATCH, block.as_str(), json!({"value": "Ann"}), "block-1"),
        (Method::POST, messages.as_str(), json!({"input": "remember that I like tea"}), "send-1"),
    ];
    let mut replies = vec![("create-1", first)];
    for (method, path, body, key) in &steps {
        let reply = keyed(&world, method.clone(), path, body, key).await;
        reply.ok();
        replies.push((key, reply));
    }
    world.patch(&agent, json!({"name": "Changed since"})).await.ok();
    world.patch(&block, json!({"value": "Changed since"})).await.ok();
    let history = world.get(&messages).await.ok();

    let again = keyed(&world, Method::POST, "/v1/agents/", &create, "create-1").await;
    assert_eq!(again.body, replies[0].1.body);
    for ((method, path, body, key), (_, first)) in steps.iter().zip(&replies[1..]) {
        let again = keyed(&world, method.clone(), path, body, key).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{key}");
    }
    assert_eq!(world.get("/v1/agents/count").await.ok(), 1);
    assert_eq!(world.get(&messages).await.ok(), history);
    assert_eq!(world.get(&agent).await.ok()["name"], "Changed since");
    assert_eq!(world.get(&block).await.ok()["value"], "Changed since");
}

#[tokio::test]
async fn a_repeated_delete_is_still_a_success() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}");
    let first = keyed(&world, Method::DELETE, &path, &Value::Null, "delete-1").await;
    first.ok();
    let again = keyed(&world, Method::DELETE, &path, &Value::Null, "delete-1").await;
    assert_eq!((again.status, again.body), (first.status, first.body));
}

#[tokio::test]
async fn a_key_with_another_request_is_a_conflict_and_changes_nothing() {
    let world = World::new().await;
    keyed(&world, Method::POST, "/v1/agents/", &json!({"name": "Kel"}), "k").await.ok();
    let other = keyed(&world, Method::POST, "/v1/agents/", &json!({"name": "Ann"}), "k").await;
    other.refused(StatusCode::CONFLICT);
    assert_eq!(other.headers["x-should-retry"], "false");
    assert_eq!(world.get("/v1/agents/count").await.ok(), 1);

    let id = world.agent("Bob").await;
    let messages = format!("/v1/agents/{id}/messages");
    keyed(&world, Method::POST, &messages, &json!({"input": "one"}), "m").await.ok();
    let history = world.get(&messages).await.ok();
    keyed(&world, Method::POST, &messages, &json!({"input": "two"}), "m").await.refused(StatusCode::CONFLICT);
    assert_eq!(world.get(&messages).await.ok(), history);
}

#[tokio::test]
async fn an_otid_is_a_key() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/messages");
    let body = json!({"messages": [{"role": "user", "content": "hello", "otid": "o-1"}]});
    let first = world.post(&path, body.clone()).await;
    assert_eq!(world.post(&path, body).await.body, first.body);
    let other = json!({"messages": [{"role": "user", "content": "other", "otid": "o-1"}]});
    world.post(&path, other).await.refused(StatusCode::CONFLICT);
    let said = world.get(&format!("{path}?include_return_message_types=user_message")).await.ok();
    assert_eq!(said.as_array().unwrap().len(), 1);
    assert_eq!(said[0]["otid"], "o-1");
}

#[tokio::test]
async fn a_repeated_stream_shows_the_first_run() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let path = format!("/v1/agents/{id}/messages/stream");
    let body = json!({"input": "remember that I like tea"});
    let first = keyed(&world, Method::POST, &path, &body, "s").await.events();
    let again = keyed(&world, Method::POST, &path, &body, "s").await.events();
    assert_eq!(first[1..], again[1..]);
}

#[tokio::test]
async fn a_key_that_can_not_be_one_is_refused() {
    let world = World::new().await;
    let long = "k".repeat(257);
    for key in ["", long.as_str()] {
        let detail = keyed(&world, Method::POST, "/v1/agents/", &json!({}), key).await;
        let detail = detail.refused(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(detail[0]["loc"], json!(["header", "Idempotency-Key"]));
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let twice = world.call(Method::POST, "/v1/agents/", &json!({}), &twice).await;
    twice.refused(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.get("/v1/agents/count").await.ok(), 0);
}
