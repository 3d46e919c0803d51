use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt;
use kelpie_env::sim::Sim;
use kelpie_server::options::{Options, Token};
use kelpie_storage::backup::{Decoder, Piece};
use kelpie_storage::{Memory, Store};
use serde_json::{Value, json};

use crate::world::World;

/// The head's backend, and the keys of a whole backup.
fn read(bytes: &[u8]) -> (String, Vec<String>) {
    let mut decoder = Decoder::default();
    let (mut backend, mut keys) = (String::new(), Vec::new());
    decoder.push(bytes);
    while let Some(piece) = decoder.next_piece().unwrap() {
        match piece {
            Piece::Head(head) => backend = head.backend,
            Piece::Rows(rows) => keys.extend(rows.iter().map(|(key, _)| kelpie_core::row::readable(key))),
            Piece::End(_) => {}
        }
    }
    assert_eq!(decoder.finish().unwrap().rows, keys.len() as u64);
    (backend, keys)
}

#[tokio::test]
async fn a_backup_is_whole_and_holds_what_was_answered() {
    let world = World::new().await;
    let agent = world.agent("ada").await;
    let reply = world.get("/v1/store/backup").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["content-type"], "application/vnd.kelpie.backup");
    let (backend, keys) = read(&reply.body);
    assert_eq!(backend, "memory");
    assert!(keys.contains(&format!("own/default/agent/{agent}")), "{keys:?}");
}

/// Takes a backup with so many seconds between two pieces of it; whether all of it came.
fn taken_slowly(seconds: u64) -> bool {
    let sim = Sim::new(1);
    let node = sim.node("n1");
    sim.block_on(async {
        let env = node.env();
        let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
        for n in 0..80 {
            let mut tx = store.begin();
            tx.set(format!("row/{n:04}"), vec![7; 90_000]);
            tx.commit().await.unwrap();
        }
        let world = World::over(env.clone(), store, Options::default()).await;
        let request = Request::get("/v1/store/backup").body(Body::empty()).unwrap();
        let mut pieces = world.answer(request).await.into_body().into_data_stream();
        let (mut decoder, mut taken) = (Decoder::default(), 0);
        while let Some(piece) = pieces.next().await {
            decoder.push(&piece.unwrap());
            while decoder.next_piece().unwrap().is_some() {}
            taken += 1;
            env.sleep(Duration::from_secs(seconds)).await;
        }
        assert!(taken >= 3, "too few pieces to be slow with: {taken}");
        decoder.finish().is_ok()
    })
}

#[test]
fn sim_a_client_that_takes_nothing_of_its_backup_for_a_minute_is_cut_off() {
    assert!(taken_slowly(59));
    assert!(!taken_slowly(61));
}

#[tokio::test]
async fn the_store_tells_what_it_has_done() {
    let world = World::new().await;
    let before = world.get("/v1/store/stats").await.ok();
    world.agent("ada").await;
    let after = world.get("/v1/store/stats/").await.ok();
    assert!(after["commits"].as_u64() > before["commits"].as_u64(), "{before} {after}");
    assert_eq!(after["backend"], "memory");
    assert!(after["conflicts"]["point_reads"].is_u64() && after["fsync_times"]["p99_us"].is_u64(), "{after}");
    let folded = world.post("/v1/store/checkpoint", json!(null)).await.ok();
    assert!(folded["version"].as_u64() >= after["version"].as_u64(), "{folded}");
}

#[tokio::test]
async fn the_store_is_behind_the_token() {
    let options = Options { token: Some(Token::new("secret").unwrap()), ..Options::default() };
    let world = World::with(options).await;
    for path in ["/v1/store/stats", "/v1/store/backup"] {
        world.get(path).await.refused(StatusCode::UNAUTHORIZED);
        let headers = [("authorization", "Bearer secret")];
        let reply = world.call(axum::http::Method::GET, path, &Value::Null, &headers).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    world.post("/v1/store/checkpoint", json!(null)).await.refused(StatusCode::UNAUTHORIZED);
}
