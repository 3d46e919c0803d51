//! The load generator: callers over HTTP, each with a connection and a counter of its own.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use kelpie_env::Env;

/// Has callers add one each, again and again, for so long; gives each call's time.
pub(crate) async fn run(env: &Env, address: &str, callers: usize, lasts: Duration) -> Vec<Duration> {
    let until = env.now() + lasts;
    let callers = (0..callers).map(|caller| async move {
        let mut connection = connect(env, address).await;
        let mut times = Vec::new();
        while env.now() < until {
            let began = env.now();
            let total: u64 = add(&mut connection, address, caller).await;
            assert!(total > 0);
            times.push(env.now().saturating_sub(began));
        }
        times
    });
    join_all(callers).await.concat()
}

#[expect(clippy::disallowed_methods, reason = "a plain TCP connection")]
async fn connect(env: &Env, address: &str) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    // It ends when the sender goes.
    env.spawn("connection", async move { drop(connection.await) });
    sender
}

async fn add(connection: &mut SendRequest<Full<Bytes>>, address: &str, caller: usize) -> u64 {
    let request = Request::post(format!("/counter/c{caller}/add"))
        .header(HOST, address)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_static(b"1")))
        .unwrap();
    connection.ready().await.unwrap();
    let response = connection.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}
