use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["message_type"].as_str().unwrap()).collect()
}

/// What every stream keeps to.
fn check(events: &[Value]) {
    let kinds = kinds(events);
    assert_eq!(kinds[0], "ping");
    assert_eq!(kinds[kinds.len() - 2..], ["stop_reason", "usage_statistics"]);
    let run_id = &events[0]["run_id"];
    assert!(run_id.is_string());
    let chunks = &events[1..events.len() - 2];
    let mut last = 0;
    for chunk in chunks {
        assert_eq!(&chunk["run_id"], run_id, "{chunk}");
        let seq_id = chunk["seq_id"].as_u64().unwrap();
        assert!(seq_id > last, "{chunk} after {last}");
        last = seq_id;
    }
}

#[tokio::test]
async fn a_stream_of_messages_is_the_answer_in_order() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let body = json!({"messages": [{"role": "user", "content": "remember that I like tea"}]});
    let events = world.post(&format!("/v1/agents/{id}/messages/stream"), body).await.events();
    check(&events);
    assert!(!kinds(&events).contains(&"user_message"));
    let history = world.get(&format!("/v1/agents/{id}/messages?order=asc")).await.ok();
    let mut chunks: Vec<Value> = events[1..events.len() - 2].to_vec();
    for chunk in &mut chunks {
        chunk.as_object_mut().unwrap().remove("seq_id");
    }
    assert_eq!(history.as_array().unwrap()[1..], chunks);
}

#[tokio::test]
async fn pieces_join_to_the_messages_of_the_history() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let body = json!({"input": "hello there", "streaming": true, "stream_tokens": true});
    let events = world.post(&format!("/v1/agents/{id}/messages"), body).await.events();
    check(&events);
    let history = world.get(&format!("/v1/agents/{id}/messages?order=asc")).await.ok();
    let chunks = &events[1..events.len() - 2];
    for message in history.as_array().unwrap().iter().skip(1) {
        let pieces: Vec<&Value> = chunks.iter().filter(|chunk| chunk["id"] == message["id"]).collect();
        assert!(!pieces.is_empty(), "{message} is not in {chunks:?}");
        for piece in &pieces {
            assert_eq!(piece["otid"], message["otid"]);
            assert_eq!(piece["message_type"], message["message_type"]);
        }
        for text in ["content", "reasoning"] {
            let joined: String = pieces.iter().filter_map(|piece| piece[text].as_str()).collect();
            assert_eq!(joined, message[text].as_str().unwrap_or_default(), "{message}");
        }
    }
    assert!(chunks.len() > history.as_array().unwrap().len(), "nothing came in pieces: {chunks:?}");
}

#[tokio::test]
async fn a_stream_is_taken_up_after_any_event() {
    let world = World::new().await;
    let id = world.agent("Kel").await;
    let body = json!({"input": "remember that I like tea"});
    let events = world.post(&format!("/v1/agents/{id}/messages/stream"), body).await.events();
    let run_id = events[0]["run_id"].as_str().unwrap();
    let chunks = &events[1..events.len() - 2];
    for (place, chunk) in chunks.iter().enumerate() {
        let body = json!({"starting_after": chunk["seq_id"], "include_pings": true});
        let rest = world.post(&format!("/v1/runs/{run_id}/stream"), body).await.events();
        assert_eq!(rest[1..], events[place + 2..], "after {chunk}");
    }
}

#[tokio::test]
async fn a_failed_run_streams_its_error_before_the_end() {
    let world = World::new().await;
    let id = world.agent_with("moody/refuses").await;
    let body = json!({"input": "hello", "include_pings": false});
    let events = world.post(&format!("/v1/agents/{id}/messages/stream"), body).await.events();
    let error = events.iter().find(|event| event["message_type"] == "error_message").unwrap();
    assert_eq!(error["error_type"], "model.refused");
    assert!(error["run_id"].is_string() && error["message"].is_string() && error["seq_id"].is_u64());
    assert_eq!(
        kinds(&events)[kinds(&events).len() - 3..],
        ["error_message", "stop_reason", "usage_statistics"]
    );
    assert_eq!(events[events.len() - 2]["stop_reason"], "llm_api_error");
}

#[tokio::test]
async fn a_stream_that_is_cut_off_says_how_to_go_on() {
    let world = World::new().await;
    let id = world.agent_with("moody/waits").await;
    let path = format!("/v1/agents/{id}/messages/stream");
    let stream = world.post(&path, json!({"input": "hello"}));
    let cut = async {
        world.front.env().sleep(Duration::from_millis(200)).await;
        world.front.cut_off();
    };
    let (reply, ()) = futures::join!(stream, cut);
    let events = reply.events();
    let error = events.last().unwrap();
    assert_eq!(error["error_type"], "stream.interrupted");
    let run_id = error["run_id"].as_str().unwrap();
    assert!(error["detail"].as_str().unwrap().contains(run_id));
}

#[tokio::test]
async fn a_stream_that_can_not_begin_is_a_plain_error() {
    let world = World::new().await;
    let reply = world.post("/v1/agents/agent-none/messages/stream", json!({"input": "hello"})).await;
    assert_eq!(reply.refused(StatusCode::NOT_FOUND), "Agent not found");
    let id = world.agent("Kel").await;
    let reply = world.post(&format!("/v1/agents/{id}/messages/stream"), json!({"messages": []})).await;
    reply.refused(StatusCode::UNPROCESSABLE_ENTITY);
}
