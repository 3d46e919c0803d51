//! What Kelpie adds to a step: the model is asked, a tool changes memory, the result is durable.

use std::fmt::Write;
use std::time::Duration;

use kelpie_machine::section::{median, quantile, show};
use serde_json::{Value, json};

use crate::{Bench, says};

/// Calls of a tool in one run; the answer comes after them.
const STEPS: usize = 20;
const ROUNDS: usize = 30;
/// Messages of one request, and how many requests make a long history.
const MESSAGES: usize = 49;
const REQUESTS: usize = 10;

pub(crate) async fn measure(bench: Bench) -> String {
    let mut text = format!(
        "One client. A run of {STEPS} steps that each call `core_memory_replace`, and one that answers: time by step. {ROUNDS} rounds, each with\n\
         an agent of its own that has said nothing yet, or has {} messages in its prompt. The peer asks the model itself with as many\n\
         messages as the prompt has.\n\n\
         | messages before | | p50 | p99 | added by Kelpie |\n|---|---|---|---|---|\n",
        REQUESTS * (MESSAGES + 1),
    );
    for requests in [0, REQUESTS] {
        let (mut steps, mut bare) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            steps.push(run(&bench, &format!("steps {requests} {round}"), requests).await);
            bare.push(asked(&bench, STEPS + requests * (MESSAGES + 1)).await);
        }
        let before = requests * (MESSAGES + 1);
        let added = show(median(&steps).saturating_sub(median(&bare)));
        for (what, times, added) in [("a step", steps, added), ("the model itself", bare, "–".to_owned())] {
            let (p50, p99) = (show(median(&times)), show(quantile(&times, 99)));
            writeln!(text, "| {before} | {what} | {p50} | {p99} | {added} |").unwrap();
        }
    }
    text
}

/// Time of a step, the mean of a run.
async fn run(bench: &Bench, name: &str, requests: usize) -> Duration {
    let path = format!("/v1/agents/{}/messages", bench.create(name).await);
    for _ in 0..requests {
        bench.post(&path, &many(MESSAGES)).await;
    }
    let (took, answer) = bench.timed(bench.post(&path, &says(&format!("steps {STEPS}")))).await;
    let calls = answer["messages"].as_array().unwrap().iter();
    let calls = calls.filter(|message| message["message_type"] == "tool_return_message");
    let calls: Vec<_> = calls.map(|message| message["status"].as_str().unwrap()).collect();
    assert_eq!(calls, ["success"; STEPS], "{answer}");
    took / u32::try_from(STEPS + 1).unwrap()
}

/// Time of a question to the model itself, the mean of as many as a run has.
async fn asked(bench: &Bench, messages: usize) -> Duration {
    let url = format!("{}/chat/completions", bench.model);
    let body = many(messages);
    let questions = async {
        for _ in 0..=STEPS {
            let request = bench.client.post(&url).json(&body);
            assert!(!request.send().await.unwrap().bytes().await.unwrap().is_empty());
        }
    };
    bench.timed(questions).await.0 / u32::try_from(STEPS + 1).unwrap()
}

fn many(messages: usize) -> Value {
    let message =
        json!({ "role": "user", "content": "What a day it was: rain at first, and then some sun." });
    json!({ "messages": vec![message; messages.max(1)] })
}
