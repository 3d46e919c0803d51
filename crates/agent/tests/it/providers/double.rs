//! Providers against a double: a TCP server that plays one script per connection.
//!
//! It is no model service; it exists to stop at a chosen byte, to stall and to lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kelpie_agent::provider::{Awaited, Delta, ModelError, Patience};
use kelpie_env::{Env, Stream, real};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{KEY, WIRES, Wire, ask, hasty, text_of};

/// What the double does with a connection once it has read the question.
#[derive(Debug, Clone)]
enum Line {
    Send(String),
    /// Sends this again and again, with pauses.
    Trickle(&'static str),
    /// Says nothing more, and keeps the connection.
    Stall,
}

/// A server whose n-th connection plays the n-th script, and the last one from then on.
struct Double {
    url: String,
    asked: Arc<AtomicUsize>,
    questions: mpsc::UnboundedReceiver<String>,
}

impl Double {
    async fn start(env: &Env, scripts: Vec<Vec<Line>>) -> Self {
        let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (tx, questions) = mpsc::unbounded_channel();
        let (env_inside, count) = (env.clone(), Arc::clone(&asked));
        env.spawn("double", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let script = scripts[number.min(scripts.len() - 1)].clone();
                let (env, tx) = (env_inside.clone(), tx.clone());
                env_inside.spawn("double's connection", play(env, stream, script, tx));
            }
        });
        Self { url, asked, questions }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn play(
    env: Env,
    mut stream: Box<dyn Stream>,
    script: Vec<Line>,
    questions: mpsc::UnboundedSender<String>,
) {
    let question = read_question(&mut stream).await;
    drop(questions.send(question));
    for line in script {
        match line {
            Line::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Line::Trickle(text) => {
                while stream.write_all(text.as_bytes()).await.is_ok() {
                    env.sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Line::Stall => env.sleep(Duration::from_secs(60)).await,
        }
    }
}

/// Head and body of one HTTP request.
async fn read_question(stream: &mut Box<dyn Stream>) -> String {
    let mut bytes = vec![];
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "the question ended in its head: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn status(line: &str, headers: &str, body: &str) -> Vec<Line> {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {line}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    vec![Line::Send(text)]
}

/// The events of an answer "Hello", of which the last two lines end it.
fn hello(wire: Wire) -> Vec<&'static str> {
    if wire.model.starts_with("anthropic") {
        vec![
            "data: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{}}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ]
    } else {
        vec![
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ]
    }
}

/// A whole answer.
fn whole(wire: Wire) -> Vec<Line> {
    vec![Line::Send(format!("{HEAD}{}", hello(wire).concat()))]
}

/// The first `bytes` of an answer.
fn cut(wire: Wire, bytes: usize) -> Line {
    Line::Send(format!("{HEAD}{}", &hello(wire).concat()[..bytes]))
}

/// The shortest part that has text and is no answer yet.
fn half(wire: Wire) -> usize {
    hello(wire).concat().find("lo\"").unwrap()
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_is_no_answer() {
    let env = real::env();
    for wire in WIRES {
        let body = hello(wire).concat();
        let end = body.find("\"stop_reason\"").or(body.find("\"finish_reason\"")).unwrap();
        let scripts = (0..end).step_by(17).map(|bytes| vec![cut(wire, bytes)]).collect::<Vec<_>>();
        let count = scripts.len();
        let double = Double::start(&env, scripts).await;
        let patience = Patience { attempts_max: 1, ..hasty() };
        let models = wire.with_patience(&env, &double.url, patience);
        for _ in 0..count {
            let error = ask(&models, &wire.request("hello")).await.1.unwrap_err();
            assert!(matches!(error.cause(), ModelError::Cut { .. }), "{error:?}");
        }
        assert_eq!(double.asked(), count);
    }
}

#[tokio::test]
async fn after_a_cut_what_was_streamed_is_void() {
    let env = real::env();
    for wire in WIRES {
        let double = Double::start(&env, vec![vec![cut(wire, half(wire))], whole(wire)]).await;
        let (deltas, answer) = ask(&wire.at(&env, &double.url), &wire.request("hello")).await;
        assert_eq!(answer.unwrap().text.as_deref(), Some("Hello"));
        assert_eq!(
            deltas,
            [
                Delta::Text("Hel".to_owned()),
                Delta::Restart,
                Delta::Text("Hel".to_owned()),
                Delta::Text("lo".to_owned())
            ]
        );
        assert_eq!(text_of(&deltas), "Hello");
    }
}

#[tokio::test]
async fn times_are_bounded_wherever_it_stalls() {
    let env = real::env();
    let limit = Duration::from_millis(200);
    let forever = [Line::Send(HEAD.to_owned()), Line::Trickle(": still here\n\n")];
    for wire in WIRES {
        for (script, what) in [
            (vec![Line::Stall], Awaited::Start),
            (vec![cut(wire, half(wire)), Line::Stall], Awaited::Continue),
            (forever.to_vec(), Awaited::Finish),
        ] {
            let double = Double::start(&env, vec![script]).await;
            let patience = match what {
                Awaited::Start => Patience { start: limit, ..hasty() },
                Awaited::Continue => Patience { idle: limit, ..hasty() },
                Awaited::Finish => Patience { answer: limit, ..hasty() },
            };
            let models = wire.with_patience(&env, &double.url, patience);
            let error = ask(&models, &wire.request("hello")).await.1.unwrap_err();
            assert_eq!(*error.cause(), ModelError::TimedOut { what, limit });
            assert_eq!(double.asked(), 3, "each attempt has its own time");
        }
    }
}

#[tokio::test]
async fn all_attempts_together_are_bounded_in_time() {
    let env = real::env();
    let wire = WIRES[0];
    let double = Double::start(&env, vec![status("529 Overloaded", "retry-after: 3600\r\n", "")]).await;
    let began = env.now();
    let error = ask(&wire.at(&env, &double.url), &wire.request("hello")).await.1.unwrap_err();
    assert!(matches!(error, ModelError::Exhausted { attempts: 1, .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(env.now() - began < Duration::from_secs(5));
}

#[tokio::test]
async fn the_key_goes_to_the_provider_and_nowhere_else() {
    let env = real::env();
    for wire in WIRES {
        let mut elsewhere = Double::start(&env, vec![whole(wire)]).await;
        let echo = format!("{{\"error\": \"you sent {KEY}\"}}");
        let redirect = format!("location: {}/v1/messages\r\n", elsewhere.url);
        let scripts =
            vec![status("307 Temporary Redirect", &redirect, ""), status("401 Unauthorized", "", &echo)];
        let mut double = Double::start(&env, scripts).await;
        let models = wire.at(&env, &double.url);
        let error = ask(&models, &wire.request("hello")).await.1.unwrap_err();
        assert!(matches!(error, ModelError::Refused { status: 307, .. }), "{error:?}");
        let error = ask(&models, &wire.request("hello")).await.1.unwrap_err();
        let message = "you sent ***".to_owned();
        assert_eq!(error, ModelError::Unauthorized { status: 401, message });
        assert!(elsewhere.questions.try_recv().is_err(), "the redirect was followed");
        let question = double.questions.recv().await.unwrap();
        let start = if wire.path.is_empty() { "POST /v1/messages " } else { "POST /v1/chat/completions " };
        assert!(question.starts_with(start) && question.contains(KEY), "{question}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_and_so_is_a_list_that_fails() {
    let env = real::env();
    for wire in WIRES {
        let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = ask(&wire.at(&env, &url), &wire.request("hello")).await.1.unwrap_err();
        assert!(matches!(error.cause(), ModelError::Unavailable { status: None, .. }), "{error:?}");
        assert!(!error.to_string().contains(&url), "addresses may carry passwords: {error}");

        let double = Double::start(&env, vec![status("500 Oops", "", "oops"), vec![Line::Stall]]).await;
        let patience = Patience { list: Duration::from_millis(200), ..hasty() };
        let models = wire.with_patience(&env, &double.url, patience);
        for code in ["model.unavailable", "model.timed_out"] {
            let listing = models.listings().await.remove(0);
            assert_eq!(listing.models.unwrap_err().code(), code);
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_refused() {
    let env = real::env();
    let wire = WIRES[1];
    let script = vec![Line::Send(HEAD.to_owned()), Line::Send("x".repeat(17 << 20)), Line::Stall];
    let double = Double::start(&env, vec![script]).await;
    let patience = Patience { attempts_max: 1, ..hasty() };
    let models = wire.with_patience(&env, &double.url, patience);
    let error = ask(&models, &wire.request("hello")).await.1.unwrap_err();
    assert!(matches!(error.cause(), ModelError::Malformed { .. }), "{error:?}");
}
