use axum::body::Body;
use axum::http::{Method, Request};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::Value;

use crate::world::{Reply, World};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Whatever comes in, a refusal is JSON with a detail, and the server is not to blame.
fn check(reply: &Reply) {
    let status = reply.status.as_u16();
    assert!(status < 500, "{status}: {}", reply.text());
    if status >= 400 {
        assert!(!reply.json()["detail"].is_null(), "{}", reply.text());
    }
}

const PATHS: [(&str, &str); 9] = [
    ("POST", "/v1/agents/"),
    ("PATCH", "/v1/agents/{id}"),
    ("PATCH", "/v1/agents/{id}/core-memory/blocks/human"),
    ("POST", "/v1/agents/{id}/messages"),
    ("POST", "/v1/agents/{id}/messages/stream"),
    ("POST", "/v1/agents/{id}/messages/cancel"),
    ("POST", "/v1/runs/run-none/stream?agent_id={id}"),
    ("DELETE", "/v1/agents/agent-none"),
    ("POST", "/v1/actors/agent/{id}/message"),
];

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "name",
        "system",
        "messages",
        "content",
        "role",
        "type",
        "input",
        "memory_blocks",
        "value",
        "label",
        "limit",
        "tags",
        "metadata",
        "model",
        "tools",
        "max_steps",
        "otid",
        "run_ids",
        "streaming",
        "model_settings",
        "temperature",
        "llm_config",
        "tool_ids",
        "agent_type",
        "x",
    ]);
    let words = prop::sample::select(vec![
        "",
        "user",
        "human",
        "offline/scripted",
        "memgpt_agent",
        "send_message",
        "\u{0}é🐕",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

async fn post_all(world: &World, id: &str, body: &[u8]) {
    for (method, path) in PATHS {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path.replace("{id}", id))
            .header("content-type", "application/json");
        check(&world.send(request.body(Body::from(body.to_vec())).unwrap()).await);
    }
}

#[test]
fn arbitrary_bytes_are_never_the_server_s_fault() {
    run(async {
        let world = World::new().await;
        let id = world.agent("Kel").await;
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
        for _ in 0..150 {
            let body = prop::collection::vec(any::<u8>(), 0..200).new_tree(&mut runner).unwrap().current();
            post_all(&world, &id, &body).await;
        }
        world.get(&format!("/v1/agents/{id}")).await.ok();
    });
}

#[test]
fn arbitrary_json_is_never_the_server_s_fault() {
    run(async {
        let world = World::new().await;
        let id = world.agent("Kel").await;
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
        for _ in 0..150 {
            let body = any_json().new_tree(&mut runner).unwrap().current();
            post_all(&world, &id, body.to_string().as_bytes()).await;
        }
        world.get(&format!("/v1/agents/{id}")).await.ok();
    });
}

#[test]
fn arbitrary_paths_and_queries_are_never_the_server_s_fault() {
    run(async {
        let world = World::new().await;
        let mut runner = proptest::test_runner::TestRunner::default();
        let path = "/(v1/)?(agents|runs|tools|models|health|actors/(agent|x))?(/[a-z%0-9F.-]{0,6}){0,3}(\\?[a-z=&%0-9+]{0,20})?";
        let path = prop::string::string_regex(path).unwrap();
        for _ in 0..300 {
            let path = path.new_tree(&mut runner).unwrap().current();
            let Ok(request) = Request::builder().uri(&path).body(Body::empty()) else { continue };
            check(&world.send(request).await);
        }
    });
}
