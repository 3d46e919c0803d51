//! The binary over HTTP with the scripted model, beside a bare axum route that answers a
//! body of the same kind: what the network and the framework alone cost.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use kelpie_env::Env;
use serde_json::{Value, json};

use crate::server::Server;
use crate::table::{Row, Table};

const ROUNDS: usize = 5;
const REQUESTS: u32 = 200;

pub(crate) async fn measure(env: &Env, table: &mut Table) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let client = kelpie_agent::http_client::for_server(&server.base.parse().unwrap()).build().unwrap();
    let peer = bare(env).await;
    let agent = create(&client, &server.base).await;
    let id = agent["id"].as_str().unwrap().to_owned();
    let get = format!("{}/v1/agents/{id}", server.base);
    let say = format!("{get}/messages");
    let what = ["create agent", "get agent", "message, model answers at once"];
    let mut kelpie = [const { Vec::new() }; 3];
    let mut peers = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (number, (kelpie, peers)) in kelpie.iter_mut().zip(&mut peers).enumerate() {
            peers.push(round(env, || post_json(&client, &peer, json!({ "name": "x" }))).await);
            kelpie.push(match number {
                0 => round(env, || create(&client, &server.base)).await,
                1 => round(env, || get_json(&client, &get)).await,
                _ => round(env, || post_json(&client, &say, hello())).await,
            });
        }
    }
    for ((what, kelpie), peers) in what.into_iter().zip(kelpie).zip(peers) {
        table.push(Row {
            what: format!("HTTP {what}, one client"),
            kelpie,
            peer: Some(("bare axum route".into(), peers)),
            note: format!("mean of {REQUESTS} requests in a row"),
        });
    }
}

fn hello() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Hello there." }] })
}

async fn create(client: &reqwest::Client, base: &str) -> Value {
    let blocks = json!([{ "label": "human", "value": "Ada" }, { "label": "persona", "value": "kind" }]);
    post_json(client, &format!("{base}/v1/agents/"), json!({ "memory_blocks": blocks })).await
}

async fn post_json(client: &reqwest::Client, url: &str, body: Value) -> Value {
    client.post(url).json(&body).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

async fn get_json(client: &reqwest::Client, url: &str) -> Value {
    client.get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

async fn round<F: Future<Output = Value>>(env: &Env, request: impl Fn() -> F) -> Duration {
    let began = env.now();
    for _ in 0..REQUESTS {
        std::hint::black_box(request().await);
    }
    env.now().saturating_sub(began) / REQUESTS
}

#[expect(clippy::disallowed_methods, reason = "the peer is plain axum on plain tokio")]
async fn bare(env: &Env) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(|body: axum::Json<Value>| async move { body }));
    env.spawn("peer", async move { axum::serve(listener, app).await.unwrap() });
    url
}
