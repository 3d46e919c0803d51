//! How many tokens a second come through, from the model's server to a client of Kelpie's.

use std::time::Duration;

use kelpie_machine::section::median;
use serde_json::{Value, json};

use crate::{Bench, says};

const TOKENS: usize = 20_000;
const ROUNDS: usize = 7;

/// What one answer came to.
struct Came {
    took: Duration,
    /// Events of the stream: where the reader falls behind, one of Kelpie's carries several tokens.
    events: usize,
}

pub(crate) async fn measure(bench: Bench) -> String {
    let question = format!("tokens {TOKENS}");
    let (mut kelpie, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // A new one each time: what was said before would go along with each question.
        let agent = bench.create(&format!("tokens {round}")).await;
        let mut body = says(&question);
        (body["streaming"], body["stream_tokens"]) = (json!(true), json!(true));
        let url = format!("{}/v1/agents/{agent}/messages", bench.server.base);
        kelpie.push(came(&bench, &url, &body).await);
        let url = format!("{}/chat/completions", bench.model);
        bare.push(came(&bench, &url, &says(&question)).await);
    }
    let rate = |all: &[Came]| {
        let took: Vec<Duration> = all.iter().map(|came| came.took).collect();
        TOKENS as f64 / median(&took).as_secs_f64()
    };
    let events = |all: &[Came]| {
        let mut events: Vec<usize> = all.iter().map(|came| came.events).collect();
        events.sort_unstable();
        (events[0], events[events.len() / 2])
    };
    let ((least, events), (_, bare_events)) = (events(&kelpie), events(&bare));
    format!(
        "An answer of {TOKENS} tokens, each a piece of its own, {ROUNDS} rounds, one client: {:.0} tokens/s come through Kelpie\n\
         in {events} events ({least} in the round with the fewest: a reader that falls behind gets several tokens in one), the answer\n\
         durable at the end; {:.0} tokens/s in {bare_events} events from the model itself, whose server and client share a process here.\n",
        rate(&kelpie),
        rate(&bare),
    )
}

/// Reads an answer in which a word is to be seen once for each token.
async fn came(bench: &Bench, url: &str, body: &Value) -> Came {
    let request = bench.client.post(url).json(body);
    let (took, all) = bench
        .timed(async {
            let mut answer = request.send().await.unwrap().error_for_status().unwrap();
            let mut all = Vec::new();
            while let Some(bytes) = answer.chunk().await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            all
        })
        .await;
    let times = |pattern: &[u8]| all.windows(pattern.len()).filter(|window| *window == pattern).count();
    let seen = times(b"word ");
    assert!((TOKENS..=TOKENS + 1).contains(&seen), "{seen} of {TOKENS} tokens came");
    Came { took, events: times(b"\ndata:") + usize::from(all.starts_with(b"data:")) }
}
