use axum::http::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn health_says_status_and_version_with_and_without_slash() {
    let world = World::new().await;
    for path in ["/health", "/health/", "/v1/health", "/v1/health/"] {
        let health = world.get(path).await.ok();
        assert_eq!(health["status"], "ok", "{path}");
        assert!(health["version"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn readiness_ends_with_the_drain_and_says_why() {
    let world = World::new().await;
    assert_eq!(world.get("/ready").await.ok(), json!({"ready": true}));
    world.front.drain();
    let reply = world.get("/ready").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json(), json!({"ready": false, "reason": "this node is shutting down"}));
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_not_by_path() {
    let world = World::new().await;
    world.get("/v1/agents/agent-unheard-of").await;
    let text = world.get("/metrics").await;
    let route = "route=\"/v1/agents/{agent_id}\"";
    assert!(text.text().contains("kelpie_http_requests_total"), "{}", text.text());
    assert!(text.text().contains(route), "{}", text.text());
    assert!(!text.text().contains("unheard-of"), "{}", text.text());
    assert!(text.text().contains("kelpie_http_request_seconds_bucket"), "{}", text.text());
}

#[tokio::test]
async fn every_reply_carries_the_id_of_its_request() {
    let world = World::new().await;
    let own = world.get("/health").await;
    assert_eq!(own.headers["x-request-id"].len(), 16);
    let given =
        world.call(axum::http::Method::GET, "/nowhere", &json!(null), &[("x-request-id", "abc-1")]).await;
    assert_eq!(given.headers["x-request-id"], "abc-1");
    let bad = world.call(axum::http::Method::GET, "/nowhere", &json!(null), &[("x-request-id", "a b")]).await;
    assert_ne!(bad.headers["x-request-id"], "a b");
}

#[tokio::test]
async fn models_and_tools_are_listed_in_full() {
    let world = World::new().await;
    let models = world.get("/v1/models/").await.ok();
    let scripted =
        models.as_array().unwrap().iter().find(|model| model["handle"] == "offline/scripted").unwrap();
    for field in ["name", "model", "provider_type", "model_endpoint_type"] {
        assert!(scripted[field].is_string(), "{field}: {scripted}");
    }
    assert!(scripted["context_window"].as_u64().unwrap() > 0 && scripted["max_context_window"].is_u64());
    assert_eq!(world.get("/v1/models/embedding").await.ok(), json!([]));

    let tools = world.get("/v1/tools/?order=asc").await.ok();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in ["send_message", "core_memory_append", "core_memory_replace", "conversation_search"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let first = tools[0]["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/v1/tools/{first}")).await.ok(), tools[0]);
    assert_eq!(world.get("/v1/tools?name=send_message").await.ok().as_array().unwrap().len(), 1);
    let rest = world.get(&format!("/v1/tools?order=asc&after={first}&limit=2")).await.ok();
    assert_eq!(rest.as_array().unwrap()[..], tools.as_array().unwrap()[1..3]);
    assert_eq!(world.get("/v1/tools/tool-none").await.refused(StatusCode::NOT_FOUND), "Tool not found");
}
