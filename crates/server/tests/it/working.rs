use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn notes_are_set_shown_replaced_and_deleted() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let all = format!("/v1/agents/{id}/working-memory");
    let put =
        async |key: &str, body: Value| world.call(Method::PUT, &format!("{all}/{key}"), &body, &[]).await;
    let door = put("back%2Fdoor", json!({"value": "4711", "ttl_minutes": 5})).await.ok();
    assert_eq!((&door["key"], &door["value"]), (&json!("back/door"), &json!("4711")));
    assert!(door["expires_at"].is_string() && door["set_at"].is_string(), "{door}");
    put("plan", json!({"value": "tea"})).await.ok();
    let plan = put("plan", json!({"value": "rum"})).await.ok();
    assert_eq!(world.get(&all).await.ok(), json!([door, plan]));
    assert_eq!(world.get(&format!("{all}/plan/")).await.ok(), plan);
    for (key, body) in [
        ("plan", json!({})),
        ("plan", json!({"value": 1})),
        ("plan", json!({"value": "x", "ttl_minutes": 0})),
        ("plan", json!({"value": "x", "ttl_minutes": -1})),
        ("plan", json!({"value": "x".repeat(16_385)})),
        ("a%0Ab", json!({"value": "x"})),
    ] {
        put(key, body).await.refused(StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(world.get(&format!("{all}/plan")).await.ok(), plan, "nothing has changed");
    world.delete(&format!("{all}/plan")).await.ok();
    for path in [format!("{all}/plan"), format!("{all}/none")] {
        assert_eq!(world.get(&path).await.refused(StatusCode::NOT_FOUND), "Entry not found");
        assert_eq!(world.delete(&path).await.refused(StatusCode::NOT_FOUND), "Entry not found");
    }
    let context = world.get(&format!("/v1/agents/{id}/context")).await.ok();
    assert!(!context.to_string().contains("4711"), "it stands in no prompt");
    let nobody = world.get("/v1/agents/agent-none/working-memory").await;
    assert_eq!(nobody.refused(StatusCode::NOT_FOUND), "Agent not found");
}
