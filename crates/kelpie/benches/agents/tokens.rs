//! How many tokens a second come through, from the model's server to a client of Kelpie's.

use std::time::Duration;

use kelpie_machine::section::median;
use reqwest::Response;
use serde_json::{Value, json};

use crate::{Bench, says};

const TOKENS: usize = 20_000;
const ROUNDS: usize = 7;

pub(crate) async fn measure(bench: Bench) -> String {
    let question = format!("tokens {TOKENS}");
    let (mut kelpie, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // A new one each time: what was said before would go along with each question.
        let agent = bench.create(&format!("tokens {round}")).await;
        let mut body = says(&question);
        (body["streaming"], body["stream_tokens"]) = (json!(true), json!(true));
        let url = format!("{}/v1/agents/{agent}/messages", bench.server.base);
        kelpie.push(timed(&bench, &url, &body, "word ").await);
        let url = format!("{}/chat/completions", bench.model);
        bare.push(timed(&bench, &url, &says(&question), "word ").await);
    }
    let (kelpie, bare) = (median(&kelpie), median(&bare));
    let rate = |took: Duration| TOKENS as f64 / took.as_secs_f64();
    format!(
        "An answer of {TOKENS} tokens, each a piece of its own, {ROUNDS} rounds, one client: {:.0} tokens/s come through Kelpie\n\
         (an event each as long as the reader keeps up, the answer durable at the end), {:.0} tokens/s from the model itself, whose\n\
         server and client share a process here.\n",
        rate(kelpie),
        rate(bare),
    )
}

/// How long an answer takes in which the pattern is to be seen once for each token.
async fn timed(bench: &Bench, url: &str, body: &Value, pattern: &str) -> Duration {
    let request = bench.client.post(url).json(body);
    let (took, seen) = bench
        .timed(async {
            let answer = request.send().await.unwrap().error_for_status().unwrap();
            count(answer, pattern.as_bytes()).await
        })
        .await;
    assert!((TOKENS..=TOKENS + 1).contains(&seen), "{seen} of {TOKENS} tokens came");
    took
}

async fn count(mut answer: Response, pattern: &[u8]) -> usize {
    let (mut seen, mut rest) = (0, Vec::new());
    while let Some(bytes) = answer.chunk().await.unwrap() {
        rest.extend_from_slice(&bytes);
        seen += rest.windows(pattern.len()).filter(|window| *window == pattern).count();
        // The start of a pattern may be at its end.
        rest.drain(..rest.len().saturating_sub(pattern.len() - 1));
    }
    seen
}
