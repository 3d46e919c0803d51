use axum::http::StatusCode;
use kelpie_server::options::{Options, Token};
use kelpie_storage::backup::{Decoder, Piece};
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
