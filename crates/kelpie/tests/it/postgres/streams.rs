//! An answer that is watched through the server that does not make it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::fresh;
use super::nodes::{owner, plans};
use crate::process::{client, create_agent_with, says};

const WORDS: usize = 5;
/// Within this a word is there, on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

/// A model that says a word each time it is let to.
async fn model(may: Arc<Semaphore>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
    let models = Json(json!({ "object": "list", "data": [{ "id": "words", "object": "model" }] }));
    let router = Router::new()
        .route("/v1/models", get(|| async { models }))
        .route("/v1/chat/completions", post(answer))
        .with_state(may);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn answer(State(may): State<Arc<Semaphore>>) -> ([(&'static str, &'static str); 1], Body) {
    let chunk = |choice: Value| format!("data: {}\n\n", json!({ "choices": [choice] }));
    let words = stream::unfold(0, move |number| {
        let may = may.clone();
        async move {
            let said = match number {
                0..WORDS => {
                    may.acquire().await.ok()?.forget();
                    chunk(json!({ "delta": { "content": format!("w{number} ") } }))
                }
                WORDS => chunk(json!({ "delta": {}, "finish_reason": "stop" })) + "data: [DONE]\n\n",
                _ => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(said), number + 1))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(words))
}

/// The events of a stream of the server, one after the other.
struct Events {
    answer: reqwest::Response,
    rest: String,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                self.rest = rest.to_owned();
                if data == "[DONE]" {
                    return None;
                }
                // Comments keep the connection alive.
                if !data.is_empty() {
                    return Some(serde_json::from_str(&data).expect("JSON"));
                }
                continue;
            }
            let bytes = self.answer.chunk().await.expect("the stream goes on").expect("it ends with [DONE]");
            self.rest.push_str(std::str::from_utf8(&bytes).expect("words of ASCII"));
        }
    }

    /// The text of the next piece of the answer.
    async fn word(&mut self) -> Option<String> {
        loop {
            let event = self.next().await?;
            assert_ne!(event["message_type"], "error_message", "{event}");
            if event["message_type"] == "assistant_message" {
                return Some(event["content"].as_str().expect("text").to_owned());
            }
        }
    }
}

/// Has an agent of one of two servers asked through the other one. The model says each word only once
/// the one before has come there: whatever waits for the end of the run waits in vain.
async fn words_come_one_by_one(mutant: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let may = Arc::new(Semaphore::new(0));
    let model = model(may.clone()).await;
    let plans: Vec<_> = plans(dir.path(), &fresh(), 2)
        .await
        .into_iter()
        .map(|plan| plan.var("OPENAI_BASE_URL", &model).var("KELPIE_MUTANT", mutant))
        .collect();
    let servers = [plans[0].start().await, plans[1].start().await];
    let settings = json!({ "model": "openai/words", "include_base_tools": false });
    let agent = create_agent_with(&client(), &plans[0].url(), "speaker", &[], &settings).await;
    let there = 1 - owner(&plans[0], &agent).await;
    let mut body = says("go on");
    (body["streaming"], body["stream_tokens"]) = (json!(true), json!(true));
    let url = format!("{}/v1/agents/{agent}/messages", plans[there].url());
    let answer = client().post(url).json(&body).send().await.expect("the server answers");
    assert_eq!(answer.status(), 200);
    let mut events = Events { answer, rest: String::new() };
    let mut came = Ok(());
    for number in 0..WORDS {
        may.add_permits(1);
        match tokio::time::timeout(SOON, events.word()).await {
            Ok(word) => assert_eq!(word, Some(format!("w{number} "))),
            Err(_) => {
                came = Err(format!("word {number} has not come within {SOON:?}"));
                break;
            }
        }
    }
    // All of it is there in the end, whoever has seen it come.
    may.add_permits(WORDS);
    let mut rest = String::new();
    while let Some(word) = events.word().await {
        rest.push_str(&word);
    }
    let whole: String = (0..WORDS).map(|number| format!("w{number} ")).collect();
    assert_eq!(rest, if came.is_ok() { "" } else { whole.as_str() });
    for server in servers {
        server.kill().await;
    }
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_word_by_word_through_the_server_that_does_not_have_the_agent() {
    words_come_one_by_one("").await.expect("the words come while the model speaks");
}

#[cfg(feature = "mutants")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_stay_at_home_are_missed() {
    words_come_one_by_one("pieces_stay_home").await.expect_err("they come in the end only");
}
