//! A model that answers at once, and does what the last message of a user says: `steps N` calls a tool
//! N times, one after the other; `tokens N` says N words, each in a piece of its own.

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use kelpie_env::Env;
use serde_json::{Value, json};

/// Where it listens, up to `/v1`.
#[expect(clippy::disallowed_methods, reason = "the model stands in for a server elsewhere")]
pub(crate) async fn serve(env: &Env) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let models = Json(json!({ "object": "list", "data": [{ "id": "zero", "object": "model" }] }));
    let router = Router::new()
        .route("/v1/models", get(|| async { models }))
        .route("/v1/chat/completions", post(answer));
    env.spawn("model", async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn answer(Json(request): Json<Value>) -> ([(&'static str, &'static str); 1], Body) {
    let messages = request["messages"].as_array().unwrap();
    let is_user = |message: &Value| message["role"] == "user";
    let last = messages.iter().rposition(is_user).expect("somebody speaks");
    let said = messages[last]["content"].to_string();
    let wanted = |what: &str| {
        let number = said.split_once(what)?.1.split(|end: char| !end.is_ascii_digit()).next()?;
        number.parse::<usize>().ok()
    };
    let called = messages[last..].iter().filter(|message| message["role"] == "tool").count();
    let pieces = match (wanted("steps "), wanted("tokens ")) {
        (Some(steps), _) if called < steps => {
            // Its value changes with each call.
            let (old, new) = if called % 2 == 0 { ("Ada", "Bob") } else { ("Bob", "Ada") };
            let arguments = json!({ "label": "human", "old_content": old, "new_content": new }).to_string();
            let function = json!({ "name": "core_memory_replace", "arguments": arguments });
            let id = format!("call_{}", messages.len());
            let call = json!({ "index": 0, "id": id, "type": "function", "function": function });
            vec![chunk(&json!({ "delta": { "tool_calls": [call] } })), end("tool_calls")]
        }
        (_, Some(tokens)) => {
            // Hyper hands out each of them by itself.
            let mut pieces = vec![chunk(&json!({ "delta": { "content": "word " } })); tokens];
            pieces.push(end("stop"));
            pieces
        }
        _ => vec![chunk(&json!({ "delta": { "content": "Well." } })), end("stop")],
    };
    let stream = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
    ([("content-type", "text/event-stream")], Body::from_stream(stream))
}

fn chunk(choice: &Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

fn end(reason: &str) -> String {
    chunk(&json!({ "delta": {}, "finish_reason": reason })) + "data: [DONE]\n\n"
}
