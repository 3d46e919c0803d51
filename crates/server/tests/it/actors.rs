//! Actors of any type over HTTP, below their typed layer: what becomes of each error.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::id::ActorId;
use kelpie_runtime::typed::arguments;
use kelpie_runtime::{Actor, CallLimits, HandlerError, Rate, Turn, View};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::world::{Reply, World};

/// Calls who it is told to call, and takes its time.
struct Caller;

/// Whom to call, and who that one calls.
type Way = (Vec<String>,);

impl Actor for Caller {
    fn actor_type(&self) -> &str {
        "caller"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "bytes" || operation == "$state"
    }

    fn takes_json(&self) -> bool {
        true
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            match operation {
                "keep" => {
                    turn.set("kept", Bytes::copy_from_slice(payload));
                    Ok(Bytes::from_static(b"null"))
                }
                "pass on" => {
                    let (mut way,): Way = arguments(operation, payload)?;
                    if way.is_empty() {
                        return Ok(Bytes::from_static(b"\"the end\""));
                    }
                    let next = ActorId::new("default", "caller", &way.remove(0)).expect("a key of the test");
                    let wait = Duration::from_millis(30);
                    kelpie_env::real::env().sleep(wait).await;
                    Ok(turn.call("next", next, operation, json!([way]).to_string()).await?)
                }
                "trace" => Ok(json!(turn.trace().map(|trace| trace.to_string())).to_string().into()),
                "wait" => {
                    for step in 0..1_000_usize {
                        let wait = || async {
                            kelpie_env::real::env().sleep(Duration::from_millis(10)).await;
                            Ok(Bytes::new())
                        };
                        turn.step(("wait", step), b"", |_| wait()).await?;
                    }
                    Ok(Bytes::from_static(b"null"))
                }
                other => Err(HandlerError::app("caller.what", format!("what is {other}?"))),
            }
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        _: &'a View,
        _: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(Bytes::from_static(b"\xFFno JSON")) }.boxed()
    }
}

async fn world(limits: CallLimits) -> World {
    World::of_actors(vec![Arc::new(Caller)], limits).await
}

fn error(reply: &Reply) -> (u16, Value, Value) {
    let body = reply.json();
    (reply.status.as_u16(), body["code"].clone(), body["advice"].clone())
}

fn is(status: u16, code: &str, advice: &str) -> (u16, Value, Value) {
    (status, code.into(), advice.into())
}

#[tokio::test]
async fn a_circle_is_refused_and_a_deadlock_gives_way() {
    let world = world(CallLimits::default()).await;
    let pass_on = |from: &str, way: Value| {
        let path = format!("/v1/actors/caller/{from}/pass%20on");
        let world = &world;
        async move { world.post(&path, json!({ "0": 0, "way": way })).await }
    };
    // An object where it takes an array: said, not guessed.
    assert_eq!(error(&pass_on("a", json!([])).await), is(422, "call.arguments", "fix"));

    let pass_on = |from: &str, way: Value| {
        let request =
            Request::builder().method(Method::POST).uri(format!("/v1/actors/caller/{from}/pass%20on"));
        let request =
            request.header("content-type", "application/json").body(Body::from(json!([way]).to_string()));
        world.send(request.unwrap())
    };
    assert_eq!(pass_on("a", json!(["b", "c"])).await.ok(), "the end");
    let circle = pass_on("a", json!(["b", "a"])).await;
    assert_eq!(error(&circle), is(500, "call.handler", "fix"));
    assert!(circle.text().contains("default/caller/a -> default/caller/b"), "{}", circle.text());

    let (ab, ba) = futures::join!(pass_on("a", json!(["b"])), pass_on("b", json!(["a"])));
    let refused = [&ab, &ba].into_iter().find(|reply| reply.status != StatusCode::OK).expect("one gave way");
    assert_eq!(error(refused), is(503, "call.deadlock", "not_run"));
    assert_eq!(refused.headers["retry-after"], "1");
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_back() {
    let once = std::num::NonZeroU32::MIN;
    let rate = Some(Rate { per_second: once, burst: once.saturating_add(1) });
    let world = world(CallLimits { actor_rate: rate, ..CallLimits::default() }).await;
    let call = || world.post("/v1/actors/caller/a/keep", json!({}));
    assert_eq!((call().await.status, call().await.status), (StatusCode::OK, StatusCode::OK));
    let refused = call().await;
    assert_eq!(error(&refused), is(429, "call.too_many", "not_run"));
    assert_eq!(refused.headers["retry-after"], "1");
    // Looking is no call.
    for _ in 0..5 {
        world.get("/v1/actors/caller/a/why").await.ok();
    }
}

#[tokio::test]
async fn what_cannot_be_shown_as_json_is_not_shown() {
    let world = world(CallLimits::default()).await;
    assert_eq!(error(&world.get("/v1/actors/caller/a/state").await), is(404, "actor.no_state", "fix"));
    assert_eq!(error(&world.post("/v1/actors/caller/a/x", json!({})).await), is(409, "caller.what", "app"));
    let agents = World::new().await;
    let id = agents.agent("Kel").await;
    let said = agents.post(&format!("/v1/actors/agent/{id}/message"), json!({})).await;
    assert_eq!(error(&said), is(404, "call.no_json", "fix"));
    assert!(said.text().contains("/v1/agents"), "{}", said.text());
    // The types that this server knows can be looked at.
    let state = agents.get(&format!("/v1/actors/agent/{id}/state")).await.ok();
    assert_eq!((&state["name"], &state["blocks"][1]["value"]), (&json!("Kel"), &json!("I am Kel.")));
    assert_eq!(agents.get("/v1/actors/agent/none/state").await.ok(), Value::Null);
    assert_eq!(agents.get("/v1/actors/agent").await.ok()["actors"][0]["key"], id.as_str());
    let history = agents.get(&format!("/v1/actors/agent/{id}/history")).await.ok();
    assert!(history["records"].as_array().unwrap().len() > 1, "{history}");
    assert_eq!(agents.get(&format!("/v1/actors/agent/{id}/why")).await.ok()["owner"], "here");
}

#[tokio::test]
async fn rubbish_is_never_the_server_s_fault() {
    let world = world(CallLimits::default()).await;
    let mut runner = proptest::test_runner::TestRunner::default();
    let segment = "[a-z%0-9F.\\-~é\u{1F415}]{0,12}";
    let path = prop::string::string_regex(&format!("/v1/actors/(caller/)?{segment}/{segment}(/{segment})?"))
        .unwrap();
    for _ in 0..400 {
        let path = path.new_tree(&mut runner).unwrap().current();
        let body = prop::collection::vec(any::<u8>(), 0..64).new_tree(&mut runner).unwrap().current();
        let value = any::<Vec<u8>>().new_tree(&mut runner).unwrap().current();
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let request = Request::builder().method(method).uri(&path);
            let request =
                request.header("content-type", "application/json").header("kelpie-deadline-ms", &value[..]);
            let Ok(request) = request.body(Body::from(body.clone())) else { continue };
            let reply = world.send(request).await;
            assert!(reply.status.as_u16() < 500, "{path}: {}", reply.text());
            assert!(
                reply.status.is_success() || !reply.json()["detail"].is_null(),
                "{path}: {}",
                reply.text()
            );
        }
    }
}

#[tokio::test]
async fn a_turn_is_stopped_by_its_name_or_as_the_one_that_runs() {
    let world = world(CallLimits::default()).await;
    let world = &world;
    let cancel = |turn: &str| {
        let path = format!("/v1/actors/caller/a/turns/{turn}/cancel");
        async move { world.post(&path, Value::Null).await }
    };
    assert_eq!(error(&cancel("running").await), is(404, "turn.unknown", "fix"));
    assert_eq!(error(&cancel(&"0".repeat(32)).await), is(404, "turn.unknown", "fix"));
    for wrong in ["0", &"g".repeat(32), &"+".repeat(32), "Running"] {
        assert_eq!(error(&cancel(wrong).await), is(422, "request.invalid", "fix"), "{wrong}");
    }
    for by_name in [true, false] {
        let waits = world.post("/v1/actors/caller/a/wait", json!({}));
        let stop = async {
            let why = || async { world.get("/v1/actors/caller/a/why").await.ok()["turns"][0].clone() };
            world.until("it runs", || async { why().await["begun"] == true }).await;
            let running = why().await;
            let turn = running["turn"].as_str().unwrap();
            let stopped = cancel(if by_name { turn } else { "running" }).await.ok();
            assert_eq!(stopped, json!({ "actor": "default/caller/a", "turn": turn, "outcome": "stopped" }));
        };
        let (waits, ()) = futures::join!(waits, stop);
        assert_eq!(error(&waits), is(409, "turn.cancelled", "app"));
    }
    // A handler of that name is called all the same.
    let handler = world.post("/v1/actors/caller/a/cancel", json!({})).await;
    assert_eq!(error(&handler), is(409, "caller.what", "app"));
}

#[tokio::test]
async fn an_actor_of_a_node_that_serves_alone_stays_where_it_is() {
    let world = world(CallLimits::default()).await;
    world.post("/v1/actors/caller/a/keep", json!({})).await.ok();
    let why = world.get("/v1/actors/caller/a/why").await.ok();
    assert_eq!((&why["owner"], &why["owner_lives"]), (&"here".into(), &true.into()));
    assert_eq!((&why["placement"]["reason"], &why["placement"]["epoch"]), (&"called".into(), &1.into()));
    let migrate = |body: Value| world.post("/v1/actors/caller/a/owner/migrate", body);
    assert_eq!(error(&migrate(json!({ "to": "n2" })).await), is(409, "node.alone", "fix"));
    for wrong in [json!({}), json!({ "to": "" }), json!({ "to": "n2", "now": true }), json!({ "to": 7 })] {
        assert_eq!(error(&migrate(wrong.clone()).await), is(422, "request.invalid", "fix"), "{wrong}");
    }
}

#[tokio::test]
async fn a_request_s_trace_goes_along_and_what_is_none_does_no_harm() {
    let world = world(CallLimits::default()).await;
    let trace = |headers: &'static [(&'static str, &'static str)]| {
        let world = &world;
        async move { world.call(Method::POST, "/v1/actors/caller/a/trace", &json!({}), headers).await.ok() }
    };
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = trace(&[("traceparent", PARENT)]).await;
    let told = told.as_str().unwrap();
    assert!(told.starts_with(&PARENT[..36]) && told.ends_with("-01") && told != PARENT, "{told}");
    for none in [&[][..], &[("traceparent", "rubbish")], &[("traceparent", PARENT), ("traceparent", PARENT)]]
    {
        assert_eq!(trace(none).await, Value::Null, "{none:?}");
    }
}
