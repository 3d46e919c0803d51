use std::time::Duration;

use kelpie_server::listener::{Ended, serve};
use kelpie_server::options::Options;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::world::World;

/// Sends raw bytes and reads to the end of the connection.
async fn talk(world: &World, address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = world.front.env().net().connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn post(path: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_drain_lets_a_stream_end_and_takes_nobody_new() {
    let world = World::new().await;
    let listener = world.front.env().net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, world.front.clone(), async { drop(stopped.await) });
    let id = world.agent_with("moody/waits").await;
    let clients = async {
        let health = talk(&world, address, HEALTH).await;
        assert!(health.starts_with("HTTP/1.1 200 OK"), "{health}");
        let request = post(&format!("/v1/agents/{id}/messages/stream"), &json!({"input": "hi"}));
        let stream = talk(&world, address, &request);
        let stop = async {
            world.front.env().sleep(Duration::from_millis(200)).await;
            stop.send(()).unwrap();
            world.until("the drain has begun", async || world.front.ready().is_err()).await;
            world.front.env().sleep(Duration::from_millis(50)).await;
            assert!(world.front.env().net().connect(address).await.is_err());
            world.go.add_permits(9);
        };
        let (stream, ()) = futures::join!(stream, stop);
        assert!(stream.contains("\"stop_reason\":\"end_turn\""), "{stream}");
        assert!(stream.contains("data: [DONE]"), "{stream}");
    };
    let (ended, ()) = futures::join!(server, clients);
    assert_eq!(ended, Ended::Clean);
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Its client believes that it is served: a reset would leave it in doubt about its request.
#[tokio::test]
async fn who_has_connected_before_a_drain_is_answered() {
    let world = World::new().await;
    let env = world.front.env().clone();
    let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts yet: the system has taken the connection.
    let mut waits = env.net().connect(address).await.unwrap();
    waits.write_all(HEALTH.as_bytes()).await.unwrap();
    let server = serve(listener, world.front.clone(), std::future::ready(()));
    let mut answer = Vec::new();
    let (ended, read) = futures::join!(server, waits.read_to_end(&mut answer));
    read.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(ended, Ended::Clean);
}

#[tokio::test]
async fn a_first_request_that_is_on_its_way_when_a_drain_begins_is_answered() {
    let world = World::new().await;
    let env = world.front.env().clone();
    let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, world.front.clone(), async { drop(stopped.await) });
    let client = async {
        let mut late = env.net().connect(address).await.unwrap();
        let silent = env.net().connect(address).await.unwrap();
        // They are accepted in turn: this one has been after them.
        talk(&world, address, HEALTH).await;
        stop.send(()).unwrap();
        world.until("the drain has begun", async || world.front.ready().is_err()).await;
        late.write_all(HEALTH.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        late.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
        silent
    };
    let (ended, _silent) = futures::join!(server, client);
    assert_eq!(ended, Ended::Clean, "who says nothing is not waited for");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_its_streams_with_a_word() {
    let world = World::with(Options { drain_time: Duration::from_millis(100), ..Options::default() }).await;
    let listener = world.front.env().net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(listener, world.front.clone(), world.front.env().sleep(Duration::from_millis(300)));
    let id = world.agent_with("moody/waits").await;
    let request = post(&format!("/v1/agents/{id}/messages/stream"), &json!({"input": "hi"}));
    let (ended, stream) = futures::join!(server, talk(&world, address, &request));
    assert_eq!(ended, Ended::Clean);
    assert!(stream.contains("stream.interrupted") && stream.contains("data: [DONE]"), "{stream}");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let world = World::new().await;
    let listener = world.front.env().net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, world.front.clone(), async { drop(stopped.await) });
    let client = async {
        let huge = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(100_000));
        let answer = talk(&world, address, &huge).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        stop.send(()).unwrap();
    };
    futures::join!(server, client);
}

#[tokio::test]
async fn who_sends_too_much_before_reading_gets_an_answer_all_the_same() {
    let world = World::new().await;
    let env = world.front.env().clone();
    let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, world.front.clone(), async { drop(stopped.await) });
    let head = "POST /v1/agents/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\n";
    let much = "x".repeat(8 << 20);
    let announced = format!("{head}content-length: {}\r\n\r\n{much}", much.len());
    let silent = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{much}\r\n0\r\n\r\n", much.len());
    let foreign = announced.replace("localhost", "evil.example");
    let clients = async {
        for (request, status) in [(announced, "413"), (silent, "413"), (foreign, "403")] {
            let answer = talk(&world, address, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("\"detail\":"), "{answer}");
        }
        let waits = format!("{head}expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n");
        let answer = talk(&world, address, &waits).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "it is not told to go on: {answer}");
        stop.send(()).unwrap();
    };
    let (ended, ()) = futures::join!(server, clients);
    assert_eq!(ended, Ended::Clean);
}
