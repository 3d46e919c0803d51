use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

type Case<'a> = (&'a str, Value, Value, &'static str);

/// A path, a body, where it is wrong (null: not checked) and how.
fn wrong_agents<'a>() -> Vec<Case<'a>> {
    let path = "/v1/agents/";
    vec![
        (path, json!({"name": 5}), json!(["body", "name"]), "string_type"),
        (path, json!({"tags": "x"}), json!(["body", "tags"]), "list_type"),
        (path, json!({"tags": ["x", 1]}), json!(["body", "tags", 1]), "string_type"),
        (path, json!({"include_base_tools": "maybe"}), json!(["body", "include_base_tools"]), "bool_type"),
        (
            path,
            json!({"memory_blocks": [{"label": "a"}]}),
            json!(["body", "memory_blocks", 0, "value"]),
            "missing",
        ),
        (path, json!({"context_window_limit": "x"}), json!(["body", "context_window_limit"]), "int_type"),
        (path, json!({"agent_type": "no_such"}), json!(["body", "agent_type"]), "value_error"),
        (path, json!({"tool_rules": [{}]}), json!(["body", "tool_rules", 0]), "value_error"),
        (
            path,
            json!({"tool_rules": [{"type": "exit_loop", "tool_name": "no_such_tool"}]}),
            json!(["body", "tool_rules"]),
            "value_error",
        ),
        (
            path,
            json!({"response_format": {"type": "xml"}}),
            json!(["body", "response_format"]),
            "value_error",
        ),
        (path, json!({"budget": {"tokens": 1}}), json!(["body", "budget"]), "value_error"),
        (path, json!({"max_steps": 0}), json!(["body", "max_steps"]), "value_error"),
        (path, json!({"tool_ids": ["tool-none"]}), json!(["body", "tool_ids", 0]), "value_error"),
        (path, json!({"tools": ["no_such_tool"]}), Value::Null, "value_error"),
        (path, json!({"model": "nobody/nothing"}), json!(["body", "model"]), "value_error"),
    ]
}

fn wrong_messages(path: &str) -> Vec<Case<'_>> {
    vec![
        (path, json!({}), json!(["body", "messages"]), "value_error"),
        (
            path,
            json!({"messages": [{"role": "dog", "content": "x"}]}),
            json!(["body", "messages", 0, "role"]),
            "value_error",
        ),
        (
            path,
            json!({"messages": [{"role": "user"}]}),
            json!(["body", "messages", 0, "content"]),
            "value_error",
        ),
        (path, json!({"input": "x", "max_steps": 0}), json!(["body", "max_steps"]), "value_error"),
        (path, json!({"input": "x", "override_model": "nobody/x"}), json!(["body", "model"]), "value_error"),
        (path, json!({"input": "x", "client_tools": [{}]}), json!(["body", "client_tools"]), "value_error"),
        (path, json!({"input": [{"type": "image"}]}), json!(["body", "input", 0]), "value_error"),
        (
            path,
            json!({"messages": [{"type": "approval"}]}),
            json!(["body", "messages", 0, "approvals"]),
            "value_error",
        ),
        (
            path,
            json!({"input": "x", "include_return_message_types": ["x"]}),
            json!(["body", "include_return_message_types"]),
            "literal_error",
        ),
        (path, json!([1]), json!(["body"]), "dict_type"),
        (
            path,
            json!({"messages": [["message", "user", "x"]]}),
            json!(["body", "messages", 0]),
            "value_error",
        ),
    ]
}

#[tokio::test]
async fn wrong_fields_are_named_one_by_one() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let messages = format!("/v1/agents/{id}/messages");
    let cases = wrong_agents().into_iter().chain(wrong_messages(&messages));
    for (path, body, loc, kind) in cases {
        let detail = world.post(path, body.clone()).await.refused(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail[0]["msg"].is_string(), "{body}: {detail}");
        assert_eq!(detail[0]["type"], kind, "{body}: {detail}");
        assert!(loc.is_null() || detail[0]["loc"] == loc, "{body}: {detail}");
    }
    assert_eq!(world.get("/v1/agents/count").await.ok(), 1);
    assert_eq!(world.get(&messages).await.ok(), json!([]));
}

#[tokio::test]
async fn wrong_parameters_are_named_all_at_once() {
    let world = World::new().await;
    let detail = world.get("/v1/agents/?limit=x&order=up&match_all_tags=2").await;
    let detail = detail.refused(StatusCode::UNPROCESSABLE_ENTITY);
    let places: Vec<Value> = detail.as_array().unwrap().iter().map(|issue| issue["loc"][1].clone()).collect();
    assert_eq!(places, ["order", "limit", "match_all_tags"]);
    for query in ["limit=0", "limit=-3", "limit=1.5"] {
        world.get(&format!("/v1/agents/?{query}")).await.refused(StatusCode::UNPROCESSABLE_ENTITY);
    }
    world.get("/v1/agents/?limit=99999999999&after=").await.ok();
}

async fn raw(world: &World, kind: Option<&str>, body: impl Into<Body>) -> crate::world::Reply {
    let mut request = Request::builder().method(Method::POST).uri("/v1/agents/");
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    world.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_where() {
    let world = World::new().await;
    for (text, position) in [("{\"name\": }", 9), ("{}\n\n  x", 6), ("[1,", 3), ("{\"a\":1", 6)] {
        let detail = raw(&world, Some("application/json"), text).await;
        let detail = detail.refused(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(detail[0]["type"], "json_invalid", "{text}: {detail}");
        let found = detail[0]["loc"][1].as_u64().unwrap();
        assert!(found.abs_diff(position) <= 1, "{text}: {detail}");
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("jason")] {
        raw(&world, kind, "{}").await.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    for kind in ["application/json; charset=utf-8", "application/problem+json", "APPLICATION/JSON"] {
        assert_eq!(raw(&world, Some(kind), "{}").await.status, StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused_announced_or_not() {
    let world = World::new().await;
    let big = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    let announced =
        Request::builder().method(Method::POST).uri("/v1/agents/").header("content-type", "application/json");
    // The body itself would never end: the header alone is enough.
    let endless = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let announced = announced.header("content-length", big.len()).body(endless).unwrap();
    world.send(announced).await.refused(StatusCode::PAYLOAD_TOO_LARGE);

    let pieces: Vec<_> =
        big.as_bytes().chunks(1_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let silent = Body::from_stream(futures::stream::iter(pieces));
    raw(&world, Some("application/json"), silent).await.refused(StatusCode::PAYLOAD_TOO_LARGE);

    let fits = format!("{{\"description\": \"{}\"}}", "x".repeat(50_000));
    assert_eq!(raw(&world, Some("application/json"), fits).await.status, StatusCode::OK);
    assert_eq!(world.get("/v1/agents/count").await.ok(), 1);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::new().await;
    for (method, path, allowed) in [
        (Method::PUT, "/v1/agents/", "POST"),
        (Method::POST, "/v1/agents/a", "PATCH"),
        (Method::DELETE, "/v1/health", "GET"),
        (Method::GET, "/v1/agents/a/messages/stream", "POST"),
    ] {
        let reply = world.call(method, path, &Value::Null, &[]).await;
        reply.refused(StatusCode::METHOD_NOT_ALLOWED);
        let allow = reply.headers["allow"].to_str().unwrap();
        assert!(allow.contains(allowed), "{path}: {allow}");
    }
}

#[tokio::test]
async fn what_is_not_built_says_so_and_what_is_unknown_too() {
    let world = World::new().await;
    for (method, path) in [(Method::GET, "/v1/agents/a/secrets")] {
        let detail = world.call(method, path, &Value::Null, &[]).await.refused(StatusCode::NOT_FOUND);
        assert!(detail.as_str().unwrap().starts_with("This build does not have it"), "{path}: {detail}");
    }
    for path in ["/", "/v1", "/v2/agents", "/v1/agents/a/b/c/d", "/v1/agents//", "/%00", "/v1/nothing/"] {
        world.get(path).await.refused(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn names_in_paths_that_can_not_be_are_not_found() {
    let world = World::new().await;
    let long = "a".repeat(5_000);
    for id in ["agent-none", "%00", "a%2Fb", "%F0%9F%90%95", long.as_str()] {
        world.get(&format!("/v1/agents/{id}")).await.refused(StatusCode::NOT_FOUND);
    }
    world.get("/v1/agents/%FF").await.refused(StatusCode::UNPROCESSABLE_ENTITY);
}
